//! The job model: what is enqueued, what a worker gets, what a reader sees.

use crate::{
    After, Backoff, BatchId, Digest, FencingToken, GroupKey, JobId, Label, LogTime, OnFailure, Predecessor, QueueName,
    QueueSettings, ScheduleTick, StateWrite, TaskName, Unique, WorkerId, limits,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A job to be enqueued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewJob {
    /// Minted by the client: the same id is the same job, however often it is sent.
    pub id: JobId,
    /// Where it waits.
    pub queue: QueueName,
    /// What is to be run.
    pub task: Task,
    /// The task's input; at most [`limits::PAYLOAD_BYTES_DEFAULT`] unless the cluster says otherwise.
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    pub payload: Bytes,
    /// 0 (first) to 9; absent: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// When it may first run.
    #[serde(default, skip_serializing_if = "Start::is_now")]
    pub start: Start,
    /// How often it is tried at most; absent: 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// How long one attempt may run, in milliseconds; absent: 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_timeout_ms: Option<u64>,
    /// How long after its enqueue it may wait for its first attempt, in milliseconds, 1 to [`limits::DELAY_MS_MAX`];
    /// then it is `expired`. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// How long after the time for which it was scheduled an attempt, first or later, may begin, in milliseconds, 1 to
    /// [`limits::DELAY_MS_MAX`]; then it is `expired`. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_deadline_ms: Option<u64>,
    /// How long it waits between two attempts; absent: [`crate::BackoffCurve::Standard`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// How many crashes (leases lost with their worker) within [`limits::CRASH_WINDOW_MS`] make it `dead`, 1 to
    /// [`limits::CRASHES_MAX`]; absent: 3. Crashes use up no attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_crashes: Option<u32>,
    /// The key that no other job may hold at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// With which jobs of its queue it shares a turn and limits; absent: with all those that do not say either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupKey>,
    /// What it waits for; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// The batch to which it belongs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// What it is called within its workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
}

impl NewJob {
    /// A job with every default.
    #[must_use]
    pub fn new(id: JobId, queue: QueueName, task: Task, payload: impl Into<Bytes>) -> Self {
        Self {
            id,
            queue,
            task,
            payload: payload.into(),
            priority: None,
            start: Start::Now,
            max_attempts: None,
            run_timeout_ms: None,
            ttl_ms: None,
            start_deadline_ms: None,
            backoff: None,
            max_crashes: None,
            unique: None,
            group: None,
            after: None,
            batch: None,
            label: None,
        }
    }
}

/// When a job may first run, in log time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At once.
    #[default]
    Now,
    /// This many milliseconds after it is enqueued; at most [`limits::DELAY_MS_MAX`].
    AfterMs(u64),
    /// At this time; one that is past means at once.
    At(LogTime),
}

impl Start {
    /// Whether the job may run at once.
    #[must_use]
    pub fn is_now(&self) -> bool {
        *self == Self::Now
    }
}

/// What a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A handler that the worker's program registered under this name.
    Handler(TaskName),
    /// An uploaded module, pinned by its SHA-256.
    Module(Digest),
}

impl Task {
    /// The name of the handler, if it is one.
    #[must_use]
    pub const fn handler(&self) -> Option<&TaskName> {
        match self {
            Self::Handler(name) => Some(name),
            Self::Module(_) => None,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(name) => name.fmt(f),
            Self::Module(digest) => write!(f, "sha256:{digest}"),
        }
    }
}

/// Where a job stands in its life. See the table of transitions in `jobraft-core`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its time: delayed, or between two attempts.
    Scheduled,
    /// Waits for other jobs.
    Blocked,
    /// Waits for a worker.
    Ready,
    /// A worker has it.
    Leased,
    /// Done; its result is kept.
    Completed,
    /// Given up; its errors are kept.
    Dead,
    /// Called off.
    Cancelled,
    /// Not started in time.
    Expired,
}

impl JobState {
    /// All states, in the order of a job's life.
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Blocked,
        Self::Ready,
        Self::Leased,
        Self::Completed,
        Self::Dead,
        Self::Cancelled,
        Self::Expired,
    ];

    /// Whether the job's life is over. Terminal states are absorbing, but an explicit retry leaves `dead`.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Dead | Self::Cancelled | Self::Expired)
    }

    /// The name as it stands on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Blocked => "blocked",
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Completed => "completed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of one job of an enqueue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnqueueOutcome {
    /// It is a new job now.
    Created,
    /// A job of that id was there already: a retry. Nothing was changed.
    Existing,
    /// It was not enqueued: this job holds its unique key.
    Duplicate(JobId),
    /// It was not enqueued: this waiting job holds its unique key, and took over what was asked for.
    Replaced(JobId),
    /// It was not enqueued.
    Refused(crate::Error),
}

/// A job as handed to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeasedJob {
    /// The job.
    pub id: JobId,
    /// The queue it came from.
    pub queue: QueueName,
    /// What to run.
    pub task: Task,
    /// Its input.
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    pub payload: Bytes,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many there may be.
    pub max_attempts: u32,
    /// Proof of this lease, for every report.
    pub token: FencingToken,
    /// When the lease ends in log time, unless extended.
    pub expires_at: LogTime,
    /// How long this attempt may run, in milliseconds.
    pub run_timeout_ms: u64,
    /// When the job was enqueued.
    pub enqueued_at: LogTime,
    /// What an earlier attempt left by a checkpoint.
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    pub checkpoint: Bytes,
    /// Its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupKey>,
    /// The jobs that it waited for, in the order in which it named them, and how they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Predecessor>,
    /// The batch to which it belongs, or whose callback it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// What it is called within its workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// The tick for which a schedule enqueued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<ScheduleTick>,
    /// Whether it is given secrets: [`crate::Request::GetSecrets`] has them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_secrets: bool,
}

/// What a leased job takes in a frame at most, apart from what follows: its fields' names, numbers, id, batch and digest.
const LEASED_BYTES: usize = 340;
/// What one that it came after takes at most.
const LEASED_PREDECESSOR_BYTES: usize = 40;

impl LeasedJob {
    /// How many bytes it takes in a frame, at most: what bounds a lease answer.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let names = [
            Some(self.queue.as_str()),
            self.task.handler().map(TaskName::as_str),
            self.group.as_ref().map(GroupKey::as_str),
            self.label.as_ref().map(Label::as_str),
            self.tick.as_ref().map(|tick| tick.schedule.as_str()),
        ];
        Self::weight_of(names, self.payload.len() + self.checkpoint.len(), self.after.len())
    }

    /// The same of one that is not made yet: of the names of its queue, handler, group, label and schedule, of the bytes of its
    /// payload and checkpoint, and of how many jobs it comes after.
    #[must_use]
    pub fn weight_of(names: [Option<&str>; 5], bytes: usize, after: usize) -> usize {
        LEASED_BYTES
            + names.into_iter().flatten().map(str::len).sum::<usize>()
            + bytes
            + after * LEASED_PREDECESSOR_BYTES
    }

    /// The first attempt of a job with every default, leased at the time at which its id was made: to try an executor
    /// with, apart from any cluster.
    #[must_use]
    pub fn new(id: JobId, queue: QueueName, task: Task, payload: impl Into<Bytes>) -> Self {
        let enqueued_at = id.minted_at();
        Self {
            id,
            queue,
            task,
            payload: payload.into(),
            attempt: 1,
            max_attempts: limits::ATTEMPTS_DEFAULT,
            token: FencingToken(1),
            expires_at: enqueued_at.plus_ms(limits::LEASE_MS_DEFAULT),
            run_timeout_ms: limits::RUN_TIMEOUT_MS_DEFAULT,
            enqueued_at,
            checkpoint: Bytes::new(),
            group: None,
            after: Vec::new(),
            batch: None,
            label: None,
            tick: None,
            has_secrets: false,
        }
    }

    /// The lease, as reports name it.
    #[must_use]
    pub const fn lease(&self) -> crate::LeaseRef {
        crate::LeaseRef { job: self.id, token: self.token }
    }
}

/// What a worker reports of a job that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The result, at most [`limits::RESULT_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    pub result: Bytes,
    /// The end of what the job wrote to its log, at most [`limits::LOG_TAIL_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    pub log: Bytes,
    /// Jobs to be enqueued in the same step; at most [`limits::BULK_JOBS_MAX`] with [`limits::BULK_BYTES_MAX`] of payload.
    /// If one of them is refused, all is: the job is still leased then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<NewJob>,
    /// Values to be written in the same step; at most [`limits::STATE_WRITES_MAX`]. If one is refused, all is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<StateWrite>,
}

/// How far a job says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// For people; cut at [`limits::PROGRESS_MESSAGE_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A cancellation that a running job has yet to follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelNotice {
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When the job is taken away unless it has ended.
    pub hard_at: LogTime,
}

/// A lease that was extended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extended {
    /// Its new end.
    pub expires_at: LogTime,
    /// There if the job is to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelNotice>,
}

/// Why a job's life ended as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndReason {
    /// Dead: it failed as often as it may.
    AttemptsExhausted,
    /// Dead: it failed in a way that another attempt would not mend.
    FinalFailure,
    /// Dead: its worker was lost with it as often as it may.
    CrashBudget,
    /// Expired: it waited longer than its time-to-live for its first attempt.
    TtlOver,
    /// Expired: no attempt had begun by its start deadline.
    StartDeadline,
    /// Cancelled: before it ran, or it stopped when asked.
    Cancelled,
    /// Cancelled: it did not stop within its grace and was taken away.
    CancelGraceOver,
    /// Cancelled: it was deleted while it waited.
    Deleted,
    /// Cancelled: a job that it waited for did not complete.
    DependencyFailed,
    /// A reason of a newer version.
    #[serde(other)]
    Unknown,
}

impl EndReason {
    /// The name as it stands on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::FinalFailure => "final_failure",
            Self::CrashBudget => "crash_budget",
            Self::TtlOver => "ttl_over",
            Self::StartDeadline => "start_deadline",
            Self::Cancelled => "cancelled",
            Self::CancelGraceOver => "cancel_grace_over",
            Self::Deleted => "deleted",
            Self::DependencyFailed => "dependency_failed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a worker reports of a job that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind, for programs.
    pub kind: FailureKind,
    /// What went wrong, for people; cut at [`limits::FAILURE_MESSAGE_BYTES_MAX`].
    pub message: String,
    /// Whether trying again may help. A failure that is final makes the job `dead` at once.
    pub retryable: bool,
    /// The end of what the job wrote to its log, at most [`limits::LOG_TAIL_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Bytes::is_empty")]
    pub log: Bytes,
}

impl Failure {
    /// A failure of the job's own code that may be tried again.
    #[must_use]
    pub fn retryable(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Error, message: message.into(), retryable: true, log: Bytes::new() }
    }

    /// A failure of the job's own code that would come again.
    #[must_use]
    pub fn final_error(message: impl Into<String>) -> Self {
        Self { kind: FailureKind::Error, message: message.into(), retryable: false, log: Bytes::new() }
    }

    /// A failure of the given kind, to be tried again or not.
    #[must_use]
    pub fn of_kind(kind: FailureKind, retryable: bool, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retryable, log: Bytes::new() }
    }
}

/// How an attempt ended without success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The job's code returned an error or a non-zero exit code.
    Error,
    /// The handler panicked.
    Panic,
    /// The module trapped.
    Trap,
    /// It ran longer than it may.
    Timeout,
    /// It asked for more memory than it may have.
    OutOfMemory,
    /// It wrote more output than it may.
    OutputLimit,
    /// The module cannot be run here at all.
    InvalidModule,
    /// The worker has no handler or executor for this task.
    UnknownTask,
    /// The lease ran out: the worker died, hung, or was cut off.
    LeaseExpired,
    /// A kind of a newer version.
    #[serde(other)]
    Unknown,
}

impl FailureKind {
    /// The name as it stands on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::OutputLimit => "output_limit",
            Self::InvalidModule => "invalid_module",
            Self::UnknownTask => "unknown_task",
            Self::LeaseExpired => "lease_expired",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of one attempt, as kept with the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// Which attempt.
    pub attempt: u32,
    /// When it ended, in log time.
    pub at: LogTime,
    /// How.
    pub kind: FailureKind,
    /// What went wrong.
    pub message: String,
}

/// Who holds a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The worker.
    pub worker: WorkerId,
    /// The token under which it holds the job.
    pub token: FencingToken,
    /// When it was granted.
    pub granted_at: LogTime,
    /// When the lease ends, unless extended.
    pub expires_at: LogTime,
}

/// A job as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// The job.
    pub id: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// What it runs.
    pub task: Task,
    /// Its input.
    #[serde(default)]
    pub payload: Bytes,
    /// Where it stands.
    pub state: JobState,
    /// 0 (first) to 9.
    pub priority: u8,
    /// Attempts begun so far.
    pub attempt: u32,
    /// Attempts that there may be.
    pub max_attempts: u32,
    /// How long one attempt may run, in milliseconds.
    pub run_timeout_ms: u64,
    /// When it was enqueued.
    pub enqueued_at: LogTime,
    /// When it may next run, for a scheduled job; else when it last could.
    pub run_at: LogTime,
    /// When its life ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<LogTime>,
    /// Who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseView>,
    /// The result of a completed job.
    #[serde(default)]
    pub result: Bytes,
    /// The end of the log of the last attempt that reported one.
    #[serde(default)]
    pub log: Bytes,
    /// The errors of its attempts, oldest first, at most [`limits::ATTEMPT_ERRORS_MAX`].
    #[serde(default)]
    pub errors: Vec<AttemptError>,
    /// Who cancelled it: the name of a client, or `token/NAME`; `None` if nobody did, or what it came after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<String>,
    /// Why it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<String>,
    /// Why its life ended; absent for a completed job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// When it expires unless its first attempt has begun; one that crashed or was given back has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ends_at: Option<LogTime>,
    /// When it expires unless it is running then or has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by: Option<LogTime>,
    /// How long it waits between two attempts; absent: the standard curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Crashes that make it dead.
    #[serde(default = "crashes_default", skip_serializing_if = "is_crashes_default")]
    pub max_crashes: u32,
    /// When it crashed lately, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crashed_at: Vec<LogTime>,
    /// Its claim to a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// How far it says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The size of what its last checkpoint left for the next attempt.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub checkpoint_bytes: u64,
    /// There while it is asked to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelNotice>,
    /// Its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupKey>,
    /// The jobs that it waits or waited for, in the order in which it named them, and how they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Predecessor>,
    /// What becomes of it if one of them does not complete.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
    /// The batch to which it belongs, or whose callback it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// Whether it is a callback of that batch, and no part of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_callback: bool,
    /// What it is called within its workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// The tick for which a schedule enqueued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<ScheduleTick>,
    /// What was left out because the asker does not get to see it.
    #[serde(default, skip_serializing_if = "Withheld::is_nothing")]
    pub withheld: Withheld,
}

/// What was left out of a job because the asker does not get to see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// Nothing.
    #[default]
    Nothing,
    /// Payload and log.
    AllButResult,
    /// Payload, log and result.
    All,
}

impl Withheld {
    /// Whether everything is there.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_default(on_failure: &OnFailure) -> bool {
    *on_failure == OnFailure::default()
}

const fn crashes_default() -> u32 {
    limits::CRASHES_DEFAULT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_crashes_default(count: &u32) -> bool {
    *count == limits::CRASHES_DEFAULT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

/// A queue and how many jobs are where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// The queue.
    pub queue: QueueName,
    /// Jobs that wait for their time.
    pub scheduled: u64,
    /// Jobs that wait for other jobs.
    pub blocked: u64,
    /// Jobs that wait for a worker.
    pub ready: u64,
    /// Jobs that a worker has.
    pub leased: u64,
    /// Jobs completed since the queue exists.
    pub completed: u64,
    /// Jobs given up since the queue exists.
    pub dead: u64,
    /// Jobs called off since the queue exists.
    pub cancelled: u64,
    /// Jobs not started in time since the queue exists.
    pub expired: u64,
    /// Bytes that its waiting jobs hold: payloads, predecessors at [`limits::PREDECESSOR_BYTES`] each, and what earlier attempts
    /// left (checkpoints, logs, errors).
    #[serde(default)]
    pub waiting_bytes: u64,
    /// What it is set to.
    #[serde(default)]
    pub settings: QueueSettings,
}

impl QueueStats {
    /// A queue that has had no job yet.
    #[must_use]
    pub fn empty(queue: QueueName, settings: QueueSettings) -> Self {
        Self {
            queue,
            scheduled: 0,
            blocked: 0,
            ready: 0,
            leased: 0,
            completed: 0,
            dead: 0,
            cancelled: 0,
            expired: 0,
            waiting_bytes: 0,
            settings,
        }
    }
}

const _: () = assert!(limits::PRIORITY_DEFAULT <= limits::PRIORITY_MAX);
