//! When a job runs.

use crate::site::{Site, during, ended};
use jobraft_sdk::protocol::{Consistency, JobState};
use jobraft_sdk::{JobContext, JobError};
use std::sync::{Arc, Mutex};

// ANCHOR: remind
use jobraft_sdk::protocol::JobId;
use jobraft_sdk::{Client, Producer, SdkError, Worker};
use std::time::Duration;

async fn remind(client: &Client, whom: &str) -> Result<[JobId; 3], SdkError> {
    let reminders = Producer::<str>::new(client.clone(), "reminders", "remind")?;
    let now = reminders.clone().priority(0).enqueue(whom).await?;
    let in_an_hour = reminders.clone().delay(Duration::from_secs(3_600)).enqueue(whom).await?;
    let tomorrow = client.log_time().plus_ms(24 * 3_600 * 1_000); // the cluster's clock, not this machine's
    let tomorrow = reminders.start_at(tomorrow).enqueue(whom).await?;
    Ok([now, in_an_hour, tomorrow])
}
// ANCHOR_END: remind

// ANCHOR: weights
/// While both queues have work, three jobs are taken from `urgent` for each one from `bulk`.
fn fair_worker(client: &Client) -> Result<Worker, SdkError> {
    Worker::builder(client.clone())
        .queue_weighted("urgent", 3)
        .queue_weighted("bulk", 1)
        .handler("work", |_, (): ()| async { Ok(()) })
        .build()
}
// ANCHOR_END: weights

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_job_waits_for_its_time() {
    let site = Site::start().await;
    let client = site.client().await;
    let [now, in_an_hour, tomorrow] = remind(&client, "ada").await.unwrap();
    let job = async |id| client.get_job(id, Consistency::Linearizable).await.unwrap();
    let (first, second, third) = (job(now).await, job(in_an_hour).await, job(tomorrow).await);
    assert_eq!((first.state, first.priority), (JobState::Ready, 0));
    assert_eq!((second.state, second.run_at.ms_since(second.enqueued_at)), (JobState::Scheduled, 3_600_000));
    assert_eq!(third.state, JobState::Scheduled);
    assert!(third.run_at > second.run_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_urgent_job_runs_first() {
    let site = Site::start().await;
    let client = site.client().await;
    let tasks = Producer::<str>::new(client.clone(), "order", "note").unwrap();
    for (priority, text) in [(5, "third"), (9, "last"), (0, "first"), (5, "fourth"), (1, "second")] {
        tasks.clone().priority(priority).enqueue(text).await.unwrap();
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&seen);
    let note = move |_: JobContext, text: String| {
        noting.lock().unwrap().push(text);
        async { Ok::<_, JobError>(()) }
    };
    let worker = Worker::builder(client.clone()).queues(["order"]).concurrency(1).handler("note", note).build();
    during(worker.unwrap(), async {
        let end = tasks.priority(9).enqueue("end").await.unwrap();
        ended(&client, end).await;
    })
    .await;
    assert_eq!(*seen.lock().unwrap(), ["first", "second", "third", "fourth", "last", "end"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weighted_worker_serves_all_its_queues() {
    let site = Site::start().await;
    let client = site.client().await;
    during(fair_worker(&client).unwrap(), async {
        for queue in ["urgent", "bulk"] {
            let tasks = Producer::<()>::new(client.clone(), queue, "work").unwrap();
            let job = tasks.enqueue(&()).await.unwrap();
            assert_eq!(ended(&client, job).await.state, JobState::Completed);
        }
    })
    .await;
}
