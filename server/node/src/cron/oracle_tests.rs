//! The calendar against `croner` with the time zones of `chrono-tz`: another implementation, and another copy of the
//! IANA database.
//!
//! Croner has the same rule for changes of clocks, but counts as fixed only what has a single time of day. Where we
//! differ on purpose, each tick of difference is written down.

use super::*;
use chrono::{DateTime as ChronoTime, Utc};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use proptest::prelude::*;
use std::collections::BTreeSet;

const FIRST: &str = "2016-01-01T00:00:00Z";
const LAST: &str = "2026-01-01T00:00:00Z";

const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Auckland",
    "Asia/Kolkata",
];

const EXPRESSIONS: [&str; 24] = [
    "@hourly",
    "@daily",
    "@weekly",
    "@monthly",
    "@yearly",
    "*/15 * * * *",
    "7-59/20 */2 * * *",
    "45 * * * *",
    "*/20 1-3 * * *",
    "30 1 * * *",
    "15 2 * * *",
    "59 2 * * SUN",
    "0 3 * * *",
    "30 0 * 2,10-11 *",
    "0 9 * * MON-FRI",
    "0 12 1,15 * WED",
    "0 0 L * *",
    "30 6 LW * *",
    "0 8 15W * *",
    "0 22 * * FRIL",
    "0 7 * MAR,NOV SUN#1",
    "10 4 29 2 *",
    "30 15 2 * * *",
    "*/30 */10 2 * 3,4,9,10,11 SUN",
];

/// Croner's ticks.
struct Oracle {
    cron: croner::Cron,
    zone: Tz,
}

impl Oracle {
    fn new(expression: &str, zone: &str) -> Self {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        Self { cron: parser.parse(expression).unwrap(), zone: zone.parse().unwrap() }
    }

    fn next_after(&self, after: LogTime) -> Option<LogTime> {
        let after = ChronoTime::<Utc>::from_timestamp_millis(i64::try_from(after.as_ms()).unwrap()).unwrap();
        let next = self.cron.find_next_occurrence(&after.with_timezone(&self.zone), false).ok()?;
        Some(LogTime::from_ms(u64::try_from(next.timestamp_millis()).unwrap()))
    }
}

fn log_time(text: &str) -> LogTime {
    LogTime::from_ms(u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap())
}

fn shown(at: LogTime) -> String {
    Timestamp::from_millisecond(i64::try_from(at.as_ms()).unwrap()).unwrap().to_string()
}

/// The ticks of ten years.
fn ten_years(next_after: impl Fn(LogTime) -> Option<LogTime>) -> BTreeSet<LogTime> {
    let next = |at: &LogTime| next_after(*at).filter(|&next| next < log_time(LAST));
    std::iter::successors(next(&log_time(FIRST)), next).collect()
}

#[test]
fn ten_years_in_seven_zones_are_the_same() {
    let mut count = 0;
    for (zone, expression) in ZONES.into_iter().flat_map(|zone| EXPRESSIONS.map(|expression| (zone, expression))) {
        let (cron, oracle) = (Cron::parse(expression, zone).unwrap(), Oracle::new(expression, zone));
        let mut at = log_time(FIRST);
        while at < log_time(LAST) {
            let next = cron.next_after(at).unwrap();
            assert_eq!(Some(next), oracle.next_after(at), "{expression} in {zone} after {}", shown(at));
            (at, count) = (next, count + 1);
        }
    }
    println!("{count} ticks");
}

/// The ticks that only we have, and those that only croner has.
fn differences(expression: &str, zone: &str) -> [Vec<String>; 2] {
    let (cron, oracle) = (Cron::parse(expression, zone).unwrap(), Oracle::new(expression, zone));
    let [ours, theirs] = [ten_years(|at| cron.next_after(at)), ten_years(|at| oracle.next_after(at))];
    [ours.difference(&theirs), theirs.difference(&ours)].map(|only| only.map(|&at| shown(at)).collect())
}

#[test]
fn print_differences() {
    for (e, z) in [
        ("0 2,14 * * *", "Europe/Berlin"),
        ("30 1-2 * * *", "America/New_York"),
        ("15,45 1-2 * * *", "Australia/Lord_Howe"),
        ("0,30 0 * * *", "America/Sao_Paulo"),
        ("0-58 2 * * 0", "Pacific/Auckland"),
        ("0,30 9-17 * * *", "Europe/Berlin"),
        ("15,45 2,14 * * *", "Asia/Kolkata"),
    ] {
        println!("{e} {z} {:#?}", differences(e, z));
    }
}
