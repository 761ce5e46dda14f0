//! Backoff policies as people write them: on a command line, in a file.

use jobraft_protocol::{Backoff, BackoffCurve, limits};
use std::time::Duration;

/// A text that is no backoff policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "backoff {text:?}: {fault}; write it like standard, exponential:1s,factor=2,max=1h,jitter=10%, linear:30s, fixed:1m or list:1s,5s,30s"
)]
pub struct BackoffError {
    text: String,
    fault: String,
}

/// Reads a policy: `standard`, `exponential:FIRST[,factor=N]`, `linear:STEP`, `fixed:DELAY` or `list:DELAY,…`, each with
/// `,max=DURATION` and `,jitter=PERCENT%` where wanted.
///
/// ```
/// use jobraft_sdk::protocol::{Backoff, BackoffCurve};
///
/// let policy = jobraft_sdk::parse_backoff("exponential:1s,max=1h")?;
/// let curve = BackoffCurve::Exponential { first_ms: 1_000, factor: 2 };
/// assert_eq!(policy, Backoff { max_ms: 3_600_000, ..Backoff::new(curve) });
/// # Ok::<(), jobraft_sdk::BackoffError>(())
/// ```
///
/// # Errors
/// A [`BackoffError`] that names the part that is not right.
pub fn parse_backoff(text: &str) -> Result<Backoff, BackoffError> {
    parse(text).map_err(|fault| BackoffError { text: text.to_owned(), fault })
}

fn parse(text: &str) -> Result<Backoff, String> {
    // A policy without values of its own may have options all the same: standard,max=1h.
    let (name, rest) = text.split_once([':', ',']).unwrap_or((text, ""));
    let (mut delays, mut factor, mut max_ms, mut jitter_percent) = (Vec::new(), None, limits::BACKOFF_MS_MAX, 0);
    for part in rest.split(',').filter(|_| !rest.is_empty()) {
        match part.split_once('=') {
            None => delays.push(duration_ms(part)?),
            Some(("factor", value)) => factor = Some(number(value, "factor")?),
            Some(("max", value)) => max_ms = duration_ms(value)?,
            Some(("jitter", value)) => {
                let percent = value.strip_suffix('%').ok_or_else(|| format!("jitter {value:?} is not a percentage"))?;
                jitter_percent = number(percent, "jitter")?;
            }
            Some((option, _)) => return Err(format!("{option:?} is no option; there are factor, max and jitter")),
        }
    }
    let one = |what: &str| match delays[..] {
        [delay] => Ok(delay),
        _ => Err(format!("{name} takes one {what}, not {}", delays.len())),
    };
    let curve = match name {
        "standard" if delays.is_empty() => BackoffCurve::Standard,
        "standard" => return Err("standard takes no delay".to_owned()),
        "exponential" => {
            BackoffCurve::Exponential { first_ms: one("first delay")?, factor: factor.take().unwrap_or(2) }
        }
        "linear" => BackoffCurve::Linear { step_ms: one("step")? },
        "fixed" => BackoffCurve::Fixed { delay_ms: one("delay")? },
        "list" => BackoffCurve::List { delays_ms: delays },
        other => return Err(format!("{other:?} is no curve")),
    };
    if factor.is_some() {
        return Err(format!("{name} takes no factor"));
    }
    let policy = Backoff { curve, max_ms, jitter_percent };
    policy.check()?;
    Ok(policy)
}

fn duration_ms(text: &str) -> Result<u64, String> {
    let duration: Duration =
        humantime::parse_duration(text).map_err(|error| format!("{text:?} is not a duration ({error})"))?;
    u64::try_from(duration.as_millis()).map_err(|_| format!("{text:?} is too long"))
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{what} {text:?} is not a whole number in its range"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn each_curve_is_read_with_its_options() {
        let plain = |curve| Backoff::new(curve);
        let cases = [
            ("standard", plain(BackoffCurve::Standard)),
            ("standard,max=1h", Backoff { max_ms: 3_600_000, ..plain(BackoffCurve::Standard) }),
            ("exponential:1s", plain(BackoffCurve::Exponential { first_ms: 1_000, factor: 2 })),
            (
                "exponential:100ms,factor=3,max=1m,jitter=10%",
                Backoff {
                    max_ms: 60_000,
                    jitter_percent: 10,
                    ..plain(BackoffCurve::Exponential { first_ms: 100, factor: 3 })
                },
            ),
            ("linear:30s", plain(BackoffCurve::Linear { step_ms: 30_000 })),
            ("fixed:0s,jitter=0%", plain(BackoffCurve::Fixed { delay_ms: 0 })),
            ("list:1s,5s,30s", plain(BackoffCurve::List { delays_ms: vec![1_000, 5_000, 30_000] })),
        ];
        for (text, policy) in cases {
            assert_eq!(parse_backoff(text).unwrap(), policy, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "is no curve"),
            ("cubic:1s", "\"cubic\" is no curve"),
            ("fixed", "fixed takes one delay, not 0"),
            ("fixed:1s,2s", "fixed takes one delay, not 2"),
            ("fixed:soon", "\"soon\" is not a duration"),
            ("fixed:1s,factor=2", "fixed takes no factor"),
            ("fixed:1s,speed=2", "\"speed\" is no option"),
            ("linear:0s", "backoff.step_ms 0 is not in 1..="),
            ("exponential:1s,factor=1", "backoff.factor 1 is not in 2..=10"),
            ("exponential:1s,jitter=10", "\"10\" is not a percentage"),
            ("exponential:1s,jitter=101%", "backoff.jitter_percent 101 is not in 0..=100"),
            ("exponential:1s,jitter=999%", "jitter \"999\" is not a whole number"),
            ("list:", "a length of 0 is not in 1..=32"),
            ("fixed:25h", "backoff.delay_ms 90000000 is not in 0..="),
            ("standard:1s", "standard takes no delay"),
            ("standard,jitter=5%", "a jitter of its own"),
        ];
        for (text, fault) in cases {
            let error = parse_backoff(text).unwrap_err().to_string();
            assert!(error.contains(fault), "{text}: {error}");
            assert!(error.contains("exponential:1s,factor=2"), "{error} shows no example");
        }
    }
}
