//! The connections that are open, so that those of a certificate that is revoked, or has ended, can be closed.
//!
//! What must hold: a connection whose certificate is on the lists in use is closed, however its opening and the change of
//! the lists overlap. Entering and changing thus exclude each other.

use super::CloseCode;
use super::connection::{Origin, leaf_of};
use crate::tls::{Identity, Revocations};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why such a connection ends.
pub(super) const REVOKED: &str = "the certificate is revoked";

/// Why one ends that was opened while its certificate was good.
const ENDED: &str = "the certificate has ended; renew it with: jobraft certs renew";

/// The open connections of an endpoint, and who may have none.
pub(super) struct Live(Mutex<State>);

struct State {
    revocations: Arc<Revocations>,
    /// As many as there are connections; each leaves with its last handle.
    open: BTreeMap<u64, Weak<Origin>>,
    next: u64,
}

impl Live {
    /// No connections yet.
    pub(super) fn new(revocations: Arc<Revocations>) -> Self {
        Self(Mutex::new(State { revocations, open: BTreeMap::new(), next: 0 }))
    }

    /// A number for a connection that is about to enter.
    pub(super) fn number(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.next += 1;
        state.next
    }

    /// Takes a connection in, unless its certificate is revoked.
    #[must_use]
    pub(super) fn enter(&self, number: u64, origin: &Arc<Origin>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_revoked(&state.revocations, origin) {
            return false;
        }
        state.open.insert(number, Arc::downgrade(origin));
        true
    }

    /// Forgets a connection.
    pub(super) fn leave(&self, number: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&number);
    }

    /// From now on these are revoked; closes the connections of theirs and says how many there were.
    pub(super) fn revoke(&self, revocations: &Arc<Revocations>) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).revocations = Arc::clone(revocations);
        let open = self.open();
        let revoked = open.iter().filter(|origin| is_revoked(revocations, origin) && !origin.is_closed());
        revoked.map(|origin| origin.close(CloseCode::Revoked, REVOKED)).count()
    }
}

impl Live {
    /// Closes the connections of clients whose certificates have ended by `now`, and says how many there were. Those of nodes
    /// stay: a cluster that runs does not fall apart because nobody renewed them.
    pub(super) fn end(&self, now: OffsetDateTime) -> usize {
        let open = self.open();
        let ended = open.iter().filter(|origin| has_ended(origin, now) && !origin.is_closed());
        ended.map(|origin| origin.close(CloseCode::Identity, ENDED)).count()
    }

    /// Whoever drops the last handle of a connection wants the lock: it is not held by those who look at them.
    fn open(&self) -> Vec<Arc<Origin>> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.values().filter_map(Weak::upgrade).collect()
    }
}

fn has_ended(origin: &Origin, now: OffsetDateTime) -> bool {
    let Some(leaf) = leaf_of(origin.quic()) else { return false };
    let is_client = matches!(Identity::of_certificate(&leaf), Ok(Identity::Client { .. }));
    is_client && X509Certificate::from_der(&leaf).is_ok_and(|(_, it)| it.validity().not_after.to_datetime() < now)
}

fn is_revoked(revocations: &Revocations, origin: &Origin) -> bool {
    leaf_of(origin.quic()).is_some_and(|leaf| revocations.revokes(&leaf))
}
