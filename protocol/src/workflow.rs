//! Many jobs together: jobs that come after others, and batches.

use crate::{BatchId, JobId, JobState, Label, LogTime, NewJob};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a job waits for before it may run: it is `blocked` until then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// Until these have ended; at most [`crate::limits::AFTER_JOBS_MAX`], each named once. Their results stay readable as
    /// long as this job lives, whatever their queues' retention says.
    pub jobs: Vec<JobId>,
    /// What becomes of this job if one of them does not complete.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// What becomes of a job if one that it waits for does not complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Behind a dead job it goes on waiting, for that one may be retried. Behind one that was cancelled, expired or was
    /// deleted it is cancelled.
    #[default]
    Wait,
    /// It is cancelled at once.
    Cancel,
    /// It runs nevertheless, once all have ended.
    Run,
}

impl OnFailure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Wait, Self::Cancel, Self::Run];

    /// The name as it stands on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Cancel => "cancel",
            Self::Run => "run",
        }
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A job that another one waits for, or waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// Which.
    pub job: JobId,
    /// How it ended; absent: not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<JobState>,
}

/// A batch to be created: jobs that are looked at together. All of it is taken, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewBatch {
    /// Made by the client: the same id is the same batch, however often it is sent.
    pub id: BatchId,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Enqueued in the step in which the last of its jobs completes, if all of them have. No callback is refused for want of
    /// room, nor because its queue drains; none can have a unique key, come after other jobs, or belong to a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_complete: Option<Box<NewJob>>,
    /// Enqueued in the step in which the first of its jobs ends otherwise than completed; once in the batch's life, and not
    /// if the batch itself was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<Box<NewJob>>,
    /// Its first jobs, in the limits of a bulk enqueue; each is taken to be of this batch. They may come after each other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<NewJob>,
    /// Whether more jobs will be enqueued into it. It does not end before it is sealed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

impl NewBatch {
    /// A batch of these jobs and no others.
    #[must_use]
    pub fn new(id: BatchId, jobs: Vec<NewJob>) -> Self {
        Self { id, label: None, on_complete: None, on_failure: None, jobs, open: false }
    }
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Takes more jobs.
    Open,
    /// Takes no more jobs but those that its own enqueue, and some of them live.
    Running,
    /// All of its jobs completed.
    Completed,
    /// All of its jobs have ended, not all of them completed. A retry of a dead one makes it run again.
    Failed,
    /// It was cancelled, and none of its jobs lives any more.
    Cancelled,
}

impl BatchState {
    /// The name as it stands on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether none of its jobs lives, and it takes no more.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for BatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A batch as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchView {
    /// The batch.
    pub id: BatchId,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Where it stands.
    pub state: BatchState,
    /// When it was created.
    pub created_at: LogTime,
    /// When the last of its jobs ended, while none lives and it takes no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<LogTime>,
    /// How many of its jobs live.
    pub live: u64,
    /// How many of them completed.
    pub completed: u64,
    /// How many of them are dead.
    pub dead: u64,
    /// How many of them were cancelled.
    pub cancelled: u64,
    /// How many of them expired.
    pub expired: u64,
    /// The job of its completion; it is there once the batch has completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_complete: Option<JobId>,
    /// The job of its failure; it is there once one of its jobs has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<JobId>,
    /// Whether the job of its failure was enqueued.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failure_called: bool,
}

impl BatchView {
    /// How many jobs it has or had.
    #[must_use]
    pub fn jobs(&self) -> u64 {
        self.live + self.completed + self.dead + self.cancelled + self.expired
    }
}
