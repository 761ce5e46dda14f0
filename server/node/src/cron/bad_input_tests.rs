//! Any text and any time: an error or a tick, never a panic, and not for long.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// For a build without optimization, beside others: a search is some hundred times faster than this.
const SEARCH_MAX: Duration = Duration::from_secs(2);
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Monrovia",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "Pacific/Apia",
];

fn text() -> impl Strategy<Value = String> {
    let field = "[0-9]{1,2}|[0-9*/,?LW#-]{1,6}|\\*/[0-9]{1,2}|[0-9]{1,2}-[0-9]{1,2}(/[0-9])?|[A-Z]{3}(L|#[0-9])?|\\*";
    let fields = proptest::collection::vec(field, 5..=6).prop_map(|fields| fields.join(" "));
    prop_oneof![6 => fields, 1 => ".{0,40}", 1 => "@[a-z]{0,9}", 1 => "[0-9*/, LW#A-Za-z?-]{0,300}"]
}

/// All of log time, and more often the years in which there are ticks.
fn time() -> impl Strategy<Value = LogTime> {
    prop_oneof![1 => any::<u64>(), 8 => 0..4_200_000_000_000_u64].prop_map(LogTime::from_ms)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_an_expression_or_an_error_of_one_line(text in text(), zone in "[A-Za-z/_]{0,20}", after in time()) {
        match Cron::parse(&text, "Europe/Berlin") {
            Ok(cron) => prop_assert!(cron.next_after(after).is_none_or(|next| next > after)),
            Err(error) => prop_assert!(!error.to_string().contains(char::is_control)),
        }
        if let Err(error) = Cron::parse("@daily", &zone) {
            prop_assert!(!error.to_string().contains(char::is_control));
        }
    }

    #[test]
    fn a_tick_is_found_or_given_up_soon(
        fields in (0..60_u8, 0..24_u8, 1..32_u8, 1..13_u8, 0..7_u8, 1..6_u8), form in 0..6_usize,
        zone in proptest::sample::select(&ZONES), after in time(),
    ) {
        let (minute, hour, day, month, weekday, week) = fields;
        let expression = match form {
            0 => format!("{minute} {hour} {day} {month} ?"),
            1 => format!("* {hour} ? {month} {weekday}#{week}"),
            2 => format!("* * * {day}W {month} ?"),
            3 => format!("{minute} 0-3 L {month} {weekday}L"),
            4 => format!("0-58 0-58 {hour} * * *"),
            _ => format!("{minute} {hour} 29 2 ?"),
        };
        let start = Instant::now();
        if let Ok(cron) = Cron::parse(&expression, zone) {
            prop_assert!(cron.next_after(after).is_none_or(|next| next > after));
        }
        prop_assert!(start.elapsed() < SEARCH_MAX, "{expression} in {zone} after {after}: {:?}", start.elapsed());
    }

    /// The tick after an earlier time is never a later one.
    #[test]
    fn ticks_do_not_depend_on_where_the_search_began(
        hours in "0|2|\\*|0-3|\\*/2", minutes in "0|30|\\*/20|15,45", zone in proptest::sample::select(&ZONES),
        after in 0..4_100_000_000_000_u64, earlier in 0..200_000_000_u64,
    ) {
        let cron = Cron::parse(&format!("{minutes} {hours} * * *"), zone).unwrap();
        let after = LogTime::from_ms(after);
        let next = cron.next_after(after);
        let mut tick = cron.next_after(LogTime::from_ms(after.as_ms().saturating_sub(earlier)));
        while let Some(at) = tick.filter(|&at| at <= after) {
            tick = cron.next_after(at);
        }
        prop_assert_eq!(tick, next);
    }
}
