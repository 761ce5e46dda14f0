//! What a worker did, counted as it goes, and told to who wants to know.

use super::handler::Outcome;
use jobraft_protocol::JobId;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What a worker did in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Jobs completed, and the completion accepted.
    pub completed: u64,
    /// Attempts reported as failed.
    pub failed: u64,
    /// Attempts that lost their lease, or were cancelled, before they could be reported.
    pub lost: u64,
    /// Jobs given back unfinished, or put off.
    pub released: u64,
}

/// A report that the cluster has accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reported {
    /// The job.
    pub job: JobId,
    /// Whether it is completed; otherwise its attempt failed, or it was put off.
    pub completed: bool,
    /// From the end of the job's code to the answer.
    pub took: Duration,
}

/// Who is told of each accepted report.
pub(super) type Observer = Arc<dyn Fn(&Reported) + Send + Sync>;

#[derive(Default)]
pub(super) struct Counts {
    pub(super) observer: Option<Observer>,
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) released: AtomicU64,
}

impl Counts {
    /// The report of what ended at `ended` was accepted.
    pub(super) fn add(&self, job: JobId, outcome: &Outcome, ended: Instant) {
        match outcome {
            Outcome::Completed(_) => self.completed.fetch_add(1, Relaxed),
            Outcome::Failed(_) => self.failed.fetch_add(1, Relaxed),
            Outcome::Snoozed(_) => self.released.fetch_add(1, Relaxed),
        };
        if let Some(observer) = &self.observer {
            observer(&Reported { job, completed: matches!(outcome, Outcome::Completed(_)), took: ended.elapsed() });
        }
    }

    pub(super) fn report(&self) -> WorkerReport {
        WorkerReport {
            completed: self.completed.load(Relaxed),
            failed: self.failed.load(Relaxed),
            lost: self.lost.load(Relaxed),
            released: self.released.load(Relaxed),
        }
    }
}
