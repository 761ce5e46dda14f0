//! A node's place on the network: one UDP port, both protocols, both directions.

use super::accept::Acceptor;
use super::connection::leaf_of;
use super::limits::{ACCEPTED_WAITING_MAX, ADDRESSES_MAX, CLOSE_TIMEOUT, CONNECT_TIMEOUT};
use super::live::Live;
use super::refusals::Refusals;
use super::tokens::{TokenDirectory, Tokens};
use super::{CloseCode, Connection, TransportError, quic};
use crate::audit::Audit;
use crate::machine;
use crate::tls::{Credentials, Identity, IdentityError};
use jobraft_protocol::{Digest, NodeAddress};
use quinn::{ClientConfig, ServerConfig, TokioRuntime};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use time::OffsetDateTime;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

/// A UDP port that is bound.
pub type UdpPort = Arc<dyn quinn::AsyncUdpSocket>;

/// What is spoken on a connection, agreed by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `jobraft-peer/1`: nodes among themselves.
    Peer,
    /// `jobraft/1`: everybody else.
    Client,
}

/// A connection that came in, its other side proved.
pub struct Accepted {
    /// The connection.
    pub connection: Connection,
    /// Who is on the other side; a node, if the protocol is [`Protocol::Peer`].
    pub identity: Identity,
    /// What it speaks.
    pub protocol: Protocol,
    /// By the hash of which token it was let in, if by one.
    pub token: Option<Digest>,
}

/// A bound UDP port; cheap to clone. It closes with [`Endpoint::close`] or when the last clone is dropped.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    quic: quinn::Endpoint,
    local: SocketAddr,
    identity: Identity,
    /// For handshakes that begin; connections keep what they began with.
    configs: RwLock<Configs>,
    accepted: Mutex<mpsc::Receiver<Accepted>>,
    refusals: Arc<Refusals>,
    live: Arc<Live>,
    tokens: Arc<Tokens>,
}

/// What handshakes are made with.
struct Configs {
    server: ServerConfig,
    peer: ClientConfig,
    client: ClientConfig,
    /// When the own certificate ends, in milliseconds since the Unix epoch.
    ends_at_ms: u64,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.quic.close(CloseCode::Shutdown.var_int(), b"the node is stopping");
    }
}

impl Endpoint {
    /// Binds `listen` and begins to answer handshakes. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`TransportError::AddressInUse`], [`TransportError::Bind`], or [`TransportError::Tls`] for a defect.
    pub fn bind(listen: SocketAddr, credentials: &Credentials) -> Result<Self, TransportError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => TransportError::AddressInUse { address: listen },
            _ => TransportError::Bind { address: listen, source },
        };
        let configs = Configs::new(quic::server_config(credentials)?, credentials)?;
        let server = configs.server.clone();
        let config = quic::endpoint_config(credentials);
        let quic = match machine::simulated() {
            None => UdpSocket::bind(listen)
                .and_then(|socket| quinn::Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime))),
            Some(machine) => machine.bind(listen).and_then(|port| {
                quinn::Endpoint::new_with_abstract_socket(config, Some(server), port, Arc::new(TokioRuntime))
            }),
        };
        let quic = quic.map_err(failed)?;
        let local = quic.local_addr().map_err(failed)?;

        let refusals = Arc::new(Refusals::default());
        let live = Arc::new(Live::new(Arc::clone(credentials.revocations())));
        let (sender, accepted) = mpsc::channel(ACCEPTED_WAITING_MAX);
        let tokens = Arc::new(Tokens::default());
        let acceptor = Acceptor::new(sender, Arc::clone(&refusals), Arc::clone(&live), Arc::clone(&tokens));
        tokio::spawn(acceptor.run(quic.clone()));
        let identity = credentials.identity().clone();
        let (configs, accepted) = (RwLock::new(configs), Mutex::new(accepted));
        Ok(Self(Arc::new(Inner { quic, local, identity, configs, accepted, refusals, live, tokens })))
    }

    /// From now on, handshakes in both directions are made with `credentials`, which must be of the same identity.
    /// Connections that are open, or are being opened, stay as they are, but for those whose certificate is revoked now: they
    /// are closed, and this says how many.
    ///
    /// # Errors
    /// [`TransportError::Tls`] for a defect; nothing has changed then.
    pub fn renew(&self, credentials: &Credentials) -> Result<usize, TransportError> {
        assert_eq!(credentials.identity(), &self.0.identity, "an endpoint does not become another's");
        let mut configs = self.0.configs.write().unwrap_or_else(PoisonError::into_inner);
        *configs = Configs::new(quic::renewed(&configs.server, credentials)?, credentials)?;
        self.0.quic.set_server_config(Some(configs.server.clone()));
        drop(configs);
        Ok(self.0.live.revoke(credentials.revocations()))
    }

    /// Closes the connections of clients whose certificates have ended by `now`, and says how many there were.
    pub fn close_ended(&self, now: OffsetDateTime) -> usize {
        self.0.live.end(now)
    }

    /// When the certificate that is shown to others ends, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn certificate_ends_at_ms(&self) -> u64 {
        self.0.configs.read().unwrap_or_else(PoisonError::into_inner).ends_at_ms
    }

    /// The next connection that came in and proved its role; `None` once the endpoint is closed. Handshakes go on
    /// meanwhile, so that a slow one holds up nobody. Cancel-safe.
    pub async fn accept(&self) -> Option<Accepted> {
        self.0.accepted.lock().await.recv().await
    }

    /// Connects to a node. The certificate at `address` must be valid for its host and be a node's; which node's is
    /// for the caller to check.
    ///
    /// # Errors
    /// When the name cannot be resolved, nobody answers in time, or either side refuses the other. A server may refuse
    /// after this has returned: then the first use of the connection fails with the reason.
    pub async fn connect(&self, address: &NodeAddress, protocol: Protocol) -> Result<Connection, TransportError> {
        let late = |_| TransportError::TimedOut { what: "connecting", limit: CONNECT_TIMEOUT };
        timeout(CONNECT_TIMEOUT, self.connect_to_any(address, protocol)).await.map_err(late)?
    }

    /// The address that is bound, with the port that was chosen if none was given.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    /// Whose endpoint it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Has the audit log told of what is refused from now on.
    pub(crate) fn audit_to(&self, audit: Audit) {
        self.0.refusals.audit_to(audit);
    }

    /// Lets in clients without a certificate that show a token which `directory` knows, as long as there is that; before, nobody.
    pub(crate) fn know_tokens(&self, directory: Weak<dyn TokenDirectory>) {
        self.0.tokens.know(directory);
    }

    /// How many connections and streams were refused since the start.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.0.refusals.total()
    }

    /// Closes all connections, tells the other sides, and waits until they know, at most [`CLOSE_TIMEOUT`].
    pub async fn close(&self) {
        self.0.quic.close(CloseCode::Shutdown.var_int(), b"the node is stopping");
        // Who has not heard by then will find out by the idle timeout.
        let _ = timeout(CLOSE_TIMEOUT, self.0.quic.wait_idle()).await;
    }

    async fn connect_to_any(&self, address: &NodeAddress, protocol: Protocol) -> Result<Connection, TransportError> {
        let unresolved = |reason: String| TransportError::Resolve { address: address.clone(), reason };
        let found = tokio::net::lookup_host(address.as_str()).await.map_err(|error| unresolved(error.to_string()))?;
        // A socket of one family cannot reach the other; one bound to IPv6 may reach both.
        let reachable = found.filter(|found| found.is_ipv4() || self.0.local.is_ipv6());
        let reachable: Vec<SocketAddr> = reachable.take(ADDRESSES_MAX).collect();
        let share = CONNECT_TIMEOUT / u32::try_from(reachable.len().max(1)).unwrap_or(1);
        let mut last = unresolved("no address of this socket's family".to_owned());
        for remote in reachable {
            match timeout(share, self.connect_to(remote, address.host(), protocol)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(_) => last = TransportError::TimedOut { what: "connecting", limit: share },
            }
        }
        Err(last)
    }

    async fn connect_to(
        &self,
        remote: SocketAddr,
        host: &str,
        protocol: Protocol,
    ) -> Result<Connection, TransportError> {
        let config = {
            let configs = self.0.configs.read().unwrap_or_else(PoisonError::into_inner);
            match protocol {
                Protocol::Peer => configs.peer.clone(),
                Protocol::Client => configs.client.clone(),
            }
        };
        let connecting = self.0.quic.connect_with(config, remote, host);
        let quic = connecting.map_err(|error| TransportError::Handshake(error.to_string()))?.await?;
        let leaf = leaf_of(&quic).ok_or(IdentityError::NotCertificate);
        let refusal = match leaf.and_then(|leaf| Identity::of_certificate(&leaf)) {
            Ok(identity @ Identity::Node(_)) => {
                let known = (Arc::clone(&self.0.refusals), Arc::clone(&self.0.live));
                match Connection::new(quic.clone(), identity, protocol, known, None) {
                    Ok(connection) => return Ok(connection),
                    Err(refusal) => refusal,
                }
            }
            Ok(Identity::Client { name, .. }) => {
                TransportError::WrongRole(format!("client {name} answers at {remote}, not a node"))
            }
            Err(error) => error.into(),
        };
        quic.close(refusal.close_code().var_int(), refusal.to_string().as_bytes());
        Err(refusal)
    }
}

impl Configs {
    fn new(server: ServerConfig, credentials: &Credentials) -> Result<Self, TransportError> {
        let peer = quic::client_config(credentials, Protocol::Peer)?;
        let client = quic::client_config(credentials, Protocol::Client)?;
        let ends_at = credentials.not_after().unix_timestamp();
        let ends_at_ms = u64::try_from(ends_at).unwrap_or(0).saturating_mul(1_000);
        Ok(Self { server, peer, client, ends_at_ms })
    }
}
