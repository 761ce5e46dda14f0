//! Times of day.

use super::set::Set;
use jiff::civil::Time;

/// The times of day of an expression: each hour with each minute with each second. None of the three is empty.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    pub(super) hours: Set,
    pub(super) minutes: Set,
    pub(super) seconds: Set,
}

impl Clock {
    /// The first time of the day.
    pub(super) fn first(&self) -> Time {
        self.at_or_after(Time::midnight()).expect("no part of a clock is empty")
    }

    /// The first time of the day that is `from` or later.
    pub(super) fn at_or_after(&self, from: Time) -> Option<Time> {
        let [hour, minute, second] = [from.hour(), from.minute(), from.second()].map(i8::unsigned_abs);
        if self.hours.has(hour) {
            if self.minutes.has(minute)
                && let Some(second) = self.seconds.at_or_after(second)
            {
                return time(hour, minute, second);
            }
            if let Some(minute) = self.minutes.at_or_after(minute + 1) {
                return time(hour, minute, self.seconds.at_or_after(0)?);
            }
        }
        time(self.hours.at_or_after(hour + 1)?, self.minutes.at_or_after(0)?, self.seconds.at_or_after(0)?)
    }
}

fn time(hour: u8, minute: u8, second: u8) -> Option<Time> {
    Time::new(hour as i8, minute as i8, second as i8, 0).ok()
}
