//! Which request comes next, how many jobs it carries, and when it is meant to be sent. No clock, no I/O.
//!
//! In a closed loop a request is meant to be sent when somebody is free to send it. In an open loop (`--rate`) each has its
//! time from the beginning on, whatever the cluster does, and latency counts from there: a cluster that stalls does not get
//! fewer requests to be slow at ("coordinated omission").

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How long a measurement goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Over(Duration),
    Jobs(u64),
}

/// The requests of one measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) batch: u32,
    /// Jobs a second; absent: a closed loop.
    pub(super) rate: Option<f64>,
    pub(super) until: Until,
}

/// A request to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The number of its first job.
    pub(super) first: u64,
    pub(super) jobs: u32,
    /// When it was to be sent, since the start.
    pub(super) due: Duration,
}

impl Schedule {
    /// When the request of this number, from 0, is to be sent in an open loop.
    pub(super) fn due(&self, request: u64) -> Option<Duration> {
        let rate = self.rate?;
        #[expect(clippy::cast_precision_loss, reason = "2^53 requests take longer than anybody waits")]
        let seconds = request as f64 * f64::from(self.batch) / rate;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// How many requests of an open loop were to be sent by then.
    pub(super) fn due_by(&self, now: Duration) -> u64 {
        let Some(rate) = self.rate else { return 0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is positive, and saturates")]
        let begun = (now.as_secs_f64() * rate / f64::from(self.batch)) as u64;
        // The first one at the start.
        begun + 1
    }

    /// When nothing more is to be sent in an open loop.
    pub(super) fn end(&self) -> Option<Duration> {
        let rate = self.rate?;
        let length = match self.until {
            Until::Over(length) => length,
            #[expect(clippy::cast_precision_loss, reason = "it does not go on that long")]
            Until::Jobs(jobs) => Duration::try_from_secs_f64((jobs + u64::from(self.batch)) as f64 / rate).ok()?,
        };
        Some(length)
    }

    /// How far the measurement has come, 0 to 1.
    pub(super) fn part_done(&self, now: Duration, enqueued: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a progress bar")]
        let part = match self.until {
            Until::Over(length) => now.as_secs_f64() / length.as_secs_f64(),
            Until::Jobs(jobs) => enqueued as f64 / jobs as f64,
        };
        part.clamp(0.0, 1.0)
    }
}

/// Gives out the requests of a schedule, each once.
#[derive(Debug)]
pub(super) struct Tickets {
    schedule: Schedule,
    requests: AtomicU64,
    jobs: AtomicU64,
}

impl Tickets {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self { schedule, requests: AtomicU64::new(0), jobs: AtomicU64::new(0) }
    }

    /// The next request, asked for at `now`; nothing once the measurement is over.
    pub(super) fn next(&self, now: Duration) -> Option<Ticket> {
        let request = self.requests.fetch_add(1, Relaxed);
        let due = self.schedule.due(request).unwrap_or(now);
        let jobs_max = match self.schedule.until {
            Until::Over(length) if due >= length => return None,
            Until::Over(_) => u64::MAX,
            Until::Jobs(count) => count,
        };
        let more = |jobs: u64| jobs_max.min(jobs + u64::from(self.schedule.batch));
        let take = |jobs: u64| (jobs < jobs_max).then(|| more(jobs));
        let first = self.jobs.fetch_update(Relaxed, Relaxed, take).ok()?;
        let jobs = u32::try_from(more(first) - first).expect("at most a batch");
        Some(Ticket { first, jobs, due })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const CLOSED: Schedule = Schedule { batch: 10, rate: None, until: Until::Over(Duration::from_secs(1)) };

    fn all(schedule: Schedule, now: Duration) -> Vec<Ticket> {
        let tickets = Tickets::new(schedule);
        std::iter::from_fn(|| tickets.next(now)).collect()
    }

    #[test]
    fn an_open_loop_has_each_request_at_its_time_whatever_the_time_is() {
        let schedule = Schedule { rate: Some(1_000.0), ..CLOSED };
        for now in [Duration::ZERO, Duration::from_secs(9)] {
            let tickets = all(schedule, now);
            assert_eq!(tickets.len(), 100);
            assert_eq!(tickets[7].due, Duration::from_millis(70));
            assert_eq!((tickets[50].first, tickets[50].jobs), (500, 10));
        }
    }

    #[test]
    fn as_many_requests_are_let_go_as_are_due() {
        let schedule = Schedule { rate: Some(1_000.0), ..CLOSED };
        for (millis, due) in [(0, 1), (9, 1), (10, 2), (999, 100), (1_000, 101)] {
            assert_eq!(schedule.due_by(Duration::from_millis(millis)), due, "{millis} ms");
        }
        assert_eq!(schedule.end(), Some(Duration::from_secs(1)));
        let counted = Schedule { until: Until::Jobs(25), ..schedule };
        let end = counted.end().unwrap();
        assert!(all(counted, Duration::ZERO).iter().all(|ticket| ticket.due <= end), "{end:?}");
        assert_eq!(CLOSED.end(), None);
    }

    #[test]
    fn requests_of_a_slow_rate_do_not_drift() {
        let schedule = Schedule { batch: 1, rate: Some(3.0), ..CLOSED };
        assert_eq!(schedule.due(3).unwrap(), Duration::from_secs(1));
        assert_eq!(schedule.due(3_000_000_000).unwrap(), Duration::from_secs(1_000_000_000));
        assert_eq!(CLOSED.due(1), None);
    }

    #[test]
    fn a_count_is_met_exactly() {
        let tickets = all(Schedule { until: Until::Jobs(25), ..CLOSED }, Duration::ZERO);
        assert_eq!(tickets.iter().map(|ticket| ticket.jobs).collect::<Vec<_>>(), [10, 10, 5]);
        assert_eq!(tickets.iter().map(|ticket| ticket.first).collect::<Vec<_>>(), [0, 10, 20]);
    }

    #[test]
    fn a_closed_loop_ends_with_its_time() {
        let tickets = Tickets::new(CLOSED);
        assert!(tickets.next(Duration::from_millis(999)).is_some());
        assert_eq!(tickets.next(Duration::from_secs(1)), None);
    }
}
