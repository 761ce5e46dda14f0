//! What can be set while the cluster runs: replicated, and the same on every node from the same log entry on.

use crate::group::{check_concurrency, check_rate};
use crate::{GroupKey, GroupSetting, QueueName, Rate, Schedule, ScheduleName, limits};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a queue does with jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueMode {
    /// Takes jobs and gives them to workers.
    #[default]
    Open,
    /// Takes jobs and gives none: what is leased goes on, all else waits.
    Paused,
    /// Gives jobs and takes no new ones: they are refused with [`crate::ErrorCode::QueueDraining`].
    Draining,
}

impl QueueMode {
    /// The name as it stands on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for QueueMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long jobs are kept after their end. Whichever bound is reached first ends the keeping.
///
/// Their rows rest on disk at least for the idempotency window ([`limits::IDEMPOTENCY_WINDOW_MS_DEFAULT`]), unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// For how long; 0 to [`limits::RETENTION_MS_MAX`]. 0 keeps nothing.
    pub age_ms: u64,
    /// How many of the queue in that state, the latest; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Retention {
    /// By age alone.
    #[must_use]
    pub const fn for_ms(age_ms: u64) -> Self {
        Self { age_ms, count: None }
    }
}

/// The settings of a queue; what is absent has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSettings {
    /// What it does with jobs.
    #[serde(default)]
    pub mode: QueueMode,
    /// How many jobs may wait; absent: [`limits::QUEUE_DEPTH_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth_max: Option<u64>,
    /// How many bytes of payload may wait; absent: [`limits::QUEUE_BYTES_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// Of completed jobs; absent: [`limits::RETENTION_COMPLETED_MS_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_completed: Option<Retention>,
    /// Of dead jobs; absent: [`limits::RETENTION_DEAD_MS_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_dead: Option<Retention>,
    /// Of cancelled jobs; absent: [`limits::RETENTION_CANCELLED_MS_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_cancelled: Option<Retention>,
    /// Of expired jobs; absent: [`limits::RETENTION_EXPIRED_MS_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_expired: Option<Retention>,
    /// How many of its jobs may be leased at once, in the whole cluster; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
    /// How many of its attempts may begin in how much time; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How many jobs of each of its groups may be leased at once, unless the group is set otherwise; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_concurrency: Option<u64>,
    /// How many attempts of each of its groups may begin in how much time, unless the group is set otherwise; absent: any
    /// number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_rate: Option<Rate>,
}

impl QueueSettings {
    /// How many jobs may wait.
    #[must_use]
    pub fn depth_max(&self) -> u64 {
        self.depth_max.unwrap_or(limits::QUEUE_DEPTH_DEFAULT as u64)
    }

    /// How many bytes of payload may wait.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max.unwrap_or(limits::QUEUE_BYTES_DEFAULT)
    }

    /// Whether every limit is within its domain.
    ///
    /// # Errors
    /// A fragment that names the limit that is not, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        check_concurrency("concurrency", self.concurrency)?;
        check_rate("rate", self.rate)?;
        check_concurrency("group_concurrency", self.group_concurrency)?;
        check_rate("group_rate", self.group_rate)
    }

    /// Takes over one setting.
    pub fn set(&mut self, setting: QueueSetting) {
        match setting {
            QueueSetting::Mode(mode) => self.mode = mode,
            QueueSetting::DepthMax(depth) => self.depth_max = depth,
            QueueSetting::BytesMax(bytes) => self.bytes_max = bytes,
            QueueSetting::KeepCompleted(retention) => self.keep_completed = retention,
            QueueSetting::KeepDead(retention) => self.keep_dead = retention,
            QueueSetting::KeepCancelled(retention) => self.keep_cancelled = retention,
            QueueSetting::KeepExpired(retention) => self.keep_expired = retention,
            QueueSetting::Concurrency(concurrency) => self.concurrency = concurrency,
            QueueSetting::Rate(rate) => self.rate = rate,
            QueueSetting::GroupConcurrency(concurrency) => self.group_concurrency = concurrency,
            QueueSetting::GroupRate(rate) => self.group_rate = rate,
        }
    }
}

/// One setting of a queue; `None` goes back to the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueSetting {
    /// What it does with jobs.
    Mode(QueueMode),
    /// How many jobs may wait; 1 to [`limits::QUEUE_DEPTH_MAX`].
    DepthMax(Option<u64>),
    /// How many bytes of payload may wait; [`limits::PAYLOAD_BYTES_MAX`] to [`limits::QUEUE_BYTES_MAX`].
    BytesMax(Option<u64>),
    /// How long completed jobs are kept.
    KeepCompleted(Option<Retention>),
    /// How long dead jobs are kept.
    KeepDead(Option<Retention>),
    /// How long cancelled jobs are kept.
    KeepCancelled(Option<Retention>),
    /// How long expired jobs are kept.
    KeepExpired(Option<Retention>),
    /// How many of its jobs may be leased at once; 1 to [`limits::CONCURRENCY_MAX`].
    Concurrency(Option<u64>),
    /// How many of its attempts may begin in how much time.
    Rate(Option<Rate>),
    /// How many jobs of each group may be leased at once; 1 to [`limits::CONCURRENCY_MAX`].
    GroupConcurrency(Option<u64>),
    /// How many attempts of each group may begin in how much time.
    GroupRate(Option<Rate>),
}

impl QueueSetting {
    /// Whether the value is within its domain.
    ///
    /// # Errors
    /// A fragment that names the setting, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: Option<u64>, low: u64, high: u64| match value {
            Some(value) if !(low..=high).contains(&value) => Err(format!("{name} {value} is not in {low}..={high}")),
            _ => Ok(()),
        };
        let keep = |name: &str, retention: Option<Retention>| {
            let age = retention.map(|retention| retention.age_ms);
            within(&format!("{name}: an age in ms of"), age, 0, limits::RETENTION_MS_MAX)
        };
        match *self {
            Self::Mode(_) => Ok(()),
            Self::DepthMax(depth) => within("depth_max", depth, 1, limits::QUEUE_DEPTH_MAX),
            Self::BytesMax(bytes) => {
                within("bytes_max", bytes, limits::PAYLOAD_BYTES_MAX as u64, limits::QUEUE_BYTES_MAX)
            }
            Self::KeepCompleted(retention) => keep("keep_completed", retention),
            Self::KeepDead(retention) => keep("keep_dead", retention),
            Self::KeepCancelled(retention) => keep("keep_cancelled", retention),
            Self::KeepExpired(retention) => keep("keep_expired", retention),
            Self::Concurrency(concurrency) => check_concurrency("concurrency", concurrency),
            Self::Rate(rate) => check_rate("rate", rate),
            Self::GroupConcurrency(concurrency) => check_concurrency("group_concurrency", concurrency),
            Self::GroupRate(rate) => check_rate("group_rate", rate),
        }
    }
}

/// One change of what the cluster is set to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// Of a queue, which is made if there is none of that name.
    Queue(QueueName, QueueSetting),
    /// Whether an enqueue makes a queue that is not there. If not, such a job is refused with
    /// [`crate::ErrorCode::QueueUnknown`].
    CreateQueues(bool),
    /// Of a group of a queue, each of which is made if there is none.
    Group(QueueName, GroupKey, GroupSetting),
    /// Puts a schedule, in the place of another of its name if there is one. Ticks count from then on, or, if neither its
    /// expression nor its time zone changed, from where the former one was.
    PutSchedule(Box<Schedule>),
    /// Whether a schedule's ticks are passed over from now on. Refused with [`crate::ErrorCode::NotFound`] if there is none.
    PauseSchedule(ScheduleName, bool),
    /// Removes a schedule; what it enqueued lives on. Refused with [`crate::ErrorCode::NotFound`] if there is none.
    RemoveSchedule(ScheduleName),
}

/// What the cluster as a whole is set to. Queues carry their own settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// Whether an enqueue makes a queue that is not there.
    pub create_queues: bool,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self { create_queues: true }
    }
}
