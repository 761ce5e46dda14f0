//! Handshakes: each in a task of its own, bounded in number and time, and what does not belong here turned away.

use super::connection::{Guest, leaf_of};
use super::endpoint::{Accepted, Protocol};
use super::frame_room::FrameRooms;
use super::limits::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, PEER_CONNECTIONS_MAX};
use super::live::{Live, REVOKED};
use super::refusals::Refusals;
use super::tokens::{self, Asking, Tokens};
use super::{CloseCode, Connection, TransportError, quic};
use crate::shares::Shares;
use crate::tls::Identity;
use jobraft_protocol::limits::{CLIENT_CONNECTIONS_MAX, CLIENT_CONNECTIONS_PER_NAME_MAX};
use jobraft_protocol::{ALPN_CLIENT, ALPN_PEER, Digest, Error, ErrorCode};
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
    tokens: Arc<Tokens>,
    handshakes: Arc<Semaphore>,
    peers: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    names: Arc<Shares>,
    frames: FrameRooms,
}

impl Acceptor {
    pub(super) fn new(
        accepted: mpsc::Sender<Accepted>,
        refusals: Arc<Refusals>,
        live: Arc<Live>,
        tokens: Arc<Tokens>,
    ) -> Self {
        Self {
            accepted,
            refusals,
            live,
            tokens,
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
    async fn admit(self, incoming: Incoming, place: OwnedSemaphorePermit) {
        let remote = incoming.remote_address();
        let handshake = async { Ok::<_, TransportError>(incoming.accept()?.await?) };
        let late = |_| TransportError::TimedOut { what: "the TLS handshake", limit: HANDSHAKE_TIMEOUT };
        let quic = match timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(late).flatten() {
            Ok(quic) => quic,
            Err(error) => return self.refusals.record(remote, "a connection in its handshake", &error),
        };
        // What follows waits for nobody, or in places of its own.
        drop(place);
        let mut asking = None;
        let mut judged = self.judge(&quic, &mut asking).await;
        if let Some(asking) = asking
            && !asking.answer(judged.as_ref().err().map(|(_, error)| error)).await
            && judged.is_ok()
        {
            judged = Err(refusal(CloseCode::Protocol, "it does not read that it may stay"));
        }
        match judged {
            // An endpoint that is closed accepts nobody: the connection is closed with it.
            Ok(accepted) => drop(self.accepted.send(accepted).await),
            Err((code, error)) => {
                quic.close(code.var_int(), error.message.as_bytes());
                self.refusals.record(remote, "a connection", &error.message);
            }
        }
    }

    /// Decides whether a connection may stay. One that shows a token, or should, waits in `asking` for the answer.
    async fn judge(
        &self,
        quic: &quinn::Connection,
        asking: &mut Option<Asking>,
    ) -> Result<Accepted, (CloseCode, Error)> {
        let data = quic.handshake_data().and_then(|any| any.downcast::<HandshakeData>().ok());
        let protocol = match data.and_then(|data| data.protocol).as_deref() {
            Some(alpn) if alpn == ALPN_PEER => Protocol::Peer,
            Some(alpn) if alpn == ALPN_CLIENT => Protocol::Client,
            _ => return Err(refusal(CloseCode::Protocol, "no known protocol (ALPN) was agreed")),
        };
        let (identity, token) = self.identify(quic, protocol, asking).await?;
        let places = match (protocol, &identity) {
            (Protocol::Peer, Identity::Client { name, .. }) => {
                let reason = format!("the certificate of client {name} may not be used on the protocol of the nodes");
                return Err(refusal(CloseCode::Identity, reason));
            }
            (Protocol::Peer, Identity::Node(_)) => &self.peers,
            (Protocol::Client, _) => &self.clients,
        };
        let place = Arc::clone(places).try_acquire_owned();
        let place = place.map_err(|_| refusal(CloseCode::Overloaded, "too many connections; try again later"))?;
        let guest = match protocol {
            Protocol::Peer => {
                quic::grant_peer(quic);
                Guest { place, share: None, room: None }
            }
            Protocol::Client => {
                let share = self.names.of(identity.sharer()).try_acquire_owned().map_err(|_| {
                    let reason = format!("{identity} has {CLIENT_CONNECTIONS_PER_NAME_MAX} connections already");
                    refusal(CloseCode::Overloaded, reason)
                })?;
                quic::grant_client(quic);
                Guest { place, share: Some(share), room: Some(self.frames.of_connection()) }
            }
        };
        let known = (Arc::clone(&self.refusals), Arc::clone(&self.live));
        let connection = Connection::new(quic.clone(), identity.clone(), protocol, known, Some(guest));
        let connection = connection.map_err(|_| refusal(CloseCode::Revoked, REVOKED))?;
        Ok(Accepted { connection, identity, protocol, token })
    }

    /// Who it is: by its certificate, or, if it shows none and is not a node's, by its token.
    async fn identify(
        &self,
        quic: &quinn::Connection,
        protocol: Protocol,
        asking: &mut Option<Asking>,
    ) -> Result<(Identity, Option<Digest>), (CloseCode, Error)> {
        if let Some(leaf) = leaf_of(quic) {
            let identity = Identity::of_certificate(&leaf);
            return Ok((identity.map_err(|error| refusal(CloseCode::Identity, error.to_string()))?, None));
        }
        if protocol == Protocol::Peer {
            return Err(refusal(CloseCode::Identity, "the protocol of the nodes needs the certificate of one"));
        }
        let (identity, hash) =
            self.tokens.identify(quic, asking).await.map_err(|error| (tokens::close_code(&error), error))?;
        Ok((identity, Some(hash)))
    }
}

fn refusal(code: CloseCode, reason: impl Into<String>) -> (CloseCode, Error) {
    let error = match code {
        CloseCode::Overloaded => ErrorCode::Overloaded,
        CloseCode::Protocol => ErrorCode::Protocol,
        _ => ErrorCode::Forbidden,
    };
    (code, Error::new(error, reason))
}
