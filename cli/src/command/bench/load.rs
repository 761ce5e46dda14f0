//! The load: producers that enqueue one job at a time, and a worker that does nothing with each.

use crate::connection::{self, Connection};
use crate::failure::Failure;
use bytes::Bytes;
use jobraft_protocol::{NewJob, QueueName, Task, TaskName};
use jobraft_sdk::{Client, JobContext, JobError, Worker};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

const TASK: &str = "nothing";
/// Jobs that the worker holds at once at most.
const CONCURRENCY_MAX: usize = 1_024;
/// How long a new cluster may take to elect a leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last jobs may take after the last enqueue.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) in_flight: u32,
    pub(super) payload_bytes: u32,
    pub(super) duration: Duration,
}

/// What came out.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Jobs enqueued and completed.
    pub(super) jobs: u64,
    /// From the first enqueue to the last completion.
    pub(super) elapsed: Duration,
    pub(super) enqueue_p50: Duration,
    pub(super) enqueue_p99: Duration,
}

/// Waits until the cluster answers a linearizable read.
pub(super) async fn wait_for_leader(client: &Client) -> Result<(), Failure> {
    let deadline = Instant::now() + LEADER_TIMEOUT;
    loop {
        match client.queues(jobraft_protocol::request::Consistency::Linearizable).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(connection::failed("reach the cluster", &error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

impl Load {
    pub(super) async fn run(self, connection: &Connection) -> Result<Measured, Failure> {
        let failed = |error| connection::failed("measure", &error);
        let producer = connection.connect().await?;
        let consumer = connection.connect().await?;
        // A queue of its own, so that what an interrupted run left behind does no harm.
        let queue = format!("bench-{}", producer.job_id());
        let queue = QueueName::new(&queue).map_err(|error| Failure::new("measure", error))?;
        let task = Task::Handler(TaskName::new(TASK).map_err(|error| Failure::new("measure", error))?);
        let done = Arc::new((AtomicU64::new(0), Notify::new()));
        let worker = Worker::builder(consumer.clone())
            .name("bench")
            .queues([queue.to_string()])
            .concurrency((self.in_flight as usize).clamp(16, CONCURRENCY_MAX))
            .handler(TASK, {
                let done = Arc::clone(&done);
                move |_: JobContext, (): ()| {
                    let done = Arc::clone(&done);
                    async move {
                        done.0.fetch_add(1, Ordering::Relaxed);
                        done.1.notify_one();
                        Ok::<_, JobError>(())
                    }
                }
            })
            .build()
            .map_err(failed)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let working = tokio::spawn(worker.run(async move {
            // Dropped is told, too.
            let _ = stopped.await;
        }));

        let started = Instant::now();
        // JSON `null`, padded: what a handler that takes nothing reads.
        let mut payload = b"null".to_vec();
        payload.resize((self.payload_bytes as usize).max(payload.len()), b' ');
        let mut producers = JoinSet::new();
        for _ in 0..self.in_flight {
            producers.spawn(produce(
                producer.clone(),
                queue.clone(),
                task.clone(),
                payload.clone().into(),
                started + self.duration,
            ));
        }
        let mut latencies = Vec::new();
        while let Some(finished) = producers.join_next().await {
            let mut more = finished.map_err(|error| Failure::new("measure", error))?.map_err(failed)?;
            latencies.append(&mut more);
        }
        let jobs = latencies.len() as u64;
        let drained = async {
            while done.0.load(Ordering::Relaxed) < jobs {
                done.1.notified().await;
            }
        };
        let in_time = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
        in_time.map_err(|_| Failure::new("measure", format!("not all of {jobs} jobs ran within {DRAIN_TIMEOUT:?}")))?;
        // The drain waits for the last completions to be confirmed.
        drop(stop);
        let report = working.await.map_err(|error| Failure::new("measure", error))?.map_err(failed)?;
        let elapsed = started.elapsed();
        if report.completed != jobs {
            let what = format!("{} of {jobs} completions were confirmed", report.completed);
            return Err(Failure::new("measure", what));
        }
        producer.close().await;
        consumer.close().await;
        latencies.sort_unstable();
        let percentile = |p: usize| latencies.get(latencies.len() * p / 100).copied().unwrap_or_default();
        Ok(Measured { jobs, elapsed, enqueue_p50: percentile(50), enqueue_p99: percentile(99) })
    }
}

async fn produce(
    client: Client,
    queue: QueueName,
    task: Task,
    payload: Bytes,
    until: Instant,
) -> Result<Vec<Duration>, jobraft_sdk::SdkError> {
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let job = NewJob::new(client.job_id(), queue.clone(), task.clone(), payload.clone());
        let asked = Instant::now();
        client.enqueue(vec![job]).await?;
        latencies.push(asked.elapsed());
    }
    Ok(latencies)
}
