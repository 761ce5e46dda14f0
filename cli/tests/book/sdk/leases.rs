//! Leases.

use crate::site::{Site, during, ended};
use jobraft_sdk::Producer;
use jobraft_sdk::protocol::JobState;

// ANCHOR: lease
use jobraft_sdk::{Client, JobContext, JobError, SdkError, Worker};
use std::time::{Duration, Instant};

/// Works for as long as it likes: its lease is extended meanwhile. If this process dies, others get the job within 5 s.
async fn work(context: JobContext, seconds: u64) -> Result<(), JobError> {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    assert!(context.deadline() > Instant::now(), "else this would have been dropped at its `await`");
    Ok(())
}

fn worker(client: &Client) -> Result<Worker, SdkError> {
    Worker::builder(client.clone()).queues(["long"]).lease(Duration::from_secs(5)).handler("work", work).build()
}
// ANCHOR_END: lease

#[tokio::test(flavor = "multi_thread")]
async fn a_job_may_outlast_its_first_lease() {
    let site = Site::start().await;
    let client = site.client().await;
    let tasks = Producer::<u64>::new(client.clone(), "long", "work").unwrap().max_attempts(1).max_crashes(1);
    let job = during(worker(&client).unwrap(), async { ended(&client, tasks.enqueue(&7).await.unwrap()).await }).await;
    assert_eq!((job.state, job.errors.len()), (JobState::Completed, 0));
}
