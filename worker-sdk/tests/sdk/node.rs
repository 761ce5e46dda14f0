//! A node that does what the test says: it speaks the protocol, and hands every request to the test to answer.

use jobraft_protocol::frame;
use jobraft_protocol::limits::{CLIENT_FRAME_BYTES_MAX, WORKER_SEEN_MS};
use jobraft_protocol::{
    ALPN_CLIENT, ClientFrame, Digest, Error, ErrorCode, Extended, FencingToken, JobId, JobState, JobView, LeaderHint,
    LeasedJob, LogTime, ModuleManifest, ModuleName, ModuleRef, NodeAddress, NodeId, OnFailure, Push, QueueName,
    Request, Response, ServerFrame, ServerHello, StreamOpen, Task, TaskName, TokenSecret, WorkerId, WorkerOrder,
};
use jobraft_sdk::{Client, ClientConfig, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longer than any pause of a worker, and long enough for a busy machine; a test that gets there has failed.
pub(crate) const PATIENCE: Duration = Duration::from_millis(2 * WORKER_SEEN_MS);

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// Certificate and key, as PEM, for 127.0.0.1 and `uri`.
    pub(crate) fn issue(&self, uri: &str, change: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }

    /// A list, as PEM, of one revoked certificate.
    pub(crate) fn revoke(&self, certificate: &[u8]) -> Vec<u8> {
        let der = CertificateDer::from_pem_slice(certificate).unwrap();
        let serial = X509Certificate::from_der(&der).unwrap().1.serial.to_bytes_be();
        let (this_update, next_update) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2100, 1, 1));
        let list = CertificateRevocationListParams {
            this_update,
            next_update,
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: this_update,
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap().into_bytes()
    }

    /// A client's configuration with short patience.
    pub(crate) fn config(&self, nodes: &[&Node]) -> ClientConfig {
        let (cert, key) = self.issue("jobraft://client/test", |_| {});
        let endpoints = nodes.iter().map(|node| node.address.clone());
        ClientConfig::new(endpoints, Pem::Bytes(self.pem()), Pem::Bytes(cert), Pem::Bytes(key))
    }

    pub(crate) async fn client(&self, nodes: &[&Node]) -> Client {
        Client::connect(self.config(nodes)).await.unwrap()
    }
}

/// One request, and where its answer goes.
pub(crate) struct Asked {
    pub(crate) session: Session,
    pub(crate) id: u64,
    pub(crate) request: Request,
}

impl Asked {
    /// Takes a report.
    pub(crate) fn take(&self) {
        self.answer(Ok(match &self.request {
            Request::Complete { completions } => Response::Acted(vec![Ok(()); completions.len()]),
            _ => Response::Done,
        }));
    }

    /// Refuses all that a report says.
    pub(crate) fn refuse(&self, error: Error) {
        self.answer(match &self.request {
            Request::Complete { completions } => Ok(Response::Acted(vec![Err(error); completions.len()])),
            _ => Err(error),
        });
    }

    pub(crate) fn answer(&self, result: Result<Response, Error>) {
        self.session.send(&ServerFrame::Reply { id: self.id, result });
    }
}

type Modules = Arc<Mutex<BTreeMap<Digest, Vec<u8>>>>;

/// The node's end of a session.
#[derive(Clone)]
pub(crate) struct Session {
    connection: quinn::Connection,
    frames: mpsc::UnboundedSender<Vec<u8>>,
}

impl Session {
    pub(crate) fn send(&self, value: &impl Serialize) {
        self.send_raw(framed(value));
    }

    pub(crate) fn send_raw(&self, bytes: Vec<u8>) {
        let _ = self.frames.send(bytes);
    }

    pub(crate) fn push(&self, jobs: Vec<LeasedJob>) {
        self.send(&ServerFrame::Push(Push::Leased { worker: WORKER, jobs }));
    }

    /// How the connection ended.
    pub(crate) async fn ended(&self) -> quinn::ConnectionError {
        self.connection.closed().await
    }

    /// The client's certificate.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
        chain[0].clone()
    }

    /// Cuts the connection.
    pub(crate) fn cut(&self) {
        self.connection.close(0u8.into(), b"cut");
    }
}

/// The tokens that a node was shown, and the hash of the good one.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) good: Option<Digest>,
    pub(crate) shown: Vec<TokenSecret>,
}

pub(crate) type Tokens = Arc<Mutex<Shown>>;

pub(crate) const WORKER: WorkerId = WorkerId(7);

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) address: NodeAddress,
    pub(crate) requests: mpsc::UnboundedReceiver<Asked>,
    /// Whom the hello names as the leader.
    pub(crate) leader: Arc<Mutex<Option<LeaderHint>>>,
    /// The modules it holds, under the digests that it claims for them.
    pub(crate) modules: Modules,
    pub(crate) tokens: Tokens,
    accepting: tokio::task::AbortHandle,
}

impl Node {
    /// A node that says it leads.
    pub(crate) fn start(authority: &Authority, id: u64) -> Self {
        Self::with_certificate(authority, id, authority.issue(&format!("jobraft://node/{id}"), |_| {}), ALPN_CLIENT)
    }

    pub(crate) fn with_certificate(
        authority: &Authority,
        id: u64,
        (cert, key): (Vec<u8>, Vec<u8>),
        alpn: &[u8],
    ) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&authority.pem()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(&cert).unwrap()],
                PrivateKeyDer::from_pem_slice(&key).unwrap(),
            )
            .unwrap();
        tls.alpn_protocols = vec![alpn.to_vec()];
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = quinn::Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = NodeAddress::from(endpoint.local_addr().unwrap());
        let id = NodeId(id);
        let leader = Arc::new(Mutex::new(Some(LeaderHint { node: id, address: address.clone() })));
        let (asked, requests) = mpsc::unbounded_channel();
        let modules = Modules::default();
        let tokens = Tokens::default();
        let (hint, held, known) = (Arc::clone(&leader), Arc::clone(&modules), Arc::clone(&tokens));
        let accepting = tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let (asked, leader) = (asked.clone(), Arc::clone(&hint));
                let (held, known) = (Arc::clone(&held), Arc::clone(&known));
                tokio::spawn(async move {
                    // A client that is refused, or goes away, is no failure of the node.
                    let Ok(connection) = incoming.await else { return };
                    while let Ok((send, receive)) = connection.accept_bi().await {
                        tokio::spawn(stream(
                            connection.clone(),
                            send,
                            receive,
                            id,
                            Arc::clone(&leader),
                            asked.clone(),
                            (Arc::clone(&held), Arc::clone(&known)),
                        ));
                    }
                });
            }
        });
        Self { id, address, requests, leader, modules, tokens, accepting: accepting.abort_handle() }
    }

    /// Whoever comes from here on gets no answer.
    pub(crate) fn fall_silent(&self) {
        self.accepting.abort();
    }

    pub(crate) fn follows(&self, other: &Self) {
        *self.leader.lock().unwrap() = Some(other.hint());
    }

    pub(crate) fn hint(&self) -> LeaderHint {
        LeaderHint { node: self.id, address: self.address.clone() }
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::time::timeout(PATIENCE, self.requests.recv()).await.expect("no request came").unwrap()
    }

    /// The next request that `wanted` says yes to; leases are extended and credits taken meanwhile.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Request) -> bool) -> Asked {
        loop {
            let asked = self.next().await;
            if wanted(&asked.request) {
                return asked;
            }
            match &asked.request {
                Request::Extend { leases, lease_ms, .. } => asked.answer(Ok(extended(leases.len(), *lease_ms))),
                Request::Heartbeat { .. } => asked.answer(Ok(Response::Order(WorkerOrder::Run))),
                Request::AddCredits { .. } | Request::Unsubscribe { .. } => asked.answer(Ok(Response::Done)),
                other => panic!("unexpected request {other:?}"),
            }
        }
    }

    /// Registers a worker and takes its subscription; returns the session and the credits.
    pub(crate) async fn subscribed(&mut self) -> (Session, u32) {
        self.until(|request| matches!(request, Request::RegisterWorker { .. }))
            .await
            .answer(Ok(Response::Registered(WORKER)));
        let asked = self.until(|request| matches!(request, Request::Subscribe { .. })).await;
        asked.answer(Ok(Response::Done));
        let Request::Subscribe { credits, .. } = asked.request else { unreachable!() };
        (asked.session, credits)
    }
}

async fn stream(
    connection: quinn::Connection,
    mut send: quinn::SendStream,
    mut receive: quinn::RecvStream,
    node: NodeId,
    leader: Arc<Mutex<Option<LeaderHint>>>,
    asked: mpsc::UnboundedSender<Asked>,
    (modules, tokens): (Modules, Tokens),
) -> Option<()> {
    match read(&mut receive).await? {
        StreamOpen::Session(_) => {}
        StreamOpen::Authenticate(secret) => {
            let is_good = tokens.lock().unwrap().good == Some(secret.hash());
            tokens.lock().unwrap().shown.push(secret);
            let bad = || Error::new(ErrorCode::Unauthenticated, "not one of ours");
            let answer = if is_good { Ok(()) } else { Err(bad()) };
            send.write_all(&framed(&answer)).await.unwrap();
            return send.finish().ok();
        }
        StreamOpen::Upload { digest, size, name, .. } => {
            let bytes = receive.read_to_end(usize::try_from(size).unwrap()).await.unwrap();
            assert_eq!(bytes.len() as u64, size);
            modules.lock().unwrap().insert(digest, bytes);
            let answer: Result<_, Error> = Ok(manifest(digest, size, name));
            send.write_all(&framed(&answer)).await.unwrap();
            return send.finish().ok();
        }
        StreamOpen::Download { module: wanted, .. } => {
            let ModuleRef::Digest(digest) = wanted else { panic!("by digest only") };
            let bytes = modules.lock().unwrap().get(&digest).unwrap().clone();
            let answer: Result<_, Error> = Ok(manifest(digest, bytes.len() as u64, None));
            send.write_all(&[framed(&answer), bytes].concat()).await.unwrap();
            return send.finish().ok();
        }
    }
    let leader = leader.lock().unwrap().clone();
    let (cluster, agent, namespace) = ("test".into(), "test/1".into(), Default::default());
    let hello = ServerHello { cluster, node, time: now(), leader, agent, namespace };
    let (frames, mut to_send) = mpsc::unbounded_channel::<Vec<u8>>();
    let session = Session { connection, frames };
    session.send(&Ok::<_, Error>(hello));
    tokio::spawn(async move {
        while let Some(bytes) = to_send.recv().await {
            let _ = send.write_all(&bytes).await;
        }
    });
    while let Some(ClientFrame { id, request }) = read(&mut receive).await {
        let _ = asked.send(Asked { session: session.clone(), id, request });
    }
    Some(())
}

fn manifest(digest: Digest, size: u64, name: Option<ModuleName>) -> ModuleManifest {
    let (names, imports, signatures) = (name.into_iter().collect(), Vec::new(), Vec::new());
    ModuleManifest { digest, size, names, imports, owner: "test".into(), signatures }
}

fn framed(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(value, &mut bytes, CLIENT_FRAME_BYTES_MAX).unwrap();
    bytes
}

async fn read<T: serde::de::DeserializeOwned>(receive: &mut quinn::RecvStream) -> Option<T> {
    let mut header = [0; frame::HEADER_BYTES];
    receive.read_exact(&mut header).await.ok()?;
    let mut body = vec![0; frame::length(header, CLIENT_FRAME_BYTES_MAX).unwrap()];
    receive.read_exact(&mut body).await.ok()?;
    Some(frame::decode(&body).unwrap())
}

pub(crate) fn now() -> LogTime {
    LogTime::from_ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap())
}

/// The answer to an extend of so many leases.
pub(crate) fn extended(leases: usize, lease_ms: u64) -> Response {
    let extended = Extended { expires_at: now().plus_ms(lease_ms), cancel: None };
    Response::Extended(vec![Ok(extended); leases])
}

/// A job of task `task`, leased under `token` for `lease_ms`.
pub(crate) fn leased(task: &str, token: u64, lease_ms: u64, payload: &str) -> LeasedJob {
    let (id, queue) = (JobId::new(now(), rand::random()), QueueName::new("q").unwrap());
    LeasedJob {
        token: FencingToken(token),
        expires_at: now().plus_ms(lease_ms),
        ..LeasedJob::new(id, queue, Task::Handler(TaskName::new(task).unwrap()), payload.to_owned())
    }
}

/// A job in `state` whose result is `result`.
pub(crate) fn view(id: JobId, state: JobState, result: &str) -> JobView {
    JobView {
        id,
        queue: QueueName::new("q").unwrap(),
        task: Task::Handler(TaskName::new("t").unwrap()),
        payload: bytes::Bytes::new(),
        state,
        priority: 5,
        attempt: 1,
        max_attempts: 25,
        run_timeout_ms: 600_000,
        enqueued_at: now(),
        run_at: now(),
        finished_at: None,
        lease: None,
        result: result.to_owned().into(),
        log: bytes::Bytes::new(),
        errors: Vec::new(),
        cancelled_by: None,
        cancel_reason: None,
        end_reason: None,
        ttl_ends_at: None,
        start_by: None,
        backoff: None,
        max_crashes: 3,
        crashed_at: Vec::new(),
        unique: None,
        progress: None,
        checkpoint_bytes: 0,
        cancel: None,
        group: None,
        after: Vec::new(),
        on_failure: OnFailure::Wait,
        batch: None,
        is_callback: false,
        label: None,
        tick: None,
        withheld: jobraft_sdk::protocol::Withheld::Nothing,
    }
}
