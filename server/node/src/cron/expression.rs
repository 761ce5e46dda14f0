//! An expression: its fields, and the times on the wall that match them.

use super::{
    YEAR_LAST,
    clock::Clock,
    days::Days,
    error::{CronError, shown},
    field::{self, Field},
    nearest::nearest,
};
use jiff::civil::{Date, DateTime, Time, date};
use jobraft_protocol::limits;
use std::str::FromStr;

/// Log time begins here.
const FIRST_DAY: Date = date(1970, 1, 1);

/// Without the one of seconds.
const FIELDS: usize = 5;

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * SUN"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// All nicknames.
pub(super) fn nicknames() -> [&'static str; NICKNAMES.len()] {
    NICKNAMES.map(|(nickname, _)| nickname)
}

/// What an expression says, without a time zone.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    days: Days,
    clock: Clock,
    fixed: bool,
}

impl Expression {
    /// Whether it names times of day, rather than an interval.
    pub(super) const fn is_fixed(&self) -> bool {
        self.fixed
    }

    /// The first time on the wall that matches, and is `from` or later.
    pub(super) fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        let day = self.days.at_or_after(from.date(), YEAR_LAST)?;
        if day > from.date() {
            return Some(day.to_datetime(self.clock.first()));
        }
        if let Some(time) = self.clock.at_or_after(from.time()) {
            return Some(day.to_datetime(time));
        }
        let day = self.days.at_or_after(day.tomorrow().ok()?, YEAR_LAST)?;
        Some(day.to_datetime(self.clock.first()))
    }

    fn of_fields(fields: &[&str]) -> Result<Self, CronError> {
        let (seconds, rest) = match fields {
            [seconds, rest @ ..] if rest.len() == FIELDS => (*seconds, rest),
            _ => ("0", fields),
        };
        let [minute, hour, day, month, weekday] = rest else {
            return Err(CronError::Fields { found: fields.len() });
        };
        let place = |index: usize| index + fields.len() - FIELDS;
        let seconds = field::times(Field::Second, seconds, 1)?;
        let minutes = field::times(Field::Minute, minute, place(1))?;
        let hours = field::times(Field::Hour, hour, place(2))?;
        let of_month = field::days_of_month(day, place(3))?;
        let months = field::times(Field::Month, month, place(4))?;
        let of_week = field::days_of_week(weekday, place(5))?;
        Ok(Self {
            fixed: !minutes.interval && !hours.interval,
            clock: Clock { seconds: seconds.values, minutes: minutes.values, hours: hours.values },
            days: Days { of_month, months: months.values, of_week },
        })
    }
}

impl FromStr for Expression {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        if text.len() > limits::CRON_BYTES_MAX {
            return Err(CronError::TooLong { what: "expression", bytes: text.len() });
        }
        let text = text.trim();
        let read = if text.starts_with('@') { nickname(text)? } else { text };
        let expression = Self::of_fields(&fields(read))?;
        let ever = expression.at_or_after(FIRST_DAY.to_datetime(Time::midnight()));
        ever.map(|_| expression).ok_or_else(|| CronError::Never { expression: shown(text) })
    }
}

fn fields(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn nickname(text: &str) -> Result<&'static str, CronError> {
    let known = NICKNAMES.iter().find(|(nickname, _)| nickname.eq_ignore_ascii_case(text));
    let unknown = || CronError::Nickname {
        word: shown(text),
        nearest: nearest(text, nicknames().into_iter()).map(str::to_owned),
    };
    known.map(|(_, fields)| *fields).ok_or_else(unknown)
}
