//! Producers and a worker that go on while credentials are replaced under them, and what must have come of their jobs.

use crate::support::{DEADLINE, count, eventually};
use jobraft_sdk::protocol::{EnqueueOutcome, JobId, NewJob, QueueName, Task, TaskName};
use jobraft_sdk::{Client, ClientConfig, JobContext, JobError, Worker};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "rotation";
const PRODUCERS: usize = 2;
/// So many jobs a producer enqueues on one connection, then it makes another.
const JOBS_PER_CONNECTION: usize = 25;

type Runs = Arc<Mutex<BTreeMap<JobId, u32>>>;

/// See the module.
pub(crate) struct Load {
    producers: Vec<JoinHandle<Vec<JobId>>>,
    worker: JoinHandle<()>,
    runs: Runs,
    stop: CancellationToken,
    stop_worker: CancellationToken,
}

impl Load {
    /// Begins; producers connect with `producer` ever anew, the worker once with `worker`.
    pub(crate) async fn start(producer: ClientConfig, worker: ClientConfig) -> Self {
        let (stop, stop_worker) = (CancellationToken::new(), CancellationToken::new());
        let runs = Runs::default();
        let worker = Client::connect(patient(worker)).await.unwrap();
        let worker = work(worker, Arc::clone(&runs), &stop_worker);
        let producer = patient(producer);
        let producers = (0..PRODUCERS).map(|_| produce(producer.clone(), stop.clone())).collect();
        Self { producers, worker, runs, stop, stop_worker }
    }

    /// Waits until it has come further by some connections.
    pub(crate) async fn progress(&self, what: &str) {
        let goal = self.runs.lock().unwrap().len() + 4 * JOBS_PER_CONNECTION;
        eventually(what, async || (self.runs.lock().unwrap().len() >= goal).then_some(())).await;
    }

    /// Ends: every acknowledged job has run, once. `client` is somebody who may look.
    pub(crate) async fn finish(self, client: &Client) {
        self.stop.cancel();
        let mut acknowledged = Vec::new();
        for producer in self.producers {
            acknowledged.extend(producer.await.unwrap());
        }
        let wanted = u64::try_from(acknowledged.len()).unwrap();
        eventually("all jobs are completed", async || {
            (count(client, &[QUEUE], |stats| stats.completed).await.unwrap() >= wanted).then_some(())
        })
        .await;
        self.stop_worker.cancel();
        self.worker.await.unwrap();
        let runs = std::mem::take(&mut *self.runs.lock().unwrap());
        assert_eq!(runs.len(), acknowledged.len());
        assert!(acknowledged.iter().all(|id| runs.get(id) == Some(&1)), "a job has run more than once, or never");
        assert_eq!(count(client, &[QUEUE], |stats| stats.completed).await.unwrap(), wanted);
        eprintln!("{wanted} jobs");
    }
}

fn patient(config: ClientConfig) -> ClientConfig {
    config.request_timeout(DEADLINE).connect_timeout(DEADLINE)
}

/// Enqueues jobs, one at a time and on ever new connections, until it is told to stop; the ids of those acknowledged.
fn produce(config: ClientConfig, stop: CancellationToken) -> JoinHandle<Vec<JobId>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        while !stop.is_cancelled() {
            let client = Client::connect(config.clone()).await.unwrap();
            for _ in 0..JOBS_PER_CONNECTION {
                let task = Task::Handler(TaskName::new("note").unwrap());
                let job = NewJob::new(client.job_id(), QueueName::new(QUEUE).unwrap(), task, "1".to_owned());
                let id = job.id;
                let outcomes = client.enqueue(vec![job]).await.unwrap();
                assert!(!matches!(outcomes[0], EnqueueOutcome::Refused(_)), "{outcomes:?}");
                acknowledged.push(id);
            }
            client.close().await;
        }
        acknowledged
    })
}

fn work(client: Client, runs: Runs, stop: &CancellationToken) -> JoinHandle<()> {
    let handler = move |context: JobContext, _: u64| {
        *runs.lock().unwrap().entry(context.job()).or_default() += 1;
        async { Ok::<_, JobError>(()) }
    };
    let worker = Worker::builder(client).name("worker").queues([QUEUE]).concurrency(16);
    let worker = worker.handler("note", handler).build().unwrap();
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        worker.run(stopped).await.unwrap();
    })
}
