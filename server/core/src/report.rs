//! What workers report: completed, failed, given back, how far they are. Each is taken only under a lease that is held.
//!
//! Reports are idempotent: one that is repeated under the token that did it is answered as the first was. A job that is
//! asked to stop ends as cancelled, whatever is reported of it, unless it is completed.

use crate::admission::{Parent, invalid};
use crate::backoff::backoff_ms;
use crate::job::cut;
use crate::transition::Next;
use crate::{Core, Outcome, Target};
use bytes::Bytes;
use jobraft_protocol::{
    Completion, EndReason, Error, ErrorCode, Failure, FailureKind, JobId, JobState, LeaseRef, Progress, limits,
};

impl Core {
    /// Ends a job well, with all that it enqueues and writes, or changes nothing.
    pub(crate) fn complete(
        &mut self,
        lease: LeaseRef,
        completion: &Completion,
        known: &[Target],
    ) -> Result<Outcome, Error> {
        check_size("result", &completion.result, limits::RESULT_BYTES_MAX)?;
        check_size("log", &completion.log, limits::LOG_TAIL_BYTES_MAX)?;
        if let Err(lost) = self.held(lease) {
            return if self.was_ended_by(lease, JobState::Completed) { Ok(Outcome::Done) } else { Err(lost) };
        }
        let job = self.job(lease.job);
        let leased_at = job.lease.as_ref().map_or(self.now, |held| held.granted_at);
        let parent = Parent { job: lease.job, leased_at, batch: job.batch(), held_bytes: job.held_bytes() };
        let mut circumstances = self.circumstances_of_children(parent, known);
        let taken = self.check_all(&mut circumstances, "child job", &completion.jobs)?;
        self.check_writes(&completion.state, taken, parent.held_bytes)?;
        let past = self.job_mut(lease.job).past_mut();
        past.reported = Some(lease.token);
        past.result = completion.result.clone();
        past.log = completion.log.clone();
        past.checkpoint = Bytes::new();
        let next = Next::Ended { state: JobState::Completed, at: self.now, reason: None };
        self.transition(lease.job, next);
        self.enqueue_checked(&completion.jobs, circumstances);
        self.write_values(&completion.state);
        Ok(Outcome::Done)
    }

    pub(crate) fn fail(&mut self, lease: LeaseRef, failure: &Failure) -> Result<Outcome, Error> {
        check_size("log", &failure.log, limits::LOG_TAIL_BYTES_MAX)?;
        if let Err(lost) = self.held(lease) {
            return self.repeated_failure(lease).ok_or(lost);
        }
        let past = self.job_mut(lease.job).past_mut();
        past.reported = Some(lease.token);
        if !failure.log.is_empty() {
            past.log = failure.log.clone();
        }
        let message = cut(&failure.message, limits::FAILURE_MESSAGE_BYTES_MAX);
        Ok(self.fail_attempt(lease.job, failure.kind, message, failure.retryable))
    }

    /// Ends an attempt that failed: another one follows after a while, or none.
    pub(crate) fn fail_attempt(&mut self, id: JobId, kind: FailureKind, message: String, retryable: bool) -> Outcome {
        let now = self.now;
        let job = self.job_mut(id);
        job.record_error(now, kind, message);
        let ended = |state, reason| Next::Ended { state, at: now, reason: Some(reason) };
        let (next, retry_at) = if job.lease.as_ref().is_some_and(|lease| lease.cancel.is_some()) {
            (ended(JobState::Cancelled, EndReason::Cancelled), None)
        } else if !retryable {
            (ended(JobState::Dead, EndReason::FinalFailure), None)
        } else if job.attempt >= job.max_attempts {
            (ended(JobState::Dead, EndReason::AttemptsExhausted), None)
        } else {
            let policy = job.options.as_ref().and_then(|options| options.backoff.as_ref());
            let retry_at = now.plus_ms(backoff_ms(policy, id, job.attempt.into()));
            (Next::Scheduled(retry_at), Some(retry_at))
        };
        let state = next.state();
        self.transition(id, next);
        Outcome::Failed { state, retry_at }
    }

    /// The answer that this token's failure got, while the job waits for its next attempt, or if this was its end.
    fn repeated_failure(&self, lease: LeaseRef) -> Option<Outcome> {
        for state in [JobState::Dead, JobState::Cancelled] {
            if self.was_ended_by(lease, state) {
                return Some(Outcome::Failed { state, retry_at: None });
            }
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

    pub(crate) fn release(&mut self, lease: LeaseRef, delay_ms: u64) -> Result<Outcome, Error> {
        if delay_ms > limits::DELAY_MS_MAX {
            let max = limits::DELAY_MS_MAX;
            return Err(invalid(format!("a delay of {delay_ms} ms exceeds the limit of {max} ms")));
        }
        self.held(lease)?;
        self.give_back(lease.job, delay_ms);
        Ok(Outcome::Done)
    }

    /// Lets a leased job wait again at its old place; the attempt does not count. One that is asked to stop has stopped.
    pub(crate) fn give_back(&mut self, id: JobId, delay_ms: u64) {
        let now = self.now;
        let job = self.job_mut(id);
        job.attempt -= 1;
        let next = if job.lease.as_ref().is_some_and(|lease| lease.cancel.is_some()) {
            Next::Ended { state: JobState::Cancelled, at: now, reason: Some(EndReason::Cancelled) }
        } else if delay_ms > 0 {
            Next::Scheduled(now.plus_ms(delay_ms))
        } else {
            Next::Ready(now)
        };
        self.transition(id, next);
    }

    /// Leaves bytes for the next attempt.
    pub(crate) fn checkpoint(&mut self, lease: LeaseRef, data: &Bytes) -> Result<Outcome, Error> {
        check_size("checkpoint", data, limits::CHECKPOINT_BYTES_MAX)?;
        self.held(lease)?;
        self.job_mut(lease.job).past_mut().checkpoint = data.clone();
        self.changed_bytes += data.len() as u64;
        self.touch(lease.job);
        Ok(Outcome::Done)
    }

    /// Notes how far a job is, if the lease is held.
    pub(crate) fn note_progress(&mut self, lease: LeaseRef, progress: &Progress) {
        if self.held(lease).is_err() {
            return;
        }
        let percent = progress.percent.min(100);
        let message = cut(&progress.message, limits::PROGRESS_MESSAGE_BYTES_MAX);
        self.job_mut(lease.job).past_mut().progress = Some(Progress { percent, message });
        self.touch(lease.job);
    }
}

fn check_size(what: &str, bytes: &Bytes, max: usize) -> Result<(), Error> {
    if bytes.len() <= max {
        return Ok(());
    }
    Err(Error::new(ErrorCode::TooLarge, format!("the {what} has {} bytes, the limit is {max}", bytes.len())))
}
