//! Somebody who wants more than is theirs: with each role's certificate, with others, and with none.

use crate::support::{DEADLINE, TestCluster, eventually, jobraft};
use jobraft_node::tls::{CertificateAuthority, Credentials, Overwrite, TlsFiles};
use jobraft_node::transport::{Endpoint, Protocol};
use jobraft_sdk::protocol::{
    ClientRole, Completion, Consistency, ErrorCode, Grant, JobId, NewJob, QueueName, Task, TaskName, WorkerInfo,
};
use jobraft_sdk::{Client, Credential, SdkError};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a job carries, and nobody may find anywhere else.
const PAYLOAD: &str = "canary-payload-5d1f2a3b4c";
const RESULT: &str = "canary-result-5d1f2a3b4c";
const REASON: &str = "canary-reason-5d1f2a3b4c";

/// A certificate for a client that may do what `grant` says, and a context file `NAME.toml`.
fn issue(cluster: &TestCluster, name: &str, grant: Grant) {
    let certs = cluster.path("certs");
    let pair = CertificateAuthority::load(&certs).unwrap().issue_client(name, grant, 1).unwrap();
    pair.write(&certs, name, Overwrite::Refuse).unwrap();
    let context = std::fs::read_to_string(cluster.path("client.toml")).unwrap();
    std::fs::write(cluster.path(&format!("{name}.toml")), context.replace("certs/test.", &format!("certs/{name}.")))
        .unwrap();
}

async fn client(cluster: &TestCluster, name: &str) -> Client {
    let mut config = cluster.client_config();
    let file = |extension: &str| cluster.path(&format!("certs/{name}.{extension}"));
    config.credential = Credential::Certificate { cert: file("crt").into(), key: file("key").into() };
    Client::connect(config.request_timeout(DEADLINE).connect_timeout(DEADLINE)).await.unwrap()
}

fn limited(role: ClientRole, queues: &str) -> Grant {
    Grant::new([role]).for_queues(vec![queues.parse().unwrap()]).unwrap()
}

async fn enqueue(client: &Client, queue: &str) -> JobId {
    let task = Task::Handler(TaskName::new("t").unwrap());
    let new = NewJob::new(client.job_id(), QueueName::new(queue).unwrap(), task, PAYLOAD);
    let id = new.id;
    client.enqueue(vec![new]).await.unwrap();
    id
}

/// Everything below a directory, as one text of bytes for each file.
fn files(directory: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    found
}

fn has(bytes: &[u8], canary: &str) -> bool {
    bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_is_refused_what_it_may_not_and_the_audit_log_has_it() {
    let cluster = TestCluster::start(1).await;
    let admin = cluster.client().await;
    let job = enqueue(&admin, "a/x").await;
    let worker = admin.register_worker(WorkerInfo { name: "w".to_owned(), ..WorkerInfo::default() }).await.unwrap();
    cluster.jobraft(&["schedule", "put", "s", "--queue", "a/x", "--task", "t", "--cron", "0 0 1 1 *"]).await.ok();
    std::fs::write(cluster.path("m.wasm"), wat::parse_str("(module (func (export \"_start\")))").unwrap()).unwrap();
    cluster.jobraft(&["module", "push", "m.wasm", "--name", "a/m"]).await.ok();
    let (job, worker) = (job.to_string(), worker.to_string());
    for role in ClientRole::ALL {
        issue(&cluster, role.as_str(), Grant::new([role]));
    }
    issue(&cluster, "none", Grant::new([]));
    issue(&cluster, "tenant", limited(ClientRole::Admin, "b/*"));

    let enqueue = ["job", "enqueue", "--queue", "a/x", "--task", "t", "x"];
    let cancel = ["job", "cancel", &job, "--reason", REASON];
    let (retry, delete) = (["job", "retry", &job], ["job", "delete", &job, "--yes"]);
    let (relocate, get) = (["job", "move", &job, "--to", "a/y"], ["job", "get", &job]);
    let pause = ["queue", "pause", "a/x"];
    let put = ["schedule", "put", "s", "--queue", "a/x", "--task", "t", "--cron", "0 0 2 1 *"];
    let (run, show) = (["schedule", "run", "s"], ["schedule", "show", "s"]);
    let push = ["module", "push", "m.wasm", "--name", "a/m"];
    let stop = ["fleet", "stop", &worker];
    let jobs = ["job", "list", "--queue", "a/x"];
    let batches = ["batch", "list"];
    let values = ["state", "list"];
    let value = ["state", "get", "a/k"];
    let add = ["cluster", "add", "9", "127.0.0.1:9"];
    let remove = ["cluster", "remove", "1"];
    let attempts: [(&str, &[&[&str]]); 6] = [
        ("operator", &[&enqueue, &add, &remove, &values, &value]),
        ("producer", &[&retry, &delete, &relocate, &pause, &put, &push, &stop, &add, &remove]),
        (
            "worker",
            &[&enqueue, &cancel, &retry, &get, &jobs, &batches, &pause, &put, &run, &push, &stop, &add, &remove],
        ),
        (
            "viewer",
            &[&enqueue, &cancel, &retry, &delete, &pause, &put, &run, &push, &stop, &values, &value, &add, &remove],
        ),
        ("none", &[&enqueue, &cancel, &get, &jobs, &pause, &push, &values, &add, &remove]),
        // Another tenant, however much it may do among its own.
        (
            "tenant",
            &[
                &enqueue, &cancel, &delete, &relocate, &get, &jobs, &batches, &put, &run, &show, &values, &value, &add,
                &remove,
            ],
        ),
    ];
    for (name, commands) in attempts {
        for command in commands {
            let context = format!("{name}.toml");
            let run = jobraft(cluster.directory(), &[command, &["--context", &context][..]].concat()).await;
            let complaint = run.fails(1, &["(forbidden)", &format!("client {name} may not")]);
            assert!(!complaint.contains(PAYLOAD), "{complaint}");
        }
    }
    // Modules are in common, their names are not: a name of another tenant's is not to be had, whatever it looks like.
    for stolen in ["a/m", "../../../../etc/passwd", "b/../a/m2"] {
        let push = ["module", "push", "m.wasm", "--name", stolen, "--context", "tenant.toml"];
        let run = jobraft(cluster.directory(), &push).await;
        if stolen.starts_with("b/") { drop(run.ok()) } else { drop(run.fails(1, &["(forbidden)"])) }
    }
    let names = files(&cluster.path("node-1")).into_iter().filter(|(path, _)| path.to_string_lossy().contains("m2"));
    assert_eq!(names.count(), 0, "a module's name has become a file's");

    // Nothing of it was done.
    let view = admin.get_job(job.parse().unwrap(), Consistency::Linearizable).await.unwrap();
    assert_eq!((view.queue.as_str(), view.state.as_str(), view.attempt), ("a/x", "ready", 0));
    let queues = admin.queues(Consistency::Linearizable).await.unwrap();
    let all: Vec<_> =
        queues.iter().map(|stats| (stats.queue.as_str(), stats.settings.mode.as_str(), stats.ready)).collect();
    assert_eq!(all, [("a/x", "open", 1)]);

    // All of it was written down.
    let audit = eventually("the audit log has the last of it", async || {
        let text = std::fs::read_to_string(cluster.path("node-1/audit.log")).unwrap();
        text.contains("b/../a/m2").then_some(text)
    });
    let audit = audit.await;
    assert!(!audit.contains(PAYLOAD) && !audit.contains(REASON), "{audit}");
    // One line for each request that somebody was refused, however often it was tried.
    let requests = |name: &str| {
        let lines = audit.lines().filter(|line| line.contains(&format!("\"who\":\"client {name}\"")));
        let forbidden = lines.filter(|line| line.contains("\"outcome\":\"forbidden\""));
        forbidden
            .map(|line| line.split("\"request\":\"").nth(1).unwrap().split('"').next().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(requests("operator"), ["enqueue", "add_node", "remove_node", "list_state", "get_state"]);
    assert_eq!(requests("producer"), ["act", "configure", "upload", "order_worker", "add_node", "remove_node"]);
    for (name, _) in attempts {
        assert!(requests(name).contains(&"add_node"), "{name}\n{audit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_one_tenant_gets_nothing_of_anothers() {
    let cluster = TestCluster::start(1).await;
    issue(&cluster, "mine", limited(ClientRole::Worker, "a/*"));
    issue(&cluster, "theirs", limited(ClientRole::Worker, "b/*"));
    let (admin, mine, theirs) =
        (cluster.client().await, client(&cluster, "mine").await, client(&cluster, "theirs").await);
    let job = enqueue(&admin, "a/x").await;
    let queue = |name: &str| vec![QueueName::new(name).unwrap()];
    let info = |queue| WorkerInfo { queues: queue, ..WorkerInfo::default() };
    let lease_for = Duration::from_secs(60);
    let my_worker = mine.register_worker(info(queue("a/x"))).await.unwrap();
    let leased = mine.lease(my_worker, queue("a/x"), 1, lease_for, Duration::ZERO).await.unwrap();
    assert_eq!(&leased[0].payload[..], PAYLOAD.as_bytes());
    let lease = leased[0].lease();

    let forbidden = |error: SdkError| assert_eq!(error.code(), Some(ErrorCode::Forbidden), "{error}");
    forbidden(theirs.register_worker(info(queue("a/x"))).await.unwrap_err());
    let their_worker = theirs.register_worker(info(queue("b/x"))).await.unwrap();
    forbidden(theirs.lease(their_worker, queue("a/x"), 1, lease_for, Duration::ZERO).await.unwrap_err());
    forbidden(theirs.lease(my_worker, queue("b/x"), 1, lease_for, Duration::ZERO).await.unwrap_err());
    forbidden(theirs.get_job(job, Consistency::Stale).await.unwrap_err());
    let stolen = || Completion { result: "stolen".into(), ..Completion::default() };
    forbidden(theirs.complete(lease, stolen()).await.unwrap_err());
    forbidden(theirs.extend(&[lease], lease_for).await.unwrap_err());
    forbidden(theirs.release(lease).await.unwrap_err());
    forbidden(theirs.disconnect(my_worker).await.unwrap_err());

    mine.complete(lease, Completion { result: RESULT.into(), ..Completion::default() }).await.unwrap();
    let done = admin.get_job(job, Consistency::Linearizable).await.unwrap();
    assert_eq!(&done.result[..], RESULT.as_bytes());

    // What jobs carry is in the databases, and in no log; keys are in neither.
    let keys: Vec<String> = ["node-1", "mine"]
        .map(|name| std::fs::read_to_string(cluster.path(&format!("certs/{name}.key"))).unwrap())
        .map(|pem| pem.lines().nth(1).unwrap().to_owned())
        .into();
    for (path, bytes) in files(cluster.directory()) {
        let name = path.to_string_lossy().into_owned();
        let is_log = name.ends_with(".log");
        assert!(!is_log || !has(&bytes, PAYLOAD) && !has(&bytes, RESULT), "{name} has what a job carries");
        let is_key = name.contains("/certs/");
        assert!(is_key || !keys.iter().any(|key| has(&bytes, key)), "{name} has a key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_gets_nowhere_and_does_no_harm() {
    let cluster = TestCluster::start(1).await;
    let node = cluster.address(1).clone();
    let at: SocketAddr = node.as_str().parse().unwrap();
    for role in ClientRole::ALL {
        issue(&cluster, role.as_str(), Grant::new([role]));
        let credentials = Credentials::load(&TlsFiles::in_directory(&cluster.path("certs"), role.as_str())).unwrap();
        let endpoint = Endpoint::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &credentials).unwrap();
        let refused = async {
            let connection = endpoint.connect(&node, Protocol::Peer).await?;
            connection.open().await?.1.recv::<()>().await
        };
        let error = tokio::time::timeout(DEADLINE, refused).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("may not be used on the protocol of the nodes"), "{error}");
    }
    // Plain HTTP, by TCP and by datagram.
    assert!(std::net::TcpStream::connect(at).is_err(), "nothing listens on TCP");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    for _ in 0..100 {
        socket.send_to(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", at).unwrap();
    }
    cluster.jobraft(&["queue", "list"]).await.ok();
    let audit = std::fs::read_to_string(cluster.path("node-1/audit.log")).unwrap();
    assert!(audit.contains("protocol of the nodes"), "{audit}");
}

/// Stands between a client and a node, and remembers what the client sent.
struct Relay {
    at: SocketAddr,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    fn start(node: SocketAddr) -> Self {
        let outside = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let inside = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        inside.connect(node).unwrap();
        let at = outside.local_addr().unwrap();
        let (sent, client) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
        // Both end with the test's process.
        std::thread::spawn({
            let (outside, inside, sent, client) =
                (Arc::clone(&outside), Arc::clone(&inside), Arc::clone(&sent), Arc::clone(&client));
            move || {
                let mut buffer = [0; 65_536];
                while let Ok((bytes, from)) = outside.recv_from(&mut buffer) {
                    *client.lock().unwrap() = Some(from);
                    sent.lock().unwrap().push(buffer[..bytes].to_vec());
                    let _ = inside.send(&buffer[..bytes]);
                }
            }
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(bytes) = inside.recv(&mut buffer) {
                if let Some(client) = *client.lock().unwrap() {
                    let _ = outside.send_to(&buffer[..bytes], client);
                }
            }
        });
        Self { at, sent }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_once_does_nothing_when_it_is_sent_again() {
    let cluster = TestCluster::start(1).await;
    let node: SocketAddr = cluster.address(1).as_str().parse().unwrap();
    let relay = Relay::start(node);
    let mut config = cluster.client_config();
    config.endpoints = vec![relay.at.into()];
    let through = Client::connect(config.request_timeout(DEADLINE).connect_timeout(DEADLINE)).await.unwrap();
    enqueue(&through, "q").await;
    let admin = cluster.client().await;
    let jobs = async || {
        let queues = admin.queues(Consistency::Linearizable).await.unwrap();
        queues.iter().map(|stats| stats.ready).sum::<u64>()
    };
    assert_eq!(jobs().await, 1);
    let sent = relay.sent.lock().unwrap().clone();
    assert!(sent.len() > 3, "a handshake and a request are several datagrams");
    // From where they came, while the connection lasts; from elsewhere, and once it is over.
    let elsewhere = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let again = |to: SocketAddr| sent.iter().for_each(|datagram| drop(elsewhere.send_to(datagram, to)));
    for _ in 0..3 {
        again(relay.at);
        again(node);
    }
    through.close().await;
    again(node);
    // Whatever of it the node took is behind it once it has answered what came later.
    enqueue(&admin, "q").await;
    assert_eq!(jobs().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_modules_name_belongs_to_whoever_gave_it_whoever_brought_the_bytes() {
    let cluster = TestCluster::start(1).await;
    for name in ["victim", "mallory"] {
        issue(&cluster, name, Grant::new([ClientRole::Producer]));
    }
    issue(&cluster, "operator", Grant::new([ClientRole::Operator]));
    for (file, text) in [
        ("public", "(module (func (export \"_start\")))"),
        ("evil", "(module (func (export \"_start\")) (func (export \"other\")))"),
    ] {
        std::fs::write(cluster.path(&format!("{file}.wasm")), wat::parse_str(text).unwrap()).unwrap();
    }
    let push = async |who: &str, arguments: &[&str]| {
        let context = format!("{who}.toml");
        jobraft(cluster.directory(), &[&["module", "push"], arguments, &["--context", &context][..]].concat()).await
    };
    push("mallory", &["public.wasm"]).await.ok();
    push("victim", &["public.wasm", "--name", "tool"]).await.ok();
    push("mallory", &["evil.wasm", "--name", "tool"]).await.fails(1, &["(forbidden)", "tool"]);
    push("victim", &["evil.wasm", "--name", "tool"]).await.ok();
    push("operator", &["public.wasm", "--name", "tool"]).await.ok();
    // Whoever else may move it, it stays theirs.
    push("mallory", &["evil.wasm", "--name", "tool"]).await.fails(1, &["(forbidden)"]);
    push("victim", &["evil.wasm", "--name", "tool"]).await.ok();
}
