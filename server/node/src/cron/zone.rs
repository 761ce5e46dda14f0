//! Time zones, out of the copy of the IANA database that is part of the binary.

use super::{SECOND, error::CronError, error::shown, nearest::nearest};
use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use jobraft_protocol::limits;

/// Changes of clocks looked at for the one that ends a gap. The database has entries that change a name only; more
/// than one of them beside a gap is unheard of.
const CHANGES_AT_GAP_MAX: usize = 8;

/// A time zone.
#[derive(Clone, Debug)]
pub(super) struct Zone(TimeZone);

impl Zone {
    pub(super) fn find(name: &str) -> Result<Self, CronError> {
        if name.len() > limits::CRON_BYTES_MAX {
            return Err(CronError::TooLong { what: "time zone", bytes: name.len() });
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

    /// The first instant at which a clock shows `wall`, or the end of the gap that it falls into.
    pub(super) fn first_instant(&self, wall: DateTime) -> Option<Timestamp> {
        match self.0.to_ambiguous_timestamp(wall).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok(),
            AmbiguousOffset::Gap { after, .. } => {
                let earlier = after.to_timestamp(wall).ok()?;
                let changes = self.0.following(earlier).take(CHANGES_AT_GAP_MAX).map(|change| change.timestamp());
                changes.into_iter().find(|&change| self.wall(change) > wall)
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

    /// What clocks would show at the latest change, `at` or before, if they had not been changed.
    pub(super) fn end_of_repeated(&self, at: Timestamp) -> Option<DateTime> {
        let change = self.0.preceding(at.checked_add(SECOND).ok()?).next()?.timestamp();
        self.wall(change.checked_sub(SECOND).ok()?).checked_add(SECOND).ok()
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
