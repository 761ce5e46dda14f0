//! The calendar of schedules: when a cron expression fires in a time zone.
//!
//! # Expressions
//! Five fields (minute, hour, day of the month, month, day of the week), six with seconds in front, or a nickname:
//! `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight`, `@hourly`. A field is a list of values, ranges
//! (`9-17`), `*`, and steps over either (`*/15`, `8-18/2`); months and days have names (`JAN`, `MON`), and Sunday is 0 as
//! well as 7. Days have `?` for `*`, and moreover:
//!
//! | Day of the month | | Day of the week | |
//! |---|---|---|---|
//! | `L` | the last one | `FRIL` | the last Friday of the month |
//! | `15W` | the workday nearest to the 15th, in the same month | `FRI#2` | the second Friday of the month |
//! | `LW` | the last workday | | |
//!
//! As ever in cron, where both fields of days are restricted (neither is `*` or `?`), a day matches if either does.
//!
//! # When clocks change
//! What counts is the text of hour and minute.
//!
//! - **Fixed times** (`30 2 * * *`, `0 2,14 * * *`, `0 1-5 * * MON`): neither minute nor hour has a `*`, a step, or all of its values.
//!   Each time of day fires once a day. One that is skipped when clocks go forward fires at the first instant after
//!   the gap; several of those, or one that is due at that instant itself, are one tick. One that comes twice when clocks
//!   go back fires the first time.
//! - **Intervals** (`*/15 * * * *`, `0 * * * *`, `*/20 2 * * *`): all others. They fire at each instant at which a clock on
//!   the wall shows a time that matches. `*/15 * * * *` goes on every fifteen minutes of real time; what names an hour
//!   that does not exist has no tick in it, and in the hour that comes twice it has them twice.
//!
//! # Bounds
//! Years end with [`YEAR_LAST`]. An expression with no tick until then, such as the 30th of February, is refused, so
//! that a search is short: it takes at most one step a month, and for an interval one a change of clocks besides. The time
//! zones are part of the binary: all nodes of one version compute the same ticks, whatever is installed beside them.

mod clock;
mod days;
mod error;
mod expression;
mod field;
mod nearest;
mod set;
mod zone;

#[cfg(test)]
mod bad_input_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

pub use error::{CronError, Fault, FieldError};
pub use field::Field;
pub use nearest::nearest;

use expression::Expression;
use jiff::{SignedDuration, Timestamp};
use jobraft_protocol::LogTime;
use zone::Zone;

/// The last year that has ticks.
pub const YEAR_LAST: i16 = 2100;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// A cron expression in a time zone.
///
/// ```
/// use jobraft_node::cron::Cron;
/// use jobraft_protocol::LogTime;
///
/// let workdays_at_nine = Cron::parse("0 9 * * MON-FRI", "Europe/Berlin")?;
/// let saturday = LogTime::from_ms(1_790_985_600_000); // 2026-10-03, 00:00 UTC
/// let monday_at_nine = LogTime::from_ms(1_791_183_600_000); // 2026-10-05, 07:00 UTC
/// assert_eq!(workdays_at_nine.next_after(saturday), Some(monday_at_nine));
/// # Ok::<(), jobraft_node::cron::CronError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cron {
    expression: Expression,
    zone: Zone,
}

impl Cron {
    /// Reads an expression and finds the time zone, an IANA name.
    ///
    /// # Errors
    /// What is wrong, where, and the nearest that would be right. Also for an expression that never fires.
    pub fn parse(expression: &str, time_zone: &str) -> Result<Self, CronError> {
        Ok(Self { expression: expression.parse()?, zone: Zone::find(time_zone)? })
    }

    /// The first tick that is strictly later than `after`; none if there is none until the end of [`YEAR_LAST`].
    #[must_use]
    pub fn next_after(&self, after: LogTime) -> Option<LogTime> {
        let after = Timestamp::from_second(i64::try_from(after.as_ms() / 1_000).ok()?).ok()?;
        let next = if self.expression.is_fixed() { self.next_fixed(after) } else { self.next_of_interval(after) };
        Some(LogTime::from_ms(u64::try_from(next?.as_millisecond()).ok()?))
    }

    /// The first of the matching times of day, each at its first instant, that is later than `after`. Instants never
    /// decrease as the times of day increase, so that the first one found is the earliest.
    fn next_fixed(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = self.zone.wall(after).checked_add(SECOND).ok()?;
        loop {
            let wall = self.expression.at_or_after(from)?;
            let tick = self.zone.first_instant(wall)?;
            if tick > after {
                return Some(tick);
            }
            // The hour that comes twice, the second time: whatever is in it has fired.
            from = wall.checked_add(SECOND).ok()?.max(self.zone.end_of_repeated(tick)?);
        }
    }

    /// The first instant later than `after` at which the time on the wall matches: from one change of clocks to the
    /// next, since between them instants and times on the wall run side by side.
    fn next_of_interval(&self, after: Timestamp) -> Option<Timestamp> {
        let mut start = after;
        let mut from = self.zone.wall(after).checked_add(SECOND).ok()?;
        let mut wall = self.expression.at_or_after(from);
        while from.year() <= YEAR_LAST {
            let change = self.zone.change_after(start);
            let tick = wall.and_then(|wall| self.zone.instant_beside(start, wall));
            if tick.is_some() && change.is_none_or(|change| tick < Some(change)) {
                return tick;
            }
            start = change?;
            let again_from = self.zone.wall(start);
            // Else what was found is still ahead, and the first to be.
            if again_from < from || wall.is_some_and(|wall| wall < again_from) {
                wall = self.expression.at_or_after(again_from);
            }
            from = again_from;
        }
        None
    }
}
