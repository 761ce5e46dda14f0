//! From an address to a session: resolve, connect, check who answers, exchange hellos.
//!
//! A node is believed to be one only if its certificate chains to the cluster's CA, is made out for the host that was
//! asked for, and names in its SAN URI the node that the hello names. Nothing is sent before the first two are checked.

use crate::clock::ClockAnchor;
use crate::error::ConnectFailure;
use crate::frames::{FrameReader, ReadError, encode};
use crate::session::{Opened, Session, Subscribers};
use crate::tls::{self, Proof};
use jobraft_protocol::limits::DATAGRAM_BYTES_MAX;
use jobraft_protocol::{ClientHello, Error, NodeAddress, NodeId, ServerHello, StreamOpen, TokenSecret};
use quinn::{ConnectionError, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long one address may take to become a session.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection on which nothing comes for so long is lost; nodes that die without a word are noticed so.
const IDLE_TIMEOUT_MS: u32 = 4_000;
/// How often an idle connection shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// What is the same for every address of one search.
#[derive(Clone)]
pub(crate) struct Dialer {
    config: quinn::ClientConfig,
    token: Option<TokenSecret>,
    hello: ClientHello,
    subscribers: Arc<Subscribers>,
    io: Handle,
}

impl Dialer {
    pub(crate) fn new(
        Proof { tls, token }: Proof,
        hello: ClientHello,
        subscribers: Arc<Subscribers>,
        io: Handle,
    ) -> Result<Self, ConnectFailure> {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)
            .map_err(|error| ConnectFailure::Tls(error.to_string()))?;
        let mut transport = TransportConfig::default();
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(DATAGRAM_BYTES_MAX);
        transport
            .mtu_discovery_config(Some(discovery))
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
            .keep_alive_interval(Some(KEEP_ALIVE))
            // A node opens no streams towards a client.
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0));
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        Ok(Self { config, token, hello, subscribers, io })
    }

    /// A session with the node at `address`.
    pub(crate) async fn dial(&self, address: &NodeAddress) -> Result<Arc<Session>, ConnectFailure> {
        let mut resolved: Vec<SocketAddr> = tokio::net::lookup_host(address.as_str())
            .await
            .map_err(|error| ConnectFailure::Resolve(error.to_string()))?
            .collect();
        // IPv4 first: a name such as `localhost` has both, and a port that nobody listens on is silent.
        resolved.sort_by_key(SocketAddr::is_ipv6);
        resolved.dedup();
        let share = DIAL_TIMEOUT / u32::try_from(resolved.len().max(1)).unwrap_or(u32::MAX);
        let mut failure = ConnectFailure::Resolve("it has no address".to_owned());
        for target in resolved {
            match tokio::time::timeout(share, self.open(address, target)).await {
                Ok(Ok(opened)) => return Ok(Session::start(opened, Arc::clone(&self.subscribers), &self.io)),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = ConnectFailure::NoAnswer,
            }
        }
        Err(failure)
    }

    async fn open(&self, address: &NodeAddress, target: SocketAddr) -> Result<Opened, ConnectFailure> {
        let (endpoint, connecting) = self.start(address, target)?;
        let connection = connecting.await.map_err(|error| explain(&error))?;
        let certified = certified_node(&connection).ok_or_else(|| {
            ConnectFailure::NodeCertificate("it has no SAN URI jobraft://node/ID, so it is not a node's".to_owned())
        })?;
        if let Some(token) = &self.token {
            authenticate(&connection, token).await?;
        }
        let open = StreamOpen::Session(self.hello.clone());
        let open = encode(&open).map_err(|error| ConnectFailure::Closed(error.to_string()))?;
        let (mut send, receive) = connection.open_bi().await.map_err(|error| explain(&error))?;
        let mut receive = FrameReader::new(receive);
        let sent = Instant::now();
        // A failed write is explained by what can still be read: a refusal, or why the connection ended.
        let _ = send.write_all(&open).await;
        let hello: Result<ServerHello, Error> = receive.next().await.map_err(|error| explain_read(&error))?;
        let hello = hello.map_err(ConnectFailure::Refused)?;
        if hello.node != certified {
            let text = format!("it is made out for node {certified}, but node {} answers", hello.node);
            return Err(ConnectFailure::NodeCertificate(text));
        }
        let clock = ClockAnchor::new(sent, Instant::now(), hello.time);
        Ok(Opened { address: address.clone(), hello, clock, endpoint, connection, send, receive })
    }

    /// A socket for each connection: a network that changed leaves no trace in the next one.
    fn start(
        &self,
        address: &NodeAddress,
        target: SocketAddr,
    ) -> Result<(quinn::Endpoint, quinn::Connecting), ConnectFailure> {
        let local: SocketAddr =
            if target.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        // Everything that quinn spawns goes to the client's own thread.
        let _io = self.io.enter();
        let mut config = EndpointConfig::default();
        config.max_udp_payload_size(DATAGRAM_BYTES_MAX).map_err(|error| ConnectFailure::Socket(error.to_string()))?;
        let endpoint = UdpSocket::bind(local)
            .and_then(|socket| quinn::Endpoint::new(config, None, socket, Arc::new(TokioRuntime)))
            .map_err(|error| ConnectFailure::Socket(error.to_string()))?;
        let connecting = endpoint
            .connect_with(self.config.clone(), target, address.host())
            .map_err(|error| ConnectFailure::Socket(error.to_string()))?;
        Ok((endpoint, connecting))
    }
}

/// Shows a token to a node that has proved to be one.
async fn authenticate(connection: &quinn::Connection, token: &TokenSecret) -> Result<(), ConnectFailure> {
    let open = encode(&StreamOpen::Authenticate(token.clone()));
    let open = open.map_err(|error| ConnectFailure::Closed(error.to_string()))?;
    let (mut send, receive) = connection.open_bi().await.map_err(|error| explain(&error))?;
    // As below.
    let _ = send.write_all(&open).await;
    let answer: Result<(), Error> = FrameReader::new(receive).next().await.map_err(|error| explain_read(&error))?;
    answer.map_err(ConnectFailure::Refused)
}

fn certified_node(connection: &quinn::Connection) -> Option<NodeId> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    tls::node_of(chain.first()?)
}

fn explain_read(error: &ReadError) -> ConnectFailure {
    match error {
        ReadError::Stream(quinn::ReadError::ConnectionLost(error)) => explain(error),
        ReadError::Frame(error) => ConnectFailure::NotJobraft(error.to_string()),
        other => ConnectFailure::Closed(other.to_string()),
    }
}

/// TLS alerts travel as 0x100 and the alert's number (RFC 9001, section 4.8).
fn alert(code: quinn::TransportErrorCode) -> Option<u64> {
    let code = u64::from(code);
    (0x100..0x200).contains(&code).then(|| code - 0x100)
}

const NO_APPLICATION_PROTOCOL: u64 = 120;

fn explain(error: &ConnectionError) -> ConnectFailure {
    match error {
        ConnectionError::TimedOut => ConnectFailure::NoAnswer,
        ConnectionError::VersionMismatch => ConnectFailure::NotJobraft("it speaks another version of QUIC".to_owned()),
        // Found on this side.
        ConnectionError::TransportError(error) => match alert(error.code) {
            Some(NO_APPLICATION_PROTOCOL) => ConnectFailure::NotJobraft(error.reason.clone()),
            Some(_) => ConnectFailure::NodeCertificate(error.reason.clone()),
            None => ConnectFailure::Closed(error.to_string()),
        },
        // Found on the other side.
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code) {
            Some(NO_APPLICATION_PROTOCOL) => ConnectFailure::NotJobraft("it does not speak jobraft/1".to_owned()),
            Some(_) => ConnectFailure::ClientCertificate(close.to_string()),
            None => ConnectFailure::Closed(close.to_string()),
        },
        other => ConnectFailure::Closed(other.to_string()),
    }
}
