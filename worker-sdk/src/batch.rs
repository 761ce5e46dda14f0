//! A batch as its owner handles it: wait for it, read what its jobs made, cancel it, retry what died.

use crate::actions::BulkReport;
use crate::client::Client;
use crate::error::SdkError;
use crate::producer::{result_bytes_of, result_of};
use bytes::Bytes;
use jobraft_protocol::limits::CANCEL_GRACE_MS_DEFAULT;
use jobraft_protocol::{BatchId, BatchView, Consistency, JobAction, JobFilter, JobId, JobState, JobView};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A batch in the cluster. Cheap to clone; made by [`Workflow::submit`](crate::Workflow::submit), or from an id.
///
/// ```no_run
/// # async fn example(client: jobraft_sdk::Client, id: &str) -> Result<(), Box<dyn std::error::Error>> {
/// use jobraft_sdk::Batch;
/// use std::time::Duration;
///
/// let batch = Batch::new(&client, id.parse()?);
/// let view = batch
///     .wait_watching(Duration::from_secs(600), |view| println!("{} of {} done", view.completed, view.jobs()))
///     .await?;
/// if view.dead > 0 {
///     let report = batch.retry().await?;
///     println!("{} jobs run again", report.done);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Batch {
    client: Client,
    id: BatchId,
}

impl Batch {
    /// The batch of this id; nothing is asked yet.
    #[must_use]
    pub fn new(client: &Client, id: BatchId) -> Self {
        Self { client: client.clone(), id }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// How it stands.
    ///
    /// # Errors
    /// As [`Client::batch`].
    pub async fn view(&self) -> Result<BatchView, SdkError> {
        self.client.batch(self.id, Consistency::Linearizable).await
    }

    /// Waits until it has ended, for at most `timeout`. How it ended is for the caller to see: its
    /// [`state`](BatchView::state) need not be `completed`.
    ///
    /// # Errors
    /// [`SdkError::Timeout`] if it goes on: it is not called off then.
    pub async fn wait(&self, timeout: Duration) -> Result<BatchView, SdkError> {
        self.client.wait_batch(self.id, timeout).await
    }

    /// The same, and calls `watch` with the batch as it stands about once a second meanwhile.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_watching(&self, timeout: Duration, watch: impl FnMut(&BatchView)) -> Result<BatchView, SdkError> {
        self.client.wait_batch_watching(self.id, timeout, watch).await
    }

    /// Reads one of its jobs.
    ///
    /// # Errors
    /// As [`Client::get_job`].
    pub async fn job(&self, job: impl Into<JobId>) -> Result<JobView, SdkError> {
        self.client.get_job(job.into(), Consistency::Linearizable).await
    }

    /// The result of one of its jobs that has completed: what its handler returned.
    ///
    /// # Errors
    /// As [`result_of`], and if the job cannot be read.
    pub async fn result<R: DeserializeOwned>(&self, job: impl Into<JobId>) -> Result<R, SdkError> {
        result_of(self.job(job).await?)
    }

    /// The result of one of its jobs that has completed, as it is: what its module wrote.
    ///
    /// # Errors
    /// As [`result`](Self::result).
    pub async fn result_bytes(&self, job: impl Into<JobId>) -> Result<Bytes, SdkError> {
        result_bytes_of(self.job(job).await?)
    }

    /// Takes no more jobs, but those that its own jobs enqueue.
    ///
    /// # Errors
    /// As [`Client::seal_batch`].
    pub async fn seal(&self) -> Result<BatchView, SdkError> {
        self.client.seal_batch(self.id).await
    }

    /// Cancels it: it takes no more jobs and calls nobody, and those of its jobs that live are called off. One that a worker
    /// has is asked to stop and has 25 s to do so; [`wait`](Self::wait) for the end. A callback that was enqueued before is
    /// left alone.
    ///
    /// # Errors
    /// If the cluster does not answer; calling again goes on with the rest.
    pub async fn cancel(&self, reason: impl Into<String>) -> Result<BulkReport, SdkError> {
        self.client.cancel_batch_intake(self.id).await?;
        let live = JobState::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
        let cancel = JobAction::Cancel { reason: reason.into(), grace_ms: CANCEL_GRACE_MS_DEFAULT };
        self.client.act_on_matching(self.jobs_in(live), cancel).await
    }

    /// Lets its dead jobs run again, with all their attempts anew: those that wait behind them then run too, and the batch can
    /// still complete. Jobs that were cancelled for a dead one's sake stay so.
    ///
    /// # Errors
    /// If the cluster does not answer; calling again goes on with the rest.
    pub async fn retry(&self) -> Result<BulkReport, SdkError> {
        self.client.act_on_matching(self.jobs_in(vec![JobState::Dead]), JobAction::Retry).await
    }

    fn jobs_in(&self, states: Vec<JobState>) -> JobFilter {
        JobFilter { batch: Some(self.id), states, ..JobFilter::default() }
    }
}
