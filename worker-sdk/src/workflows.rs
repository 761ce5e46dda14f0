//! The client's methods for jobs that belong together: all or none of them, and batches.
//!
//! [`Workflow`](crate::Workflow) makes a batch out of typed steps, and [`Batch`](crate::Batch) looks after one.

use crate::client::Client;
use crate::error::SdkError;
use crate::requests::{answered, fits};
use crate::waiting::WATCH_STEP_MS;
use jobraft_protocol::limits::WAIT_MS_MAX;
use jobraft_protocol::{BatchId, BatchView, Consistency, EnqueueOutcome, NewBatch, NewJob, Request, Response};
use std::time::Duration;

impl Client {
    /// Enqueues jobs in one step, all of them or none; the outcomes are in their order. A job may come after any other of
    /// them. They must fit in one request: see [`BULK_JOBS_MAX`](jobraft_protocol::limits::BULK_JOBS_MAX) and
    /// [`BULK_BYTES_MAX`](jobraft_protocol::limits::BULK_BYTES_MAX).
    ///
    /// # Errors
    /// The refusal of the first job that is refused, which names it: none is enqueued then. [`SdkError::TooLarge`] if they
    /// are more than fit; nothing was sent then. Calling again with the same jobs is safe.
    pub async fn enqueue_all(&self, jobs: Vec<NewJob>) -> Result<Vec<EnqueueOutcome>, SdkError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        fits(&jobs)?;
        self.enqueue_part(jobs, true).await
    }

    /// Makes an id for a new batch, by the cluster's time.
    #[must_use]
    pub fn batch_id(&self) -> BatchId {
        BatchId(self.job_id())
    }

    /// Creates a batch with its first jobs, all or nothing. More can be put into one that is
    /// [`open`](NewBatch::open), by [`NewJob::batch`], until it is [sealed](Self::seal_batch).
    ///
    /// # Errors
    /// The refusal of the batch, or of the first of its jobs that is refused; [`SdkError::TooLarge`] if its jobs are more
    /// than fit in one request. Calling again with the same batch is safe.
    pub async fn create_batch(&self, batch: NewBatch) -> Result<BatchView, SdkError> {
        fits(&batch.jobs)?;
        let request = Request::CreateBatch { batch: Box::new(batch) };
        Ok(*answered!(self.ask(request).await?, Batch(view))?)
    }

    /// Lets a batch take no more jobs, but those that its own jobs enqueue as they complete: it ends when none lives.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound). Sealing again is no error.
    pub async fn seal_batch(&self, batch: BatchId) -> Result<BatchView, SdkError> {
        self.seal(batch, false).await
    }

    /// Lets a batch take no more jobs at all, and call nobody when it ends: the first half of cancelling it.
    /// [`Batch::cancel`](crate::Batch::cancel) cancels its jobs too.
    ///
    /// # Errors
    /// As [`seal_batch`](Self::seal_batch).
    pub async fn cancel_batch_intake(&self, batch: BatchId) -> Result<BatchView, SdkError> {
        self.seal(batch, true).await
    }

    async fn seal(&self, batch: BatchId, cancel: bool) -> Result<BatchView, SdkError> {
        Ok(*answered!(self.ask(Request::SealBatch { batch, cancel }).await?, Batch(view))?)
    }

    /// Reads a batch.
    ///
    /// # Errors
    /// [`NotFound`](jobraft_protocol::ErrorCode::NotFound) if there is none of that id, or it ended too long ago.
    pub async fn batch(&self, batch: BatchId, consistency: Consistency) -> Result<BatchView, SdkError> {
        let request = Request::GetBatch { batch, consistency, wait_ms: 0 };
        Ok(*answered!(self.ask(request).await?, Batch(view))?)
    }

    /// One page of the batches, from the newest back: `limit` of those that come after the batch `after`, where the page
    /// before ended. Fewer are given only at the end.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn batches(
        &self,
        after: Option<BatchId>,
        limit: u32,
        consistency: Consistency,
    ) -> Result<Vec<BatchView>, SdkError> {
        answered!(self.ask(Request::ListBatches { after, limit, consistency }).await?, Batches(batches))
    }

    /// Waits until a batch has ended, for at most `timeout`, and reads it. How it ended is for the caller to see.
    ///
    /// # Errors
    /// [`SdkError::Timeout`] if it goes on, and those of [`batch`](Self::batch).
    pub async fn wait_batch(&self, batch: BatchId, timeout: Duration) -> Result<BatchView, SdkError> {
        self.wait_in_steps(batch, timeout, WAIT_MS_MAX, |_: &BatchView| {}).await
    }

    /// The same, and calls `watch` with the batch as it stands about once a second meanwhile: to show its progress.
    ///
    /// # Errors
    /// As [`wait_batch`](Self::wait_batch).
    pub async fn wait_batch_watching(
        &self,
        batch: BatchId,
        timeout: Duration,
        watch: impl FnMut(&BatchView),
    ) -> Result<BatchView, SdkError> {
        self.wait_in_steps(batch, timeout, WATCH_STEP_MS, watch).await
    }
}
