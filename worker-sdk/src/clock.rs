//! The cluster's time as this client can know it.
//!
//! A node tells its log time in the hello. It read that time somewhere between the instant at which the client sent
//! its own hello and the instant at which the answer came, so log time is known to within one round trip. Whoever
//! must not be late (the end of a lease) reckons from the earlier instant, whoever needs a good guess (a new id)
//! from the middle.

use jobraft_protocol::LogTime;
use std::time::{Duration, Instant};

/// No wait is longer: it stands for ever, and fits into an [`Instant`] on every machine.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The instant that comes `wait` from now, or in thirty years, whichever is earlier.
pub(crate) fn after(wait: Duration) -> Instant {
    Instant::now() + wait.min(FOR_EVER)
}

/// One reading of a node's log time.
#[derive(Clone, Copy, Debug)]
pub struct ClockAnchor {
    sent: Instant,
    received: Instant,
    time: LogTime,
}

impl ClockAnchor {
    /// A node said `time` in its answer, received at `received`, to what was sent at `sent`.
    #[must_use]
    pub fn new(sent: Instant, received: Instant, time: LogTime) -> Self {
        Self { sent, received, time }
    }

    /// Log time at `now`, give or take half a round trip.
    #[must_use]
    pub fn estimate(&self, now: Instant) -> LogTime {
        let middle = self.sent + self.received.saturating_duration_since(self.sent) / 2;
        let elapsed = now.saturating_duration_since(middle);
        self.time.plus_ms(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// The instant at which a lease that ends at `expires_at` must be taken for lost: never later than its true end.
    ///
    /// The node read its clock after `sent`; so `expires_at - time` after `sent` is no later than `expires_at`.
    /// `granted_for` after `received_at`, the instant at which the grant was in hand, is a second bound: it holds
    /// even if the node's idea of the time was old, or its clock has been set since.
    #[must_use]
    pub fn lease_deadline(&self, expires_at: LogTime, received_at: Instant, granted_for: Duration) -> Instant {
        let by_clock = Duration::from_millis(expires_at.ms_since(self.time));
        let cap = received_at + granted_for.min(FOR_EVER);
        self.sent.checked_add(by_clock).map_or(cap, |deadline| deadline.min(cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn anchor() -> (Instant, ClockAnchor) {
        let sent = Instant::now();
        (sent, ClockAnchor::new(sent, sent + Duration::from_millis(100), LogTime::from_ms(1_000_000)))
    }

    #[test]
    fn a_deadline_is_never_later_than_the_lease() {
        let (sent, anchor) = anchor();
        // The node cannot have read its clock before `sent`.
        let deadline = anchor.lease_deadline(LogTime::from_ms(1_030_000), sent + LEASE, LEASE);
        assert_eq!(deadline, sent + LEASE);
    }

    #[test]
    fn an_old_reading_does_not_lengthen_a_lease() {
        let (sent, anchor) = anchor();
        let received = sent + Duration::from_secs(5);
        let deadline = anchor.lease_deadline(LogTime::from_ms(9_000_000), received, LEASE);
        assert_eq!(deadline, received + LEASE);
    }

    #[test]
    fn time_goes_on_between_readings() {
        let (sent, anchor) = anchor();
        assert_eq!(anchor.estimate(sent + Duration::from_millis(1_050)), LogTime::from_ms(1_001_000));
    }
}
