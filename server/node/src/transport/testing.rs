//! What the transport's tests share: an authority in a temporary directory, and endpoints with its certificates.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::live::Live;
use super::{Connection, Endpoint, PeerGate, PeerHello, PeerWelcome, Protocol, TransportError};
use crate::tls::{CertificateAuthority, Credentials, Identity, LEAF_VALIDITY_DAYS_DEFAULT, Overwrite, TlsFiles};
use jobraft_protocol::{ALPN_CLIENT, Error, ErrorCode, Grant, NodeAddress, NodeId, StreamOpen};
use quinn::TransportConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use time::OffsetDateTime;
use uuid::Uuid;

/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}

pub(super) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// An authority and the certificates it issued.
pub(super) struct Authority {
    directory: TempDir,
    ca: CertificateAuthority,
}

impl Authority {
    pub(super) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let ca = CertificateAuthority::create(directory.path(), 3_650).unwrap();
        Self { directory, ca }
    }

    pub(super) fn files(&self, identity: &Identity, issued_at: OffsetDateTime, days: u32) -> TlsFiles {
        let stem = identity.to_string().replace(' ', "-");
        let pair = self.ca.issue_at(identity, &["127.0.0.1".into(), "localhost".into()], days, issued_at).unwrap();
        pair.write(self.directory.path(), &stem, Overwrite::Replace).unwrap();
        TlsFiles::in_directory(self.directory.path(), &stem)
    }

    pub(super) fn credentials(&self, identity: &Identity) -> Credentials {
        let files = self.files(identity, OffsetDateTime::now_utc(), LEAF_VALIDITY_DAYS_DEFAULT);
        Credentials::load(&files).unwrap()
    }

    /// What was issued to `identity` before, loaded again.
    pub(super) fn load(&self, identity: &Identity) -> Credentials {
        let stem = identity.to_string().replace(' ', "-");
        Credentials::load(&TlsFiles::in_directory(self.directory.path(), &stem)).unwrap()
    }

    /// Puts what was issued to `identity` last on the authority's list.
    pub(super) fn revoke(&self, identity: &Identity) {
        let stem = identity.to_string().replace(' ', "-");
        let directory = self.directory.path();
        self.ca.revoke(directory, &[directory.join(format!("{stem}.crt"))]).unwrap();
    }

    /// The authority's own certificate, in PEM form.
    pub(super) fn certificate(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("ca.crt")).unwrap()
    }

    /// Has whoever loads credentials from here on trust `authorities`, by their certificates.
    pub(super) fn trust(&self, authorities: &[&str]) {
        std::fs::write(self.directory.path().join("ca.crt"), authorities.concat()).unwrap();
    }

    pub(super) fn node(&self, id: u64) -> Endpoint {
        Endpoint::bind(loopback(), &self.credentials(&Identity::Node(NodeId(id)))).unwrap()
    }

    pub(super) fn client(&self, name: &str) -> Endpoint {
        Endpoint::bind(loopback(), &self.credentials(&Identity::admin(name))).unwrap()
    }
}

pub(super) fn address(endpoint: &Endpoint) -> NodeAddress {
    endpoint.local_addr().into()
}

/// Connects with settings that no honest program would choose: the certificate in `pair` if any, trusting `trusted`,
/// offering `alpns`. Returns why the server ended it.
pub(super) async fn intrude(
    server: &Endpoint,
    trusted: &TlsFiles,
    pair: Option<&TlsFiles>,
    alpns: &[&[u8]],
) -> TransportError {
    match dial(server.local_addr(), &trusted.ca, pair, alpns, TransportConfig::default()).await {
        Ok((connection, _endpoint)) => soon(connection.closed()).await.into(),
        Err(error) => error.into(),
    }
}

async fn dial(
    server: SocketAddr,
    ca: &Path,
    pair: Option<&TlsFiles>,
    alpns: &[&[u8]],
    transport: TransportConfig,
) -> Result<(quinn::Connection, quinn::Endpoint), quinn::ConnectionError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut tls = match pair {
        Some(files) => {
            let chain = CertificateDer::pem_file_iter(&files.cert).unwrap().map(Result::unwrap).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&files.key).unwrap()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = quinn::Endpoint::client(loopback()).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    let connecting = endpoint.connect_with(config, server, "127.0.0.1").unwrap();
    Ok((soon(connecting).await?, endpoint))
}

/// A connection to the node at `server` without a certificate, and what the node says to `opening` on its first stream; it goes
/// on for as long as the endpoint is kept.
pub(crate) async fn connect_unproved(
    server: SocketAddr,
    ca: &Path,
    opening: &StreamOpen,
) -> Result<(Connection, quinn::Endpoint), Error> {
    let (quic, endpoint) = dial(server, ca, None, &[ALPN_CLIENT], TransportConfig::default()).await.unwrap();
    let known = (Arc::default(), Arc::new(Live::new(Arc::default())));
    let nobody = Identity::Client { name: String::new(), grant: Grant::new([]), namespace: Default::default() };
    let connection = Connection::new(quic, nobody, Protocol::Client, known, None).unwrap();
    let (mut sender, mut receiver) = connection.open().await.unwrap();
    sender.send(opening).await.unwrap();
    soon(receiver.recv::<Result<(), Error>>()).await.unwrap().expect("an answer")?;
    Ok((connection, endpoint))
}

/// A connection to the node at `server` without a certificate that opens its first stream so, or not at all, and takes no byte
/// of any answer.
pub(crate) async fn dial_deaf(
    server: SocketAddr,
    ca: &Path,
    opening: Option<&StreamOpen>,
) -> (quinn::Connection, quinn::Endpoint) {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(0_u32.into()).keep_alive_interval(Some(Duration::from_millis(500)));
    let (quic, endpoint) = dial(server, ca, None, &[ALPN_CLIENT], transport).await.unwrap();
    if let Some(opening) = opening {
        let mut bytes = Vec::new();
        jobraft_protocol::frame::encode(opening, &mut bytes, usize::MAX).unwrap();
        let (mut send, _receive) = quic.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        send.finish().unwrap();
    }
    (quic, endpoint)
}

/// Admits whoever names the right cluster.
pub(super) struct Gate {
    pub(super) node: NodeId,
    pub(super) instance: Uuid,
}

pub(super) const CLUSTER: &str = "test";

impl PeerGate for Gate {
    fn admit(&self, hello: &PeerHello, _: NodeId) -> Result<PeerWelcome, Error> {
        if hello.cluster == CLUSTER {
            Ok(PeerWelcome { node: self.node, instance: self.instance })
        } else {
            Err(Error::new(ErrorCode::Membership, format!("this is cluster {CLUSTER}, not {}", hello.cluster)))
        }
    }
}
