//! Once only: a key that at most one job holds, for how long, and what happens to a second one.

use crate::{UniqueKey, limits};
use serde::{Deserialize, Serialize};

/// A job's claim to a key. Decided by the replicated state machine, for the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unique {
    /// The key.
    pub key: UniqueKey,
    /// For how long the job holds it.
    #[serde(default)]
    pub scope: UniqueScope,
    /// What happens if another job holds it.
    #[serde(default)]
    pub on_conflict: OnConflict,
}

/// For how long a job holds its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniqueScope {
    /// While the job waits: until it is leased, and again between two attempts, if nobody else took the key meanwhile.
    Waiting,
    /// Until it is leased for the first time, or its life ends before.
    UntilStarted,
    /// Until its life ends.
    #[default]
    UntilDone,
    /// For this many milliseconds after it was enqueued, whatever becomes of it; 1 to [`limits::UNIQUE_PERIOD_MS_MAX`].
    ForMs(u64),
}

/// What happens to a job whose key another one holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It is refused with [`crate::ErrorCode::Conflict`].
    Reject,
    /// It is not enqueued; the answer names the holder: [`crate::EnqueueOutcome::Duplicate`].
    #[default]
    ReturnExisting,
    /// The holder, if it waits, takes over this job's payload, its start, or both (debounce); the answer is
    /// [`crate::EnqueueOutcome::Replaced`]. A holder that is running or has ended is not changed: that is refused with
    /// [`crate::ErrorCode::Conflict`], so that no payload is lost in silence. So is one of another queue, which need not be
    /// for the same clients.
    Replace {
        /// The payload.
        payload: bool,
        /// When it may run, as if enqueued now: the start, and the time-to-live and start deadline that count from it.
        start: bool,
    },
}

impl Unique {
    /// Whether every value is within its domain.
    ///
    /// # Errors
    /// A fragment that names the field that is not, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if let UniqueScope::ForMs(ms) = self.scope
            && !(1..=limits::UNIQUE_PERIOD_MS_MAX).contains(&ms)
        {
            return Err(format!("unique.scope of {ms} ms is not in 1..={} ms", limits::UNIQUE_PERIOD_MS_MAX));
        }
        if self.on_conflict == (OnConflict::Replace { payload: false, start: false }) {
            return Err("unique.on_conflict replaces nothing: say payload, start, or both".to_owned());
        }
        Ok(())
    }
}
