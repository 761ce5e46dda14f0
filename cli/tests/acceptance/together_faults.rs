//! Workflows and schedules while the leader and workers are killed: each job counts once, each tick enqueues one job.

use crate::support::{DEADLINE, TestCluster, count, eventually, job};
use jobraft_sdk::protocol::{
    BatchState, Consistency, JobFilter, JobState, JobView, LogTime, ModuleRef, QueueName, ScheduleName, Task,
};
use jobraft_sdk::{Client, JobContext, JobError, Listing, Producer, Worker, Workflow};
use serde::Deserialize;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const WORDCOUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/wasm/wordcount/wordcount.wasm");
const PARTS: usize = 400;
const PART_QUEUE: &str = "parts";
const QUEUE: &str = "corpus";
/// Short, so that what a killed worker held is given out again soon.
const LEASE: Duration = Duration::from_secs(2);
/// Ticks that are watched.
const TICKS: usize = 12;

#[derive(Deserialize)]
struct Counts {
    words: u64,
}

/// Adds up what the parts counted.
async fn add_up(context: JobContext, (): ()) -> Result<u64, JobError> {
    Ok(context.results::<Counts>().await?.iter().map(|part| part.words).sum())
}

/// Runs what is not WASM, until it is told to stop.
fn start_native_worker(client: Client, name: &str) -> CancellationToken {
    let worker = Worker::builder(client).name(name).queues([QUEUE]).lease(LEASE);
    let worker = worker
        .handler("total", add_up)
        .handler("report", |_: JobContext, text: String| async move { Ok::<_, JobError>(text) });
    let (worker, stop) = (worker.build().unwrap(), CancellationToken::new());
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move { worker.run(stopped).await.unwrap() });
    stop
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_outlives_its_leader_and_its_worker() {
    let mut cluster = TestCluster::start(3).await;
    let client = cluster.client().await;
    let bytes = std::fs::read(WORDCOUNT).unwrap();
    let module = client.upload_module(bytes.into(), None, |_, _| {}).await.unwrap();
    let module = client.resolve_module(ModuleRef::Digest(module.digest)).await.unwrap();
    let serves_parts = ["--queue", PART_QUEUE, "--lease", "2s", "--concurrency", "2"];
    cluster.start_worker("victim", &serves_parts).await;
    let _natives = start_native_worker(cluster.client().await, "native").drop_guard();

    let part = Producer::of_bytes(client.clone(), PART_QUEUE.parse().unwrap(), Task::Module(module.digest));
    let total = Producer::<()>::new(client.clone(), QUEUE, "total").unwrap();
    let report = Producer::<str>::new(client.clone(), QUEUE, "report").unwrap();
    let mut flow = Workflow::new(&client).label("corpus").unwrap();
    let mut words = 0;
    let mut parts = Vec::new();
    for number in 0..PARTS {
        words += number + 1;
        parts.push(flow.add(&part, "word ".repeat(number + 1).as_str()).unwrap());
    }
    let total = flow.add_after(&total, &(), parts).unwrap();
    let done = flow.on_complete(&report, "done").unwrap();
    let alarm = flow.on_failure(&report, "failed").unwrap();
    let batch = flow.submit().await.unwrap();

    let reached = async |completed: u64| {
        eventually(&format!("{completed} jobs of the batch are completed"), async || {
            (batch.view().await.unwrap().completed >= completed).then_some(())
        })
        .await;
    };
    reached(PARTS as u64 / 8).await;
    let leader = cluster.leader().await;
    cluster.kill_nodes(&[leader]);
    cluster.leader().await;
    reached(PARTS as u64 / 4).await;
    cluster.kill_worker("victim");
    cluster.start_worker("heir", &serves_parts).await;
    cluster.start_node(leader);
    reached(PARTS as u64 / 2).await;
    // The other leader too, while its predecessor catches up.
    cluster.caught_up(&client, leader).await;
    let second = cluster.leader().await;
    cluster.kill_nodes(&[second]);

    let view = batch.wait(DEADLINE).await.unwrap();
    assert_eq!((view.state, view.completed), (BatchState::Completed, PARTS as u64 + 1));
    assert_eq!(batch.result::<u64>(total).await.unwrap(), words as u64);
    let called: JobView = client.wait_job(done, DEADLINE).await.unwrap();
    assert_eq!((called.state, called.batch, called.is_callback), (JobState::Completed, Some(batch.id()), true));
    assert!(job(&client, alarm).await.is_err(), "nothing failed");
    // Each part, the total and the callback, once.
    let completed = count(&client, &[PART_QUEUE, QUEUE], |stats| stats.completed).await.unwrap();
    assert_eq!(completed, PARTS as u64 + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tick_enqueues_one_job_while_leaders_die() {
    let mut cluster = TestCluster::start(3).await;
    let client = cluster.client().await;
    let name: ScheduleName = "beat".parse().unwrap();
    let queue: QueueName = "beats".parse().unwrap();
    let beats = Producer::<str>::new(client.clone(), queue.as_str(), "none").unwrap();
    // It passes over what is late: a minute, which is more than an election takes.
    client.put_schedule(beats.schedule(name.as_str(), "* * * * * *", "").unwrap()).await.unwrap();
    let reached = async |fired: u64| {
        eventually(&format!("{fired} ticks have fired"), async || {
            let view = client.schedule(&name, 0, Consistency::Linearizable).await.unwrap();
            (view.fired >= fired).then_some(view)
        })
        .await
    };
    for round in 1..=2 {
        reached(TICKS as u64 * round / 3).await;
        let leader = cluster.leader().await;
        cluster.kill_nodes(&[leader]);
        cluster.leader().await;
        cluster.start_node(leader);
    }
    reached(TICKS as u64).await;
    client.pause_schedule(&name).await.unwrap();
    let view = client.schedule(&name, 0, Consistency::Linearizable).await.unwrap();
    let filter = JobFilter { queues: vec![queue], ..JobFilter::default() };
    let jobs = client.list_jobs(filter, Listing { limit: 1_000, ..Listing::default() }).await.unwrap().jobs;
    let mut ticks: Vec<LogTime> = Vec::new();
    for one in &jobs {
        ticks.push(job(&client, one.id).await.unwrap().tick.unwrap().tick);
    }
    ticks.sort_unstable();
    assert_eq!(jobs.len() as u64, view.fired);
    assert_eq!(view.missed + view.skipped, 0);
    let steps: Vec<u64> = ticks.windows(2).map(|pair| pair[1].ms_since(pair[0])).collect();
    assert!(steps.iter().all(|step| *step == 1_000), "a tick is missing or came twice: {ticks:?}");
}
