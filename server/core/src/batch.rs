//! Batches.

use crate::Core;
use jobraft_protocol::{BatchId, BatchView, JobId};
use std::collections::HashSet;

impl Core {
    /// A batch that is known.
    #[must_use]
    pub fn batch(&self, _id: BatchId) -> Option<BatchView> {
        None
    }

    /// Batches with ids less than `before`, from the newest back, at most `max`.
    #[must_use]
    pub fn batches(&self, _before: Option<BatchId>, _max: usize) -> Vec<BatchView> {
        Vec::new()
    }

    /// Ended jobs whose rows must stay, whatever their retention says.
    #[must_use]
    pub fn pinned(&self) -> HashSet<JobId> {
        HashSet::new()
    }
}
