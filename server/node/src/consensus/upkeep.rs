//! Sweeping `state.db`: which rows may go, a few at a time.
//!
//! The core says where each queue's retention ends. It is asked in the same moment in which a checkpoint takes its
//! changes: only what that checkpoint no longer needs may go, since after a crash the log is replayed onto it. So is what
//! is pinned, for live jobs that came after it: what is outside of a horizon and not pinned then cannot be pinned later. The
//! queues come round in turn, so that one with much to remove keeps none of the others waiting.

use crate::storage::{Due, StateDb, StorageError};
use jobraft_core::Core;
use jobraft_protocol::{JobId, JobState, LogTime, QueueName};
use std::collections::{HashSet, VecDeque};
use std::path::Path;

/// Queues and states looked at in one go.
const HORIZONS_MAX: usize = 256;
/// Rows removed in one transaction.
const ROWS_MAX: usize = 1_024;
/// Pages given back in one transaction.
const PAGES_MAX: u64 = 512;

/// What is known of the work on `state.db`. Whoever holds it is the only one to write.
#[derive(Default)]
pub(super) struct Upkeep {
    /// To be swept, as of a checkpoint that is on disk.
    due: VecDeque<Due>,
    /// What may not go, as of the same checkpoint.
    pinned: HashSet<JobId>,
    /// Nothing that ended then or later may go.
    before: LogTime,
    /// The last queue and state that were due.
    reached: Option<(QueueName, JobState)>,
    /// Why nothing is written any more.
    failed: Option<String>,
}

impl Upkeep {
    /// Takes the next queues and states, once there is nothing left to do for the former. The core must be as it stands in
    /// the checkpoint that is made before this is let go.
    pub(super) fn plan(&mut self, core: &Core) {
        if !self.due.is_empty() {
            return;
        }
        let after = self.reached.as_ref().map(|(queue, state)| (queue, *state));
        let mut due = core.horizons(after, HORIZONS_MAX);
        if due.is_empty() && after.is_some() {
            due = core.horizons(None, HORIZONS_MAX);
        }
        self.reached = due.last().map(|horizon| (horizon.queue.clone(), horizon.state));
        self.due = due.into_iter().map(Due::from).collect();
        self.pinned = core.pinned();
        self.before = core.sweep_before();
    }

    /// Does a bounded part of what is due; says whether there is more.
    pub(super) fn sweep(&mut self, db: &StateDb) -> Result<bool, StorageError> {
        let mut more = false;
        if !self.due.is_empty() {
            let outcome = db.sweep(self.due.make_contiguous(), &self.pinned, self.before, ROWS_MAX)?;
            self.due.drain(..outcome.done);
            if outcome.more {
                self.due.rotate_left(1);
            }
            if outcome.removed > 0 {
                tracing::debug!(jobs = outcome.removed, "removed what is kept no longer");
            }
            more = outcome.more;
        }
        Ok(db.give_back(PAGES_MAX)? || more)
    }

    /// Refuses once something failed.
    pub(super) fn check(&self, directory: &Path) -> Result<(), StorageError> {
        match &self.failed {
            None => Ok(()),
            Some(reason) => Err(StorageError::Stopped { path: directory.to_path_buf(), reason: reason.clone() }),
        }
    }

    /// Remembers a failure: it is never tried again.
    pub(super) fn note<T>(&mut self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        result.inspect_err(|error| self.fail(error))
    }

    /// Nothing is written any more. The first reason stays.
    pub(super) fn fail(&mut self, why: &dyn std::error::Error) {
        self.failed.get_or_insert_with(|| why.to_string());
    }
}
