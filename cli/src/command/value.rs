//! How the values of flags are read: each kind in one place, refused with what is allowed.

use crate::output::human;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jobraft_protocol::limits::{
    CANCEL_GRACE_MS_MAX, DELAY_MS_MAX, RETENTION_MS_MAX, RUN_TIMEOUT_MS_MAX, TOKEN_GRACE_MS_MAX, TOKEN_TTL_MS_MAX,
    TOKEN_TTL_MS_MIN,
};
use jobraft_protocol::{CatchUp, JobState, LogTime, OnFailure, Overlap, Rate, Retention};
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

/// The word that gives a setting back to the cluster.
const DEFAULT: &str = "default";

/// A setting's value, or the wish to have its default again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrDefault<T>(pub(super) Option<T>);

/// A duration: `90s`, `5m`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is not a duration, such as 90s, 5m or 1h 30m ({error})"))
}

fn duration_within(text: &str, shortest: Duration, longest_ms: u64) -> Result<Duration, String> {
    let (value, longest) = (duration(text)?, Duration::from_millis(longest_ms));
    if (shortest..=longest).contains(&value) {
        Ok(value)
    } else {
        let shortest = if shortest.is_zero() { "0 s".to_owned() } else { human::duration(shortest) };
        Err(format!("{text:?} is not in {shortest} to {}", human::duration(longest)))
    }
}

/// How long a job may wait: more than nothing, at most [`DELAY_MS_MAX`].
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_millis(1), DELAY_MS_MAX)
}

/// How long after its enqueue a job is scheduled; at most [`DELAY_MS_MAX`].
pub(super) fn delay(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO, DELAY_MS_MAX)
}

/// How long one attempt may run: more than nothing, at most [`RUN_TIMEOUT_MS_MAX`].
pub(super) fn run_time(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_millis(1), RUN_TIMEOUT_MS_MAX)
}

/// How long a running job has to follow a cancellation; at most [`CANCEL_GRACE_MS_MAX`].
pub(super) fn grace(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO, CANCEL_GRACE_MS_MAX)
}

/// How long a token's secret counts; none: until it is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime(pub(super) Option<Duration>);

/// How long a token's secret counts: `never` to end, or from [`TOKEN_TTL_MS_MIN`] to [`TOKEN_TTL_MS_MAX`].
pub(super) fn lifetime(text: &str) -> Result<Lifetime, String> {
    let within = || duration_within(text, Duration::from_millis(TOKEN_TTL_MS_MIN), TOKEN_TTL_MS_MAX);
    if text == "never" { Ok(Lifetime(None)) } else { Ok(Lifetime(Some(within()?))) }
}

/// How long a token's former secret counts; at most [`TOKEN_GRACE_MS_MAX`].
pub(super) fn rotation_grace(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::ZERO, TOKEN_GRACE_MS_MAX)
}

/// A duration in milliseconds. More than fits is more than any limit: the cluster refuses it by name.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A time in UTC at which a job can be scheduled, at most [`DELAY_MS_MAX`] ahead: `2026-01-31T12:00:00Z`. It is the
/// cluster that knows exactly what time it is; this machine's clock is good enough to name the flag that is wrong.
pub(super) fn time(text: &str) -> Result<LogTime, String> {
    let malformed = |why: &str| format!("{text:?} is not a time in UTC, such as 2026-01-31T12:00:00Z{why}");
    let time = humantime::parse_rfc3339(text).map_err(|error| malformed(&format!(" ({error})")))?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| malformed(": it is before 1970"))?;
    let time = LogTime::from_ms(milliseconds(since));
    if time.ms_since(human::now()) > DELAY_MS_MAX {
        let longest = human::duration(Duration::from_millis(DELAY_MS_MAX));
        return Err(format!("{text:?} is more than {longest} ahead"));
    }
    Ok(time)
}

/// As late as can be: for checking what is reckoned back from now before now is known.
pub(super) fn far_future() -> LogTime {
    LogTime::from_ms(u64::MAX)
}

/// One of a few, by its name.
fn named<T: Clone + Send + Sync + 'static, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.clone().map(name)).try_map(move |text| {
        let value = all.iter().find(|value| name((*value).clone()) == text).cloned();
        value.ok_or_else(|| format!("{text:?} is unknown"))
    })
}

/// The state of a job, by its name.
pub(super) fn state() -> impl TypedValueParser<Value = JobState> {
    named(JobState::ALL, JobState::as_str)
}

/// What becomes of a job if one that it waits for fails, by its name.
pub(super) fn on_failure() -> impl TypedValueParser<Value = OnFailure> {
    named(OnFailure::ALL, OnFailure::as_str)
}

/// What becomes of late ticks, by its name.
pub(super) fn catch_up() -> impl TypedValueParser<Value = CatchUp> {
    named(CatchUp::ALL, CatchUp::as_str)
}

/// What becomes of a tick while the job before lives, by its name.
pub(super) fn overlap() -> impl TypedValueParser<Value = Overlap> {
    named(Overlap::ALL, Overlap::as_str)
}

/// A number, or `default`.
pub(super) fn count_or_default(text: &str) -> Result<OrDefault<u64>, String> {
    let number = |text: &str| u64::from_str(text).map_err(|_| format!("{text:?} is not a number, such as 1000"));
    or_default(text, number)
}

/// A group's share, or `default`.
pub(super) fn weight_or_default(text: &str) -> Result<OrDefault<u32>, String> {
    let number = |text: &str| u32::from_str(text).map_err(|_| format!("{text:?} is not a weight, such as 3"));
    or_default(text, number)
}

/// How many attempts may begin in how much time, or `default`.
pub(super) fn rate_or_default(text: &str) -> Result<OrDefault<Rate>, String> {
    or_default(text, rate)
}

/// How many attempts may begin in how much time: `100/1m`, or `100/1m,burst=20`.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let malformed = |why: &str| format!("{text:?} is not a rate, such as 100/1m or 100/1m,burst=20{why}");
    let (main, burst) = match text.split_once(',') {
        Some((main, burst)) => (main, Some(burst.trim())),
        None => (text, None),
    };
    let (count, period) = main.split_once('/').ok_or_else(|| malformed(""))?;
    let number =
        |digits: &str| u64::from_str(digits.trim()).map_err(|_| malformed(&format!(" ({digits:?} is no number)")));
    let burst = burst.map(|burst| burst.strip_prefix("burst=").ok_or_else(|| malformed("")).and_then(number));
    let period = duration(period.trim()).map_err(|error| malformed(&format!(" ({error})")))?;
    let rate = Rate { count: number(count)?, per_ms: milliseconds(period), burst: burst.transpose()? };
    rate.check().map(|()| rate).map_err(|error| malformed(&format!(": {error}")))
}

/// A size, or `default`.
pub(super) fn size_or_default(text: &str) -> Result<OrDefault<u64>, String> {
    or_default(text, human::parse_bytes)
}

/// How long to keep jobs, or `default`.
pub(super) fn retention_or_default(text: &str) -> Result<OrDefault<Retention>, String> {
    or_default(text, retention)
}

fn or_default<T>(text: &str, value: impl FnOnce(&str) -> Result<T, String>) -> Result<OrDefault<T>, String> {
    if text == DEFAULT {
        return Ok(OrDefault(None));
    }
    value(text).map(|value| OrDefault(Some(value))).map_err(|error| format!("{error}, or `{DEFAULT}`"))
}

/// How long to keep jobs: an age, and perhaps how many: `24h`, `24h,1000`.
pub(super) fn retention(text: &str) -> Result<Retention, String> {
    let (age, count) = match text.split_once(',') {
        Some((age, count)) => (age, Some(count.trim())),
        None => (text, None),
    };
    let age = duration_within(age.trim(), Duration::ZERO, RETENTION_MS_MAX)
        .map_err(|error| format!("{error}; how long to keep jobs is written 24h, or 24h,1000 for 1000 at most"))?;
    let count = count.map(|count| {
        u64::from_str(count).map_err(|_| format!("{count:?} is not a number of jobs to keep, such as 1000"))
    });
    Ok(Retention { age_ms: milliseconds(age), count: count.transpose()? })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn durations_say_what_is_allowed() {
        assert_eq!(duration("1h 30m").unwrap(), Duration::from_secs(5_400));
        assert!(duration("soon").unwrap_err().contains("\"soon\""));
        assert!(duration("soon").unwrap_err().contains("90s"));
        assert_eq!(wait("1ms").unwrap(), Duration::from_millis(1));
        assert!(wait("0s").is_err() && wait("400days").unwrap_err().contains("366 d"));
        assert_eq!(delay("0s").unwrap(), Duration::ZERO);
        assert!(delay("366days").is_ok() && delay("367days").unwrap_err().contains("0 s to 366 d"));
        assert!(run_time("12h").is_ok() && run_time("12h 1ms").unwrap_err().contains("1 ms to 12 h"));
        assert!(run_time("0s").is_err());
        assert_eq!(grace("0s").unwrap(), Duration::ZERO);
        assert!(grace("61m").unwrap_err().contains("1 h"));
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time("1970-01-01T00:00:01Z").unwrap(), LogTime::from_ms(1_000));
        for wrong in ["tomorrow", "2026-01-31", "2026-13-01T00:00:00Z"] {
            let error = time(wrong).unwrap_err();
            assert!(error.contains(wrong) && error.contains("2026-01-31T12:00:00Z"), "{error}");
        }
        assert!(time("9998-01-01T00:00:00Z").unwrap_err().contains("more than 366 d ahead"));
    }

    #[test]
    fn retention_is_an_age_and_perhaps_a_count() {
        assert_eq!(retention("1h").unwrap(), Retention::for_ms(3_600_000));
        assert_eq!(retention("1h,5").unwrap(), Retention { age_ms: 3_600_000, count: Some(5) });
        assert_eq!(retention("0s, 0").unwrap(), Retention { age_ms: 0, count: Some(0) });
        for wrong in ["", "5", "1h,", "1h,many", "20years", "1h,-1"] {
            assert!(retention(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rates_are_a_count_a_period_and_perhaps_a_burst() {
        assert_eq!(rate("100/1m").unwrap(), Rate::new(100, 60_000));
        assert_eq!(rate("5/1m 30s, burst=2").unwrap(), Rate { burst: Some(2), ..Rate::new(5, 90_000) });
        for (wrong, why) in [
            ("", "100/1m"),
            ("100", "100/1m"),
            ("/1m", "is no number"),
            ("many/1m", "\"many\" is no number"),
            ("100/s", "not a duration"),
            ("100/1m,20", "burst=20"),
            ("100/1m,burst=x", "\"x\" is no number"),
            ("0/1m", "a rate's count 0 is not in 1..=1000000"),
            ("1/0s", "a rate's period in ms 0 is not in 1..=86400000"),
            ("1/25h", "a rate's period in ms 90000000"),
            ("1/1s,burst=0", "a rate's burst 0 is not in"),
        ] {
            let error = rate(wrong).unwrap_err();
            assert!(error.contains(&format!("{wrong:?}")) && error.contains(why), "{error}");
        }
        assert_eq!(rate_or_default("default").unwrap(), OrDefault(None));
        assert_eq!(weight_or_default("3").unwrap(), OrDefault(Some(3)));
        assert!(weight_or_default("-1").unwrap_err().contains("`default`"));
    }

    #[test]
    fn default_gives_a_setting_back() {
        assert_eq!(count_or_default("default").unwrap(), OrDefault(None));
        assert_eq!(count_or_default("7").unwrap(), OrDefault(Some(7)));
        assert_eq!(size_or_default("1MiB").unwrap(), OrDefault(Some(1 << 20)));
        assert!(count_or_default("lots").unwrap_err().contains("`default`"));
        assert!(size_or_default("lots").unwrap_err().contains("256MiB"));
    }
}
