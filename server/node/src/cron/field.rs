//! One field of an expression: a list of values, ranges and steps.

use super::{
    days::{DaysOfMonth, DaysOfWeek},
    error::{Fault, FieldError, shown},
    nearest::nearest,
    set::Set,
};
use std::fmt;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const SUNDAY: u8 = 0;
/// Sunday's other number, so that `SAT-SUN` is a range.
const SUNDAY_AFTER: u8 = 7;
/// The most times that one day of the week comes in a month.
const WEEKS_MAX: u8 = 5;

/// What a field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Field {
    Second,
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

impl Field {
    const fn bounds(self) -> (u8, u8) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (SUNDAY, SUNDAY_AFTER),
        }
    }

    /// What `*` stands for.
    fn all(self) -> (u8, u8) {
        let (first, last) = self.bounds();
        (first, if self == Self::DayOfWeek { last - 1 } else { last })
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Second | Self::Minute => "a number from 0 to 59",
            Self::Hour => "a number from 0 to 23",
            Self::DayOfMonth => "a day from 1 to 31, `L`, `LW` or such as `15W`",
            Self::Month => "a month from 1 to 12 or `JAN` to `DEC`",
            Self::DayOfWeek => "a day from 0 to 7 or `SUN` to `SAT`, or such as `FRIL` or `FRI#2`",
        }
    }

    /// The names of values, of which the first is that of the least.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &WEEKDAYS,
            _ => &[],
        }
    }

    fn value(self, part: &str) -> Result<u8, Fault> {
        let (min, _) = self.bounds();
        if let Some(index) = self.names().iter().position(|name| name.eq_ignore_ascii_case(part)) {
            return Ok(min + index as u8);
        }
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.no_value(part));
        }
        let number = part.parse().ok();
        number.filter(|number| self.has(*number)).ok_or_else(|| self.out_of_bounds(part, number))
    }

    fn has(self, number: u8) -> bool {
        let (min, max) = self.bounds();
        (min..=max).contains(&number)
    }

    fn no_value(self, part: &str) -> Fault {
        let nearest = match part {
            "?" => Some("*"),
            _ => nearest(part, self.names().iter().copied()),
        };
        Fault::Value { part: shown(part), expected: self.expected(), nearest: nearest.map(str::to_owned) }
    }

    fn out_of_bounds(self, part: &str, number: Option<u8>) -> Fault {
        let (min, max) = self.bounds();
        let nearest = match self {
            _ if number.is_some_and(|number| number < min) => min.to_string(),
            Self::Second | Self::Minute | Self::Hour if number == Some(max + 1) => min.to_string(),
            Self::DayOfMonth => "L".to_owned(),
            _ => max.to_string(),
        };
        Fault::Bounds { part: shown(part), min, max, nearest: Some(nearest) }
    }

    /// A value, a range, or a step over a range.
    fn span(self, part: &str) -> Result<Set, Fault> {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (first, last) = match range.split_once('-') {
            _ if step == Some("") => return Err(self.no_value(part)),
            _ if range == "*" => self.all(),
            Some(("", _) | (_, "")) => return Err(self.no_value(part)),
            Some((first, last)) => self.range(part, first, last)?,
            None => self.single(part, range, step)?,
        };
        let span = Set::range(first, last, step.map_or(Ok(1), |step| self.step(step))?);
        Ok(if span.has(SUNDAY_AFTER) && self == Self::DayOfWeek { span.or(Set::of(SUNDAY)) } else { span })
    }

    fn range(self, part: &str, first: &str, last: &str) -> Result<(u8, u8), Fault> {
        let (from, to) = (self.value(first)?, self.value(last)?);
        if from <= to {
            return Ok((from, to));
        }
        if self == Self::DayOfWeek && to == SUNDAY {
            return Ok((from, SUNDAY_AFTER));
        }
        let (min, max) = self.all();
        let names = self.names();
        let name = |value: u8| names.get(usize::from(value - min)).map_or(value.to_string(), |name| (*name).to_owned());
        let instead = format!("{first}-{},{}-{last}", name(max), name(min));
        Err(Fault::Backwards { part: shown(part), instead: shown(&instead) })
    }

    fn single(self, part: &str, value: &str, step: Option<&str>) -> Result<(u8, u8), Fault> {
        let first = self.value(value)?;
        match step {
            None => Ok((first, first)),
            Some(step) => {
                let instead = format!("{value}-{}/{step}", self.all().1);
                Err(Fault::StepAlone { part: shown(part), instead: shown(&instead) })
            }
        }
    }

    fn step(self, part: &str) -> Result<u8, Fault> {
        let (first, last) = self.all();
        between(part, 1, last - first)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        })
    }
}

/// The values of a field, and whether it is written as an interval: with a `*`, a step, or all there is.
pub(super) struct Times {
    pub(super) values: Set,
    pub(super) interval: bool,
}

pub(super) fn times(field: Field, text: &str, place: usize) -> Result<Times, FieldError> {
    let mut values = Set::default();
    each_part(field, text, place, |part| {
        values = values.or(field.span(part)?);
        Ok(())
    })?;
    let (first, last) = field.all();
    Ok(Times { values, interval: text.contains(['*', '/']) || values == Set::range(first, last, 1) })
}

/// None if the field restricts nothing.
pub(super) fn days_of_month(text: &str, place: usize) -> Result<Option<DaysOfMonth>, FieldError> {
    let (field, mut days) = (Field::DayOfMonth, DaysOfMonth::default());
    if is_any(text) {
        return Ok(None);
    }
    each_part(field, text, place, |part| {
        if part.eq_ignore_ascii_case("L") {
            days.last = true;
        } else if part.eq_ignore_ascii_case("LW") {
            days.last_workday = true;
        } else if let Some(day) = part.strip_suffix(['W', 'w']).filter(|day| !day.is_empty()) {
            days.nearest_workday = days.nearest_workday.or(Set::of(field.value(day)?));
        } else {
            days.days = days.days.or(field.span(part)?);
        }
        Ok(())
    })?;
    Ok(Some(days))
}

/// None if the field restricts nothing.
pub(super) fn days_of_week(text: &str, place: usize) -> Result<Option<DaysOfWeek>, FieldError> {
    let (field, mut days) = (Field::DayOfWeek, DaysOfWeek::default());
    let one = |part: &str| field.value(part).map(|day| Set::of(day % SUNDAY_AFTER));
    if is_any(text) {
        return Ok(None);
    }
    each_part(field, text, place, |part| {
        if let Some((day, week)) = part.split_once('#') {
            let nth = &mut days.nth[usize::from(between(week, 1, WEEKS_MAX)? - 1)];
            *nth = nth.or(one(day)?);
        } else if let Some(day) = part.strip_suffix(['L', 'l']).filter(|day| !day.is_empty()) {
            days.last = days.last.or(one(day)?);
        } else {
            days.days = days.days.or(field.span(part)?);
        }
        Ok(())
    })?;
    Ok(Some(days))
}

fn is_any(text: &str) -> bool {
    text == "*" || text == "?"
}

/// A number that is not a value of a field: a step, or which week.
fn between(part: &str, min: u8, max: u8) -> Result<u8, Fault> {
    let digits = part.bytes().all(|byte| byte.is_ascii_digit());
    let number = part.parse().ok().filter(|number| digits && (min..=max).contains(number));
    number.ok_or_else(|| Fault::Bounds { part: shown(part), min, max, nearest: None })
}

/// Gives each part of the list to `read`, and says of a fault in which field it is.
fn each_part(
    field: Field,
    text: &str,
    place: usize,
    mut read: impl FnMut(&str) -> Result<(), Fault>,
) -> Result<(), FieldError> {
    let mut read = |part: &str| if part.is_empty() { Err(Fault::Empty) } else { read(part) };
    let all = text.split(',').try_for_each(&mut read);
    all.map_err(|fault| FieldError { place, field, text: shown(text), fault })
}
