//! Handshakes: each in a task of its own, bounded in number and time, and what does not belong here turned away.

use super::connection::{Guest, identity_of};
use super::endpoint::{Accepted, Protocol};
use super::frame_room::FrameRooms;
use super::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, PEER_CONNECTIONS_MAX};
use super::live::{Live, REVOKED};
use super::refusals::Refusals;
use super::{CloseCode, Connection, TransportError, quic};
use crate::shares::Shares;
use crate::tls::Identity;
use jobraft_protocol::limits::{CLIENT_CONNECTIONS_MAX, CLIENT_CONNECTIONS_PER_NAME_MAX};
use jobraft_protocol::{ALPN_CLIENT, ALPN_PEER};
use quinn::Incoming;
use quinn::crypto::rustls::HandshakeData;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// Turns connection attempts into accepted connections.
#[derive(Clone)]
pub(super) struct Acceptor {
    accepted: mpsc::Sender<Accepted>,
    refusals: Arc<Refusals>,
    live: Arc<Live>,
    handshakes: Arc<Semaphore>,
    peers: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    names: Arc<Shares>,
    frames: FrameRooms,
}

impl Acceptor {
    pub(super) fn new(accepted: mpsc::Sender<Accepted>, refusals: Arc<Refusals>, live: Arc<Live>) -> Self {
        Self {
            accepted,
            refusals,
            live,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            peers: Arc::new(Semaphore::new(PEER_CONNECTIONS_MAX)),
            clients: Arc::new(Semaphore::new(CLIENT_CONNECTIONS_MAX)),
            names: Arc::new(Shares::new(CLIENT_CONNECTIONS_PER_NAME_MAX)),
            frames: FrameRooms::new(),
        }
    }

    /// Takes connection attempts until the endpoint is closed.
    pub(super) async fn run(self, endpoint: quinn::Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            let under_way = HANDSHAKES_MAX - self.handshakes.available_permits();
            if under_way >= HANDSHAKES_MAX / 4 && incoming.may_retry() {
                // It may retry, so this cannot fail.
                let _ = incoming.retry();
            } else if let Ok(place) = Arc::clone(&self.handshakes).try_acquire_owned() {
                tokio::spawn(self.clone().admit(incoming, place));
            } else {
                self.refusals.record(incoming.remote_address(), "a connection", &"too many handshakes are under way");
                incoming.refuse();
            }
        }
    }

    /// Completes one handshake and hands the connection on, or turns it away.
    async fn admit(self, incoming: Incoming, _place: OwnedSemaphorePermit) {
        let remote = incoming.remote_address();
        let handshake = async { Ok::<_, TransportError>(incoming.accept()?.await?) };
        let late = |_| TransportError::TimedOut { what: "the TLS handshake", limit: HANDSHAKE_TIMEOUT };
        let quic = match timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(late).flatten() {
            Ok(quic) => quic,
            Err(error) => return self.refusals.record(remote, "a connection in its handshake", &error),
        };
        match self.judge(&quic) {
            // An endpoint that is closed accepts nobody: the connection is closed with it.
            Ok(accepted) => drop(self.accepted.send(accepted).await),
            Err((code, reason)) => {
                quic.close(code.var_int(), reason.as_bytes());
                self.refusals.record(remote, "a connection", &reason);
            }
        }
    }

    /// Decides whether a connection may stay.
    fn judge(&self, quic: &quinn::Connection) -> Result<Accepted, (CloseCode, String)> {
        let identity = identity_of(quic).map_err(|error| (CloseCode::Identity, error.to_string()))?;
        let data = quic.handshake_data().and_then(|any| any.downcast::<HandshakeData>().ok());
        let protocol = match data.and_then(|data| data.protocol).as_deref() {
            Some(alpn) if alpn == ALPN_PEER => Protocol::Peer,
            Some(alpn) if alpn == ALPN_CLIENT => Protocol::Client,
            _ => return Err((CloseCode::Protocol, "no known protocol (ALPN) was agreed".to_owned())),
        };
        let places = match (protocol, &identity) {
            (Protocol::Peer, Identity::Client { name, .. }) => {
                let reason = format!("the certificate of client {name} may not be used on the protocol of the nodes");
                return Err((CloseCode::Identity, reason));
            }
            (Protocol::Peer, Identity::Node(_)) => &self.peers,
            (Protocol::Client, _) => &self.clients,
        };
        let place = Arc::clone(places).try_acquire_owned();
        let place = place.map_err(|_| (CloseCode::Overloaded, "too many connections; try again later".to_owned()))?;
        let guest = match protocol {
            Protocol::Peer => {
                quic::grant_peer(quic);
                Guest { place, share: None, room: None }
            }
            Protocol::Client => {
                let share = self.names.of(&identity).try_acquire_owned().map_err(|_| {
                    let reason = format!("{identity} has {CLIENT_CONNECTIONS_PER_NAME_MAX} connections already");
                    (CloseCode::Overloaded, reason)
                })?;
                Guest { place, share: Some(share), room: Some(self.frames.of_connection()) }
            }
        };
        let known = (Arc::clone(&self.refusals), Arc::clone(&self.live));
        let connection = Connection::new(quic.clone(), identity.clone(), protocol, known, Some(guest));
        let connection = connection.map_err(|_| (CloseCode::Revoked, REVOKED.to_owned()))?;
        Ok(Accepted { connection, identity, protocol })
    }
}
