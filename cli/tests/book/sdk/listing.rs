//! Listing jobs.

use crate::site::{Site, during, ended};
use jobraft_sdk::{JobContext, JobError, Producer, Worker};

// ANCHOR: retry
use futures_util::TryStreamExt;
use jobraft_sdk::protocol::{JobAction, JobFilter, JobState, QueueName};
use jobraft_sdk::{Client, Listing, SdkError};

/// Lets all jobs of a queue run again that died of an error with these words.
async fn retry_all(client: &Client, queue: &str, words: &str) -> Result<usize, SdkError> {
    let filter = JobFilter {
        queues: vec![QueueName::new(queue)?],
        states: vec![JobState::Dead],
        error: Some(words.to_owned()),
        ..JobFilter::default()
    };
    let ids: Vec<_> = client.jobs(filter, Listing::default()).map_ok(|job| job.id).try_collect().await?;
    let outcomes = client.act(&ids, JobAction::Retry, &[JobState::Dead]).await?;
    Ok(outcomes.iter().filter(|outcome| outcome.is_ok()).count())
}
// ANCHOR_END: retry

#[tokio::test(flavor = "multi_thread")]
async fn only_what_matches_is_retried() {
    let site = Site::start().await;
    let client = site.client().await;
    let fail = |_: JobContext, text: String| async { Err::<(), _>(JobError::fatal(text)) };
    let worker = Worker::builder(client.clone()).queues(["q"]).handler("fail", fail).build().unwrap();
    let tasks = Producer::<str>::new(client.clone(), "q", "fail").unwrap();
    let slow = during(worker, async {
        let slow = tasks.enqueue("Timeout at the bank").await.unwrap();
        for job in [slow, tasks.enqueue("no such account").await.unwrap()] {
            ended(&client, job).await;
        }
        slow
    })
    .await;
    assert_eq!(retry_all(&client, "q", "timeout").await.unwrap(), 1);
    assert_eq!(retry_all(&client, "q", "timeout").await.unwrap(), 0);
    let job = client.get_job(slow, jobraft_sdk::protocol::Consistency::Linearizable).await.unwrap();
    assert_eq!(job.state, JobState::Ready);
}
