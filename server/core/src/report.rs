//! What workers report: completed, failed, given back. Each is taken only under a lease that is held.
//!
//! Reports are idempotent: one that is repeated under the token that did it is answered as the first was.

use crate::backoff::backoff_ms;
use crate::job::cut;
use crate::transition::Next;
use crate::{Core, Outcome};
use bytes::Bytes;
use jobraft_protocol::{Completion, Error, ErrorCode, Failure, JobId, JobState, LeaseRef, WorkerId, limits};

impl Core {
    pub(crate) fn complete(&mut self, lease: LeaseRef, completion: &Completion) -> Result<Outcome, Error> {
        check_size("result", &completion.result, limits::RESULT_BYTES_MAX)?;
        check_size("log", &completion.log, limits::LOG_TAIL_BYTES_MAX)?;
        if let Err(lost) = self.held(lease) {
            return if self.was_ended_by(lease, JobState::Completed) { Ok(Outcome::Done) } else { Err(lost) };
        }
        let past = self.job_mut(lease.job).past_mut();
        past.reported = Some(lease.token);
        past.result = completion.result.clone();
        past.log = completion.log.clone();
        let next = Next::Ended { state: JobState::Completed, at: self.now };
        self.transition(lease.job, next);
        Ok(Outcome::Done)
    }

    pub(crate) fn fail(&mut self, lease: LeaseRef, failure: &Failure) -> Result<Outcome, Error> {
        check_size("log", &failure.log, limits::LOG_TAIL_BYTES_MAX)?;
        if let Err(lost) = self.held(lease) {
            return self.repeated_failure(lease).ok_or(lost);
        }
        let now = self.now;
        let job = self.job_mut(lease.job);
        job.record_error(now, failure.kind, cut(&failure.message, limits::FAILURE_MESSAGE_BYTES_MAX));
        let past = job.past_mut();
        past.reported = Some(lease.token);
        if !failure.log.is_empty() {
            past.log = failure.log.clone();
        }
        if !failure.retryable || job.attempt >= job.max_attempts {
            self.transition(lease.job, Next::Ended { state: JobState::Dead, at: now });
            return Ok(Outcome::Failed { state: JobState::Dead, retry_at: None });
        }
        let retry_at = now.plus_ms(backoff_ms(lease.job, job.attempt));
        self.transition(lease.job, Next::Scheduled(retry_at));
        Ok(Outcome::Failed { state: JobState::Scheduled, retry_at: Some(retry_at) })
    }

    /// The answer that this token's failure got, while the job has not been leased again.
    fn repeated_failure(&self, lease: LeaseRef) -> Option<Outcome> {
        if self.was_ended_by(lease, JobState::Dead) {
            return Some(Outcome::Failed { state: JobState::Dead, retry_at: None });
        }
        let job = self.jobs.get(&lease.job)?;
        let repeated = job.past.as_ref()?.reported == Some(lease.token);
        // Its time may have come since, but the first answer was this one; until it is leased again `run_at` stays.
        repeated.then_some(Outcome::Failed { state: JobState::Scheduled, retry_at: Some(job.run_at) })
    }

    fn was_ended_by(&self, lease: LeaseRef, state: JobState) -> bool {
        self.ended
            .get(lease.job, self.now)
            .is_some_and(|ended| ended.state == state && ended.token == Some(lease.token))
    }

    pub(crate) fn release(&mut self, lease: LeaseRef) -> Result<Outcome, Error> {
        self.held(lease)?;
        self.give_back(lease.job);
        Ok(Outcome::Done)
    }

    /// Releases all that the worker still holds. A lease that ran out is left to its timer: that attempt counts.
    pub(crate) fn disconnect(&mut self, worker: WorkerId) -> Result<Outcome, Error> {
        self.check_worker(worker)?;
        let jobs: Vec<JobId> = self.index.held.get(&worker).into_iter().flatten().copied().collect();
        for id in jobs {
            if self.job(id).lease.as_ref().is_some_and(|lease| lease.expires_at > self.now) {
                self.give_back(id);
            }
        }
        Ok(Outcome::Done)
    }

    /// Makes a leased job ready again at its old place; the attempt does not count.
    fn give_back(&mut self, id: JobId) {
        let now = self.now;
        let job = self.job_mut(id);
        job.attempt -= 1;
        self.transition(id, Next::Ready(now));
    }
}

fn check_size(what: &str, bytes: &Bytes, max: usize) -> Result<(), Error> {
    if bytes.len() <= max {
        return Ok(());
    }
    Err(Error::new(ErrorCode::TooLarge, format!("the {what} has {} bytes, the limit is {max}", bytes.len())))
}
