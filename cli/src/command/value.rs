//! How the values of flags are read: each kind in one place, refused with what is allowed.

use crate::output::human;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use jobraft_protocol::limits::{CANCEL_GRACE_MS_MAX, DELAY_MS_MAX, RETENTION_MS_MAX, RUN_TIMEOUT_MS_MAX};
use jobraft_protocol::{JobState, LogTime, Retention};
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

/// The state of a job, by its name.
pub(super) fn state() -> impl TypedValueParser<Value = JobState> {
    PossibleValuesParser::new(JobState::ALL.map(JobState::as_str)).try_map(|name| {
        let state = JobState::ALL.into_iter().find(|state| state.as_str() == name);
        state.ok_or_else(|| format!("{name:?} is no state"))
    })
}

/// A number, or `default`.
pub(super) fn count_or_default(text: &str) -> Result<OrDefault<u64>, String> {
    let number = |text: &str| u64::from_str(text).map_err(|_| format!("{text:?} is not a number, such as 1000"));
    or_default(text, number)
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
    fn default_gives_a_setting_back() {
        assert_eq!(count_or_default("default").unwrap(), OrDefault(None));
        assert_eq!(count_or_default("7").unwrap(), OrDefault(Some(7)));
        assert_eq!(size_or_default("1MiB").unwrap(), OrDefault(Some(1 << 20)));
        assert!(count_or_default("lots").unwrap_err().contains("`default`"));
        assert!(size_or_default("lots").unwrap_err().contains("256MiB"));
    }
}
