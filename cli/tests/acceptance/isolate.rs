//! `jobraft worker --isolate`: modules run in a process that holds nothing of the worker's, and whose end is only theirs.

use crate::support::{DEADLINE, TestCluster, eventually};
use jobraft_sdk::Client;
use jobraft_sdk::protocol::{Backoff, BackoffCurve, FailureKind, JobId, JobState, ModuleName, NewJob, QueueName, Task};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const QUEUE: &str = "default";
const WORDCOUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/wasm/wordcount/wordcount.wasm");
const FOREVER: &str = include_str!("../../../examples/wasm/hostile/forever.wat");

async fn push(client: &Client, wasm: Vec<u8>, name: &str) -> Task {
    let name = ModuleName::new(name).unwrap();
    Task::Module(client.upload_module(wasm.into(), Some(name), |_, _| {}).await.unwrap().digest)
}

async fn enqueue(client: &Client, task: &Task, run_timeout: Duration) -> JobId {
    let mut job =
        NewJob::new(client.job_id(), QueueName::new(QUEUE).unwrap(), task.clone(), "one two three".to_owned());
    job.max_attempts = Some(2);
    job.backoff = Some(Backoff::new(BackoffCurve::Fixed { delay_ms: 0 }));
    job.run_timeout_ms = Some(run_timeout.as_millis().try_into().unwrap());
    let id = job.id;
    client.enqueue(vec![job]).await.unwrap();
    id
}

/// The process that the worker says it has started last.
fn host(cluster: &TestCluster) -> Pid {
    let log = fs::read_to_string(cluster.path("worker.log")).unwrap();
    let line = log.lines().rfind(|line| line.contains("started a process that runs modules")).unwrap();
    let digits: String = line.split_once("pid=").unwrap().1.chars().take_while(char::is_ascii_digit).collect();
    Pid::from_raw(digits.parse().unwrap()).unwrap()
}

fn proc(pid: Pid, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join(file)
}

/// CPU time that a process has used, in ticks.
fn ticks(pid: Pid) -> u64 {
    let stat = fs::read_to_string(proc(pid, "stat")).unwrap();
    stat.rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_modules_run_without_rights_and_their_process_is_replaced() {
    let mut cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let honest = push(&client, fs::read(WORDCOUNT).unwrap(), "wordcount").await;
    let forever = push(&client, wat::parse_str(FOREVER).unwrap(), "forever").await;
    cluster.start_worker("worker", &["--queue", QUEUE, "--concurrency", "2", "--isolate"]).await;
    let done = enqueue(&client, &honest, DEADLINE).await;
    let done = client.wait_job(done, DEADLINE).await.unwrap();
    assert_eq!(done.state, JobState::Completed, "{done:?}");
    assert!(String::from_utf8_lossy(&done.result).contains("\"words\":3"), "{done:?}");

    // No variable, no socket, no file: neither the key nor the connection.
    let first = host(&cluster);
    assert_eq!(fs::read(proc(first, "environ")).unwrap(), b"");
    let held: Vec<String> = fs::read_dir(proc(first, "fd"))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(held.iter().all(|what| what.starts_with("pipe:") || what.starts_with("/memfd:")), "{held:?}");

    let before = ticks(first);
    let endless = enqueue(&client, &forever, Duration::from_secs(5)).await;
    eventually("the guest runs", async || (ticks(first) > before + 10).then_some(())).await;
    kill_process(first, Signal::KILL).unwrap();
    let dead = client.wait_job(endless, DEADLINE).await.unwrap();
    let [killed, timed_out] = &dead.errors[..] else { panic!("not two errors: {dead:?}") };
    assert!(killed.message.contains("the process that runs modules ended"), "{killed:?}");
    assert_eq!(timed_out.kind, FailureKind::Timeout, "{timed_out:?}");
    let again = enqueue(&client, &honest, DEADLINE).await;
    assert_eq!(client.wait_job(again, DEADLINE).await.unwrap().state, JobState::Completed);

    let second = host(&cluster);
    assert_ne!(first, second);
    cluster.kill_worker("worker");
    eventually("the process is gone with its worker", async || (!proc(second, "").exists()).then_some(())).await;
}
