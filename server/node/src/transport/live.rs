//! The connections that are open, so that those of a certificate that is revoked can be closed.
//!
//! What must hold: a connection whose certificate is on the lists in use is closed, however its opening and the change of
//! the lists overlap. Entering and changing thus exclude each other.

use super::CloseCode;
use super::connection::{Origin, leaf_of};
use crate::tls::Revocations;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Why such a connection ends.
pub(super) const REVOKED: &str = "the certificate is revoked";

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
        // Whoever drops the last handle of a connection wants the lock: not while it is held here.
        let open: Vec<Arc<Origin>> = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.revocations = Arc::clone(revocations);
            state.open.values().filter_map(Weak::upgrade).collect()
        };
        let revoked = open.iter().filter(|origin| is_revoked(revocations, origin) && !origin.is_closed());
        revoked.map(|origin| origin.close(CloseCode::Revoked, REVOKED)).count()
    }
}

fn is_revoked(revocations: &Revocations, origin: &Origin) -> bool {
    leaf_of(origin.quic()).is_ok_and(|leaf| revocations.revokes(&leaf))
}
