//! A job in memory. A waiting one must stay small: names are interned, and what only some jobs have is boxed.

use crate::queue::QueueIndex;
use crate::record::JobRecord;
use bytes::Bytes;
use jobraft_protocol::{
    AttemptError, FailureKind, FencingToken, JobId, JobState, JobView, LeaseView, LogTime, QueueName, Task, WorkerId,
    limits,
};

/// A job; its id is the key under which it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) queue: QueueIndex,
    pub(crate) task: Task,
    pub(crate) payload: Bytes,
    /// Written by [`crate::transition::transition`] alone.
    pub(crate) state: JobState,
    pub(crate) priority: u8,
    /// Whether its row on disk is behind.
    pub(crate) dirty: bool,
    pub(crate) attempt: u32,
    pub(crate) max_attempts: u32,
    pub(crate) run_timeout_ms: u64,
    pub(crate) enqueued_at: LogTime,
    pub(crate) run_at: LogTime,
    /// Its place in the order of all enqueues; kept for life, so that a job given back goes before later ones.
    pub(crate) seq: u64,
    /// There exactly when the state is `leased`.
    pub(crate) lease: Option<Box<Lease>>,
    pub(crate) past: Option<Box<Past>>,
}

/// Who holds a job, and until when.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) worker: WorkerId,
    pub(crate) token: FencingToken,
    pub(crate) expires_at: LogTime,
    /// What was last asked for: the full lease that a new leader grants again.
    pub(crate) lease_ms: u64,
}

/// What only a job with a history has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// The token under which the last attempt was reported failed or completed, until the job is leased again.
    pub(crate) reported: Option<FencingToken>,
    pub(crate) finished_at: Option<LogTime>,
    pub(crate) result: Bytes,
    pub(crate) log: Bytes,
    pub(crate) errors: Vec<AttemptError>,
    pub(crate) cancel_reason: Option<String>,
}

impl Job {
    /// The job's history, begun if there is none.
    pub(crate) fn past_mut(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }

    /// Notes how the current attempt went wrong; the oldest notes go first.
    pub(crate) fn record_error(&mut self, at: LogTime, kind: FailureKind, message: String) {
        let attempt = self.attempt;
        let errors = &mut self.past_mut().errors;
        if errors.len() >= limits::ATTEMPT_ERRORS_MAX {
            errors.remove(0);
        }
        errors.push(AttemptError { attempt, at, kind, message });
    }

    /// The time at which something becomes due for it, if anything ever will.
    pub(crate) fn timer(&self) -> Option<LogTime> {
        match (&self.lease, self.state) {
            (Some(lease), _) => Some(lease.expires_at),
            (None, JobState::Scheduled) => Some(self.run_at),
            (None, _) => None,
        }
    }

    /// The job as a reader sees it.
    pub(crate) fn view(&self, id: JobId, queue: &QueueName) -> JobView {
        let past = self.past.as_deref().cloned().unwrap_or_default();
        let lease = self.lease.as_deref().map(|lease| LeaseView {
            worker: lease.worker,
            token: lease.token,
            expires_at: lease.expires_at,
        });
        JobView {
            id,
            queue: queue.clone(),
            task: self.task.clone(),
            payload: self.payload.clone(),
            state: self.state,
            priority: self.priority,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            run_timeout_ms: self.run_timeout_ms,
            enqueued_at: self.enqueued_at,
            run_at: self.run_at,
            finished_at: past.finished_at,
            lease,
            result: past.result,
            log: past.log,
            errors: past.errors,
            cancel_reason: past.cancel_reason,
        }
    }

    /// The job as it rests on disk.
    pub(crate) fn record(&self, id: JobId, queue: &QueueName) -> JobRecord {
        JobRecord {
            seq: self.seq,
            lease_ms: self.lease.as_ref().map(|lease| lease.lease_ms),
            reported: self.past.as_ref().and_then(|past| past.reported),
            view: self.view(id, queue),
        }
    }

    /// The job from its record, in a queue that the caller has interned. The caller has checked the record.
    pub(crate) fn from_record(record: JobRecord, queue: QueueIndex) -> Self {
        let JobRecord { seq, lease_ms, reported, view } = record;
        let lease = view.lease.zip(lease_ms).map(|(lease, lease_ms)| {
            Box::new(Lease { worker: lease.worker, token: lease.token, expires_at: lease.expires_at, lease_ms })
        });
        let past = Past {
            reported,
            finished_at: view.finished_at,
            result: view.result,
            log: view.log,
            errors: view.errors,
            cancel_reason: view.cancel_reason,
        };
        Self {
            queue,
            task: view.task,
            payload: view.payload,
            state: view.state,
            priority: view.priority,
            dirty: false,
            attempt: view.attempt,
            max_attempts: view.max_attempts,
            run_timeout_ms: view.run_timeout_ms,
            enqueued_at: view.enqueued_at,
            run_at: view.run_at,
            seq,
            lease,
            past: (!past.is_empty()).then(|| Box::new(past)),
        }
    }
}

impl Past {
    fn is_empty(&self) -> bool {
        self.reported.is_none()
            && self.finished_at.is_none()
            && self.result.is_empty()
            && self.log.is_empty()
            && self.errors.is_empty()
            && self.cancel_reason.is_none()
    }
}

/// Cuts `text` to at most `bytes_max` bytes, at the end of a character.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_the_end_of_a_character() {
        assert_eq!(cut("aöb", 2), "a");
        assert_eq!(cut("aöb", 3), "aö");
        assert_eq!(cut("aöb", 99), "aöb");
    }

    #[test]
    fn a_job_is_small() {
        assert!(size_of::<Job>() <= 168, "a job takes {} bytes", size_of::<Job>());
    }
}
