//! Leases: who may finish a job, and until when.
//!
//! A lease is granted by one entry and ended by another; only log time ends it unasked. Its token is the fencing token:
//! strictly increasing over the cluster's life, so whoever holds an older one has lost the job, however sure it is of
//! the opposite.

use crate::admission::invalid;
use crate::job::{Job, Lease};
use crate::planted::{Bug, is_planted};
use crate::queue::Queue;
use crate::transition::Next;
use crate::{Core, Event, Leased, Outcome};
use jobraft_protocol::{
    EndReason, Error, ErrorCode, Extended, FailureKind, FencingToken, GroupKey, JobId, JobState, Label, LeaseRef,
    LeasedJob, LogTime, Progress, QueueName, TaskName, WorkerId, WorkerOrder, limits,
};

impl Core {
    /// Leases ready jobs, queue after queue: of the group whose turn it is, the most urgent first, then the oldest; as many as
    /// the limits let run.
    pub(crate) fn lease(
        &mut self,
        worker: WorkerId,
        queues: &[QueueName],
        shares: &[u32],
        max: u32,
        lease_ms: u64,
    ) -> Result<Outcome, Error> {
        self.check_worker(worker)?;
        let lease_ms = lease_length(lease_ms)?;
        if queues.len() > limits::WORKER_QUEUES_MAX {
            let text = format!("{} queues, a worker may name at most {}", queues.len(), limits::WORKER_QUEUES_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        if !shares.is_empty() && shares.len() != queues.len() {
            return Err(invalid(format!("{} shares for {} queues: give one for each", shares.len(), queues.len())));
        }
        self.workers.seen(worker, self.now);
        if self.worker_order(worker) != Some(WorkerOrder::Run) {
            return Ok(Outcome::Leased(Leased::default()));
        }
        let max = max.min(limits::LEASE_JOBS_MAX) as usize;
        let mut leased = Leased::default();
        let (mut count, mut bytes, mut expired) = (0, 0, 0);
        for (place, name) in queues.iter().enumerate() {
            let Some(index) = self.index.queues.index_of(name) else { continue };
            let share = shares.get(place).map_or(max, |&share| share as usize);
            let max = max.min(count + share);
            if self.is_answered {
                let open = self.index.queues.get(index).open(self.now);
                leased.jobs.reserve((max - count).min(usize::try_from(open).unwrap_or(usize::MAX)));
            }
            while count < max
                && bytes <= limits::LEASE_BYTES_MAX
                && expired < limits::TIMERS_PER_ENTRY_MAX
                && let Some((group, slot)) = self.index.queues.next(index, self.now)
            {
                let (id, job) = self.jobs.at(slot);
                // Its timer may not have fired yet; log time alone decides.
                if let Some(reason) = job.expired(self.now) {
                    self.end_expired(id, reason);
                    expired += 1;
                    continue;
                }
                self.lease_one(id, worker, lease_ms);
                let (job, queue) = (self.job(id), self.index.queues.get(index));
                let weight = weight_bytes(job, queue);
                count += 1;
                bytes += weight;
                if self.is_answered {
                    let told = self.leased_job(id, job, queue);
                    let to_read = job.payload.len() - told.payload.len();
                    debug_assert_eq!(told.weight_bytes() + to_read, weight, "every node counts alike");
                    leased.jobs.push(told);
                    leased.at_rest.extend(job.payload.is_at_rest().then_some(id));
                }
                self.index.queues.charge(index, group, self.now);
            }
        }
        Ok(Outcome::Leased(leased))
    }

    /// Ends a waiting job that was not started in time.
    pub(crate) fn end_expired(&mut self, id: JobId, reason: EndReason) {
        let next = Next::Ended { state: JobState::Expired, at: self.now, reason: Some(reason) };
        self.transition(id, next);
    }

    /// Leases a ready job.
    fn lease_one(&mut self, id: JobId, worker: WorkerId, lease_ms: u64) {
        self.counters.token += 1;
        let (token, granted_at) = (FencingToken(self.counters.token), self.now);
        let expires_at = granted_at.plus_ms(lease_ms);
        let mut lease = Lease { worker, token, granted_at, expires_at, heard_at: granted_at, lease_ms, cancel: None };
        lease.expires_at = expires_at.min(lease.latest(self.job(id).run_timeout_ms));
        self.transition(id, Next::Leased(lease));
        let job = self.job_mut(id);
        job.attempt += 1;
        assert!(job.attempt <= job.max_attempts, "defect: an attempt beyond the limit");
    }

    /// A job as its worker gets it, without a payload that rests.
    fn leased_job(&self, id: JobId, job: &Job, queue: &Queue) -> LeasedJob {
        let options = job.options.as_deref();
        let lease = job.lease.as_ref().expect("callers have leased it");
        LeasedJob {
            id,
            queue: queue.stats.queue.clone(),
            task: (*job.task).clone(),
            payload: job.payload.here(),
            attempt: job.attempt.into(),
            max_attempts: job.max_attempts.into(),
            token: lease.token,
            expires_at: lease.expires_at,
            run_timeout_ms: job.run_timeout_ms.into(),
            enqueued_at: job.enqueued_at,
            checkpoint: job.past.as_ref().map(|past| past.checkpoint.clone()).unwrap_or_default(),
            group: queue.groups.key(job.group).cloned(),
            after: job.waits().map(|waits| waits.jobs().to_vec()).unwrap_or_default(),
            batch: options.and_then(|options| options.batch).map(|membership| membership.batch),
            label: options.and_then(|options| options.label.clone()),
            tick: options.and_then(|options| options.tick.clone()),
            has_secrets: self.has_secrets(id),
        }
    }

    /// Extends each lease that is still held, up to what its job may run; never shortens one. Notes progress first.
    pub(crate) fn extend(
        &mut self,
        leases: &[LeaseRef],
        lease_ms: u64,
        progress: &[(LeaseRef, Progress)],
    ) -> Result<Outcome, Error> {
        for (what, count) in [("leases", leases.len()), ("reports of progress", progress.len())] {
            if count > limits::EXTEND_LEASES_MAX {
                let text = format!("{count} {what}, at most {} at once; split them", limits::EXTEND_LEASES_MAX);
                return Err(Error::new(ErrorCode::TooLarge, text));
            }
        }
        let lease_ms = lease_length(lease_ms)?;
        for (lease, progress) in progress {
            self.note_progress(*lease, progress);
        }
        let extended = leases.iter().map(|&lease| {
            self.held(lease)?;
            let expires_at = self.prolong(lease.job, lease_ms);
            let now = self.now;
            let Some(held) = &mut self.job_mut(lease.job).lease else {
                return Ok(Extended { expires_at, cancel: None });
            };
            held.heard_at = now;
            let (worker, cancel) = (held.worker, held.cancel.clone());
            self.workers.seen(worker, now);
            Ok(Extended { expires_at, cancel })
        });
        Ok(Outcome::Extended(extended.collect()))
    }

    /// Grants every lease that was held until this entry a full lease anew: nobody could extend without a leader.
    ///
    /// One that had run out by the entry before is lost already, though its timer may not have fired: it stays so.
    pub(crate) fn renew_leases(&mut self, before: LogTime) {
        // In no order: what each of them gets is its own affair.
        let held: Vec<JobId> = self.index.held.values().flatten().copied().collect();
        for id in held {
            let Some(lease) = &self.job(id).lease else { continue };
            if lease.expires_at > before {
                self.prolong(id, lease.lease_ms);
            }
        }
    }

    fn prolong(&mut self, id: JobId, lease_ms: u64) -> LogTime {
        let full = self.now.plus_ms(lease_ms);
        let job = self.job_mut(id);
        let run_timeout_ms = job.run_timeout_ms;
        let Some(lease) = &mut job.lease else { return full };
        let former = lease.expires_at;
        let expires_at = former.max(full.min(lease.latest(run_timeout_ms)));
        lease.expires_at = expires_at;
        lease.lease_ms = lease_ms;
        self.index.postpone(id, former, expires_at);
        self.touch(id);
        expires_at
    }

    /// Ends a lease that ran out. Asked to stop, the job is cancelled; having run longer than it may, it failed; else its
    /// worker is lost, which is a crash: it counts apart from failures and uses up no attempt.
    pub(crate) fn expire(&mut self, id: JobId) {
        let now = self.now;
        let job = self.job(id);
        let run_timeout_ms = job.run_timeout_ms;
        let lease = job.lease.as_ref().expect("callers name a leased job");
        if lease.cancel.as_ref().is_some_and(|cancel| lease.expires_at >= cancel.hard_at) {
            return self.end_cancelled(id, EndReason::CancelGraceOver);
        }
        let is_to_stop = lease.cancel.is_some();
        // Only a worker that was heard of after that has let it run on; one that was not has died before.
        let ran_too_long = lease.heard_at >= lease.granted_at.plus_ms(run_timeout_ms.into());
        self.events.push(Event::LeaseExpired { worker: lease.worker });
        if is_to_stop {
            return self.end_cancelled(id, EndReason::Cancelled);
        }
        if ran_too_long {
            let text = format!("it ran longer than the {run_timeout_ms} ms it may, and its worker did not stop it");
            self.fail_attempt(id, FailureKind::Timeout, text, true);
            return;
        }
        let text = "the lease ran out before the worker reported".to_owned();
        let job = self.job_mut(id);
        job.record_error(now, FailureKind::LeaseExpired, text);
        job.attempt -= 1;
        let next = if job.record_crash(now) {
            Next::Ended { state: JobState::Dead, at: now, reason: Some(EndReason::CrashBudget) }
        } else {
            Next::Ready(now)
        };
        self.transition(id, next);
    }

    /// Whether the lease is held now. Only log time and the token decide, not whether a timer has fired yet.
    pub(crate) fn held(&self, lease: LeaseRef) -> Result<(), Error> {
        let current = self.jobs.get(&lease.job).and_then(|job| job.lease.as_ref());
        let matches = |token| token == lease.token || is_planted(Bug::FencingDropped);
        if current.is_some_and(|held| matches(held.token) && held.expires_at > self.now) {
            return Ok(());
        }
        if self.ended.get(lease.job, self.now).is_some_and(|ended| ended.state == JobState::Cancelled) {
            return Err(Error::new(
                ErrorCode::Cancelled,
                format!("job {} was cancelled: stop working on it", lease.job),
            ));
        }
        let LeaseRef { job, token } = lease;
        let text = format!("job {job} is not held under token {token}: the lease ended; stop working on it");
        Err(Error::new(ErrorCode::LeaseLost, text))
    }
}

/// [`LeasedJob::weight_bytes`] of a job once its worker has all of it.
fn weight_bytes(job: &Job, queue: &Queue) -> usize {
    let options = job.options.as_deref();
    let names = [
        Some(queue.stats.queue.as_str()),
        job.task.handler().map(TaskName::as_str),
        queue.groups.key(job.group).map(GroupKey::as_str),
        options.and_then(|options| options.label.as_ref()).map(Label::as_str),
        options.and_then(|options| options.tick.as_ref()).map(|tick| tick.schedule.as_str()),
    ];
    let checkpoint = job.past.as_ref().map_or(0, |past| past.checkpoint.len());
    let after = job.waits().map_or(0, |waits| waits.jobs().len());
    LeasedJob::weight_of(names, job.payload.len() + checkpoint, after)
}

/// The length that is granted for a wish.
fn lease_length(wish_ms: u64) -> Result<u64, Error> {
    if wish_ms > limits::LEASE_MS_MAX {
        return Err(invalid(format!("a lease of {wish_ms} ms exceeds the limit of {} ms", limits::LEASE_MS_MAX)));
    }
    Ok(wish_ms.max(limits::LEASE_MS_MIN))
}
