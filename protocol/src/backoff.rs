//! How long a failed job waits for its next attempt, as its producer chose.

use crate::limits;
use serde::{Deserialize, Serialize};

/// A retry policy: the delay after each failed attempt, a ceiling, and how much chance spreads it.
///
/// A delay is `min(curve(attempt), max_ms)` and, on top, up to `jitter_percent` of itself. The jitter comes from a hash
/// of the job's id and the attempt: every node computes the same, and jobs that failed together come back apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The delay by attempt.
    pub curve: BackoffCurve,
    /// No delay is longer, before jitter; at most [`limits::BACKOFF_MS_MAX`], which is the default.
    #[serde(default = "max_ms", skip_serializing_if = "is_max")]
    pub max_ms: u64,
    /// How much of the delay chance may add, in percent, 0 to 100. [`BackoffCurve::Standard`] has its own and takes none.
    #[serde(default)]
    pub jitter_percent: u8,
}

/// The delay after attempt `n`, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackoffCurve {
    /// `n⁴ + 15 + jitter·(n+1)` seconds, the jitter up to 30 s: Faktory's and Sidekiq's formula.
    Standard,
    /// `first_ms · factor^(n-1)`.
    Exponential {
        /// After the first failure; at least 1.
        first_ms: u64,
        /// By how much each delay exceeds the one before; 2 to 10.
        factor: u32,
    },
    /// `step_ms · n`.
    Linear {
        /// The step; at least 1.
        step_ms: u64,
    },
    /// The same each time.
    Fixed {
        /// The delay; 0 means at once.
        delay_ms: u64,
    },
    /// Listed; the last one repeats.
    List {
        /// One to [`limits::BACKOFF_LIST_MAX`] delays.
        delays_ms: Vec<u64>,
    },
}

fn max_ms() -> u64 {
    limits::BACKOFF_MS_MAX
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_max(ms: &u64) -> bool {
    *ms == limits::BACKOFF_MS_MAX
}

impl Backoff {
    /// A policy of this curve, up to [`limits::BACKOFF_MS_MAX`], without jitter.
    #[must_use]
    pub fn new(curve: BackoffCurve) -> Self {
        Self { curve, max_ms: limits::BACKOFF_MS_MAX, jitter_percent: 0 }
    }

    /// Whether every value is within its domain.
    ///
    /// # Errors
    /// A fragment that names the first field that is not, its value and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let within = |field: &str, value: u64, allowed: std::ops::RangeInclusive<u64>| {
            if allowed.contains(&value) {
                Ok(())
            } else {
                Err(format!("backoff.{field} {value} is not in {}..={}", allowed.start(), allowed.end()))
            }
        };
        const MAX: u64 = limits::BACKOFF_MS_MAX;
        within("max_ms", self.max_ms, 1..=MAX)?;
        within("jitter_percent", self.jitter_percent.into(), 0..=100)?;
        match &self.curve {
            BackoffCurve::Standard if self.jitter_percent != 0 => {
                Err("backoff.jitter_percent must be 0 for the standard curve, which has a jitter of its own".to_owned())
            }
            BackoffCurve::Standard => Ok(()),
            BackoffCurve::Exponential { first_ms, factor } => {
                within("first_ms", *first_ms, 1..=MAX)?;
                within("factor", u64::from(*factor), 2..=10)
            }
            BackoffCurve::Linear { step_ms } => within("step_ms", *step_ms, 1..=MAX),
            BackoffCurve::Fixed { delay_ms } => within("delay_ms", *delay_ms, 0..=MAX),
            BackoffCurve::List { delays_ms } => {
                within("delays_ms: a length of", delays_ms.len() as u64, 1..=limits::BACKOFF_LIST_MAX as u64)?;
                delays_ms.iter().try_for_each(|&ms| within("delays_ms", ms, 0..=MAX))
            }
        }
    }
}
