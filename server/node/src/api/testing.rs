//! What the API's tests share: a node that is its own majority, and a client that speaks frame by frame.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::config::{AuditConfig, LogConfig, NodeConfig};
use crate::node::Node;
use crate::tls::{CertificateAuthority, Credentials, Overwrite, TlsFiles};
use crate::transport::testing::{connect_unproved, dial_deaf};
use crate::transport::{Connection, Endpoint, FrameReceiver, FrameSender, Protocol};
use jobraft_protocol::{
    ClientFrame, ClientHello, Completion, Consistency, EnqueueOutcome, Error, ErrorCode, Grant, JobAction, JobId,
    JobView, LeaseRef, LeasedJob, LogTime, Namespace, NewJob, NodeId, Push, Request, Response, ServerFrame,
    ServerHello, Start, StreamOpen, Task, TokenSecret, WorkerId, WorkerInfo,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A test that takes longer hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
pub(super) const MINUTE_MS: u64 = 60_000;

pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}

pub(super) struct Bench {
    pub(super) node: Node,
    pub(super) client: Endpoint,
    config: NodeConfig,
    _directory: TempDir,
}

impl Bench {
    /// A node that leads.
    pub(super) async fn start() -> Self {
        Self::start_as(|_| ()).await
    }

    /// A node that leads, and whose configuration `change` changes.
    pub(super) async fn start_as(change: impl FnOnce(&mut NodeConfig)) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        let ca = CertificateAuthority::create(path, 1).unwrap();
        let hosts = ["127.0.0.1".to_owned()];
        let pair = ca.issue_node(NodeId(1), &hosts, 1).unwrap();
        pair.write(path, "node-1", Overwrite::Replace).unwrap();
        ca.issue_client("tester", Grant::admin(), 1).unwrap().write(path, "tester", Overwrite::Replace).unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let advertise: jobraft_protocol::NodeAddress = "127.0.0.1:1".parse().unwrap();
        let mut config = NodeConfig {
            node_id: NodeId(1),
            listen: loopback,
            advertise: advertise.clone(),
            data_dir: path.join("data"),
            cluster: "test".to_owned(),
            initial_members: BTreeMap::from([(NodeId(1), advertise)]),
            tls: TlsFiles::in_directory(path, "node-1"),
            log: LogConfig::default(),
            audit: AuditConfig::off(),
            key_file: None,
            secrets_key_file: None,
            signers: BTreeSet::new(),
        };
        change(&mut config);
        let node = leader(config.clone()).await;
        let credentials = Credentials::load(&TlsFiles::in_directory(path, "tester")).unwrap();
        let client = Endpoint::bind(loopback, &credentials).unwrap();
        Self { node, client, config, _directory: directory }
    }

    /// The same node, stopped and started.
    pub(super) async fn restart(self) -> Self {
        self.restart_as(|_| ()).await
    }

    /// The same, started with what `change` changes.
    pub(super) async fn restart_as(self, change: impl FnOnce(&mut NodeConfig)) -> Self {
        let Self { node, client, mut config, _directory } = self;
        soon(node.shutdown()).await;
        change(&mut config);
        Self { node: leader(config.clone()).await, client, config, _directory }
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.config.data_dir
    }

    pub(super) async fn connect(&self) -> Connection {
        let address = self.node.listen_addr().to_string().parse().unwrap();
        soon(self.client.connect(&address, Protocol::Client)).await.unwrap()
    }

    pub(super) async fn session(&self) -> Session {
        self.session_on(self.connect().await, 0).await
    }

    /// A session of the administrator of the cluster in a namespace.
    pub(super) async fn session_in(&self, namespace: &str, seed: u8) -> Result<Session, Error> {
        self.enter(self.connect().await, seed, Some(namespace.parse().unwrap())).await
    }

    /// A session of a client that may do what `grant` says. Its jobs' ids begin at `seed`.
    pub(super) async fn session_as(&self, name: &str, grant: Grant, seed: u8) -> Session {
        let path = self._directory.path();
        let ca = CertificateAuthority::load(path).unwrap();
        ca.issue_client(name, grant, 1).unwrap().write(path, name, Overwrite::Replace).unwrap();
        let credentials = Credentials::load(&TlsFiles::in_directory(path, name)).unwrap();
        let client = Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &credentials).unwrap();
        let address = self.node.listen_addr().to_string().parse().unwrap();
        let connection = soon(client.connect(&address, Protocol::Client)).await.unwrap();
        let session = self.session_on(connection, seed).await;
        Session { _endpoint: Some(client), ..session }
    }

    /// A session of whoever shows this token; it has no certificate.
    pub(super) async fn session_with(&self, secret: &TokenSecret, seed: u8) -> Result<Session, Error> {
        let opening = StreamOpen::Authenticate(secret.clone());
        let (connection, quic) = connect_unproved(self.node.listen_addr(), &self.config.tls.ca, &opening).await?;
        let session = self.session_on(connection, seed).await;
        Ok(Session { _quic: Some(quic), ..session })
    }

    /// What the node says to whoever shows no certificate and opens its first stream so.
    pub(super) async fn intrude(&self, opening: &StreamOpen) -> Error {
        let outcome = connect_unproved(self.node.listen_addr(), &self.config.tls.ca, opening).await;
        outcome.err().expect("nobody comes in like that")
    }

    /// Somebody without a certificate who opens their first stream so, or not at all, and takes no answer.
    pub(super) async fn deaf(&self, opening: Option<&StreamOpen>) -> (quinn::Connection, quinn::Endpoint) {
        dial_deaf(self.node.listen_addr(), &self.config.tls.ca, opening).await
    }

    async fn session_on(&self, connection: Connection, seed: u8) -> Session {
        self.enter(connection, seed, None).await.unwrap()
    }

    /// A session in a namespace, or why there is none.
    pub(super) async fn enter(
        &self,
        connection: Connection,
        seed: u8,
        namespace: Option<Namespace>,
    ) -> Result<Session, Error> {
        let (mut sender, mut receiver) = connection.open().await.unwrap();
        let hello = ClientHello { namespace, ..ClientHello::new("test") };
        sender.send(&StreamOpen::Session(hello)).await.unwrap();
        let hello = soon(receiver.recv::<Result<ServerHello, Error>>()).await.unwrap().unwrap()?;
        assert_eq!((hello.cluster.as_str(), hello.node), ("test", NodeId(1)));
        let (time, pushes) = (hello.time, VecDeque::new());
        Ok(Session { connection, sender, receiver, next: 0, time, seed, pushes, _endpoint: None, _quic: None })
    }
}

/// A node that leads.
async fn leader(config: NodeConfig) -> Node {
    let node = Node::start(config).await.unwrap();
    soon(node.consensus().leadership().wait_for(|now| now.is_leader)).await.unwrap();
    node
}

pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) sender: FrameSender,
    pub(super) receiver: FrameReceiver,
    next: u64,
    time: LogTime,
    seed: u8,
    pushes: VecDeque<Push>,
    _endpoint: Option<Endpoint>,
    _quic: Option<quinn::Endpoint>,
}

impl Session {
    pub(super) async fn send(&mut self, request: Request) -> u64 {
        self.next += 1;
        self.sender.send(&ClientFrame { id: self.next, request }).await.unwrap();
        self.next
    }

    pub(super) async fn answer(&mut self, number: u64) -> Result<Response, Error> {
        loop {
            match soon(self.receiver.recv()).await.unwrap().expect("the session goes on") {
                ServerFrame::Reply { id, result } if id == number => return result,
                ServerFrame::Reply { .. } => {}
                ServerFrame::Push(push) => self.pushes.push_back(push),
            }
        }
    }

    pub(super) async fn ask(&mut self, request: Request) -> Result<Response, Error> {
        let number = self.send(request).await;
        self.answer(number).await
    }

    pub(super) async fn push(&mut self) -> Push {
        if let Some(push) = self.pushes.pop_front() {
            return push;
        }
        match soon(self.receiver.recv()).await.unwrap().expect("the session goes on") {
            ServerFrame::Push(push) => push,
            ServerFrame::Reply { id, result } => panic!("an answer to {id}: {result:?}"),
        }
    }

    pub(super) async fn leased_push(&mut self) -> Vec<LeasedJob> {
        match self.push().await {
            Push::Leased { jobs, .. } => jobs,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn job(&mut self, start: Start) -> NewJob {
        self.seed += 1;
        let task = Task::Handler("t".parse().unwrap());
        let id = JobId::new(self.time, [self.seed; 10]);
        NewJob { start, ..NewJob::new(id, "q".parse().unwrap(), task, "payload") }
    }

    pub(super) async fn enqueue(&mut self, start: Start) -> JobId {
        let job = self.job(start);
        let id = job.id;
        let answer = self.ask(Request::Enqueue { jobs: vec![job], all_or_none: false }).await;
        assert_eq!(answer, Ok(Response::Enqueued(vec![EnqueueOutcome::Created])));
        id
    }

    /// What is done, and answered by no more than that.
    pub(super) async fn done(&mut self, request: Request) {
        assert_eq!(self.ask(request).await, Ok(Response::Done));
    }

    /// Completes one job; whether it was done, or why not.
    pub(super) async fn complete(&mut self, lease: LeaseRef, completion: Completion) -> Result<(), Error> {
        match self.ask(Request::Complete { completions: vec![(lease, completion)] }).await? {
            Response::Acted(answers) => answers.into_iter().next().expect("an answer for each"),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn act(&mut self, jobs: &[JobId], action: JobAction) -> Vec<Result<(), Error>> {
        match self.ask(Request::Act { jobs: jobs.to_vec(), action, only_in: vec![] }).await {
            Ok(Response::Acted(answers)) => answers,
            other => panic!("{other:?}"),
        }
    }

    /// Enqueues a job and leases it.
    pub(super) async fn hold(&mut self, worker: WorkerId) -> LeaseRef {
        self.enqueue(Start::Now).await;
        leased(self.ask(fetch(worker, 0)).await)[0].lease()
    }

    pub(super) async fn register(&mut self) -> WorkerId {
        match self.ask(Request::RegisterWorker { info: info("w") }).await {
            Ok(Response::Registered(worker)) => worker,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn view(&mut self, job: JobId) -> JobView {
        let request = Request::GetJob { job, consistency: Consistency::Linearizable, wait_ms: 0 };
        match self.ask(request).await {
            Ok(Response::Job(view)) => *view,
            other => panic!("{other:?}"),
        }
    }
}

/// How far the log is, once it goes no further, or after a while: the node's status follows what it does at some distance.
pub(super) async fn log_index(bench: &Bench) -> u64 {
    let applied = || bench.node.consensus().status().applied_index;
    let mut last = applied();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if std::mem::replace(&mut last, applied()) == last {
            break;
        }
    }
    last
}

pub(super) fn info(name: &str) -> WorkerInfo {
    WorkerInfo { name: name.to_owned(), ..WorkerInfo::default() }
}

pub(super) fn fetch(worker: WorkerId, wait_ms: u64) -> Request {
    Request::Lease {
        worker,
        queues: vec!["q".parse().unwrap()],
        weights: vec![],
        max: 10,
        lease_ms: MINUTE_MS,
        wait_ms,
    }
}

pub(super) fn subscription(worker: WorkerId, credits: u32) -> Request {
    Request::Subscribe { worker, queues: vec!["q".parse().unwrap()], weights: vec![], lease_ms: MINUTE_MS, credits }
}

pub(super) fn leased(answer: Result<Response, Error>) -> Vec<LeasedJob> {
    match answer {
        Ok(Response::Leased(jobs)) => jobs,
        other => panic!("{other:?}"),
    }
}

pub(super) fn code<T: std::fmt::Debug>(answer: Result<T, Error>) -> ErrorCode {
    answer.expect_err("it is refused").code
}
