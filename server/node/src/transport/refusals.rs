//! What was refused, logged without letting anybody fill the disk with it.

use crate::audit::{Audit, Event, Mentions};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts refusals, and logs one of each kind from each address a minute, also in the audit log.
#[derive(Default)]
pub(super) struct Refusals {
    total: AtomicU64,
    mentions: Mentions<(IpAddr, &'static str)>,
    audit: OnceLock<Audit>,
}

impl Refusals {
    /// Tells the audit log from now on. Only the first one counts.
    pub(super) fn audit_to(&self, audit: Audit) {
        let _ = self.audit.set(audit);
    }

    /// Records that something of `kind` from `remote` was refused because of `reason`.
    pub(super) fn record(&self, remote: SocketAddr, kind: &'static str, reason: &dyn Display) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let Some(unmentioned) = self.mentions.news((remote.ip(), kind), Instant::now()) else {
            tracing::debug!(%remote, "refused {kind}: {reason}");
            return;
        };
        tracing::warn!(%remote, "refused {kind}: {reason}; more of these from there go unmentioned for a minute");
        if let Some(audit) = self.audit.get() {
            audit.try_tell(Event::Refused { from: remote, kind, reason: reason.to_string() }, unmentioned);
        }
    }

    /// How much was refused since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
