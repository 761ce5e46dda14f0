#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

/// The ticks later than `after`, as clocks in the zone show them, with the offset.
fn ticks(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let cron = Cron::parse(expression, zone).unwrap();
    let zone = jiff::tz::TimeZoneDatabase::bundled().get(zone).unwrap();
    let after: Timestamp = after.parse().unwrap();
    let mut at = LogTime::from_ms(u64::try_from(after.as_millisecond()).unwrap());
    let shown = |at: LogTime| {
        let at = Timestamp::from_millisecond(i64::try_from(at.as_ms()).unwrap()).unwrap();
        at.display_with_offset(zone.to_offset(at)).to_string()
    };
    let next = || {
        at = cron.next_after(at)?;
        Some(shown(at))
    };
    std::iter::from_fn(next).take(count).collect()
}

fn error(expression: &str, zone: &str) -> String {
    Cron::parse(expression, zone).unwrap_err().to_string()
}

#[track_caller]
fn refuses(expression: &str, message: &str) {
    assert_eq!(error(expression, "UTC"), message);
}

#[test]
fn a_skipped_time_fires_once_after_the_gap() {
    let expected = ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"];
    assert_eq!(ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00Z", 3), expected);
}

#[test]
fn several_skipped_times_are_one_tick_with_the_one_that_is_due_then() {
    let expected = ["2026-03-29T01:40:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:20:00+02:00"];
    assert_eq!(ticks("0,20,40 1-3 * * *", "Europe/Berlin", "2026-03-29T00:20Z", 3), expected);
    let expected = ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"];
    assert_eq!(ticks("*/10 0,30 2 * * *", "Europe/Berlin", "2026-03-29T00:20Z", 1), expected[..1]);
    assert_eq!(ticks("*/10 0,30 2 * * *", "Europe/Berlin", "2026-03-29T01:00Z", 1), expected[1..]);
}

#[test]
fn a_gap_of_half_an_hour_ends_at_the_half_hour() {
    let expected = ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"];
    assert_eq!(ticks("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T16:00Z", 1), expected[1..]);
    assert_eq!(ticks("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T15:29:59Z", 2), expected);
}

#[test]
fn a_day_that_begins_after_midnight_has_its_midnight_there() {
    let expected = ["2018-11-03T00:00:00-03:00", "2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"];
    assert_eq!(ticks("@daily", "America/Sao_Paulo", "2018-11-03T00:00Z", 3), expected);
}

/// Samoa went to the other side of the date line: there was no 30 December 2011.
#[test]
fn a_skipped_day_has_one_tick_at_its_end() {
    let expected = ["2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"];
    assert_eq!(ticks("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00Z", 3), expected);
}

#[test]
fn a_time_that_comes_twice_fires_the_first_time() {
    let expected = ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"];
    assert_eq!(ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 2), expected);
    // Asked in the middle of the second time.
    assert_eq!(ticks("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10Z", 1), expected[1..]);
    let expected = ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"];
    assert_eq!(ticks("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00Z", 2), expected);
}

#[test]
fn an_interval_goes_on_in_real_time() {
    let spring = ["2026-03-29T01:45:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:15:00+02:00"];
    assert_eq!(ticks("*/15 * * * *", "Europe/Berlin", "2026-03-29T00:30Z", 3), spring);
    let autumn = [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T02:30:00+01:00",
    ];
    assert_eq!(ticks("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:30Z", 4), autumn);
    assert_eq!(ticks("0-59 * * * *", "Europe/Berlin", "2026-10-25T00:59Z", 1), ["2026-10-25T02:00:00+01:00"]);
}

#[test]
fn an_interval_within_an_hour_has_it_never_or_twice() {
    let spring = ["2026-03-28T02:40:00+01:00", "2026-03-30T02:00:00+02:00"];
    assert_eq!(ticks("*/20 2 * * *", "Europe/Berlin", "2026-03-28T01:20Z", 2), spring);
    let autumn = ["2026-10-25T02:40:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T02:20:00+01:00"];
    assert_eq!(ticks("*/20 2 * * *", "Europe/Berlin", "2026-10-25T00:20Z", 3), autumn);
}

#[test]
fn all_hours_in_full_are_an_interval_too() {
    for cron in ["0 * * * *", "0 0-23 * * *", "0 */1 * * *", "@hourly"] {
        assert_eq!(
            ticks(cron, "Europe/Berlin", "2026-10-24T22:00Z", 30),
            ticks("@hourly", "UTC", "2026-10-24T22:00Z", 30).iter().map(|tick| in_berlin(tick)).collect::<Vec<_>>(),
            "{cron}"
        );
    }
}

#[test]
fn a_step_over_a_range_is_an_interval_too() {
    let expected = ["2026-03-28T02:20:00+01:00", "2026-03-30T02:00:00+02:00"];
    assert_eq!(ticks("0-20/20 2 * * *", "Europe/Berlin", "2026-03-28T01:10Z", 2), expected);
}

fn in_berlin(tick: &str) -> String {
    let (at, zone) = (tick.parse::<Timestamp>().unwrap(), Zone::find("Europe/Berlin").unwrap());
    let hours = if at < "2026-10-25T01:00Z".parse().unwrap() { 2 } else { 1 };
    assert_eq!(zone.wall(at), jiff::tz::offset(hours).to_datetime(at));
    at.display_with_offset(jiff::tz::offset(hours)).to_string()
}

#[test]
fn the_next_tick_is_strictly_later() {
    let cron = Cron::parse("* * * * * *", "UTC").unwrap();
    for (after, next) in [(0, 1_000), (999, 1_000), (1_000, 2_000), (1_001, 2_000)] {
        assert_eq!(cron.next_after(LogTime::from_ms(after)), Some(LogTime::from_ms(next)));
    }
}

#[test]
fn the_last_tick_is_in_the_last_year() {
    assert_eq!(ticks("0 0 1 1 *", "Pacific/Auckland", "2099-06-01T00:00Z", 3), ["2100-01-01T00:00:00+13:00"]);
    let cron = Cron::parse("* * * * *", "Europe/Berlin").unwrap();
    for after in [4_133_980_800_000, u64::MAX / 2, u64::MAX] {
        assert_eq!(cron.next_after(LogTime::from_ms(after)), None);
    }
}

#[test]
fn days_may_be_the_last_the_nearest_or_the_nth() {
    let days = |cron: &str, count| -> Vec<String> {
        ticks(cron, "UTC", "2026-01-01T00:00Z", count).iter().map(|tick| tick[..10].to_owned()).collect()
    };
    assert_eq!(days("0 9 L * *", 2), ["2026-01-31", "2026-02-28"]);
    assert_eq!(days("0 9 lw * ?", 2), ["2026-01-30", "2026-02-27"]);
    assert_eq!(days("0 9 1W 2,8 *", 2), ["2026-02-02", "2026-08-03"]);
    assert_eq!(days("0 9 31W * *", 3), ["2026-01-30", "2026-03-31", "2026-05-29"]);
    assert_eq!(days("0 9 ? * FRI#2", 2), ["2026-01-09", "2026-02-13"]);
    assert_eq!(days("0 9 * feb mon#5", 2), ["2044-02-29", "2072-02-29"]);
    assert_eq!(days("0 9 * * 5L", 2), ["2026-01-30", "2026-02-27"]);
    assert_eq!(days("0 9 * * SUNL,7#1", 3), ["2026-01-04", "2026-01-25", "2026-02-01"]);
    assert_eq!(days("0 9 * * SAT-SUN", 3), ["2026-01-03", "2026-01-04", "2026-01-10"]);
    // Either field of days is enough.
    assert_eq!(days("0 9 13 * FRI", 3), ["2026-01-02", "2026-01-09", "2026-01-13"]);
}

#[test]
fn what_is_wrong_with_a_field_is_said_with_its_place() {
    refuses(
        "0 9 * * MOM-FRI",
        "field 5 (day of week) is `MOM-FRI`: `MOM` is not a day from 0 to 7 or `SUN` to `SAT`, or such as `FRIL` or `FRI#2`; did you mean `MON`?",
    );
    refuses(
        "0 9 * * Monday",
        "field 5 (day of week) is `Monday`: `Monday` is not a day from 0 to 7 or `SUN` to `SAT`, or such as `FRIL` or `FRI#2`; did you mean `MON`?",
    );
    refuses(
        "0 0 9 1 JNA *",
        "field 5 (month) is `JNA`: `JNA` is not a month from 1 to 12 or `JAN` to `DEC`; did you mean `JAN`?",
    );
    refuses("60 9 * * *", "field 1 (minute) is `60`: `60` is not within 0 to 59; did you mean `0`?");
    refuses("0 24 * * *", "field 2 (hour) is `24`: `24` is not within 0 to 23; did you mean `0`?");
    refuses("0 0 32 * *", "field 3 (day of month) is `32`: `32` is not within 1 to 31; did you mean `L`?");
    refuses("0 0 * 0 *", "field 4 (month) is `0`: `0` is not within 1 to 12; did you mean `1`?");
    refuses("0 0 * * 1000", "field 5 (day of week) is `1000`: `1000` is not within 0 to 7; did you mean `7`?");
    refuses("0 MON * * *", "field 2 (hour) is `MON`: `MON` is not a number from 0 to 23");
    refuses("? 1 * * *", "field 1 (minute) is `?`: `?` is not a number from 0 to 59; did you mean `*`?");
    refuses("1,,2 9 * * *", "field 1 (minute) is `1,,2`: a part of the list is empty");
    refuses("*/90 9 * * *", "field 1 (minute) is `*/90`: `90` is not within 1 to 59");
    refuses("*/ 9 * * *", "field 1 (minute) is `*/`: `*/` is not a number from 0 to 59");
    refuses(
        "5/10 9 * * *",
        "field 1 (minute) is `5/10`: the step of `5/10` has no range to go through; did you mean `5-59/10`?",
    );
    refuses(
        "0 22-2 * * *",
        "field 2 (hour) is `22-2`: the range `22-2` ends before it begins; did you mean `22-23,0-2`?",
    );
    refuses(
        "0 2 * * FRI-MON",
        "field 5 (day of week) is `FRI-MON`: the range `FRI-MON` ends before it begins; did you mean `FRI-SAT,SUN-MON`?",
    );
    refuses("0 2 * * FRI#6", "field 5 (day of week) is `FRI#6`: `6` is not within 1 to 5");
}

#[test]
fn what_is_wrong_with_an_expression_is_said_with_an_example() {
    refuses(
        "0 9 * *",
        "the expression has 4 fields, not five (minute, hour, day of month, month, day of week) or six (seconds in front): `0 9 * * MON-FRI` is nine o'clock on workdays",
    );
    refuses(
        "",
        "the expression has 0 fields, not five (minute, hour, day of month, month, day of week) or six (seconds in front): `0 9 * * MON-FRI` is nine o'clock on workdays",
    );
    refuses(
        "@hourl",
        "`@hourl` is none of the nicknames @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly; did you mean `@hourly`?",
    );
    refuses("0 0 30 2 *", "`0 0 30 2 *` never fires: no month it names has such a day");
    refuses(&"1,".repeat(200), "the expression has 400 bytes, not 1 to 256");
}

#[test]
fn a_time_zone_that_is_none_has_a_neighbour() {
    let nearest = |zone: &str| match Cron::parse("@daily", zone) {
        Err(CronError::TimeZone { nearest, .. }) => nearest,
        other => panic!("{zone}: {other:?}"),
    };
    for (zone, expected) in [
        ("Europe/Berln", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("UCT+", "UCT"),
    ] {
        assert_eq!(nearest(zone).as_deref(), Some(expected), "{zone}");
    }
    for zone in ["", "Mars/Olympus_Mons", "Etc/Unknown", "../../etc/passwd", "/etc/localtime"] {
        assert_eq!(nearest(zone), None, "{zone}");
    }
    assert_eq!(
        error("@daily", "Europe/Berln"),
        "the IANA database, with names such as `Europe/Berlin` or `UTC`, has no time zone `Europe/Berln`; did you mean \
         `Europe/Berlin`?"
    );
}
