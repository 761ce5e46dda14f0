//! What can be done to jobs that are named or that match: one, or many at a time.

use crate::client::{Client, Trail, backoff};
use crate::clock::after;
use crate::error::SdkError;
use crate::listing::Listing;
use crate::requests::{answered, millis};
use jobraft_protocol::limits::{ACTION_JOBS_MAX, CANCEL_GRACE_MS_DEFAULT, LIST_JOBS_MAX};
use jobraft_protocol::{Error, ErrorCode, JobAction, JobFilter, JobId, JobState, QueueName, Request, Response, Retry};
use std::time::{Duration, Instant};

/// What came of an action on all jobs that match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkReport {
    /// To how many it was done.
    pub done: u64,
    /// How many were in another state by then, or gone.
    pub moved_on: u64,
    /// To which it was not done for another reason, and for which.
    pub refused: Vec<(JobId, Error)>,
}

impl BulkReport {
    fn count(&mut self, job: JobId, answer: Result<(), Error>) {
        match answer {
            Ok(()) => self.done += 1,
            Err(error) if matches!(error.code, ErrorCode::WrongState | ErrorCode::NotFound) => self.moved_on += 1,
            Err(error) => self.refused.push((job, error)),
        }
    }
}

impl Client {
    /// Does something to jobs, each on its own; for each, in order, done or why not. With `only_in`, only to those that are
    /// in one of these states then. What exceeds one request's limits goes in several, one after the other, each of which
    /// is durable when it is answered.
    ///
    /// What a part's answer says was not done for want of a leader and the like is sent again, for as long as a call may
    /// take; if that does not help, it is answered so ([`ErrorCode::Unavailable`], [`ErrorCode::OutcomeUnknown`]).
    ///
    /// # Errors
    /// If any part is refused as a whole or not answered; those before it are done. Calling again is safe: what is done
    /// already may be answered [`ErrorCode::WrongState`] or [`ErrorCode::NotFound`] then. Where the call itself repeats a
    /// [`JobAction::Retry`] or a [`JobAction::Delete`] whose answer was lost, those two count as done.
    pub async fn act(
        &self,
        jobs: &[JobId],
        action: JobAction,
        only_in: &[JobState],
    ) -> Result<Vec<Result<(), Error>>, SdkError> {
        let mut done = Vec::with_capacity(jobs.len());
        for part in jobs.chunks(ACTION_JOBS_MAX) {
            done.extend(self.act_on_part(part, &action, only_in).await?);
        }
        Ok(done)
    }

    /// Does something to all jobs that match, a page of them after the other. Jobs that are in other states by then are left
    /// alone. To cancel and to delete, the newest come first, so that none is let loose by the end of one before it; else the
    /// oldest.
    ///
    /// # Errors
    /// As [`act`](Self::act); what was done stays done, and calling again goes on with the rest.
    pub async fn act_on_matching(&self, filter: JobFilter, action: JobAction) -> Result<BulkReport, SdkError> {
        let oldest_first = !matches!(action, JobAction::Cancel { .. } | JobAction::Delete);
        let mut listing = Listing { oldest_first, limit: LIST_JOBS_MAX, ..Listing::default() };
        let mut report = BulkReport::default();
        loop {
            let page = self.list_jobs(filter.clone(), listing).await?;
            let jobs: Vec<JobId> = page.jobs.iter().map(|job| job.id).collect();
            let answers = self.act(&jobs, action.clone(), &filter.states).await?;
            jobs.into_iter().zip(answers).for_each(|(job, answer)| report.count(job, answer));
            match page.next {
                Some(next) => listing.after = Some(next),
                None => return Ok(report),
            }
        }
    }

    async fn act_on_part(
        &self,
        part: &[JobId],
        action: &JobAction,
        only_in: &[JobState],
    ) -> Result<Vec<Result<(), Error>>, SdkError> {
        let deadline = after(self.config().request_timeout);
        let (mut trail, mut pauses) = (Trail::default(), backoff());
        let mut answers = self.act_once(part, action, only_in, deadline, &mut trail).await?;
        loop {
            let (places, again): (Vec<usize>, Vec<JobId>) =
                answers.iter().zip(part).enumerate().filter_map(not_reached).unzip();
            let Some(pause) = pauses.next().filter(|_| !places.is_empty()) else { return Ok(answers) };
            if deadline.saturating_duration_since(Instant::now()) <= pause {
                return Ok(answers);
            }
            tokio::time::sleep(pause).await;
            match self.act_once(&again, action, only_in, deadline, &mut trail).await {
                Ok(anew) => places.into_iter().zip(anew).for_each(|(place, answer)| answers[place] = answer),
                // What was answered before stands.
                Err(error) if error.outcome_unknown() => {
                    let unknown = Error::new(ErrorCode::OutcomeUnknown, error.to_string());
                    places.into_iter().for_each(|place| answers[place] = Err(unknown.clone()));
                    return Ok(answers);
                }
                Err(SdkError::Refused(refusal)) => {
                    places.into_iter().for_each(|place| answers[place] = Err(refusal.clone()));
                    return Ok(answers);
                }
                Err(_) => return Ok(answers),
            }
        }
    }

    async fn act_once(
        &self,
        jobs: &[JobId],
        action: &JobAction,
        only_in: &[JobState],
        deadline: Instant,
        trail: &mut Trail,
    ) -> Result<Vec<Result<(), Error>>, SdkError> {
        let request = Request::Act { jobs: jobs.to_vec(), action: action.clone(), only_in: only_in.to_vec() };
        let left = deadline.saturating_duration_since(Instant::now());
        let answers = answered!(self.call(request, left, trail).await?, Acted(answers))?;
        if answers.len() != jobs.len() {
            return Err(SdkError::Protocol("it answered another number of jobs than were named".to_owned()));
        }
        let was_done = |code| {
            trail.maybe_done
                && match action {
                    JobAction::Delete => code == ErrorCode::NotFound,
                    JobAction::Retry => code == ErrorCode::WrongState,
                    _ => false,
                }
        };
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                // The attempt whose answer was lost has done it.
                Err(error) if was_done(error.code) => Ok(()),
                answer => answer,
            })
            .collect())
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

/// The place of a job that an action did not get to, nothing being done.
fn not_reached((place, (answer, job)): (usize, (&Result<(), Error>, &JobId))) -> Option<(usize, JobId)> {
    answer.as_ref().is_err_and(|error| error.code.retry() == Retry::Safe).then_some((place, *job))
}
