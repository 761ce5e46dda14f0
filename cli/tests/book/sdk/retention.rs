//! Expiration and log cleaning.

use crate::site::{Site, during, ended};
use crate::support::eventually;
use jobraft_sdk::protocol::{Consistency, ErrorCode, JobState};
use jobraft_sdk::{Producer, Worker};

// ANCHOR: keep
use jobraft_sdk::protocol::{QueueName, QueueSetting, Retention, Setting};
use jobraft_sdk::{Client, SdkError};

/// Keeps results for a second and at most 1,000 of them, and the dead for 90 days.
async fn keep_little(client: &Client, queue: &str) -> Result<(), SdkError> {
    let queue = QueueName::new(queue)?;
    let results = Retention { age_ms: 1_000, count: Some(1_000) };
    let dead = Retention::for_ms(90 * 24 * 3_600 * 1_000);
    client
        .configure(vec![
            Setting::Queue(queue.clone(), QueueSetting::KeepCompleted(Some(results))),
            Setting::Queue(queue, QueueSetting::KeepDead(Some(dead))),
        ])
        .await
}
// ANCHOR_END: keep

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_no_longer_cannot_be_read() {
    let site = Site::start().await;
    let client = site.client().await;
    keep_little(&client, "q").await.unwrap();
    let worker =
        Worker::builder(client.clone()).queues(["q"]).handler("t", |_, (): ()| async { Ok(()) }).build().unwrap();
    let tasks = Producer::<()>::new(client.clone(), "q", "t").unwrap();
    let id = during(worker, async {
        let id = tasks.enqueue(&()).await.unwrap();
        assert_eq!(ended(&client, id).await.state, JobState::Completed);
        id
    })
    .await;
    eventually("it is kept no longer", async || {
        let read = client.get_job(id, Consistency::Linearizable).await;
        read.is_err_and(|error| error.code() == Some(ErrorCode::NotFound)).then_some(())
    })
    .await;
}
