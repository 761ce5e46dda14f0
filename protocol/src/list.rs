//! Lists of jobs: which, in which order, page by page; and what can be done to jobs that are named.

use crate::job::EndReason;
use crate::{
    BatchId, GroupKey, JobId, JobState, Label, LogTime, Namespace, Progress, QueueName, Task, UniqueKey, WorkerId,
    bounded, limits,
};
use serde::{Deserialize, Serialize};

/// Which jobs. All conditions must hold; one that is empty or absent always does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFilter {
    /// In one of these queues; at most [`limits::FILTER_VALUES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::texts")]
    pub queues: Vec<QueueName>,
    /// In one of these states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<JobState>,
    /// In a queue of this namespace; absent: of any. Said by the node that is asked, and by nobody on the wire.
    #[serde(skip)]
    pub namespace: Option<Namespace>,
    /// Running this: a handler's name, or `sha256:` and a module's digest, as [`Task`] prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// With this unique key, whether or not they hold it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<UniqueKey>,
    /// Part of this batch. Its callbacks are not: [`crate::BatchView`] names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// Enqueued at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enqueued_from: Option<LogTime>,
    /// Enqueued before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enqueued_before: Option<LogTime>,
    /// Whose last error holds this text, in any case of ASCII letters; at most [`limits::FILTER_TEXT_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl JobFilter {
    /// Whether every value is within its domain.
    ///
    /// # Errors
    /// A fragment that names the first condition that is not, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if self.queues.len() > limits::FILTER_VALUES_MAX {
            return Err(format!("filter.queues names {}, at most {}", self.queues.len(), limits::FILTER_VALUES_MAX));
        }
        if self.states.len() > JobState::ALL.len() {
            return Err(format!("filter.states names {}, there are {}", self.states.len(), JobState::ALL.len()));
        }
        for (name, text) in [("task", &self.task), ("error", &self.error)] {
            let bytes = text.as_ref().map_or(0, String::len);
            if bytes > limits::FILTER_TEXT_BYTES_MAX {
                return Err(format!("filter.{name} has {bytes} bytes, at most {}", limits::FILTER_TEXT_BYTES_MAX));
            }
        }
        if let (Some(from), Some(before)) = (self.enqueued_from, self.enqueued_before)
            && from >= before
        {
            return Err(format!("filter.enqueued_from {from} is not before enqueued_before {before}"));
        }
        Ok(())
    }
}

/// A job as it stands in a list. [`crate::JobView`] has the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// The job.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// What it runs.
    pub task: Task,
    /// Where it stands.
    pub state: JobState,
    /// Why its life ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// 0 (first) to 9.
    pub priority: u8,
    /// Attempts begun so far.
    pub attempt: u32,
    /// Attempts that there may be.
    pub max_attempts: u32,
    /// When it was enqueued.
    pub enqueued_at: LogTime,
    /// When it may next run, for a scheduled job; else when it last could.
    pub run_at: LogTime,
    /// When its life ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<LogTime>,
    /// Who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// Its unique key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<UniqueKey>,
    /// How far it says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Its last error, cut at [`limits::SUMMARY_ERROR_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupKey>,
    /// The batch to which it belongs, or whose callback it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// Whether it is a callback of that batch, and no part of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_callback: bool,
    /// What it is called within its workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// The jobs that it waits or waited for, the first [`limits::SUMMARY_AFTER_MAX`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<JobId>,
    /// How many these are in all.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after_count: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A part of a list. Jobs are in the order of their ids, which is that of their making: it never changes, so that no
/// job is shown twice or passed over while they move on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPage {
    /// The jobs; may be few or none although there are more: see `next`.
    pub jobs: Vec<JobSummary>,
    /// Where to go on; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<JobId>,
}

/// What is done to jobs that are named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobAction {
    /// Calls off a job in any live state. One that a worker has is asked to stop and has `grace_ms` to do so; then it is
    /// taken away.
    Cancel {
        /// Why, for people and for the handler; cut at [`limits::REASON_BYTES_MAX`].
        #[serde(default)]
        reason: String,
        /// 0 (at once) to [`limits::CANCEL_GRACE_MS_MAX`].
        grace_ms: u64,
    },
    /// Removes a job that waits or that has ended; nothing is left to read of it.
    Delete,
    /// Lets a dead job run again, with all its attempts anew.
    Retry,
    /// Puts a waiting job into another queue; it keeps its priority and its age.
    Move {
        /// Where to.
        queue: QueueName,
    },
    /// Changes the priority of a live job.
    Prioritize {
        /// 0 (first) to 9.
        priority: u8,
    },
}

impl JobAction {
    /// The name as it stands on the wire and in the audit log.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Cancel { .. } => "cancel",
            Self::Delete => "delete",
            Self::Retry => "retry",
            Self::Move { .. } => "move",
            Self::Prioritize { .. } => "prioritize",
        }
    }
}
