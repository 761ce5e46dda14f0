//! Log time as the leader stamps it.
//!
//! Log time never goes back, so a leader whose wall clock is behind what the log has seen cannot use it. It must not stand
//! still either, or no lease would end and no delayed job begin until the clock has caught up: log time then goes on at
//! the speed of this machine's monotonic clock.

use jobraft_protocol::LogTime;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells log time. One for each node.
#[derive(Debug)]
pub(crate) struct LogClock {
    /// The last time told, and when.
    last: Mutex<(LogTime, Instant)>,
}

impl LogClock {
    pub(crate) fn new() -> Self {
        Self { last: Mutex::new((LogTime::ZERO, Instant::now())) }
    }

    /// Log time now, where the log has seen `applied`: never before that, nor before what was told earlier.
    pub(crate) fn now(&self, applied: LogTime) -> LogTime {
        self.at(applied, wall_clock(), Instant::now())
    }

    fn at(&self, applied: LogTime, wall: LogTime, instant: Instant) -> LogTime {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (told, when) = *last;
        let elapsed = instant.saturating_duration_since(when);
        let gone_on = told.plus_ms(ms(elapsed));
        let now = gone_on.max(wall).max(applied);
        // What is less than a millisecond must not be lost by asking often.
        let since = if now == gone_on { when + Duration::from_millis(ms(elapsed)) } else { instant };
        *last = (now, since);
        now
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn wall_clock() -> LogTime {
    LogTime::from_ms(ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn log_time_goes_on_though_the_wall_clock_fell_behind() {
        let clock = LogClock::new();
        let start = Instant::now();
        let (ahead, wall) = (LogTime::from_ms(2 * HOUR_MS), LogTime::from_ms(HOUR_MS));
        assert_eq!(clock.at(ahead, wall, start), ahead);
        assert_eq!(clock.at(ahead, wall, start + Duration::from_millis(700)), ahead.plus_ms(700));
        assert_eq!(clock.at(ahead, wall, start + Duration::from_millis(1_900)), ahead.plus_ms(1_900));
    }

    #[test]
    fn asking_often_loses_no_time() {
        let clock = LogClock::new();
        let (start, ahead) = (Instant::now(), LogTime::from_ms(HOUR_MS));
        clock.at(ahead, LogTime::ZERO, start);
        let mut told = ahead;
        for step in 1..=10_000 {
            told = clock.at(ahead, LogTime::ZERO, start + Duration::from_micros(step * 300));
        }
        assert_eq!(told, ahead.plus_ms(3_000));
    }

    #[test]
    fn log_time_never_goes_back() {
        let clock = LogClock::new();
        let start = Instant::now();
        assert_eq!(clock.at(LogTime::ZERO, LogTime::from_ms(HOUR_MS), start), LogTime::from_ms(HOUR_MS));
        assert!(clock.at(LogTime::ZERO, LogTime::from_ms(5), start) >= LogTime::from_ms(HOUR_MS));
    }

    #[test]
    fn the_wall_clock_leads_while_it_can() {
        let clock = LogClock::new();
        let start = Instant::now();
        clock.at(LogTime::ZERO, LogTime::from_ms(HOUR_MS), start);
        let later = LogTime::from_ms(HOUR_MS + 50);
        assert_eq!(clock.at(LogTime::ZERO, later, start + Duration::from_millis(10)), later);
    }
}
