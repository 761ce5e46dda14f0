//! Load in the background, while something else is measured. Nodes may go away under it.

use crate::connection::{Connection, failed};
use crate::failure::Failure;
use jobraft_protocol::{NewJob, QueueName, Task, TaskName};
use jobraft_sdk::{Client, JobContext, JobError, Worker};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Enqueues under way.
const IN_FLIGHT: usize = 64;
const QUEUE: &str = "pressure";
const TASK: &str = "nothing";
/// JSON that a handler of nothing reads, as long as the other payloads.
const PAYLOAD_BYTES: usize = 256;

/// A load that goes on until it is stopped.
#[derive(Debug)]
pub(super) struct Pressure {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    client: Client,
    enqueued: Arc<AtomicU64>,
}

/// A job that does nothing.
pub(super) fn job(client: &Client, queue: &str) -> Result<NewJob, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::new("make a job", error);
    let queue = QueueName::new(queue).map_err(|error| wrong(&error))?;
    let task = Task::Handler(TaskName::new(TASK).map_err(|error| wrong(&error))?);
    let mut payload = b"null".to_vec();
    payload.resize(PAYLOAD_BYTES, b' ');
    Ok(NewJob::new(client.job_id(), queue, task, payload))
}

impl Pressure {
    /// Starts it. What fails while nodes are away is tried again.
    pub(super) async fn start(connection: &Connection) -> Result<Self, Failure> {
        let client = connection.connect().await?;
        let (stop, enqueued, mut tasks) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)), JoinSet::new());
        let worker = Worker::builder(client.clone()).name("pressure").queues([QUEUE]).concurrency(IN_FLIGHT);
        let worker =
            worker.grace(Duration::ZERO).handler(TASK, |_: JobContext, (): ()| async { Ok::<_, JobError>(()) });
        let worker = worker.build().map_err(|error| failed("start the load", &error))?;
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            let _ = worker.run(stopped).await;
        });
        let sample = job(&client, QUEUE)?;
        for _ in 0..IN_FLIGHT {
            let (client, stop, enqueued, sample) =
                (client.clone(), stop.clone(), Arc::clone(&enqueued), sample.clone());
            tasks.spawn(async move {
                while !stop.is_cancelled() {
                    let job = NewJob { id: client.job_id(), ..sample.clone() };
                    if client.enqueue(vec![job]).await.is_ok() {
                        enqueued.fetch_add(1, Ordering::Relaxed);
                    } else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            });
        }
        Ok(Self { stop, tasks, client, enqueued })
    }

    /// Jobs enqueued so far.
    pub(super) fn enqueued(&self) -> u64 {
        self.enqueued.load(Ordering::Relaxed)
    }

    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.client.close().await;
    }
}
