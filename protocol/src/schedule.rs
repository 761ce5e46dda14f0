//! Schedules: jobs that are enqueued by the calendar.

use crate::{Backoff, GroupKey, JobId, Label, LogTime, NewJob, QueueName, ScheduleName, Start, Task, Unique, limits};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// When which job is enqueued. Kept by the cluster; each tick enqueues one job, whatever fails meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its name; to put another one of that name replaces it.
    pub name: ScheduleName,
    /// When: five fields, or six with seconds in front, or a nickname such as `@hourly`.
    pub cron: String,
    /// In which time zone, by its IANA name: `Europe/Berlin`.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// What.
    pub job: JobTemplate,
    /// What becomes of ticks for which nobody led the cluster.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// What becomes of a tick while the job of the one before still lives.
    #[serde(default)]
    pub overlap: Overlap,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Schedule {
    /// A schedule in UTC with every default.
    #[must_use]
    pub fn new(name: ScheduleName, cron: impl Into<String>, job: JobTemplate) -> Self {
        let (catch_up, overlap) = (CatchUp::default(), Overlap::default());
        Self { name, cron: cron.into(), time_zone: utc(), job, catch_up, overlap }
    }

    /// In this time zone, by its IANA name.
    #[must_use]
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        self.time_zone = name.into();
        self
    }

    /// What becomes of late ticks.
    #[must_use]
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }

    /// What becomes of a tick while the job of the one before still lives.
    #[must_use]
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Whether every value is within its bounds. What the expression means is for others to say.
    ///
    /// # Errors
    /// A fragment that names the value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        for (name, text) in [("cron", &self.cron), ("time_zone", &self.time_zone)] {
            if text.is_empty() || text.len() > limits::CRON_BYTES_MAX {
                return Err(format!("{name} has {} bytes, not 1 to {}", text.len(), limits::CRON_BYTES_MAX));
            }
        }
        Ok(())
    }
}

/// A job to be enqueued again and again: [`NewJob`] without what belongs to one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field means what it does in `NewJob`")]
pub struct JobTemplate {
    pub queue: QueueName,
    pub task: Task,
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    pub payload: Bytes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_timeout_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_deadline_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_crashes: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

impl JobTemplate {
    /// A template with every default.
    #[must_use]
    pub fn new(queue: QueueName, task: Task, payload: impl Into<Bytes>) -> Self {
        Self {
            queue,
            task,
            payload: payload.into(),
            priority: None,
            max_attempts: None,
            run_timeout_ms: None,
            ttl_ms: None,
            start_deadline_ms: None,
            backoff: None,
            max_crashes: None,
            unique: None,
            group: None,
            label: None,
        }
    }

    /// What of a job can be enqueued again and again: all but its id, its start, what it comes after, and its batch.
    #[must_use]
    pub fn of(job: NewJob) -> Self {
        let NewJob { queue, task, payload, priority, max_attempts, run_timeout_ms, ttl_ms, .. } = job;
        let NewJob { start_deadline_ms, backoff, max_crashes, unique, group, label, .. } = job;
        Self {
            queue,
            task,
            payload,
            priority,
            max_attempts,
            run_timeout_ms,
            ttl_ms,
            start_deadline_ms,
            backoff,
            max_crashes,
            unique,
            group,
            label,
        }
    }

    /// The job of one time, with what is scheduled counted from `at`.
    #[must_use]
    pub fn job(&self, id: JobId, at: LogTime) -> NewJob {
        let template = self.clone();
        let Self { queue, task, payload, priority, max_attempts, run_timeout_ms, ttl_ms, .. } = template;
        let Self { start_deadline_ms, backoff, max_crashes, unique, group, label, .. } = template;
        NewJob {
            priority,
            start: Start::At(at),
            max_attempts,
            run_timeout_ms,
            ttl_ms,
            start_deadline_ms,
            backoff,
            max_crashes,
            unique,
            group,
            label,
            ..NewJob::new(id, queue, task, payload)
        }
    }
}

/// What becomes of ticks that are [`limits::TICK_LATE_MS`] late or more: the cluster was down, or nobody led it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are passed over.
    #[default]
    Skip,
    /// The latest of them is made up for.
    One,
    /// Each of them is made up for, oldest first.
    All,
}

impl CatchUp {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Skip, Self::One, Self::All];

    /// The name as it stands on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::One => "one",
            Self::All => "all",
        }
    }
}

impl fmt::Display for CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What becomes of a tick while the job of the one before still lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Its job is enqueued all the same.
    #[default]
    Allow,
    /// It is passed over.
    Skip,
    /// Its job waits until the one before has ended, however that ends.
    Queue,
    /// The one before is cancelled, with the usual grace; its job waits for that end.
    Replace,
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Allow, Self::Skip, Self::Queue, Self::Replace];

    /// The name as it stands on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
            Self::Queue => "queue",
            Self::Replace => "replace",
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which tick of which schedule a job was enqueued for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleTick {
    /// The schedule.
    pub schedule: ScheduleName,
    /// The time by the calendar, whenever the job came to be enqueued; for a run that was asked for, that time.
    pub tick: LogTime,
}

/// A schedule as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleView {
    /// What was put.
    pub schedule: Schedule,
    /// Whether its ticks are passed over.
    pub paused: bool,
    /// When it was first put.
    pub created_at: LogTime,
    /// Every tick up to here is dealt with.
    pub ticked_to: LogTime,
    /// The job that it enqueued last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_job: Option<JobId>,
    /// How many ticks enqueued a job.
    pub fired: u64,
    /// How many ticks were late and passed over.
    pub missed: u64,
    /// How many ticks were passed over because the job before still lived, or another held the job's key.
    pub skipped: u64,
    /// Why the last tick could not enqueue its job, if so. If the queue had no room, it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Its next ticks, as many as were asked for; none while it is paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<LogTime>,
    /// Whether the payload was left out because the asker does not get to see it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
}
