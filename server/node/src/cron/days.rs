//! Days: of the month, and of the week.

use super::set::Set;
use jiff::civil::Date;

const DAYS_OF_WEEK: u8 = 7;
const SUNDAY: u8 = 0;
const SATURDAY: u8 = 6;

/// Days by their number in the month.
#[derive(Clone, Debug, Default)]
pub(super) struct DaysOfMonth {
    /// By number.
    pub(super) days: Set,
    /// `15W`: the workday nearest to each of these.
    pub(super) nearest_workday: Set,
    /// `L`.
    pub(super) last: bool,
    /// `LW`.
    pub(super) last_workday: bool,
}

/// Days by their name. Sunday is 0.
#[derive(Clone, Debug, Default)]
pub(super) struct DaysOfWeek {
    /// Each one of the month.
    pub(super) days: Set,
    /// `FRI#2`: for the first to the fifth week, the days of which it is that one of the month.
    pub(super) nth: [Set; 5],
    /// `FRIL`: the last of the month.
    pub(super) last: Set,
}

/// The days of an expression. A field that is `*` or `?` is absent: it restricts nothing.
#[derive(Clone, Debug)]
pub(super) struct Days {
    pub(super) months: Set,
    pub(super) of_month: Option<DaysOfMonth>,
    pub(super) of_week: Option<DaysOfWeek>,
}

impl Days {
    /// The first day that is `from` or later, no later than `year_last`.
    pub(super) fn at_or_after(&self, from: Date, year_last: i16) -> Option<Date> {
        let mut from = from;
        while from.year() <= year_last {
            if self.months.has(from.month().unsigned_abs())
                && let Some(day) = self.of(Month::of(from)).at_or_after(from.day().unsigned_abs())
            {
                return Date::new(from.year(), from.month(), day as i8).ok();
            }
            from = from.last_of_month().tomorrow().ok()?;
        }
        None
    }

    fn of(&self, month: Month) -> Set {
        match (&self.of_month, &self.of_week) {
            (None, None) => Set::range(1, month.days, 1),
            (Some(days), None) => days.of(month),
            (None, Some(days)) => days.of(month),
            (Some(of_month), Some(of_week)) => of_month.of(month).or(of_week.of(month)),
        }
    }
}

impl DaysOfMonth {
    fn of(&self, month: Month) -> Set {
        let mut days = self.days.and(Set::range(1, month.days, 1));
        if self.last {
            days = days.or(Set::of(month.days));
        }
        if self.last_workday {
            days = days.or(Set::of(month.nearest_workday(month.days)));
        }
        let there = self.nearest_workday.iter().filter(|&day| day <= month.days);
        there.map(|day| Set::of(month.nearest_workday(day))).fold(days, Set::or)
    }
}

impl DaysOfWeek {
    fn of(&self, month: Month) -> Set {
        let matches = |&day: &u8| {
            let (weekday, week) = (month.weekday(day), usize::from((day - 1) / DAYS_OF_WEEK));
            let last = day + DAYS_OF_WEEK > month.days;
            self.days.has(weekday) || self.nth[week].has(weekday) || last && self.last.has(weekday)
        };
        (1..=month.days).filter(matches).map(Set::of).fold(Set::default(), Set::or)
    }
}

/// One month of one year.
#[derive(Clone, Copy)]
struct Month {
    days: u8,
    /// On which day of the week it begins.
    begins: u8,
}

impl Month {
    fn of(date: Date) -> Self {
        let begins = date.first_of_month().weekday().to_sunday_zero_offset();
        Self { days: date.days_in_month().unsigned_abs(), begins: begins.unsigned_abs() }
    }

    const fn weekday(self, day: u8) -> u8 {
        (self.begins + day - 1) % DAYS_OF_WEEK
    }

    /// The workday next to a day of the month, without leaving the month.
    const fn nearest_workday(self, day: u8) -> u8 {
        match self.weekday(day) {
            SATURDAY if day == 1 => day + 2,
            SATURDAY => day - 1,
            SUNDAY if day == self.days => day - 2,
            SUNDAY => day + 1,
            _ => day,
        }
    }
}
