//! What was refused, logged without letting anybody fill the disk with it.

use super::limits::{REFUSAL_LOG_INTERVAL, REFUSALS_REMEMBERED_MAX};
use crate::audit::{Audit, Event};
use std::collections::HashMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Counts refusals, and logs one of each kind from each address per [`REFUSAL_LOG_INTERVAL`], also in the audit log.
#[derive(Default)]
pub(super) struct Refusals {
    total: AtomicU64,
    logged: Mutex<HashMap<(IpAddr, &'static str), Logged>>,
    audit: OnceLock<Audit>,
}

/// What was last logged of a kind from an address.
struct Logged {
    at: Instant,
    /// Refusals since then.
    unmentioned: u64,
}

impl Refusals {
    /// Tells the audit log from now on. Only the first one counts.
    pub(super) fn audit_to(&self, audit: Audit) {
        let _ = self.audit.set(audit);
    }

    /// Records that something of `kind` from `remote` was refused because of `reason`.
    pub(super) fn record(&self, remote: SocketAddr, kind: &'static str, reason: &dyn Display) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if let Some(unmentioned) = self.news(remote.ip(), kind, Instant::now()) {
            tracing::warn!(%remote, "refused {kind}: {reason}; more of these from there go unmentioned for a minute");
            let event = Event::Refused { from: remote, kind, reason: reason.to_string(), unmentioned };
            if self.audit.get().is_some_and(|audit| !audit.try_tell(event)) {
                tracing::error!(%remote, "the audit log has no room for the refusal of {kind}");
            }
        } else {
            tracing::debug!(%remote, "refused {kind}: {reason}");
        }
    }

    /// How much was refused since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// How many went unmentioned before, if this one is to be mentioned.
    fn news(&self, ip: IpAddr, kind: &'static str, now: Instant) -> Option<u64> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let lapsed = |at: Instant| now.saturating_duration_since(at) >= REFUSAL_LOG_INTERVAL;
        if let Some(before) = logged.get_mut(&(ip, kind)) {
            if lapsed(before.at) {
                before.at = now;
                return Some(std::mem::take(&mut before.unmentioned));
            }
            before.unmentioned += 1;
            return None;
        }
        if logged.len() >= REFUSALS_REMEMBERED_MAX {
            logged.retain(|_, before| !lapsed(before.at));
        }
        let room = logged.len() < REFUSALS_REMEMBERED_MAX;
        if room {
            logged.insert((ip, kind), Logged { at: now, unmentioned: 0 });
        }
        room.then_some(0)
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
        assert_eq!(refusals.news(one, "a", start), Some(0));
        assert_eq!(refusals.news(one, "a", start + Duration::from_secs(59)), None);
        assert_eq!(refusals.news(one, "b", start), Some(0));
        assert_eq!(refusals.news(IpAddr::from([10, 0, 0, 2]), "a", start), Some(0));
        assert_eq!(refusals.news(one, "a", start + REFUSAL_LOG_INTERVAL), Some(1), "one went unmentioned");
        assert_eq!(refusals.news(one, "a", start + 2 * REFUSAL_LOG_INTERVAL), Some(0));
    }

    #[test]
    fn the_table_of_refusals_is_bounded() {
        let refusals = Refusals::default();
        let start = Instant::now();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        let logged = (0..5_000).filter(|n| refusals.news(address(*n), "a", start).is_some()).count();
        assert_eq!(logged, REFUSALS_REMEMBERED_MAX);
        assert!(refusals.news(address(5_000), "a", start + REFUSAL_LOG_INTERVAL).is_some(), "room comes back");
    }
}
