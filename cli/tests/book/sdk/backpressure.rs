//! Backpressure.

use crate::site::Site;
use jobraft_sdk::protocol::{Consistency, QueueName, QueueSetting, Setting};

// ANCHOR: patient
use jobraft_sdk::protocol::{ErrorCode, JobId};
use jobraft_sdk::{Client, Producer, SdkError};
use std::time::Duration;

/// Enqueues, and if the queue is full waits for room as long as `patience` lasts.
async fn enqueue(client: &Client, text: &str, patience: Duration) -> Result<Option<JobId>, SdkError> {
    let texts = Producer::<str>::new(client.clone(), "texts", "count")?.wait_when_full(patience);
    match texts.enqueue(text).await {
        Err(SdkError::Refused(error)) if error.code == ErrorCode::QueueFull => {
            tracing::info!(again_in_ms = error.retry_after_ms, "the queue is full");
            Ok(None)
        }
        job => job.map(Some),
    }
}
// ANCHOR_END: patient

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_or_is_waited_for() {
    let site = Site::start().await;
    let client = site.client().await;
    let depth = Setting::Queue(QueueName::new("texts").unwrap(), QueueSetting::DepthMax(Some(1)));
    client.configure(vec![depth]).await.unwrap();
    let first = enqueue(&client, "one", Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(enqueue(&client, "two", Duration::ZERO).await.unwrap(), None);
    let (third, ()) = tokio::join!(enqueue(&client, "three", crate::support::DEADLINE), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.cancel(first, "to make room").await.unwrap();
    });
    let third = client.get_job(third.unwrap().unwrap(), Consistency::Linearizable).await.unwrap();
    assert_eq!(&third.payload[..], b"\"three\"");
}
