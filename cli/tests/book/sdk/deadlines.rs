//! When a job must not run.

use crate::site::{Site, during, ended};
use crate::support::DEADLINE;
use jobraft_sdk::protocol::{EndReason, FailureKind};

// ANCHOR: quote
use jobraft_sdk::protocol::JobState;
use jobraft_sdk::{Client, Producer, SdkError};
use std::time::Duration;

/// A price that nobody has worked out within five seconds is of no use any more.
async fn quote(client: &Client, item: &str, patience: Duration) -> Result<Option<u32>, SdkError> {
    let quotes = Producer::<str>::new(client.clone(), "quotes", "quote")?
        .ttl(Duration::from_secs(5)) // waits no longer for its first attempt
        .run_timeout(Duration::from_secs(1)); // and each attempt runs no longer
    match quotes.enqueue_and_wait(item, patience).await {
        Err(SdkError::JobEnded { state: JobState::Expired, .. }) => Ok(None),
        price => price.map(Some),
    }
}
// ANCHOR_END: quote

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_began_in_time_expires() {
    let site = Site::start().await;
    let client = site.client().await;
    assert_eq!(quote(&client, "lamp", DEADLINE).await.unwrap(), None);
    let price = jobraft_sdk::Worker::builder(client.clone())
        .queues(["quotes"])
        .handler("quote", |_, item: String| async move { Ok(u32::try_from(item.len())?) })
        .build()
        .unwrap();
    let price = during(price, quote(&client, "lamp", DEADLINE)).await.unwrap();
    assert_eq!(price, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_too_long_is_a_time_out() {
    let site = Site::start().await;
    let client = site.client().await;
    let slow = jobraft_sdk::Worker::builder(client.clone())
        .queues(["slow"])
        .handler("hang", |_, (): ()| async {
            std::future::pending::<()>().await;
            Ok(())
        })
        .build()
        .unwrap();
    let tasks = Producer::<()>::new(client.clone(), "slow", "hang").unwrap();
    let tasks = tasks.run_timeout(Duration::from_millis(300)).max_attempts(1);
    let job = during(slow, async { ended(&client, tasks.enqueue(&()).await.unwrap()).await }).await;
    assert_eq!((job.state, job.end_reason), (JobState::Dead, Some(EndReason::AttemptsExhausted)));
    assert_eq!(job.errors[0].kind, FailureKind::Timeout);
}
