//! How much at once: limits of concurrency and rate, and the shares of the groups of a queue.

use crate::{GroupKey, limits};
use serde::{Deserialize, Serialize};

/// How many attempts may begin in how much time: a token bucket in log time. It holds `burst` tokens and is full at first;
/// each lease takes one, and `count` come back in every `per_ms`, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How many; 1 to [`limits::RATE_COUNT_MAX`].
    pub count: u64,
    /// In this many milliseconds; 1 to [`limits::RATE_PERIOD_MS_MAX`].
    pub per_ms: u64,
    /// How many at once after a pause, 1 to [`limits::RATE_COUNT_MAX`]; absent: `count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

impl Rate {
    /// A rate whose bucket holds what one period gives.
    #[must_use]
    pub const fn new(count: u64, per_ms: u64) -> Self {
        Self { count, per_ms, burst: None }
    }

    /// How many tokens the bucket holds.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst.unwrap_or(self.count)
    }

    /// Whether every value is within its domain.
    ///
    /// # Errors
    /// A fragment that names the value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, high: u64| {
            if (1..=high).contains(&value) { Ok(()) } else { Err(format!("{name} {value} is not in 1..={high}")) }
        };
        within("a rate's count", self.count, limits::RATE_COUNT_MAX)?;
        within("a rate's period in ms", self.per_ms, limits::RATE_PERIOD_MS_MAX)?;
        within("a rate's burst", self.burst(), limits::RATE_COUNT_MAX)
    }
}

/// What one group of a queue is set to, apart from what its queue sets for every group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// Its share in proportion to the other groups' while both have ready jobs; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// How many of its jobs may be leased at once; absent: what the queue sets for every group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
    /// How many of its attempts may begin in how much time; absent: what the queue sets for every group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

impl GroupSettings {
    /// Its share in proportion to the other groups'.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.unwrap_or(1)
    }

    /// Whether every value is within its domain.
    ///
    /// # Errors
    /// A fragment that names the value that is not, and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let Self { weight, concurrency, rate } = *self;
        [GroupSetting::Weight(weight), GroupSetting::Concurrency(concurrency), GroupSetting::Rate(rate)]
            .iter()
            .try_for_each(GroupSetting::check)
    }

    /// Takes over one setting.
    pub fn set(&mut self, setting: GroupSetting) {
        match setting {
            GroupSetting::Weight(weight) => self.weight = weight,
            GroupSetting::Concurrency(concurrency) => self.concurrency = concurrency,
            GroupSetting::Rate(rate) => self.rate = rate,
        }
    }
}

/// One setting of a group; `None` goes back to what holds for every group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupSetting {
    /// 1 to [`limits::GROUP_WEIGHT_MAX`].
    Weight(Option<u32>),
    /// 1 to [`limits::CONCURRENCY_MAX`].
    Concurrency(Option<u64>),
    /// How many attempts may begin in how much time.
    Rate(Option<Rate>),
}

impl GroupSetting {
    /// Whether the value is within its domain.
    ///
    /// # Errors
    /// A fragment that names the setting, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Weight(Some(weight)) if !(1..=limits::GROUP_WEIGHT_MAX).contains(weight) => {
                Err(format!("weight {weight} is not in 1..={}", limits::GROUP_WEIGHT_MAX))
            }
            Self::Concurrency(concurrency) => check_concurrency("concurrency", *concurrency),
            Self::Rate(rate) => check_rate("rate", *rate),
            Self::Weight(_) => Ok(()),
        }
    }
}

pub(crate) fn check_concurrency(name: &str, value: Option<u64>) -> Result<(), String> {
    match value {
        Some(0) => Err(format!("{name} 0 would let nothing run; to stop a queue, pause it")),
        Some(value) if value > limits::CONCURRENCY_MAX => {
            Err(format!("{name} {value} is not in 1..={}", limits::CONCURRENCY_MAX))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_rate(name: &str, rate: Option<Rate>) -> Result<(), String> {
    rate.map_or(Ok(()), |rate| rate.check()).map_err(|fault| format!("{name}: {fault}"))
}

/// A group as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// The group.
    pub group: GroupKey,
    /// Its jobs that wait for a worker.
    pub ready: u64,
    /// Its jobs that a worker has.
    pub leased: u64,
    /// Its jobs that wait for something else.
    pub waiting: u64,
    /// How many of its ready jobs its own limits let run now.
    pub open: u64,
    /// What it is set to.
    #[serde(default)]
    pub settings: GroupSettings,
}
