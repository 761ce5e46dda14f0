//! Control.

use crate::site::{Site, during, ended, once};
use crate::support::eventually;
use jobraft_sdk::protocol::{Consistency, JobState};
use jobraft_sdk::{Producer, Worker};

// ANCHOR: handler
use jobraft_sdk::{JobContext, JobError};
use std::time::Duration;

/// Renders frame by frame, and stops between two of them when it is asked to.
async fn render(context: JobContext, frames: u32) -> Result<u32, JobError> {
    for _ in 0..frames {
        tokio::select! {
            () = context.cancelled().cancelled() => {
                let why = context.cancel_reason().unwrap_or_default();
                return Err(JobError::fatal(format!("stopped: {why}"))); // the job is cancelled, not dead
            }
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    Ok(frames)
}
// ANCHOR_END: handler

// ANCHOR: control
use jobraft_sdk::protocol::{JobId, QueueMode, QueueName, QueueSetting, Setting};
use jobraft_sdk::{Client, SdkError};

async fn stop_all(client: &Client, queue: &str, running: JobId) -> Result<(), SdkError> {
    let pause = Setting::Queue(QueueName::new(queue)?, QueueSetting::Mode(QueueMode::Paused));
    client.configure(vec![pause]).await?;
    client.cancel_within(running, "we are closing", Duration::from_secs(5)).await
}
// ANCHOR_END: control

pub(super) fn worker(client: &Client) -> Worker {
    let worker = Worker::builder(client.clone()).queues(["films"]).concurrency(1);
    worker.handler("render", render).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_asked_to_stop_and_the_others_wait() {
    let site = Site::start().await;
    let client = site.client().await;
    let films = Producer::<u32>::new(client.clone(), "films", "render").unwrap();
    during(worker(&client), async {
        let running = films.enqueue(&1_000_000).await.unwrap();
        once(&client, running, JobState::Leased).await;
        let waiting = films.enqueue(&1).await.unwrap();
        stop_all(&client, "films", running).await.unwrap();
        let job = ended(&client, running).await;
        assert_eq!((job.state, job.cancel_reason.as_deref()), (JobState::Cancelled, Some("we are closing")));
        eventually("the worker is free", async || {
            let queues = client.queues(Consistency::Linearizable).await.unwrap();
            queues.iter().any(|queue| queue.leased == 0 && queue.ready == 1).then_some(())
        })
        .await;
        let job = client.get_job(waiting, Consistency::Linearizable).await.unwrap();
        assert_eq!(job.state, JobState::Ready);
    })
    .await;
}
