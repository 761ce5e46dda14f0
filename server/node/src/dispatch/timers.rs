//! Time on an idle cluster: when something falls due and nobody proposes anything, the leader proposes an empty entry.
//!
//! This is about latency only. Whether a lease has run out is decided by log time when an entry is applied; a timer
//! fired late costs the time until then, never correctness. What falls due next is heard after each entry that is applied,
//! so that nobody who proposes one has to think of it.

use crate::consensus::Consensus;
use jobraft_core::Core;
use jobraft_core::planted::{Bug, is_planted};
use jobraft_protocol::LogTime;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How often the next timer is looked up when nobody says that it changed: log time may have gone on faster than the time
/// that was waited.
const RECHECK: Duration = Duration::from_secs(1);
/// How long an entry for a due timer may take until another one is proposed.
const TICK_PATIENCE: Duration = Duration::from_millis(200);

/// When the leader wakes up next.
pub(crate) struct Timers {
    /// In milliseconds of log time; [`u64::MAX`] while that is being worked out, so that every change is heard.
    wakes_at: AtomicU64,
    changed: Notify,
    applied: Notify,
}

impl Default for Timers {
    fn default() -> Self {
        Self { wakes_at: AtomicU64::new(u64::MAX), changed: Notify::new(), applied: Notify::new() }
    }
}

impl Timers {
    /// Something will be due at `at`. Cheap, unless it is earlier than all else.
    fn due_at(&self, at: LogTime) {
        if at.as_ms() < self.wakes_at.load(Ordering::SeqCst) {
            self.changed.notify_one();
        }
    }

    /// Something was applied, and the next thing falls due then.
    pub(super) fn applied(&self, next_timer: Option<LogTime>) {
        self.applied.notify_waiters();
        if let Some(at) = next_timer {
            self.due_at(at);
        }
    }

    /// Ticks while this node leads, until consensus stops.
    pub(super) async fn run(&self, consensus: Consensus) {
        let mut leadership = consensus.leadership();
        loop {
            if leadership.wait_for(|now| now.is_leader).await.is_err() {
                return;
            }
            self.wakes_at.store(u64::MAX, Ordering::SeqCst);
            let is_lost = is_planted(Bug::TimerLostAtFailover) && leadership.borrow().term > 1;
            let next = if is_lost { None } else { consensus.read(Core::next_timer) };
            let now = consensus.log_time();
            if next.is_some_and(|at| at <= now) {
                let applied = self.applied.notified();
                consensus.tick();
                // If it took longer, trying again does no harm.
                let _ = timeout(TICK_PATIENCE, applied).await;
                continue;
            }
            let wait = next.map_or(RECHECK, |at| RECHECK.min(Duration::from_millis(at.ms_since(now))));
            let wakes_at = now.plus_ms(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            self.wakes_at.store(wakes_at.as_ms(), Ordering::SeqCst);
            // Woken or not, the next timer is looked up again.
            let _ = timeout(wait, self.changed.notified()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn only_what_is_earlier_than_the_next_wake_up_wakes() {
        let timers = Timers::default();
        let is_woken = || timers.changed.notified().now_or_never().is_some();
        timers.due_at(LogTime::from_ms(50));
        assert!(is_woken(), "while the next wake-up is worked out, every change counts");
        timers.wakes_at.store(100, Ordering::SeqCst);
        timers.due_at(LogTime::from_ms(100));
        assert!(!is_woken());
        timers.due_at(LogTime::from_ms(99));
        assert!(is_woken());
    }
}
