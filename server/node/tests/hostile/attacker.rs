//! A client that keeps to no protocol: bare QUIC streams under a certificate that the node trusts.

use crate::target::{Target, soon};
use jobraft_node::tls::Credentials;
use jobraft_protocol::{
    ALPN_CLIENT, ClientFrame, ClientHello, Error, Request, ServerFrame, ServerHello, StreamOpen, frame, limits,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// How long nothing may move for an attack to be taken as stopped by the node. Longer or shorter, no test fails by it.
const PAUSE: Duration = Duration::from_millis(300);

pub(crate) struct Attacker {
    pub(crate) endpoint: Endpoint,
    to: SocketAddr,
}

impl Attacker {
    /// A client of the name `name`.
    pub(crate) fn new(target: &Target, name: &str) -> Self {
        Self::with(target, &target.credentials(name), ALPN_CLIENT)
    }

    /// Whoever `credentials` are of, on the protocol `alpn`.
    pub(crate) fn with(target: &Target, credentials: &Credentials, alpn: &[u8]) -> Self {
        let tls = QuicClientConfig::try_from(credentials.client_config(alpn).unwrap()).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        let mut transport = TransportConfig::default();
        transport
            .keep_alive_interval(Some(Duration::from_secs(2)))
            // So that only the node's own bounds stop what it writes.
            .stream_receive_window(VarInt::from_u32(1 << 30))
            .receive_window(VarInt::from_u32(1 << 30));
        config.transport_config(Arc::new(transport));
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint.set_default_client_config(config);
        Self { endpoint, to: target.address }
    }

    pub(crate) async fn connect(&self) -> Connection {
        // Turned away while many come at once: it tries again, as an attacker would.
        loop {
            if let Ok(connection) = soon(self.endpoint.connect(self.to, "127.0.0.1").unwrap()).await {
                return connection;
            }
        }
    }

    /// A session on a connection of its own.
    pub(crate) async fn session(&self) -> Session {
        session(&self.connect().await).await
    }
}

/// A session, frame by frame.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

pub(crate) async fn session(connection: &Connection) -> Session {
    let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
    let open = framed(&StreamOpen::Session(ClientHello::new("mallory")));
    soon(send.write_all(&open)).await.unwrap();
    let _: Result<ServerHello, Error> = read(&mut recv).await;
    Session { connection: connection.clone(), send, recv }
}

impl Session {
    pub(crate) async fn send(&mut self, id: u64, request: Request) {
        soon(self.send.write_all(&framed(&ClientFrame { id, request }))).await.unwrap();
    }

    pub(crate) async fn answer(&mut self) -> ServerFrame {
        read(&mut self.recv).await
    }
}

pub(crate) fn framed(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(value, &mut bytes, limits::PEER_FRAME_BYTES_MAX).unwrap();
    bytes
}

pub(crate) async fn read<T: DeserializeOwned>(recv: &mut RecvStream) -> T {
    let mut header = [0; frame::HEADER_BYTES];
    soon(recv.read_exact(&mut header)).await.unwrap();
    let mut body = vec![0; frame::length(header, limits::PEER_FRAME_BYTES_MAX).unwrap()];
    soon(recv.read_exact(&mut body)).await.unwrap();
    frame::decode(&body).unwrap()
}

/// Writes `bytes` in the background, for as long as the node takes any; `taken` counts what it took.
pub(crate) fn pour(mut send: SendStream, bytes: Vec<u8>, taken: &Arc<AtomicUsize>) {
    let taken = Arc::clone(taken);
    tokio::spawn(async move {
        for part in bytes.chunks(64 * 1024) {
            if send.write_all(part).await.is_err() {
                return;
            }
            taken.fetch_add(part.len(), Relaxed);
        }
        // Neither finished nor given up: the node waits for more.
        std::future::pending::<()>().await;
    });
}

/// Waits until the node takes no more.
pub(crate) async fn until_it_stops(taken: &AtomicUsize) {
    let stopped = async {
        let mut before = usize::MAX;
        while before != taken.load(Relaxed) {
            before = taken.load(Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    };
    soon(stopped).await;
}
