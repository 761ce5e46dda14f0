//! Defects on purpose, to see that the tests notice: only with the feature `planted-bugs`, which no release has.
//!
//! One at a time, named by the environment variable `JOBRAFT_PLANTED_BUG`. Without the feature every question is answered
//! `false` when compiled, and nothing is left of it.

/// The variable that names the defect.
pub const VARIABLE: &str = "JOBRAFT_PLANTED_BUG";

/// What can be wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Appends are acknowledged before they are on disk.
    AckBeforeFsync,
    /// A stale token passes for the current one.
    FencingDropped,
    /// Each node's own clock moves log time.
    WallClockInApply,
    /// A new leader extends no lease.
    LeaseNotExtended,
    /// The log is purged up to what is applied, whatever the checkpoint holds.
    PurgeBeforeCheckpoint,
    /// The jobs of a bulk are enqueued in an order that differs between nodes.
    HashOrder,
    /// A vote is given before it is on disk.
    VoteNotSynced,
    /// A key that is held until the job is done is free once it has started.
    KeyReleasedEarly,
    /// A checkpoint stands for the position of the one before.
    CheckpointWithoutItsPosition,
    /// An id is forgotten as soon as its job has ended.
    RetryEnqueuesTwice,
    /// A leader fires only the timers of which it hears while it leads.
    TimerLostAtFailover,
    /// A read does not ask whether this node still leads.
    StaleRead,
    /// A leader that crashed goes on in the same term.
    LeaderRestored,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::AckBeforeFsync,
        Self::FencingDropped,
        Self::WallClockInApply,
        Self::LeaseNotExtended,
        Self::PurgeBeforeCheckpoint,
        Self::HashOrder,
        Self::VoteNotSynced,
        Self::KeyReleasedEarly,
        Self::CheckpointWithoutItsPosition,
        Self::RetryEnqueuesTwice,
        Self::TimerLostAtFailover,
        Self::StaleRead,
        Self::LeaderRestored,
    ];

    /// What it is called in [`VARIABLE`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeFsync => "ack-before-fsync",
            Self::FencingDropped => "fencing-dropped",
            Self::WallClockInApply => "wall-clock-in-apply",
            Self::LeaseNotExtended => "lease-not-extended",
            Self::PurgeBeforeCheckpoint => "purge-before-checkpoint",
            Self::HashOrder => "hash-order",
            Self::VoteNotSynced => "vote-not-synced",
            Self::KeyReleasedEarly => "key-released-early",
            Self::CheckpointWithoutItsPosition => "checkpoint-without-its-position",
            Self::RetryEnqueuesTwice => "retry-enqueues-twice",
            Self::TimerLostAtFailover => "timer-lost-at-failover",
            Self::StaleRead => "stale-read",
            Self::LeaderRestored => "leader-restored",
        }
    }
}

/// Whether that is wrong in this process.
#[cfg(feature = "planted-bugs")]
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    static PLANTED: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    let planted = PLANTED.get_or_init(|| {
        let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty())?;
        let known = Bug::ALL.into_iter().find(|bug| bug.name() == name);
        assert!(known.is_some(), "{VARIABLE} names no planted bug: {name}");
        known
    });
    *planted == Some(bug)
}

/// Nothing is.
#[cfg(not(feature = "planted-bugs"))]
#[must_use]
pub const fn is_planted(_: Bug) -> bool {
    false
}
