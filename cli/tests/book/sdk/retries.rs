//! Trying again.

use crate::site::{Site, during, ended, once};
use jobraft_sdk::Worker;
use jobraft_sdk::protocol::JobState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

// ANCHOR: handler
use jobraft_sdk::{Client, JobContext, JobError, Producer, SdkError, parse_backoff};
use std::time::Duration;

async fn call_api(context: JobContext, answer: u16) -> Result<u32, JobError> {
    match answer {
        200 => Ok(context.attempt()),
        429 => Err(JobError::snooze(Duration::from_secs(1))), // not its fault: the attempt does not count
        400..500 => Err(JobError::fatal(format!("it answered {answer}"))), // dead at once
        _ => Err(JobError::retryable(format!("it answered {answer}"))), // as any error that `?` passes on
    }
}
// ANCHOR_END: handler

// ANCHOR: producer
fn calls(client: &Client) -> Result<Producer<u16>, Box<dyn std::error::Error>> {
    let backoff = parse_backoff("exponential:100ms,factor=3,max=1m,jitter=10%")?;
    Ok(Producer::new(client.clone(), "calls", "call_api")?.max_attempts(3).backoff(backoff))
}
// ANCHOR_END: producer

// ANCHOR: revive
async fn revive(client: &Client, job: jobraft_sdk::protocol::JobId) -> Result<(), SdkError> {
    client.retry(job).await // all its attempts anew; refused with `wrong_state` unless it is dead
}
// ANCHOR_END: revive

pub(super) fn worker(client: &Client) -> Worker {
    Worker::builder(client.clone()).queues(["calls"]).handler("call_api", call_api).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_tried_as_often_as_it_may_be() {
    let site = Site::start().await;
    let client = site.client().await;
    let calls = calls(&client).unwrap();
    during(worker(&client), async {
        let [good, bad, broken, busy] = [200, 404, 503, 429];
        let job = async |answer: u16| calls.enqueue(&answer).await.unwrap();
        assert_eq!(ended(&client, job(good).await).await.state, JobState::Completed);
        let bad = ended(&client, job(bad).await).await;
        assert_eq!((bad.state, bad.attempt, &*bad.errors[0].message), (JobState::Dead, 1, "it answered 404"));
        let broken = ended(&client, job(broken).await).await;
        assert_eq!((broken.state, broken.attempt, broken.errors.len()), (JobState::Dead, 3, 3));
        let busy = once(&client, job(busy).await, JobState::Scheduled).await;
        assert_eq!((busy.attempt, busy.errors.len()), (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_is_retried() {
    let site = Site::start().await;
    let client = site.client().await;
    let mended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&mended);
    let handler = move |_: JobContext, (): ()| {
        let answer = if seen.load(Ordering::SeqCst) { Ok(()) } else { Err(JobError::fatal("broken")) };
        async { answer }
    };
    let worker = Worker::builder(client.clone()).queues(["q"]).handler("t", handler).build().unwrap();
    let tasks = Producer::<()>::new(client.clone(), "q", "t").unwrap();
    during(worker, async {
        let id = tasks.enqueue(&()).await.unwrap();
        assert_eq!(ended(&client, id).await.state, JobState::Dead);
        mended.store(true, Ordering::SeqCst);
        revive(&client, id).await.unwrap();
        assert_eq!(ended(&client, id).await.state, JobState::Completed);
        assert!(revive(&client, id).await.unwrap_err().to_string().contains("wrong_state"));
    })
    .await;
}
