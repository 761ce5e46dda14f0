//! Times as they are in a time zone, and the calendar's refusal of what is none.

use crate::failure::Failure;
use crate::output::human;
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jobraft_node::cron::{Cron, CronError};
use jobraft_protocol::LogTime;
use serde::Serialize;

/// A time zone to show times in. One that this build does not know shows them in UTC.
#[derive(Clone, Debug)]
pub(super) struct Zone(TimeZone);

/// A tick, for `--json`.
#[derive(Debug, Serialize)]
pub(super) struct TickJson {
    /// In UTC.
    at: String,
    /// As clocks in the schedule's time zone show it.
    local: String,
}

impl Zone {
    pub(super) fn find(name: &str) -> Self {
        Self(TimeZoneDatabase::bundled().get(name).unwrap_or(TimeZone::UTC))
    }

    /// A time as the clocks of the zone show it, to the second, with what they are ahead of UTC:
    /// `2026-01-31 04:00:00 +01:00`.
    pub(super) fn local(&self, time: LogTime) -> String {
        let timestamp = i64::try_from(time.as_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        match timestamp {
            Some(timestamp) => {
                timestamp.to_zoned_datetime(self.0.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
            }
            None => human::timestamp(time),
        }
    }

    /// The same, and how far from now.
    pub(super) fn shown(&self, time: LogTime, now: LogTime) -> String {
        format!("{} ({})", self.local(time), human::relative(time, now))
    }

    pub(super) fn json(&self, time: LogTime) -> TickJson {
        TickJson { at: human::timestamp(time), local: self.local(time) }
    }
}

/// Reads an expression; what is wrong with it is the fault of the command line.
pub(super) fn cron(expression: &str, time_zone: &str) -> Result<Cron, Failure> {
    Cron::parse(expression, time_zone).map_err(|error| refused(&error))
}

fn refused(error: &CronError) -> Failure {
    let flag = if error.is_of_time_zone() { "--tz" } else { "--cron" };
    Failure::usage(format!("read {flag}"), error)
}

/// The next `count` ticks after `from`; fewer if there are no more.
pub(super) fn ticks(cron: &Cron, from: LogTime, count: usize) -> Vec<LogTime> {
    std::iter::successors(cron.next_after(from), |last| cron.next_after(*last)).take(count).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::failure::Exit;

    /// 2026-03-29T00:30:00Z, half an hour before clocks in Berlin go forward.
    const BEFORE: LogTime = LogTime::from_ms(1_774_744_200_000);

    #[test]
    fn a_time_is_shown_as_clocks_there_show_it() {
        let berlin = Zone::find("Europe/Berlin");
        assert_eq!(berlin.local(BEFORE), "2026-03-29 01:30:00 +01:00");
        assert_eq!(berlin.local(BEFORE.plus_ms(3_600_000)), "2026-03-29 03:30:00 +02:00");
        assert_eq!(berlin.shown(BEFORE.plus_ms(60_000), BEFORE), "2026-03-29 01:31:00 +01:00 (in 1 min)");
        assert_eq!(Zone::find("UTC").local(BEFORE), "2026-03-29 00:30:00 +00:00");
        let json = serde_json::to_value(berlin.json(BEFORE)).unwrap();
        assert_eq!(
            (&json["at"], &json["local"]),
            (&"2026-03-29T00:30:00.000Z".into(), &"2026-03-29 01:30:00 +01:00".into())
        );
    }

    #[test]
    fn a_time_or_a_zone_that_is_none_ends_nothing() {
        assert_eq!(Zone::find("Mars/Olympus").local(BEFORE), "2026-03-29 00:30:00 +00:00");
        assert_eq!(Zone::find("UTC").local(LogTime::from_ms(u64::MAX)), format!("{} ms", u64::MAX));
    }

    #[test]
    fn ticks_follow_each_other() {
        let cron = cron("*/5 * * * *", "UTC").unwrap();
        assert_eq!(ticks(&cron, BEFORE, 0), []);
        let all = ticks(&cron, BEFORE, 3);
        assert!(all.len() == 3 && all.is_sorted() && all[0] > BEFORE, "{all:?}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_flag() {
        let failure = cron("0 3 * *", "UTC").unwrap_err();
        assert_eq!(failure.exit_code(), Exit::Usage);
        assert!(failure.to_string().contains("--cron") && failure.to_string().contains("4 fields"), "{failure}");
        let failure = cron("0 3 * * *", "Europe/Berlim").unwrap_err();
        assert!(failure.to_string().contains("--tz") && failure.to_string().contains("Europe/Berlim"), "{failure}");
    }
}
