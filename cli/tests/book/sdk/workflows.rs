//! Together.

use crate::site::{Site, during, ended, once};
use jobraft_sdk::protocol::{BatchState, Consistency, JobState, QueueName, QueueSetting, Setting};
use jobraft_sdk::{JobContext, JobError, Worker};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

// ANCHOR: all
use jobraft_sdk::protocol::JobId;
use jobraft_sdk::{Client, Producer, SdkError};

/// The parcels of an order are shipped together, or none of them is.
async fn ship(client: &Client, parcels: &[String]) -> Result<Vec<JobId>, SdkError> {
    let shipping = Producer::<String>::new(client.clone(), "parcels", "ship")?;
    shipping.enqueue_all(parcels).await
}
// ANCHOR_END: all

mod handlers {
    // ANCHOR: handlers
    use jobraft_sdk::protocol::JobState;
    use jobraft_sdk::{JobContext, JobError};

    /// The words of a text.
    pub(super) async fn count(_: JobContext, text: String) -> Result<usize, JobError> {
        Ok(text.split_whitespace().count())
    }

    /// All that it came after have completed: their results are there, in the order in which they were named.
    pub(super) async fn sum(context: JobContext, (): ()) -> Result<usize, JobError> {
        Ok(context.results::<usize>().await?.into_iter().sum())
    }

    /// Runs whatever becomes of the others (`run`), and so looks first how they ended.
    pub(super) async fn tell(context: JobContext, (): ()) -> Result<String, JobError> {
        let all = context.predecessors();
        let failed = all.iter().filter(|one| one.ended != Some(JobState::Completed)).count();
        Ok(format!("{failed} of {} failed", all.len()))
    }
    // ANCHOR_END: handlers
}

mod flow {
    // ANCHOR: flow
    use jobraft_sdk::protocol::OnFailure;
    use jobraft_sdk::{Batch, Client, Producer, SdkError, Workflow};
    use std::time::Duration;

    /// Counts the words of all texts.
    pub(super) async fn count_all(client: &Client, texts: &[&str]) -> Result<(Batch, usize), SdkError> {
        let count = Producer::<str>::new(client.clone(), "texts", "count")?;
        let sum = Producer::<()>::new(client.clone(), "texts", "sum")?;
        let tell = Producer::<()>::new(client.clone(), "texts", "tell")?;
        let mail = Producer::<str>::new(client.clone(), "mail", "send")?;

        let mut flow = Workflow::new(client).label("report")?;
        let mut parts = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            let part = flow.add(&count, text)?;
            flow.step(part)?.label(&format!("part-{number}"))?;
            parts.push(part);
        }
        let total = flow.add_after(&sum, &(), &parts)?;
        let last = flow.add_after(&tell, &(), &parts)?;
        flow.step(last)?.on_failure(OnFailure::Run);
        flow.on_complete(&mail, "the report is there")?;
        flow.on_failure(&mail, "a part of the report failed")?;

        let batch = flow.submit().await?;
        batch.wait(Duration::from_secs(60)).await?;
        let words = batch.result(total).await?;
        Ok((batch, words))
    }
    // ANCHOR_END: flow
}

mod grow {
    // ANCHOR: split
    use jobraft_sdk::protocol::{NewJob, OnFailure};
    use jobraft_sdk::{Client, JobContext, JobError, Producer};

    /// Makes a job of each line, and one that adds up what they return; all of them join the batch of this one.
    pub(super) async fn split(client: Client, context: JobContext, text: String) -> Result<(), JobError> {
        let count = Producer::<str>::new(client.clone(), "texts", "count")?;
        let sum = Producer::<()>::new(client, "texts", "sum")?;
        let mut parts = Vec::new();
        for line in text.lines() {
            let job = NewJob { batch: context.batch(), ..count.job(line)? };
            parts.push(job.id);
            context.complete_with_job(job);
        }
        let sum = sum.after(parts, OnFailure::Wait).job(&())?;
        context.complete_with_job(NewJob { batch: context.batch(), ..sum });
        Ok(())
    }
    // ANCHOR_END: split
}

/// Its source cannot be reached the first time.
pub(super) fn worker(client: &Client) -> Worker {
    let failed = Arc::new(AtomicBool::new(false));
    let fetch = move |_: JobContext, (): ()| {
        let is_first = !failed.swap(true, Ordering::SeqCst);
        async move { if is_first { Err(JobError::retryable("no route to the source")) } else { Ok(()) } }
    };
    let splitting = client.clone();
    Worker::builder(client.clone())
        .queues(["texts"])
        .handler("fetch", fetch)
        .handler("count", handlers::count)
        .handler("sum", handlers::sum)
        .handler("tell", handlers::tell)
        .handler("split", move |context, text| grow::split(splitting.clone(), context, text))
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn parcels_are_shipped_together_or_not_at_all() {
    let site = Site::start().await;
    let client = site.client().await;
    let depth = Setting::Queue(QueueName::new("parcels").unwrap(), QueueSetting::DepthMax(Some(2)));
    client.configure(vec![depth]).await.unwrap();
    let parcels = ["a", "b", "c"].map(str::to_owned);
    assert!(matches!(ship(&client, &parcels).await, Err(SdkError::Refused(_))));
    assert_eq!(ship(&client, &parcels[..2]).await.unwrap().len(), 2, "the refused ones took no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_ends_with_its_result_and_calls_once() {
    let site = Site::start().await;
    let client = site.client().await;
    during(worker(&client), async {
        let (batch, words) = flow::count_all(&client, &["one two", "three", ""]).await.unwrap();
        assert_eq!(words, 3);
        let view = batch.view().await.unwrap();
        assert_eq!((view.state, view.completed), (BatchState::Completed, 5));
        once(&client, view.on_complete.unwrap(), JobState::Ready).await;
        let queues = client.queues(Consistency::Linearizable).await.unwrap();
        assert_eq!(queues.iter().find(|queue| queue.queue.as_str() == "mail").unwrap().ready, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_runs_whatever_happens_sees_what_failed() {
    let site = Site::start().await;
    let client = site.client().await;
    during(worker(&client), async {
        let texts = |task| Producer::<()>::new(client.clone(), "texts", task).unwrap();
        let dead = texts("no_such_task").max_attempts(1).enqueue(&()).await.unwrap();
        let tell = texts("tell").after([dead], jobraft_sdk::protocol::OnFailure::Run).enqueue(&()).await.unwrap();
        let told: String = jobraft_sdk::result_of(ended(&client, tell).await).unwrap();
        assert_eq!(told, "1 of 1 failed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_splits_its_work_and_its_batch_waits_for_the_parts() {
    let site = Site::start().await;
    let client = site.client().await;
    during(worker(&client), async {
        let split = Producer::<str>::new(client.clone(), "texts", "split").unwrap();
        let mut flow = jobraft_sdk::Workflow::new(&client);
        flow.add(&split, "one two\nthree").unwrap();
        let batch = flow.submit().await.unwrap();
        let view = batch.wait(crate::support::DEADLINE).await.unwrap();
        assert_eq!((view.state, view.completed), (BatchState::Completed, 4));
    })
    .await;
}
