//! Sizes, times and ids as people say them.

use jobraft_protocol::limits::BACKOFF_MS_MAX;
use jobraft_protocol::{Backoff, BackoffCurve, Digest, JobState, LogTime, Rate, Task, Unique, UniqueScope};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Paint;
use super::table::Mood;

/// Digits of a digest that are shown where the whole would be too long; enough to tell modules apart.
const DIGEST_DIGITS: usize = 12;

/// A size in bytes: `512 B`, `1.5 KiB`, `3.0 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A duration, to about two digits: `340 µs`, `12 ms`, `1.4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn duration(duration: Duration) -> String {
    let (micros, millis, seconds) = (duration.as_micros(), duration.as_millis(), duration.as_secs());
    let two = |large: u64, large_unit, small: u64, small_unit| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0 if micros < 1_000 => format!("{micros} µs"),
        0 => format!("{millis} ms"),
        1..10 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// The machine's clock, only ever used to say how long ago something was.
pub(crate) fn now() -> LogTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LogTime::from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A time as seen from `now`: `3 s ago`, `in 5 min`.
pub(crate) fn relative(time: LogTime, now: LogTime) -> String {
    let apart = |ms| duration(Duration::from_millis(ms));
    match (time.ms_since(now), now.ms_since(time)) {
        (0, past) if past < 1_000 => "now".to_owned(),
        (0, past) => format!("{} ago", apart(past)),
        (future, _) => format!("in {}", apart(future)),
    }
}

/// A time in UTC: `2026-01-31T12:00:00.250Z`; a time that no calendar holds as milliseconds.
pub(crate) fn timestamp(time: LogTime) -> String {
    // What humantime can print ends with the year 9999.
    const LAST_MS: u64 = 253_402_300_799_999;
    if time.as_ms() > LAST_MS {
        return format!("{} ms", time.as_ms());
    }
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(time.as_ms())).to_string()
}

/// The beginning of a digest.
pub(crate) fn short_digest(digest: Digest) -> String {
    let mut text = digest.to_string();
    text.truncate(DIGEST_DIGITS);
    text
}

/// A count as a cell; none of them is nothing to look at.
pub(crate) fn tally(count: u64, mood: Mood) -> (String, Mood) {
    (count.to_string(), if count == 0 { Mood::Plain } else { mood })
}

/// How a state looks.
pub(crate) fn mood(state: JobState) -> Mood {
    match state {
        JobState::Completed => Mood::Good,
        JobState::Dead | JobState::Expired => Mood::Bad,
        JobState::Leased | JobState::Cancelled => Mood::Busy,
        _ => Mood::Plain,
    }
}

/// A state in its color.
pub(crate) fn painted(paint: Paint, state: JobState) -> String {
    match mood(state) {
        Mood::Good => paint.good(state),
        Mood::Bad => paint.bad(state),
        _ => state.to_string(),
    }
}

/// The beginning of bytes as text that a terminal can show: other control characters are replaced.
pub(crate) fn excerpt(bytes: &[u8], bytes_max: usize) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(bytes_max)]);
    let shown: String = text
        .trim_end()
        .chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if bytes.len() > bytes_max { format!("{shown}…") } else { shown }
}

/// A duration as flags take it.
fn span(ms: u64) -> String {
    humantime::format_duration(Duration::from_millis(ms)).to_string().replace(' ', "")
}

/// How many in how much time, as `--rate` takes it.
pub(crate) fn rate(rate: &Rate) -> String {
    let burst = rate.burst.map(|burst| format!(",burst={burst}")).unwrap_or_default();
    format!("{}/{}{burst}", rate.count, span(rate.per_ms))
}

/// What is run: a handler's name, or the beginning of a module's digest.
pub(crate) fn task(task: &Task) -> String {
    match task {
        Task::Module(digest) => format!("sha256:{}", short_digest(*digest)),
        Task::Handler(name) => name.to_string(),
    }
}

/// A retry policy, as `--backoff` takes it.
pub(crate) fn backoff(backoff: &Backoff) -> String {
    let mut text = match &backoff.curve {
        BackoffCurve::Standard => "standard".to_owned(),
        BackoffCurve::Exponential { first_ms, factor } => format!("exponential:{},factor={factor}", span(*first_ms)),
        BackoffCurve::Linear { step_ms } => format!("linear:{}", span(*step_ms)),
        BackoffCurve::Fixed { delay_ms } => format!("fixed:{}", span(*delay_ms)),
        BackoffCurve::List { delays_ms } => {
            let delays: Vec<String> = delays_ms.iter().map(|ms| span(*ms)).collect();
            format!("list:{}", delays.join(","))
        }
    };
    if backoff.max_ms != BACKOFF_MS_MAX {
        text.push_str(&format!(",max={}", span(backoff.max_ms)));
    }
    if backoff.jitter_percent > 0 {
        text.push_str(&format!(",jitter={}%", backoff.jitter_percent));
    }
    text
}

/// A claim to a key.
pub(crate) fn unique(unique: &Unique) -> String {
    let scope = match unique.scope {
        UniqueScope::Waiting => "while it waits".to_owned(),
        UniqueScope::UntilStarted => "until it has started".to_owned(),
        UniqueScope::UntilDone => "until it is done".to_owned(),
        UniqueScope::ForMs(ms) => format!("for {}", duration(Duration::from_millis(ms))),
    };
    format!("{} ({scope})", unique.key)
}

/// The beginning of a text on one line, without what would steer a terminal.
pub(crate) fn one_line(text: &str, chars_max: usize) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line: String = words.chars().take(chars_max).map(shown).collect();
    if words.chars().nth(chars_max).is_some() {
        line.push('…');
    }
    line
}

/// `1 job`, `2 jobs`.
pub(crate) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A size as people write it: a number of bytes, or one with `KiB`, `MiB`, `GiB` or `TiB`; `K`, `M`, `G` and `T` mean the same.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let malformed = || format!("{text:?} is not a size, such as 256MiB");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim();
    let factor = match text.trim_start_matches(|c: char| c.is_ascii_digit()).trim() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        _ => return Err(malformed()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(malformed)
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_protocol::{JobId, JobView, NewJob, OnFailure, Withheld};

    /// A job that waits for its first attempt.
    pub(in crate::output) fn sample_job() -> JobView {
        let id = JobId::new(LogTime::from_ms(1_769_860_800_250), [7; 10]);
        let new = NewJob::new(id, "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "in");
        JobView {
            id,
            queue: new.queue,
            task: new.task,
            payload: new.payload,
            state: JobState::Ready,
            priority: 5,
            attempt: 0,
            max_attempts: 25,
            run_timeout_ms: 600_000,
            enqueued_at: LogTime::from_ms(1_769_860_800_250),
            run_at: LogTime::from_ms(1_769_860_800_250),
            finished_at: None,
            lease: None,
            result: Vec::new().into(),
            log: Vec::new().into(),
            errors: Vec::new(),
            cancelled_by: None,
            cancel_reason: None,
            end_reason: None,
            ttl_ends_at: None,
            start_by: None,
            backoff: None,
            max_crashes: 3,
            crashed_at: Vec::new(),
            unique: None,
            progress: None,
            checkpoint_bytes: 0,
            cancel: None,
            group: None,
            after: Vec::new(),
            on_failure: OnFailure::Wait,
            batch: None,
            is_callback: false,
            label: None,
            tick: None,
            withheld: Withheld::Nothing,
        }
    }

    #[test]
    fn sizes_are_short() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (50 << 20, "50.0 MiB"),
            (u64::MAX, "1677721.5 TiB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn durations_have_two_parts_at_most() {
        for (ms, text) in [
            (0, "0 µs"),
            (12, "12 ms"),
            (1_450, "1.4 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn times_are_told_from_now() {
        let now = LogTime::from_ms(100_000);
        assert_eq!(relative(LogTime::from_ms(97_000), now), "3.0 s ago");
        assert_eq!(relative(LogTime::from_ms(400_000), now), "in 5 min");
        assert_eq!(relative(now, now), "now");
    }

    #[test]
    fn any_time_can_be_printed() {
        assert_eq!(timestamp(LogTime::from_ms(1_769_860_800_250)), "2026-01-31T12:00:00.250Z");
        assert_eq!(timestamp(LogTime::from_ms(u64::MAX)), format!("{} ms", u64::MAX));
    }

    #[test]
    fn excerpt_cannot_steer_the_terminal() {
        assert_eq!(excerpt(b"a\x1b[31mb\n", 100), "a\u{fffd}[31mb");
        assert_eq!(excerpt("hé".as_bytes(), 2), "h\u{fffd}…");
    }

    #[test]
    fn backoff_is_told_as_it_is_given() {
        for text in [
            "standard",
            "exponential:1s,factor=3,max=1h,jitter=10%",
            "linear:30s",
            "fixed:0s,max=5m",
            "list:1s,1m30s,jitter=5%",
        ] {
            assert_eq!(backoff(&jobraft_sdk::parse_backoff(text).unwrap()), text);
        }
    }

    #[test]
    fn rate_is_told_as_it_is_given() {
        assert_eq!(rate(&Rate::new(100, 60_000)), "100/1m");
        assert_eq!(rate(&Rate { burst: Some(7), ..Rate::new(1, 90_000) }), "1/1m30s,burst=7");
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(one_line(" a\n b\t\u{7}c ", 100), "a b \u{fffd}c");
        assert_eq!(one_line("abcdef", 3), "abc…");
        assert_eq!(one_line("abc", 3), "abc");
    }

    #[test]
    fn sizes_are_read_as_written() {
        assert_eq!(parse_bytes("512").unwrap(), 512);
        assert_eq!(parse_bytes("256MiB").unwrap(), 256 << 20);
        assert_eq!(parse_bytes("1 G").unwrap(), 1 << 30);
        for wrong in ["", "MiB", "1.5MiB", "-1", "1XB", "99999999999G"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong:?}");
        }
    }
}
