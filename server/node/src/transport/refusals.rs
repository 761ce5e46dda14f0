//! What was refused, logged without letting anybody fill the disk with it.

use super::limits::{REFUSAL_LOG_INTERVAL, REFUSALS_REMEMBERED_MAX};
use std::collections::HashMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Counts refusals, and logs one of each kind from each address per [`REFUSAL_LOG_INTERVAL`].
#[derive(Default)]
pub(super) struct Refusals {
    total: AtomicU64,
    logged_at: Mutex<HashMap<(IpAddr, &'static str), Instant>>,
}

impl Refusals {
    /// Records that something of `kind` from `remote` was refused because of `reason`.
    pub(super) fn record(&self, remote: SocketAddr, kind: &'static str, reason: &dyn Display) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if self.is_news(remote.ip(), kind, Instant::now()) {
            tracing::warn!(%remote, "refused {kind}: {reason}; more of these from there go unmentioned for a minute");
        } else {
            tracing::debug!(%remote, "refused {kind}: {reason}");
        }
    }

    /// How much was refused since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn is_news(&self, ip: IpAddr, kind: &'static str, now: Instant) -> bool {
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        let lapsed = |at: &Instant| now.saturating_duration_since(*at) >= REFUSAL_LOG_INTERVAL;
        if let Some(at) = logged_at.get_mut(&(ip, kind)) {
            let news = lapsed(at);
            if news {
                *at = now;
            }
            return news;
        }
        if logged_at.len() >= REFUSALS_REMEMBERED_MAX {
            logged_at.retain(|_, at| !lapsed(at));
        }
        let room = logged_at.len() < REFUSALS_REMEMBERED_MAX;
        if room {
            logged_at.insert((ip, kind), now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_refusal_is_logged_once_a_minute_for_each_address_and_kind() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let one = IpAddr::from([10, 0, 0, 1]);
        assert!(refusals.is_news(one, "a", start));
        assert!(!refusals.is_news(one, "a", start + Duration::from_secs(59)));
        assert!(refusals.is_news(one, "b", start));
        assert!(refusals.is_news(IpAddr::from([10, 0, 0, 2]), "a", start));
        assert!(refusals.is_news(one, "a", start + REFUSAL_LOG_INTERVAL));
    }

    #[test]
    fn the_table_of_refusals_is_bounded() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let logged = (0..5_000).filter(|n| refusals.is_news(address(*n), "a", start)).count();
        assert_eq!(logged, REFUSALS_REMEMBERED_MAX);
        assert!(refusals.is_news(address(5_000), "a", start + REFUSAL_LOG_INTERVAL), "room comes back");
    }
}
