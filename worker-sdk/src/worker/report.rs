//! What a worker did, counted as it goes.

use super::handler::Outcome;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

#[derive(Default)]
pub(super) struct Counts {
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) released: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Completed(_) => self.completed.fetch_add(1, Relaxed),
            Outcome::Failed(_) => self.failed.fetch_add(1, Relaxed),
            Outcome::Snoozed(_) => self.released.fetch_add(1, Relaxed),
        };
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
