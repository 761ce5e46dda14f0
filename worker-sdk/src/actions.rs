//! What can be done to jobs that are named: one, or many at a time.

use crate::client::{Client, Trail};
use crate::error::SdkError;
use crate::requests::{answered, millis};
use jobraft_protocol::limits::{ACTION_JOBS_MAX, CANCEL_GRACE_MS_DEFAULT};
use jobraft_protocol::{Error, ErrorCode, JobAction, JobId, JobState, QueueName, Request, Response};
use std::time::Duration;

impl Client {
    /// Does something to jobs, each on its own; for each, in order, done or why not. With `only_in`, only to those that are
    /// in one of these states then. What exceeds one request's limits goes in several, one after the other, each of which
    /// is durable when it is answered.
    ///
    /// # Errors
    /// If any part is refused as a whole or not answered; those before it are done. Calling again is safe: what is done
    /// already may be answered [`ErrorCode::WrongState`] or [`ErrorCode::NotFound`] then.
    pub async fn act(
        &self,
        jobs: &[JobId],
        action: JobAction,
        only_in: &[JobState],
    ) -> Result<Vec<Result<(), Error>>, SdkError> {
        let mut done = Vec::with_capacity(jobs.len());
        for part in jobs.chunks(ACTION_JOBS_MAX) {
            let request = Request::Act { jobs: part.to_vec(), action: action.clone(), only_in: only_in.to_vec() };
            let mut trail = Trail::default();
            let answer = self.call(request, self.config().request_timeout, &mut trail).await?;
            let answers = answered!(answer, Acted(answers))?;
            if answers.len() != part.len() {
                return Err(SdkError::Protocol("it answered another number of jobs than were named".to_owned()));
            }
            done.extend(answers.into_iter().map(|answer| match answer {
                // The attempt whose answer was lost has deleted it.
                Err(error) if trail.maybe_done && action == JobAction::Delete && error.code == ErrorCode::NotFound => {
                    Ok(())
                }
                answer => answer,
            }));
        }
        Ok(done)
    }

    /// Calls a job off, whatever live state it is in. One that a worker has is asked to stop and has 25 s to do so.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or [`ErrorCode::WrongState`] if its life is over; not if it was cancelled before.
    pub async fn cancel(&self, job: JobId, reason: impl Into<String>) -> Result<(), SdkError> {
        self.cancel_within(job, reason, Duration::from_millis(CANCEL_GRACE_MS_DEFAULT)).await
    }

    /// The same, with another grace: with none, the job is taken away from its worker at once.
    ///
    /// # Errors
    /// As [`cancel`](Self::cancel).
    pub async fn cancel_within(&self, job: JobId, reason: impl Into<String>, grace: Duration) -> Result<(), SdkError> {
        self.act_on_one(job, JobAction::Cancel { reason: reason.into(), grace_ms: millis(grace) }).await
    }

    /// Lets a dead job run again, with all its attempts anew.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`]; [`ErrorCode::WrongState`] if it is not dead; [`ErrorCode::Conflict`] if another job holds
    /// its unique key; what an enqueue into its queue would be refused for.
    pub async fn retry(&self, job: JobId) -> Result<(), SdkError> {
        self.act_on_one(job, JobAction::Retry).await
    }

    /// Removes a job that waits or that has ended.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or [`ErrorCode::WrongState`] if a worker has it: cancel it first.
    pub async fn delete(&self, job: JobId) -> Result<(), SdkError> {
        self.act_on_one(job, JobAction::Delete).await
    }

    /// Puts a waiting job into another queue.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`]; [`ErrorCode::WrongState`] if it does not wait; what an enqueue into that queue would be
    /// refused for.
    pub async fn move_to(&self, job: JobId, queue: QueueName) -> Result<(), SdkError> {
        self.act_on_one(job, JobAction::Move { queue }).await
    }

    /// Changes the priority of a live job: 0 (first) to 9.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or [`ErrorCode::WrongState`] if its life is over.
    pub async fn prioritize(&self, job: JobId, priority: u8) -> Result<(), SdkError> {
        self.act_on_one(job, JobAction::Prioritize { priority }).await
    }

    async fn act_on_one(&self, job: JobId, action: JobAction) -> Result<(), SdkError> {
        match self.act(&[job], action, &[]).await?.pop() {
            Some(answer) => answer.map_err(SdkError::Refused),
            None => Err(SdkError::Protocol("it answered nothing of the job".to_owned())),
        }
    }
}
