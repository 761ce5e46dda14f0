//! Modules that mean harm, and what is no module: each fails by itself, clearly, and nobody else notices.

use crate::support::{DEADLINE, TestCluster};
use jobraft_sdk::Client;
use jobraft_sdk::protocol::{ErrorCode, FailureKind, JobId, JobState, JobView, ModuleName, ModuleRef};
use jobraft_sdk::protocol::{NewJob, QueueName, Task};
use std::time::{Duration, Instant};

const QUEUE: &str = "default";
const WORDCOUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/wasm/wordcount/wordcount.wasm");
const FOREVER: &str = include_str!("../../../examples/wasm/hostile/forever.wat");
const ALLOCATE: &str = include_str!("../../../examples/wasm/hostile/allocate.wat");
const FLOOD: &str = include_str!("../../../examples/wasm/hostile/flood.wat");
/// How long an attempt may run that does not end by itself.
const SHORT: Duration = Duration::from_secs(3);
/// How long the others may: so long that only the limit that they run into can stop them, however slow the machine.
const LONG: Duration = Duration::from_secs(600);

async fn push(client: &Client, wasm: Vec<u8>, name: &str) -> Task {
    let name = ModuleName::new(name).unwrap();
    Task::Module(client.upload_module(wasm.into(), Some(name), |_, _| {}).await.unwrap().digest)
}

async fn enqueue(client: &Client, task: &Task, payload: &str, run_timeout: Duration) -> JobId {
    let mut job = NewJob::new(client.job_id(), QueueName::new(QUEUE).unwrap(), task.clone(), payload.to_owned());
    job.max_attempts = Some(1);
    job.run_timeout_ms = Some(run_timeout.as_millis().try_into().unwrap());
    let id = job.id;
    client.enqueue(vec![job]).await.unwrap();
    id
}

#[track_caller]
fn assert_dead(job: &JobView, kind: FailureKind, words: &str) {
    assert_eq!(job.state, JobState::Dead, "{job:?}");
    let [error] = &job.errors[..] else { panic!("not one error: {job:?}") };
    assert_eq!(error.kind, kind, "{error:?}");
    assert!(error.message.contains(words), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_modules_fail_clearly_and_alone() {
    let mut cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let honest = push(&client, std::fs::read(WORDCOUNT).unwrap(), "wordcount").await;
    let forever = push(&client, wat::parse_str(FOREVER).unwrap(), "forever").await;
    let allocate = push(&client, wat::parse_str(ALLOCATE).unwrap(), "allocate").await;
    let flood = push(&client, wat::parse_str(FLOOD).unwrap(), "flood").await;

    let mut jobs = Vec::new();
    for (hostile, run_timeout, kind, words) in [
        (&forever, SHORT, FailureKind::Timeout, "3s"),
        (&allocate, LONG, FailureKind::OutOfMemory, "64"),
        (&flood, LONG, FailureKind::OutputLimit, "1"),
        (&allocate, LONG, FailureKind::OutOfMemory, "64"),
        (&forever, SHORT, FailureKind::Timeout, "3s"),
    ] {
        jobs.push((enqueue(&client, hostile, "", run_timeout).await, Some((kind, words))));
        for _ in 0..4 {
            jobs.push((enqueue(&client, &honest, "one two three", LONG).await, None));
        }
    }
    let begun = Instant::now();
    cluster.start_worker("worker", &["--queue", QUEUE, "--concurrency", "2", "--memory", "64MiB"]).await;
    for (id, failure) in &jobs {
        let job = client.wait_job(*id, DEADLINE).await.unwrap();
        match failure {
            Some((kind, words)) => assert_dead(&job, *kind, words),
            None => {
                assert_eq!(job.state, JobState::Completed, "{job:?}");
                assert!(String::from_utf8_lossy(&job.result).contains('3'), "{job:?}");
            }
        }
    }
    eprintln!("{} jobs, 5 of them hostile, in {:?}", jobs.len(), begun.elapsed());
    // The same worker lived through all of it, and stops as it should.
    let last = enqueue(&client, &honest, "still here", LONG).await;
    assert_eq!(client.wait_job(last, DEADLINE).await.unwrap().state, JobState::Completed);
    let (status, log) = cluster.terminate_worker("worker");
    assert!(status.success() && log.contains("completed=21 failed=5 lost=0"), "{log}");
    assert!(!log.contains("panicked") && !cluster.node_log(1).contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_module_is_refused_at_the_door() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(cluster.path(name), bytes).unwrap();
        name.to_owned()
    };
    let text = file("notes.wasm", b"this is no module at all");
    let broken = file("broken.wasm", b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\x0f");
    let greedy = wat::parse_str("(module (import \"env\" \"launch\" (func)) (func (export \"_start\")))").unwrap();
    let greedy = file("greedy.wasm", &greedy);
    let library = file("library.wasm", &wat::parse_str("(module (func (export \"add\")))").unwrap());

    cluster
        .jobraft(&["module", "push", &text, "--name", "x"])
        .await
        .fails(2, &["notes.wasm", "not a WebAssembly module"]);
    cluster.jobraft(&["module", "push", &broken, "--name", "x"]).await.fails(1, &["broken.wasm", "module_invalid"]);
    cluster.jobraft(&["module", "push", &greedy, "--name", "x"]).await.fails(1, &["env", "launch", "module_invalid"]);
    cluster.jobraft(&["module", "push", &library, "--name", "x"]).await.fails(1, &["_start", "module_invalid"]);
    // A program that does not look first gets the same answer.
    let refused = client.upload_module(b"no module".to_vec().into(), None, |_, _| {}).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::ModuleInvalid), "{refused}");

    // Nothing of it is kept, and what never came cannot be named.
    let name: ModuleRef = "x".parse().unwrap();
    assert_eq!(client.resolve_module(name).await.unwrap_err().code(), Some(ErrorCode::ModuleUnknown));
    cluster.jobraft(&["module", "list", "--json"]).await.ok().trim().strip_prefix("[]").unwrap();
    let unknown = cluster.jobraft(&["job", "enqueue", "--module", "x", "payload"]).await;
    unknown.fails(3, &["module x", "jobraft module push"]);
}
