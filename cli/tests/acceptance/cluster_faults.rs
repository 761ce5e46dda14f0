//! Nodes die without a word, one at a time and all at once; no job does.

use crate::support::{DEADLINE, TestCluster, count, eventually, job};
use futures_util::{StreamExt, stream};
use jobraft_sdk::protocol::{EnqueueOutcome, JobId, JobState, ModuleRef, NewJob, QueueName, Task, TaskName};
use jobraft_sdk::{Client, JobContext, JobError, Worker, WorkerReport};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const NATIVE: &str = "native";
const WASM: &str = "wasm";
const DURABLE: &str = "durable";
const WORDCOUNT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/wasm/wordcount/wordcount.wasm");

const JOBS_DEFAULT: usize = 10_000;
const BATCH: usize = 100;
/// Of so many jobs one is a module.
const WASM_EVERY: usize = 20;
const KILLS: usize = 5;
/// Enqueueing stays so far ahead of the workers: there is work at every moment, and enqueueing at every moment.
const BACKLOG_MAX: usize = 1_000;
/// Short, so that what was on its way to a worker when the leader died is given out again soon.
const LEASE: Duration = Duration::from_secs(2);
/// Longer than a leader waits for a sign of its majority.
const IDLE: Duration = Duration::from_secs(4);
/// Acknowledged single enqueues before everything is killed.
const ACKNOWLEDGED_MIN: usize = 300;

/// A number from the environment, for a longer run or the repetition of a failed one.
fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// How often each job's handler ran.
#[derive(Default)]
struct Runs {
    of: Mutex<BTreeMap<JobId, u32>>,
    total: watch::Sender<usize>,
}

impl Runs {
    async fn reach(&self, total: usize) {
        let mut now = self.total.subscribe();
        let reached = tokio::time::timeout(DEADLINE, now.wait_for(|now| *now >= total)).await.is_ok();
        assert!(reached, "waited {DEADLINE:?} in vain for {total} runs, there were {}", *self.total.borrow());
    }
}

/// A native worker in this process.
fn start_worker(client: Client, name: &str, runs: &Arc<Runs>, stop: &CancellationToken) -> JoinHandle<WorkerReport> {
    let runs = Arc::clone(runs);
    let handler = move |context: JobContext, number: u64| {
        let runs = Arc::clone(&runs);
        async move {
            *runs.of.lock().unwrap().entry(context.job()).or_default() += 1;
            runs.total.send_modify(|total| *total += 1);
            Ok::<_, JobError>(number + 1)
        }
    };
    let worker = Worker::builder(client).name(name).queues([NATIVE]).concurrency(32).lease(LEASE);
    let worker = worker.handler("increment", handler).build().unwrap();
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move { worker.run(stopped).await.unwrap() })
}

/// Enqueues `total` jobs in batches, never too far ahead; their ids.
async fn enqueue(client: Client, module: Task, total: usize, runs: Arc<Runs>) -> Vec<JobId> {
    let native = Task::Handler(TaskName::new("increment").unwrap());
    let mut ids = Vec::with_capacity(total);
    while ids.len() < total {
        runs.reach(ids.len().saturating_sub(BACKLOG_MAX + ids.len() / WASM_EVERY)).await;
        let numbers = ids.len()..total.min(ids.len() + BATCH);
        let jobs: Vec<NewJob> = numbers
            .map(|number| {
                let (queue, task) = if number % WASM_EVERY == 0 { (WASM, &module) } else { (NATIVE, &native) };
                NewJob::new(client.job_id(), QueueName::new(queue).unwrap(), task.clone(), number.to_string())
            })
            .collect();
        ids.extend(jobs.iter().map(|job| job.id));
        let outcomes = client.enqueue(jobs).await.unwrap();
        // A retry whose first try was done finds its jobs there.
        let refused = outcomes.iter().find(|outcome| matches!(outcome, EnqueueOutcome::Refused(_)));
        assert_eq!(refused, None);
    }
    ids
}

/// How many of `total` jobs are native: each runs at least once.
const fn native_jobs(total: usize) -> usize {
    total - total.div_ceil(WASM_EVERY)
}

/// Kills a node, waits until work goes on without it, and brings it back.
async fn kill_and_restart(cluster: &mut TestCluster, client: &Client, victim: u64, runs: &Runs, runs_min: usize) {
    let begun = Instant::now();
    let now = *runs.total.borrow();
    cluster.kill_nodes(&[victim]);
    let leader = cluster.leader().await;
    let elected = begun.elapsed();
    // The end of the work is as good a sign, should it be near.
    runs.reach((now + BATCH).min(runs_min)).await;
    eprintln!("killed node {victim}: node {leader} led {elected:?} later, work went on after {:?}", begun.elapsed());
    cluster.start_node(victim);
    cluster.caught_up(client, victim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_jobs_complete_once_while_nodes_die_and_nothing_acknowledged_is_lost_when_all_die() {
    let begun = Instant::now();
    let total = setting("JOBRAFT_TEST_JOBS").unwrap_or(JOBS_DEFAULT);
    let seed = setting("JOBRAFT_TEST_SEED").unwrap_or_else(rand::random);
    eprintln!("{total} jobs; JOBRAFT_TEST_SEED={seed} repeats the choice of victims");
    let mut random = StdRng::seed_from_u64(seed);

    let mut cluster = TestCluster::start(3).await;
    let client = cluster.client().await;
    let bytes = std::fs::read(WORDCOUNT).unwrap();
    let module = client.upload_module(bytes.into(), None, |_, _| {}).await.unwrap();
    let module = client.resolve_module(ModuleRef::Digest(module.digest)).await.unwrap();
    cluster.start_worker("worker", &["--queue", WASM, "--lease", "2s"]).await;
    let (runs, stop) = (Arc::new(Runs::default()), CancellationToken::new());
    let workers = [
        start_worker(cluster.client().await, "first", &runs, &stop),
        start_worker(cluster.client().await, "second", &runs, &stop),
    ];
    let enqueued = tokio::spawn(enqueue(client.clone(), Task::Module(module.digest), total, Arc::clone(&runs)));

    // One at a time, spread over the run; the leader is among them.
    for round in 0..KILLS {
        runs.reach(total * (round + 1) / (KILLS + 2)).await;
        let leader = cluster.leader().await;
        let victim = if round % 2 == 0 { leader } else { *cluster.running().choose(&mut random).unwrap() };
        kill_and_restart(&mut cluster, &client, victim, &runs, native_jobs(total)).await;
    }
    let ids = enqueued.await.unwrap();
    eprintln!("all enqueued after {:?}", begun.elapsed());
    let wanted = u64::try_from(total).unwrap();
    eventually("all jobs are completed", async || {
        let completed = count(&client, &[NATIVE, WASM], |stats| stats.completed).await.unwrap();
        (completed >= wanted).then_some(())
    })
    .await;
    eprintln!("all completed after {:?}", begun.elapsed());
    stop.cancel();
    let mut accepted = 0;
    for worker in workers {
        let report = worker.await.unwrap();
        eprintln!("{report:?}");
        accepted += report.completed;
    }
    assert!(cluster.terminate_worker("worker").0.success());
    let natives = ids.iter().enumerate().filter(|(number, _)| number % WASM_EVERY != 0);
    let natives: Vec<JobId> = natives.map(|(_, id)| *id).collect();
    assert!(accepted <= natives.len() as u64, "{accepted} completions were accepted of {} jobs", natives.len());
    {
        let runs = runs.of.lock().unwrap();
        assert!(natives.iter().all(|id| runs.contains_key(id)), "a job was completed without having run");
        eprintln!("{} jobs ran more than once", runs.values().filter(|times| **times > 1).count());
    }

    let acknowledged = kill_all_while_enqueueing(&mut cluster).await;
    eprintln!("{} acknowledged; all nodes back after {:?}", acknowledged.len(), begun.elapsed());
    let client = cluster.client().await;
    for (state, ids) in [(JobState::Completed, &ids), (JobState::Ready, &acknowledged)] {
        let mut views = stream::iter(ids).map(|id| job(&client, *id)).buffer_unordered(256);
        while let Some(view) = views.next().await {
            let view = view.unwrap();
            assert_eq!(view.state, state, "{view:?}");
        }
    }
    assert_eq!(count(&client, &[NATIVE, WASM], |stats| stats.completed).await.unwrap(), wanted);
    let strays = count(&client, &[NATIVE, WASM], |stats| stats.ready + stats.leased + stats.scheduled + stats.dead);
    assert_eq!(strays.await.unwrap(), 0);
    // Every call was acknowledged in the end: no retry made a second job.
    assert_eq!(count(&client, &[DURABLE], |stats| stats.ready).await.unwrap(), acknowledged.len() as u64);
    eprintln!("done after {:?}", begun.elapsed());
}

/// A leader that nobody wrote to for a while must not take the silence for the loss of its majority.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_cluster_serves_at_once() {
    for size in [1, 3] {
        let mut cluster = TestCluster::start(size).await;
        let client = Client::connect(cluster.client_config()).await.unwrap();
        tokio::time::sleep(IDLE).await;
        let task = Task::Handler(TaskName::new("none").unwrap());
        let job = NewJob::new(client.job_id(), QueueName::new(DURABLE).unwrap(), task, "x");
        assert_eq!(client.enqueue(vec![job]).await.unwrap(), [EnqueueOutcome::Created]);
        let leader = cluster.leader().await;
        assert_eq!(cluster.status_of(&client, leader).await.unwrap().term, 1, "an idle cluster has elected anew");
    }
}

/// Kills all nodes in one moment while single jobs are enqueued, and starts them again; what was acknowledged.
async fn kill_all_while_enqueueing(cluster: &mut TestCluster) -> Vec<JobId> {
    let client = cluster.client().await;
    let (acknowledged, enough) = (watch::Sender::new(0), Arc::new(AtomicBool::new(false)));
    let enqueuers: Vec<JoinHandle<Vec<JobId>>> = (0..8)
        .map(|_| {
            let (client, acknowledged, enough) = (client.clone(), acknowledged.clone(), Arc::clone(&enough));
            tokio::spawn(async move {
                let mut ids = Vec::new();
                while !enough.load(Ordering::Relaxed) {
                    let task = Task::Handler(TaskName::new("none").unwrap());
                    let job = NewJob::new(client.job_id(), QueueName::new(DURABLE).unwrap(), task, "x");
                    let id = job.id;
                    client.enqueue(vec![job]).await.unwrap();
                    ids.push(id);
                    acknowledged.send_modify(|count| *count += 1);
                }
                ids
            })
        })
        .collect();
    acknowledged.subscribe().wait_for(|count| *count >= ACKNOWLEDGED_MIN).await.unwrap();
    cluster.kill_nodes(&cluster.running());
    enough.store(true, Ordering::Relaxed);
    for id in 1..=3 {
        cluster.start_node(id);
    }
    cluster.leader().await;
    let mut ids = Vec::new();
    for enqueuer in enqueuers {
        ids.extend(enqueuer.await.unwrap());
    }
    ids
}
