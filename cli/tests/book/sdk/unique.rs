//! Once only.

use crate::site::Site;
use jobraft_sdk::protocol::{Consistency, ErrorCode, QueueMode, QueueName, QueueSetting, Setting};

// ANCHOR: idempotent
use jobraft_sdk::protocol::{EnqueueOutcome, JobId};
use jobraft_sdk::{Client, Producer, SdkError};
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
struct Document {
    name: String,
    version: u32,
}

/// The same id is the same job: what may have been enqueued can be enqueued again.
async fn enqueue_surely(client: &Client, document: &Document) -> Result<JobId, SdkError> {
    let job = Producer::new(client.clone(), "index", "index_document")?.job(document)?;
    let outcome = loop {
        match client.enqueue(vec![job.clone()]).await {
            Err(error) if error.retryable() => tokio::time::sleep(Duration::from_secs(1)).await,
            answer => break answer?.pop(),
        }
    };
    match outcome {
        Some(EnqueueOutcome::Refused(error)) => Err(error.into()),
        _ => Ok(job.id), // `Created`, or `Existing` if an earlier call had done it
    }
}
// ANCHOR_END: idempotent

// ANCHOR: debounce
use jobraft_sdk::protocol::OnConflict;

/// Indexes a document once it has not been changed for ten seconds, however often it is changed until then.
async fn changed(client: &Client, document: &Document) -> Result<JobId, SdkError> {
    let indexing = Producer::new(client.clone(), "index", "index_document")?
        .delay(Duration::from_secs(10))
        .unique_by(|document: &Document| format!("index/{}", document.name))
        .on_conflict(OnConflict::Replace { payload: true, start: true });
    let (job, outcome) = indexing.enqueue_detailed(document).await?;
    match outcome {
        EnqueueOutcome::Replaced(waiting) => Ok(waiting), // it waits ten seconds more, with the new version
        EnqueueOutcome::Refused(error) => Err(error.into()), // `conflict`: it runs just now
        _ => Ok(job),
    }
}
// ANCHOR_END: debounce

#[tokio::test(flavor = "multi_thread")]
async fn changes_within_ten_seconds_are_one_job() {
    let site = Site::start().await;
    let client = site.client().await;
    let document = |version| Document { name: "a.md".to_owned(), version };
    let first = changed(&client, &document(1)).await.unwrap();
    let before = client.get_job(first, Consistency::Linearizable).await.unwrap();
    assert_eq!(changed(&client, &document(2)).await.unwrap(), first);
    let after = client.get_job(first, Consistency::Linearizable).await.unwrap();
    assert!(after.run_at > before.run_at);
    assert_eq!(&after.payload[..], br#"{"name":"a.md","version":2}"#);
    let other = Document { name: "b.md".to_owned(), version: 1 };
    assert_ne!(changed(&client, &other).await.unwrap(), first);
    let surely = enqueue_surely(&client, &other).await.unwrap();
    let job = client.get_job(surely, Consistency::Linearizable).await.unwrap();
    assert_eq!(&job.payload[..], br#"{"name":"b.md","version":1}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_not_passed_over() {
    let site = Site::start().await;
    let client = site.client().await;
    let drain = QueueSetting::Mode(QueueMode::Draining);
    client.configure(vec![Setting::Queue(QueueName::new("index").unwrap(), drain)]).await.unwrap();
    let document = Document { name: "a.md".to_owned(), version: 1 };
    for refused in [enqueue_surely(&client, &document).await, changed(&client, &document).await] {
        assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::QueueDraining));
    }
}
