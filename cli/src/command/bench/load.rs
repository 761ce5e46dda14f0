//! The load: producers that enqueue one job at a time, and a worker that does nothing with each.

use crate::connection::{self, Connection};
use crate::failure::Failure;
use bytes::Bytes;
use jobraft_protocol::limits::{CONCURRENCY_MAX, RATE_COUNT_MAX};
use jobraft_protocol::{GroupKey, NewJob, QueueName, QueueSetting, Rate, Setting, Task, TaskName};
use jobraft_sdk::{Client, JobContext, JobError, SdkError, Worker};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinSet;

const TASK: &str = "nothing";
/// Room that a queue with a backlog has beyond it.
const ROOM: u64 = 1_000_000;
/// Jobs that the worker holds at once at most.
const HELD_MAX: usize = 1_024;
/// A rate that is reckoned and never reached.
const NO_LIMIT: Rate = Rate::new(RATE_COUNT_MAX, 1_000);
/// Jobs of the backlog that are enqueued together.
const FILL_JOBS: u64 = 4_000;
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
    /// Jobs that wait in the queue before, and go on waiting: as many run as are enqueued.
    pub(super) waiting: u64,
    /// Over how many groups the jobs are spread, each with limits that are checked and never reached; 0: none.
    pub(super) groups: u32,
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

/// Jobs that do nothing, in a queue of their own, so that what an interrupted run left behind does no harm.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    queue: QueueName,
    task: Task,
    payload: Bytes,
    groups: Arc<[GroupKey]>,
    made: Arc<AtomicUsize>,
}

impl Jobs {
    fn next(&self, client: &Client) -> NewJob {
        let job = NewJob::new(client.job_id(), self.queue.clone(), self.task.clone(), self.payload.clone());
        let place = self.made.fetch_add(1, Ordering::Relaxed).checked_rem(self.groups.len());
        NewJob { group: place.map(|place| self.groups[place].clone()), ..job }
    }
}

impl Load {
    /// Makes the backlog, and waits until it rests on the nodes' disks: writing it is not what is to be measured.
    pub(super) async fn prepare(self, connection: &Connection) -> Result<Jobs, Failure> {
        let failed = |error| connection::failed("make the backlog", &error);
        let client = connection.connect().await?;
        let queue = format!("bench-{}", client.job_id());
        let queue = QueueName::new(&queue).map_err(|error| Failure::new("measure", error))?;
        let task = Task::Handler(TaskName::new(TASK).map_err(|error| Failure::new("measure", error))?);
        // JSON `null`, padded: what a handler that takes nothing reads.
        let mut payload = b"null".to_vec();
        payload.resize((self.payload_bytes as usize).max(payload.len()), b' ');
        let groups: Result<Vec<_>, _> = (0..self.groups).map(|number| GroupKey::new(&format!("g{number}"))).collect();
        let groups = groups.map_err(|error| Failure::new("measure", error))?.into();
        let jobs = Jobs { queue, task, payload: payload.into(), groups, made: Arc::default() };
        if self.groups > 0 {
            let limits =
                [QueueSetting::GroupConcurrency(Some(CONCURRENCY_MAX)), QueueSetting::GroupRate(Some(NO_LIMIT))];
            let limits = limits.map(|limit| Setting::Queue(jobs.queue.clone(), limit));
            client.configure(limits.to_vec()).await.map_err(failed)?;
        }
        if self.waiting > 0 {
            fill(&client, self.waiting, &jobs).await.map_err(failed)?;
            let last = client.cluster_status(None).await.map_err(failed)?.last_index;
            let deadline = Instant::now() + DRAIN_TIMEOUT;
            for endpoint in &connection.endpoints {
                while client.cluster_status(Some(endpoint)).await.map_err(failed)?.checkpoint_index < last {
                    if Instant::now() > deadline {
                        return Err(Failure::new("make the backlog", "its checkpoints take too long"));
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        client.close().await;
        Ok(jobs)
    }

    pub(super) async fn run(self, connection: &Connection, jobs: &Jobs) -> Result<Measured, Failure> {
        let failed = |error| connection::failed("measure", &error);
        let producer = connection.connect().await?;
        let consumer = connection.connect().await?;
        let done = Arc::new((AtomicU64::new(0), Notify::new()));
        // With a backlog a job may end only for one that was enqueued.
        let permits = Arc::new(Semaphore::new(if self.waiting == 0 { Semaphore::MAX_PERMITS } else { 0 }));
        let worker = Worker::builder(consumer.clone())
            .name("bench")
            .queues([jobs.queue.to_string()])
            .concurrency((self.in_flight as usize).clamp(16, HELD_MAX))
            // What still waits for its permit at the end is given back.
            .grace(Duration::ZERO)
            .handler(TASK, {
                let (done, permits) = (Arc::clone(&done), Arc::clone(&permits));
                move |_: JobContext, (): ()| {
                    let (done, permits) = (Arc::clone(&done), Arc::clone(&permits));
                    async move {
                        permits.acquire().await?.forget();
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
        let mut producers = JoinSet::new();
        for _ in 0..self.in_flight {
            let (client, jobs, permits) = (producer.clone(), jobs.clone(), Arc::clone(&permits));
            producers.spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < self.duration {
                    let asked = Instant::now();
                    client.enqueue(vec![jobs.next(&client)]).await?;
                    latencies.push(asked.elapsed());
                    if self.waiting > 0 {
                        permits.add_permits(1);
                    }
                }
                Ok::<_, SdkError>(latencies)
            });
        }
        let mut latencies = Vec::new();
        while let Some(finished) = producers.join_next().await {
            let mut more = finished.map_err(|error| Failure::new("measure", error))?.map_err(failed)?;
            latencies.append(&mut more);
        }
        let count = latencies.len() as u64;
        let drained = async {
            while done.0.load(Ordering::Relaxed) < count {
                done.1.notified().await;
            }
        };
        let in_time = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
        in_time
            .map_err(|_| Failure::new("measure", format!("not all of {count} jobs ran within {DRAIN_TIMEOUT:?}")))?;
        // The drain waits for the last completions to be confirmed.
        drop(stop);
        let report = working.await.map_err(|error| Failure::new("measure", error))?.map_err(failed)?;
        let elapsed = started.elapsed();
        if report.completed != count {
            let what = format!("{} of {count} completions were confirmed", report.completed);
            return Err(Failure::new("measure", what));
        }
        producer.close().await;
        consumer.close().await;
        latencies.sort_unstable();
        let percentile = |p: usize| latencies.get(latencies.len() * p / 100).copied().unwrap_or_default();
        Ok(Measured { jobs: count, elapsed, enqueue_p50: percentile(50), enqueue_p99: percentile(99) })
    }
}

/// Enqueues `count` jobs, many in each request, and sees to it that there is room for more.
async fn fill(client: &Client, count: u64, jobs: &Jobs) -> Result<(), SdkError> {
    let depth = QueueSetting::DepthMax(Some(count + ROOM));
    client.configure(vec![Setting::Queue(jobs.queue.clone(), depth)]).await?;
    let mut left = count;
    while left > 0 {
        let part = left.min(FILL_JOBS);
        client.enqueue((0..part).map(|_| jobs.next(client)).collect()).await?;
        left -= part;
    }
    Ok(())
}
