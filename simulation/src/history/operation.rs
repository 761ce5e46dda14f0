//! What a client asked about one job, and what it was answered.
//!
//! A request about many jobs is an operation on each of them. Payloads and results are compared by a [`mark`] of their
//! bytes, so that a history stays small.

use jobraft_protocol::{
    EnqueueOutcome, ErrorCode, FencingToken, JobId, JobState, JobView, LeasedJob, LogTime, NewJob, WorkerId,
};
use serde::{Deserialize, Serialize};

/// A place in the order of all that clients did: each asking and each answer has one of its own.
pub type Instant = u64;

/// One operation on one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who asked.
    pub client: u32,
    /// About which job.
    pub job: JobId,
    /// When it was asked.
    pub called: Instant,
    /// When it was answered; absent: never, and nobody knows whether it was done.
    pub returned: Option<Instant>,
    /// What was asked.
    pub call: Call,
    /// What was answered; absent with `returned`.
    pub outcome: Option<Outcome>,
}

/// What can be asked about a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// Let it be. Also for the children of a completion.
    Enqueue(Box<NewJob>),
    /// Let it be, if what was asked for earlier calls for it: the callback of a batch, the job of a schedule.
    Spawn,
    /// Lease it: recorded once it is known which job it was.
    Lease {
        /// To whom.
        worker: WorkerId,
        /// For how long.
        lease_ms: u64,
    },
    /// Go on with a lease.
    Extend {
        /// Under this token.
        token: FencingToken,
        /// From then on.
        lease_ms: u64,
    },
    /// Leave bytes for the next attempt.
    Checkpoint {
        /// Under this token.
        token: FencingToken,
        /// Their [`mark`].
        data: u64,
    },
    /// End it well.
    Complete {
        /// Under this token.
        token: FencingToken,
        /// The [`mark`] of the result.
        result: u64,
    },
    /// End an attempt badly.
    Fail {
        /// Under this token.
        token: FencingToken,
        /// Whether another may follow.
        retryable: bool,
    },
    /// Give it back.
    Release {
        /// Under this token.
        token: FencingToken,
        /// For so long.
        delay_ms: u64,
    },
    /// Give back all that a worker holds.
    Disconnect {
        /// Which.
        worker: WorkerId,
    },
    /// Call it off.
    Cancel {
        /// How long it may still run.
        grace_ms: u64,
        /// Only in these states.
        only_in: Vec<JobState>,
    },
    /// Let it live again.
    Retry {
        /// Only in these states.
        only_in: Vec<JobState>,
    },
    /// Let nothing be left of it.
    Delete {
        /// Only in these states.
        only_in: Vec<JobState>,
    },
    /// Change its queue or its priority.
    Amend {
        /// Only in these states.
        only_in: Vec<JobState>,
        /// Whether a leased job is refused.
        waiting_only: bool,
    },
    /// Read it.
    Get,
}

/// What can be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is a new job.
    Created,
    /// It was there.
    Existing,
    /// Another one stands for it.
    Duplicate(JobId),
    /// Another one took over what it was.
    Replaced(JobId),
    /// It is leased.
    Leased {
        /// Under this token.
        token: FencingToken,
        /// Which attempt this is.
        attempt: u32,
        /// When the lease ends.
        expires_at: LogTime,
        /// When the job was enqueued.
        enqueued_at: LogTime,
        /// The [`mark`] of what an earlier attempt left.
        checkpoint: u64,
    },
    /// The lease goes on.
    Extended {
        /// Until then.
        expires_at: LogTime,
        /// Whether it is asked to stop.
        to_stop: bool,
    },
    /// The attempt failed.
    Failed {
        /// Where the job stands.
        state: JobState,
    },
    /// Done. Of an enqueue: done as part of something else, which tells no more than that.
    Done,
    /// The job as it stands.
    View(Box<Seen>),
    /// Refused by the state machine, which knew the job's state.
    Refused(ErrorCode),
    /// Refused before the job's state was looked at, or for another job's sake: nothing was done, and nothing is told.
    Untold(ErrorCode),
}

/// What matters of a [`JobView`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Where it stands.
    pub state: JobState,
    /// Attempts begun.
    pub attempt: u32,
    /// Who has it, under which token, since when and until when.
    pub lease: Option<(WorkerId, FencingToken, LogTime, LogTime)>,
    /// Whether it is asked to stop.
    pub to_stop: bool,
    /// When it was enqueued.
    pub enqueued_at: LogTime,
    /// When it may next run.
    pub run_at: LogTime,
    /// When it ended.
    pub finished_at: Option<LogTime>,
    /// The [`mark`] of its result.
    pub result: u64,
}

impl From<&JobView> for Seen {
    fn from(view: &JobView) -> Self {
        let lease = view.lease.as_ref();
        Self {
            state: view.state,
            attempt: view.attempt,
            lease: lease.map(|lease| (lease.worker, lease.token, lease.granted_at, lease.expires_at)),
            to_stop: view.cancel.is_some(),
            enqueued_at: view.enqueued_at,
            run_at: view.run_at,
            finished_at: view.finished_at,
            result: mark(&view.result),
        }
    }
}

impl From<&LeasedJob> for Outcome {
    fn from(job: &LeasedJob) -> Self {
        Self::Leased {
            token: job.token,
            attempt: job.attempt,
            expires_at: job.expires_at,
            enqueued_at: job.enqueued_at,
            checkpoint: mark(&job.checkpoint),
        }
    }
}

impl From<&EnqueueOutcome> for Outcome {
    fn from(outcome: &EnqueueOutcome) -> Self {
        match outcome {
            EnqueueOutcome::Created => Self::Created,
            EnqueueOutcome::Existing => Self::Existing,
            EnqueueOutcome::Duplicate(holder) => Self::Duplicate(*holder),
            EnqueueOutcome::Replaced(holder) => Self::Replaced(*holder),
            EnqueueOutcome::Refused(error) => Self::Refused(error.code),
        }
    }
}

/// A number that stands for some bytes: FNV-1a, so that it is the same in every run; 0 for none.
#[must_use]
pub fn mark(bytes: &[u8]) -> u64 {
    if bytes.is_empty() {
        return 0;
    }
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
