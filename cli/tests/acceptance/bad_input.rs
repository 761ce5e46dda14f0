//! What a running cluster and its clients are given that they must not take: refused by name, and nothing is changed.

use crate::support::{TestCluster, count, free_address, job, jobraft};
use jobraft_node::tls::{Credentials, TlsFiles};
use jobraft_node::transport::{Endpoint, Protocol};
use jobraft_sdk::protocol::limits::PAYLOAD_BYTES_DEFAULT;
use jobraft_sdk::protocol::{
    Completion, Consistency, Digest, EnqueueOutcome, Error, ErrorCode, FencingToken, JobState, LeaseRef,
    ModuleManifest, NewJob, QueueName, StreamOpen, Task, TaskName, WorkerInfo,
};
use jobraft_sdk::{Client, SdkError};
use std::fs;
use std::net::UdpSocket;
use std::time::Duration;

fn new_job(client: &Client, payload: impl Into<bytes::Bytes>) -> NewJob {
    let task = Task::Handler(TaskName::new("none").unwrap());
    NewJob::new(client.job_id(), QueueName::new("default").unwrap(), task, payload)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_jobraft_is_named() {
    let cluster = TestCluster::prepare(1);
    let nobody = free_address().to_string();
    let silent = ["job", "enqueue", "--task", "t", "x", "--endpoint", &nobody];
    cluster.jobraft(&silent).await.fails(4, &[&nobody, "no answer", "jobraft dev"]);

    let babbler = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = babbler.local_addr().unwrap().to_string();
    babbler.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (done, listen) = (std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)), babbler);
    let babbling = std::thread::spawn({
        let done = std::sync::Arc::clone(&done);
        move || {
            let mut buffer = [0; 2_048];
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                if let Ok((length, from)) = listen.recv_from(&mut buffer) {
                    // What came, the other way round, and plain text: neither is QUIC.
                    buffer[..length].reverse();
                    let _ = listen.send_to(&buffer[..length], from);
                    let _ = listen.send_to(b"220 mail.example ESMTP", from);
                }
            }
        }
    });
    cluster.jobraft(&["queue", "list", "--endpoint", &address]).await.fails(4, &[&address]);
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    babbling.join().unwrap();

    // A name without a port, and no name at all.
    cluster.jobraft(&["queue", "list", "--endpoint", "localhost"]).await.fails(2, &["localhost", "host:port"]);
    let nothing = jobraft(cluster.directory(), &["queue", "list"]).await;
    nothing.fails(2, &["--endpoint", "jobraft dev"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_a_write_fails_in_time_and_is_done_at_most_once() {
    let mut cluster = TestCluster::start(3).await;
    let client = cluster.client().await;
    let before = new_job(&client, "before");
    let before_id = before.id;
    client.enqueue(vec![before]).await.unwrap();
    let leader = cluster.leader().await;
    let others: Vec<u64> = cluster.running().into_iter().filter(|id| *id != leader).collect();
    cluster.kill_nodes(&others);

    // To a leader that does not know yet that it is alone, and to one that does: the first may be in its log.
    let (one, two) = (new_job(&client, "").id, new_job(&client, "").id);
    let mut unknown = Vec::new();
    for id in [one, two] {
        let run = cluster.jobraft(&["job", "enqueue", "--task", "none", "--id", &id.to_string(), "lonely"]).await;
        let complaint = run.fails(4, &["enqueue", "jobraft cluster status"]);
        if complaint.contains("may or may not") {
            unknown.push(id);
        }
    }
    // What it holds can still be seen, by those who do not mind how old it is.
    let stale = Client::connect(cluster.client_config()).await.unwrap();
    assert_eq!(stale.get_job(before_id, Consistency::Stale).await.unwrap().payload, "before");
    cluster.jobraft(&["cluster", "status"]).await.fails(4, &["majority"]);

    for id in others {
        cluster.start_node(id);
    }
    cluster.leader().await;
    let mut present = 1;
    for id in [one, two] {
        match job(&client, id).await {
            Ok(view) => {
                assert!(unknown.contains(&id), "the command said that nothing was done: {view:?}");
                present += 1;
            }
            Err(error) => assert_eq!(error.code(), Some(ErrorCode::NotFound), "{error}"),
        }
    }
    assert_eq!(count(&client, &["default"], |stats| stats.ready).await.unwrap(), present);
    // Said again under the same id it is one job, whatever came of the first time.
    for id in [one, two] {
        cluster.jobraft(&["job", "enqueue", "--task", "none", "--id", &id.to_string(), "lonely"]).await.ok();
    }
    assert_eq!(count(&client, &["default"], |stats| stats.ready).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_over_the_limit_is_refused_before_and_behind_the_wire() {
    let cluster = TestCluster::start(1).await;
    fs::write(cluster.path("large.bin"), vec![0; PAYLOAD_BYTES_DEFAULT + 1]).unwrap();
    let run = cluster.jobraft(&["job", "enqueue", "--task", "none", "--file", "large.bin"]).await;
    run.fails(2, &["large.bin", "256.0 KiB", "store it elsewhere"]);

    // The node does not rely on the client's manners. The others of the same request are not touched by it.
    let client = cluster.client().await;
    let jobs = vec![new_job(&client, "fits"), new_job(&client, vec![0; PAYLOAD_BYTES_DEFAULT + 1])];
    match client.enqueue(jobs).await {
        Ok(outcomes) => match &outcomes[..] {
            [EnqueueOutcome::Created, EnqueueOutcome::Refused(error)] => assert_eq!(error.code, ErrorCode::TooLarge),
            other => panic!("{other:?}"),
        },
        Err(error) => assert_eq!(error.code(), Some(ErrorCode::TooLarge), "{error}"),
    }
    assert!(count(&client, &["default"], |stats| stats.ready).await.unwrap() <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_token_changes_nothing() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let new = new_job(&client, "x");
    let id = new.id;
    client.enqueue(vec![new]).await.unwrap();
    let worker = client.register_worker(WorkerInfo { name: "late".to_owned(), ..WorkerInfo::default() }).await.unwrap();
    let queues = vec![QueueName::new("default").unwrap()];
    let wait = Duration::from_secs(20);
    let lease = async |lease| {
        let leased = client.lease(worker, queues.clone(), 1, lease, wait).await.unwrap();
        leased.first().map(jobraft_sdk::protocol::LeasedJob::lease)
    };
    let first = lease(Duration::from_secs(1)).await.unwrap();
    // Given out anew once the first lease is over: the same call waits for it.
    let second = lease(Duration::from_secs(60)).await.unwrap();
    assert_eq!((second.job, id), (id, first.job));
    assert!(second.token > first.token);

    let lost = |error: SdkError| assert_eq!(error.code(), Some(ErrorCode::LeaseLost), "{error}");
    let forged = LeaseRef { job: id, token: FencingToken(second.token.0 + 1_000) };
    for stale in [first, forged] {
        lost(client.complete(stale, Completion { result: "late".into(), ..Completion::default() }).await.unwrap_err());
        lost(client.release(stale).await.unwrap_err());
        match client.extend(&[stale], Duration::from_secs(60)).await {
            Ok(extended) => assert_eq!(extended[0].as_ref().unwrap_err().code, ErrorCode::LeaseLost),
            // A token that nobody was given yet refuses the whole request.
            Err(error) => {
                assert_eq!(stale, forged);
                lost(error);
            }
        }
    }
    assert_eq!(job(&client, id).await.unwrap().lease.unwrap().token, second.token);
    client.complete(second, Completion { result: "right".into(), ..Completion::default() }).await.unwrap();
    lost(client.complete(first, Completion { result: "late".into(), ..Completion::default() }).await.unwrap_err());
    let done = job(&client, id).await.unwrap();
    assert_eq!((done.state, &done.result[..]), (JobState::Completed, &b"right"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_digest_differs_is_refused() {
    let cluster = TestCluster::start(1).await;
    // The SDK reckons the digest itself, so this speaks the protocol without it.
    let credentials = Credentials::load(&TlsFiles::in_directory(&cluster.path("certs"), "test")).unwrap();
    let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), &credentials).unwrap();
    let connection = endpoint.connect(cluster.address(1), Protocol::Client).await.unwrap();
    let wasm = wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"_start\")))").unwrap();
    let digest = Digest([7; 32]);
    let (mut sender, mut receiver) = connection.open().await.unwrap();
    sender
        .send(&StreamOpen::Upload { digest, size: wasm.len() as u64, name: None, signatures: vec![], namespace: None })
        .await
        .unwrap();
    sender.send_bytes(wasm.into()).await.unwrap();
    sender.finish().await.unwrap();
    let answer: Result<ModuleManifest, Error> = receiver.recv().await.unwrap().unwrap();
    let error = answer.unwrap_err();
    assert_eq!(error.code, ErrorCode::DigestMismatch, "{error}");
    assert!(error.message.contains(&digest.to_string()), "{error}");
    assert_eq!(cluster.client().await.modules(Consistency::Linearizable).await.unwrap(), []);
    endpoint.close().await;
}
