//! Leases: who may finish a job, and until when.
//!
//! A lease is granted by one entry and ended by another; only log time ends it unasked. Its token is the fencing token:
//! strictly increasing over the cluster's life, so whoever holds an older one has lost the job, however sure it is of
//! the opposite.

use crate::enqueue::invalid;
use crate::job::Lease;
use crate::queue::QueueIndex;
use crate::transition::Next;
use crate::{Core, Outcome};
use jobraft_protocol::{
    Error, ErrorCode, FailureKind, FencingToken, JobId, JobState, LeaseRef, LeasedJob, LogTime, QueueName, WorkerId,
    limits,
};

impl Core {
    /// Leases ready jobs: the most urgent first, then the oldest, queue after queue.
    pub(crate) fn lease(
        &mut self,
        worker: WorkerId,
        queues: &[QueueName],
        max: u32,
        lease_ms: u64,
    ) -> Result<Outcome, Error> {
        self.check_worker(worker)?;
        let lease_ms = lease_length(lease_ms)?;
        if queues.len() > limits::WORKER_QUEUES_MAX {
            let text = format!("{} queues, a worker may name at most {}", queues.len(), limits::WORKER_QUEUES_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        let max = max.min(limits::LEASE_JOBS_MAX) as usize;
        let mut leased = Vec::new();
        let mut bytes = 0;
        for index in queues.iter().filter_map(|name| self.index.queues.index_of(name)).collect::<Vec<_>>() {
            while leased.len() < max
                && bytes <= limits::LEASE_BYTES_MAX
                && let Some((_, &id)) = self.index.queues.get(index).ready.first_key_value()
            {
                let job = self.lease_one(id, index, worker, lease_ms);
                bytes += job.payload.len();
                leased.push(job);
            }
        }
        Ok(Outcome::Leased(leased))
    }

    fn lease_one(&mut self, id: JobId, queue: QueueIndex, worker: WorkerId, lease_ms: u64) -> LeasedJob {
        self.counters.token += 1;
        let token = FencingToken(self.counters.token);
        let expires_at = self.now.plus_ms(lease_ms);
        self.transition(id, Next::Leased(Lease { worker, token, expires_at, lease_ms }));
        let job = self.job_mut(id);
        job.attempt += 1;
        assert!(job.attempt <= job.max_attempts, "defect: an attempt beyond the limit");
        let (task, payload) = (job.task.clone(), job.payload.clone());
        let (attempt, max_attempts) = (job.attempt, job.max_attempts);
        let (run_timeout_ms, enqueued_at) = (job.run_timeout_ms, job.enqueued_at);
        LeasedJob {
            id,
            queue: self.index.queues.get(queue).stats.queue.clone(),
            task,
            payload,
            attempt,
            max_attempts,
            token,
            expires_at,
            run_timeout_ms,
            enqueued_at,
        }
    }

    /// Extends each lease that is still held; never shortens one.
    pub(crate) fn extend(&mut self, leases: &[LeaseRef], lease_ms: u64) -> Result<Outcome, Error> {
        if leases.len() > limits::EXTEND_LEASES_MAX {
            let text = format!("{} leases, at most {} at once; split them", leases.len(), limits::EXTEND_LEASES_MAX);
            return Err(Error::new(ErrorCode::TooLarge, text));
        }
        let lease_ms = lease_length(lease_ms)?;
        let extended = leases.iter().map(|&lease| {
            self.held(lease)?;
            Ok(self.prolong(lease.job, lease_ms))
        });
        Ok(Outcome::Extended(extended.collect()))
    }

    /// Grants every lease that was held until this entry a full lease anew: nobody could extend without a leader.
    ///
    /// One that had run out by the entry before is lost already, though its timer may not have fired: it stays so.
    pub(crate) fn renew_leases(&mut self, before: LogTime) {
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
        let Some(lease) = &mut self.job_mut(id).lease else { return full };
        let former = lease.expires_at;
        let expires_at = former.max(full);
        lease.expires_at = expires_at;
        lease.lease_ms = lease_ms;
        self.index.postpone(id, former, expires_at);
        self.touch(id);
        expires_at
    }

    /// Ends a lease that ran out: the attempt counts, and was the last if no other is left.
    pub(crate) fn expire(&mut self, id: JobId) {
        let now = self.now;
        let job = self.job_mut(id);
        job.record_error(now, FailureKind::LeaseExpired, "the lease ran out before the worker reported".to_owned());
        let next = if job.attempt < job.max_attempts {
            Next::Ready(now)
        } else {
            Next::Ended { state: JobState::Dead, at: now }
        };
        self.transition(id, next);
    }

    /// Whether the lease is held now. Only log time and the token decide, not whether a timer has fired yet.
    pub(crate) fn held(&self, lease: LeaseRef) -> Result<(), Error> {
        let current = self.jobs.get(&lease.job).and_then(|job| job.lease.as_ref());
        if current.is_some_and(|held| held.token == lease.token && held.expires_at > self.now) {
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

/// The length that is granted for a wish.
fn lease_length(wish_ms: u64) -> Result<u64, Error> {
    if wish_ms > limits::LEASE_MS_MAX {
        return Err(invalid(format!("a lease of {wish_ms} ms exceeds the limit of {} ms", limits::LEASE_MS_MAX)));
    }
    Ok(wish_ms.max(limits::LEASE_MS_MIN))
}
