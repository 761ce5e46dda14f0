//! Time zones, out of the copy of the IANA database that is part of the binary.

use super::{error::CronError, error::TIME_ZONE, error::shown, nearest::nearest};
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone, TimeZoneDatabase},
};
use jobraft_protocol::limits;

/// No clock is further from UTC, either way.
const OFFSET_MAX: SignedDuration = SignedDuration::from_hours(24);

/// A time zone.
#[derive(Clone, Debug)]
pub(super) struct Zone(TimeZone);

impl Zone {
    pub(super) fn find(name: &str) -> Result<Self, CronError> {
        if name.len() > limits::CRON_BYTES_MAX {
            return Err(CronError::TooLong { what: TIME_ZONE, bytes: name.len() });
        }
        let zones = TimeZoneDatabase::bundled();
        match zones.get(name) {
            Ok(zone) if !zone.is_unknown() => Ok(Self(zone)),
            _ => Err(CronError::TimeZone { name: shown(name), nearest: nearest_name(&zones, name) }),
        }
    }

    /// What a clock on the wall shows.
    pub(super) fn wall(&self, at: Timestamp) -> DateTime {
        self.0.to_datetime(at)
    }

    /// The first instant at which a clock shows `wall` or later: the end of the gap, if it falls into one.
    ///
    /// By way of instants only. What jiff says of times on the wall, and of changes that precede, is wrong at the last
    /// change that its table has of a zone, where the rule for the years to come does not continue it: in
    /// America/Nuuk in October 2023, in America/Ciudad_Juarez in November 2022.
    pub(super) fn first_instant(&self, wall: DateTime) -> Option<Timestamp> {
        let mut start = Offset::UTC.to_timestamp(wall).ok()?.checked_sub(OFFSET_MAX).ok()?;
        loop {
            let shown = self.instant_beside(start, wall)?.max(start);
            match self.change_after(start) {
                Some(change) if change <= shown => start = change,
                _ => return Some(shown),
            }
        }
    }

    /// The instant at which a clock that is not changed after `at` shows `wall`.
    pub(super) fn instant_beside(&self, at: Timestamp, wall: DateTime) -> Option<Timestamp> {
        self.0.to_offset(at).to_timestamp(wall).ok()
    }

    /// The next change of clocks.
    pub(super) fn change_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.0.following(at).next().map(|change| change.timestamp())
    }

    /// What clocks would show at the next change after `at` if they were not changed: the end of what they show twice.
    pub(super) fn end_of_repeated(&self, at: Timestamp) -> Option<DateTime> {
        Some(self.0.to_offset(at).to_datetime(self.change_after(at)?))
    }
}

/// The name of which `name` is a city, or else the one that is spelled most alike.
fn nearest_name(zones: &TimeZoneDatabase, name: &str) -> Option<String> {
    let names: Vec<String> = zones.available().map(|name| name.as_str().to_owned()).collect();
    let written = name.trim().replace(' ', "_");
    let city = |zone: &&String| zone.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(&written));
    let nearest = || nearest(&written, names.iter().map(String::as_str)).map(str::to_owned);
    names.iter().find(city).cloned().or_else(nearest)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::cron::{SECOND, YEAR_LAST};

    /// Each change of clocks of one zone, from 1970 on.
    fn changes(zone: &Zone) -> impl Iterator<Item = Timestamp> {
        let changes = std::iter::successors(zone.change_after(Timestamp::UNIX_EPOCH), |&at| zone.change_after(at));
        changes.take_while(|&at| zone.wall(at).year() <= YEAR_LAST)
    }

    #[test]
    fn whatever_a_change_of_clocks_skips_or_repeats_is_known_in_each_zone() {
        let mut seen = [0, 0];
        for name in TimeZoneDatabase::bundled().available() {
            let zone = Zone::find(name.as_str()).unwrap();
            for change in changes(&zone) {
                let before = change.checked_sub(SECOND).unwrap();
                let [wall, without] = [zone.wall(change), zone.end_of_repeated(before).unwrap()];
                let shift: SignedDuration = wall.duration_since(without);
                if shift.is_positive() {
                    for skipped in [without, wall.checked_sub(SECOND).unwrap()] {
                        assert_eq!(zone.first_instant(skipped), Some(change), "{} at {skipped}", name.as_str());
                    }
                } else {
                    assert_eq!(zone.first_instant(wall), change.checked_add(shift).ok(), "{} at {wall}", name.as_str());
                }
                seen[usize::from(shift.is_positive())] += 1;
            }
        }
        assert!(seen.iter().all(|&seen| seen > 10_000), "{seen:?}");
    }
}
