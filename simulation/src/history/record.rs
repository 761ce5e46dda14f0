//! A history while it grows: clients say what they ask and what they are answered.
//!
//! All clients of a run share one [`Recorder`]. It numbers what happens in the order in which it is told, which is the order
//! in which it happened, since all of them live in one process.

use super::operation::{Call, Instant, Operation, Outcome};
use jobraft_protocol::{JobId, LogTime, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All that clients did in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// In the order in which they were asked.
    pub operations: Vec<Operation>,
    /// Since when jobs may be leased to somebody who never hears of it: a lease was asked for, or a worker subscribed, and no
    /// answer came.
    pub unseen_leases_since: Option<Instant>,
    /// How often each kind of fault happened, as whoever makes them says.
    pub faults: BTreeMap<String, u64>,
    /// For how long ended jobs are kept at least, in milliseconds; absent: as long as the defaults say.
    pub kept_ms: Option<u64>,
    /// The place that the next event has.
    next: Instant,
}

/// An operation that was asked and not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask(usize);

impl History {
    /// The place of what happens now.
    pub fn tick(&mut self) -> Instant {
        self.next += 1;
        self.next
    }

    /// A client asks.
    pub fn ask(&mut self, client: u32, job: JobId, call: Call) -> Ask {
        let called = self.tick();
        self.operations.push(Operation { client, job, called, returned: None, call, outcome: None });
        Ask(self.operations.len() - 1)
    }

    /// A client is answered. To be left out if the answer never came, or told that nobody knows.
    pub fn answer(&mut self, ask: Ask, outcome: Outcome) {
        let returned = self.tick();
        let operation = &mut self.operations[ask.0];
        operation.returned = Some(returned);
        operation.outcome = Some(outcome);
    }

    /// A job was leased by an answer or a push to what was asked at `called`.
    pub fn leased(
        &mut self,
        client: u32,
        called: Instant,
        worker: WorkerId,
        lease_ms: u64,
        job: JobId,
        lease: Outcome,
    ) {
        let returned = Some(self.tick());
        let call = Call::Lease { worker, lease_ms };
        self.operations.push(Operation { client, job, called, returned, call, outcome: Some(lease) });
    }

    /// What was asked at `called` may have leased jobs that nobody hears of.
    pub fn unseen_leases(&mut self, called: Instant) {
        let since = self.unseen_leases_since.get_or_insert(called);
        *since = called.min(*since);
    }

    /// A fault happened.
    pub fn fault(&mut self, kind: &str) {
        *self.faults.entry(kind.to_owned()).or_default() += 1;
    }

    /// The latest log time that anybody was told of; for those who wait for it to go on.
    #[must_use]
    pub fn latest(&self) -> LogTime {
        let times = self.operations.iter().filter_map(|operation| match operation.outcome.as_ref()? {
            Outcome::Leased { enqueued_at, .. } => Some(*enqueued_at),
            Outcome::View(seen) => seen.finished_at.or(Some(seen.enqueued_at)),
            _ => None,
        });
        times.max().unwrap_or_default()
    }
}

/// A history that many clients write.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<History>>);

impl Recorder {
    /// An empty history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The history, for as long as nobody waits for anything.
    pub fn history(&self) -> MutexGuard<'_, History> {
        // Whoever panicked left a history that is whole: each entry is pushed at once.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
