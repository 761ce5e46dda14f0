//! The calendar against `croner` with the time zones of `chrono-tz`: another implementation, and another copy of the
//! IANA database.
//!
//! Croner has the same rule for changes of clocks, but counts as fixed only what has a single time of day. Where we
//! differ on purpose, each tick of difference is written down.

#![expect(clippy::unwrap_used, reason = "tests")]

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

/// About one tick a day at most: each of them is compared.
const SPARSE: [&str; 17] = [
    "@daily",
    "@weekly",
    "@monthly",
    "@yearly",
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
    "30 15 2 * * *",
];

/// Many ticks a day: each one in the days around a change of clocks is compared, and one a day at other times.
const DENSE: [&str; 7] = [
    "@hourly",
    "*/15 * * * *",
    "7-59/20 */2 * * *",
    "45 * * * *",
    "*/20 1-3 * * *",
    "*/10 */10 2 * * *",
    "*/20 * * * 3,4,9,10,11 SUN",
];

/// How near to a change of clocks each tick of a dense expression counts.
const NEAR_MS: u64 = 24 * 60 * 60 * 1_000;
/// Not quite a day, so that all hours have their turn.
const STRIDE_MS: u64 = 23 * 60 * 60 * 1_000 + 7 * 60 * 1_000;

/// Croner's calendar.
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

/// Compares the tick after each of the times from `FIRST` to `LAST` which `onward` goes through, given a tick.
fn compare(expression: &str, zone: &str, onward: impl Fn(LogTime) -> LogTime) {
    let (cron, oracle) = (Cron::parse(expression, zone).unwrap(), Oracle::new(expression, zone));
    let mut at = log_time(FIRST);
    while at < log_time(LAST) {
        let next = cron.next_after(at);
        assert_eq!(next.map(shown), oracle.next_after(at).map(shown), "{expression} in {zone} after {}", shown(at));
        at = onward(next.unwrap());
    }
}

#[test]
fn ten_years_of_sparse_ticks_are_the_same() {
    for zone in ZONES {
        SPARSE.iter().for_each(|expression| compare(expression, zone, |tick| tick));
    }
}

#[test]
fn ten_years_of_dense_ticks_are_the_same() {
    for name in ZONES {
        let zone = Zone::find(name).unwrap();
        let near_a_change = |at: LogTime| {
            let from = Timestamp::from_millisecond(i64::try_from(at.as_ms() - NEAR_MS).unwrap()).unwrap();
            zone.change_after(from).is_some_and(|change| change.as_millisecond() as u64 <= at.as_ms() + NEAR_MS)
        };
        let onward = |tick: LogTime| if near_a_change(tick) { tick } else { tick.plus_ms(STRIDE_MS) };
        DENSE.iter().for_each(|expression| compare(expression, name, onward));
    }
}

/// The ticks of ten years that only we have, and those that only croner has.
fn differences(expression: &str, zone: &str) -> [Vec<String>; 2] {
    let (cron, oracle) = (Cron::parse(expression, zone).unwrap(), Oracle::new(expression, zone));
    let [ours, theirs] = [ten_years(|at| cron.next_after(at)), ten_years(|at| oracle.next_after(at))];
    [ours.difference(&theirs), theirs.difference(&ours)].map(|only| only.map(|&at| shown(at)).collect())
}

fn ten_years(next_after: impl Fn(LogTime) -> Option<LogTime>) -> BTreeSet<LogTime> {
    let next = |at: &LogTime| next_after(*at).filter(|&next| next < log_time(LAST));
    std::iter::successors(next(&log_time(FIRST)), next).collect()
}

/// Croner takes a list of hours or minutes for an interval: what is skipped is lost, and what comes twice fires twice.
/// For us they are fixed times.
#[track_caller]
fn differs(expression: &str, zone: &str, ours_at: &str, ours: &[&str], theirs_at: &str, theirs: &[&str]) {
    let at = |days: &[&str], time: &str| days.iter().map(|day| format!("{day}T{time}:00Z")).collect::<Vec<_>>();
    assert_eq!(differences(expression, zone), [at(ours, ours_at), at(theirs, theirs_at)], "{expression} in {zone}");
}

/// Clocks go from 02:00 to 03:00 and from 03:00 to 02:00, both at 01:00 UTC.
#[test]
fn fixed_times_in_a_list_differ_in_berlin() {
    let forward = &[
        "2016-03-27",
        "2017-03-26",
        "2018-03-25",
        "2019-03-31",
        "2020-03-29",
        "2021-03-28",
        "2022-03-27",
        "2023-03-26",
        "2024-03-31",
        "2025-03-30",
    ];
    let back = &[
        "2016-10-30",
        "2017-10-29",
        "2018-10-28",
        "2019-10-27",
        "2020-10-25",
        "2021-10-31",
        "2022-10-30",
        "2023-10-29",
        "2024-10-27",
        "2025-10-26",
    ];
    differs("0 2,14 * * *", "Europe/Berlin", "01:00", forward, "01:00", back);
}

/// Clocks go from 02:00 to 03:00 at 07:00 UTC, and from 02:00 to 01:00 at 06:00 UTC.
#[test]
fn fixed_times_in_a_range_differ_in_new_york() {
    let forward = &[
        "2016-03-13",
        "2017-03-12",
        "2018-03-11",
        "2019-03-10",
        "2020-03-08",
        "2021-03-14",
        "2022-03-13",
        "2023-03-12",
        "2024-03-10",
        "2025-03-09",
    ];
    let back = &[
        "2016-11-06",
        "2017-11-05",
        "2018-11-04",
        "2019-11-03",
        "2020-11-01",
        "2021-11-07",
        "2022-11-06",
        "2023-11-05",
        "2024-11-03",
        "2025-11-02",
    ];
    differs("30 1-2 * * *", "America/New_York", "07:00", forward, "06:30", back);
}

/// Clocks go from 02:00 to 02:30 at 15:30 UTC, and from 02:00 to 01:30 at 15:00 UTC.
#[test]
fn fixed_times_in_both_fields_differ_on_lord_howe_island() {
    let forward = &[
        "2016-10-01",
        "2017-09-30",
        "2018-10-06",
        "2019-10-05",
        "2020-10-03",
        "2021-10-02",
        "2022-10-01",
        "2023-09-30",
        "2024-10-05",
        "2025-10-04",
    ];
    let back = &[
        "2016-04-02",
        "2017-04-01",
        "2018-03-31",
        "2019-04-06",
        "2020-04-04",
        "2021-04-03",
        "2022-04-02",
        "2023-04-01",
        "2024-04-06",
        "2025-04-05",
    ];
    differs("15,45 1-2 * * *", "Australia/Lord_Howe", "15:30", forward, "15:15", back);
}

/// Until 2018, clocks went from 00:00 to 01:00 at 03:00 UTC, and back to 23:00, which is not named.
#[test]
fn fixed_times_around_midnight_differ_in_sao_paulo() {
    let forward = &["2016-10-16", "2017-10-15", "2018-11-04"];
    differs("0,30 0 * * *", "America/Sao_Paulo", "03:00", forward, "", &[]);
}

#[test]
fn fixed_times_differ_nowhere_else() {
    for (expression, zone) in [
        ("0,30 9-17 * * *", "Europe/Berlin"),
        ("0 0,12 * * *", "America/New_York"),
        ("0,30 2,14 * * *", "Asia/Kolkata"),
    ] {
        differs(expression, zone, "", &[], "", &[]);
    }
}

fn field(min: u8, max: u8) -> impl Strategy<Value = String> {
    let value = min..=max;
    let range = (min..=max).prop_flat_map(move |first| (Just(first), first..=max));
    let list = proptest::collection::vec(value, 1..4)
        .prop_map(|values| values.iter().map(u8::to_string).collect::<Vec<_>>().join(","));
    prop_oneof![
        2 => Just("*".to_owned()),
        1 => (2..=6_u8).prop_map(|step| format!("*/{step}")),
        2 => range.prop_map(|(first, last)| format!("{first}-{last}")),
        3 => list,
    ]
}

fn day_of_month() -> impl Strategy<Value = String> {
    prop_oneof![4 => field(1, 31), 1 => Just("L".to_owned()), 1 => Just("LW".to_owned()), 2 => (1..=31_u8).prop_map(|day| format!("{day}W"))]
}

fn day_of_week() -> impl Strategy<Value = String> {
    let nth = (0..=7_u8, 1..=5_u8).prop_map(|(day, week)| format!("{day}#{week}"));
    prop_oneof![4 => field(0, 7), 1 => (0..=7_u8).prop_map(|day| format!("{day}L")), 2 => nth, 2 => Just("*".to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Without changes of clocks there is nothing to differ in, up to the last year.
    #[test]
    fn any_expression_has_the_same_ticks_in_utc(
        clock in (field(0, 59), field(0, 59), field(0, 23)), day in day_of_month(), month in field(1, 12),
        weekday in day_of_week(), after in 0..4_000_000_000_000_u64,
    ) {
        let (second, minute, hour) = clock;
        let expression = format!("{second} {minute} {hour} {day} {month} {weekday}");
        let oracle = Oracle::new(&expression, "UTC");
        let mut at = LogTime::from_ms(after);
        if let Ok(cron) = Cron::parse(&expression, "UTC") {
            for _ in 0..5 {
                let next = cron.next_after(at);
                let theirs = oracle.next_after(at).filter(|&next| next < log_time("2101-01-01T00:00:00Z"));
                prop_assert_eq!(next.map(shown), theirs.map(shown), "{} after {}", expression, shown(at));
                at = next.unwrap_or(at);
            }
        } else {
            let theirs = oracle.next_after(LogTime::ZERO);
            prop_assert!(theirs.is_none_or(|tick| tick >= log_time("2101-01-01T00:00:00Z")), "{}", expression);
        }
    }
}
