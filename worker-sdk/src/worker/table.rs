//! What a worker holds at this moment: leases, slots, and credits that the leader is owed.
//!
//! Invariant: the jobs admitted and not yet over, never more than `concurrency`. Credits outstanding at the leader
//! and slots taken sum to `concurrency`, but for jobs that an earlier subscription still had under way: those that
//! find no slot are given back, and bring no credit.

use crate::context::StopSignal;
use crate::sync::lock;
use jobraft_protocol::LeaseRef;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::{Notify, oneshot, watch};

/// Why a running job is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its lease is gone: taken over, or the grace of its cancellation is over. There is nothing to report.
    Lost,
    /// The worker goes: the job is to be given back.
    Drain,
}

#[derive(Debug)]
pub(super) struct Table {
    state: Mutex<State>,
    /// Credits are owed.
    owed: Notify,
}

#[derive(Debug)]
struct State {
    concurrency: u32,
    taken: u32,
    owed: u32,
    open: bool,
    live: HashMap<LeaseRef, Live>,
}

#[derive(Debug)]
struct Live {
    deadline: watch::Sender<Instant>,
    /// When the grace of its cancellation is over: nothing extends it beyond.
    latest: Option<Instant>,
    signal: StopSignal,
    stop: Option<oneshot::Sender<Stop>>,
}

/// What became of a job that arrived.
pub(super) enum Admission {
    /// It may run.
    Admitted(Slot),
    /// No slot, or no new jobs any more: give it back.
    Full,
    /// It is here already.
    Duplicate,
}

/// A taken slot; free again when dropped.
pub(super) struct Slot {
    table: Arc<Table>,
    lease: LeaseRef,
    pub(super) deadline: watch::Receiver<Instant>,
    /// How the job's own code hears that it is to stop.
    pub(super) signal: StopSignal,
    /// Taken by whoever waits for it.
    pub(super) stop: Option<oneshot::Receiver<Stop>>,
}

impl Slot {
    /// The lease is no longer to be extended: it was reported, given back, or lost.
    pub(super) fn settle(&self) {
        lock(&self.table.state).live.remove(&self.lease);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = lock(&self.table.state);
        state.live.remove(&self.lease);
        state.taken -= 1;
        state.owed += 1;
        drop(state);
        self.table.owed.notify_one();
    }
}

impl Table {
    pub(super) fn new(concurrency: u32) -> Arc<Self> {
        let state = State { concurrency, taken: 0, owed: 0, open: true, live: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), owed: Notify::new() })
    }

    pub(super) fn admit(self: &Arc<Self>, lease: LeaseRef, deadline: Instant) -> Admission {
        let mut state = lock(&self.state);
        if state.live.contains_key(&lease) {
            return Admission::Duplicate;
        }
        if !state.open || state.taken >= state.concurrency {
            return Admission::Full;
        }
        state.taken += 1;
        let (deadline, watched) = watch::channel(deadline);
        let (stop, stopped) = oneshot::channel();
        let signal = StopSignal::default();
        state.live.insert(lease, Live { deadline, latest: None, signal: signal.clone(), stop: Some(stop) });
        Admission::Admitted(Slot { table: Arc::clone(self), lease, deadline: watched, signal, stop: Some(stopped) })
    }

    /// The credits for a new subscription, which replaces all that was owed before.
    pub(super) fn credits_anew(&self) -> u32 {
        let mut state = lock(&self.state);
        state.owed = 0;
        state.concurrency - state.taken
    }

    /// The credits owed since, to be given to the subscription; waits until there are some.
    pub(super) async fn credits_owed(&self) -> u32 {
        loop {
            let owed = std::mem::take(&mut lock(&self.state).owed);
            if owed > 0 {
                return owed;
            }
            self.owed.notified().await;
        }
    }

    /// No job is admitted from here on.
    pub(super) fn close(&self) {
        lock(&self.state).open = false;
    }

    /// The leases to be extended.
    pub(super) fn leases(&self) -> Vec<LeaseRef> {
        lock(&self.state).live.keys().copied().collect()
    }

    /// The lease lasts until `deadline` now, or until the grace of its cancellation is over.
    pub(super) fn extend(&self, lease: &LeaseRef, deadline: Instant) {
        if let Some(live) = lock(&self.state).live.get(lease) {
            live.deadline.send_replace(live.latest.map_or(deadline, |latest| deadline.min(latest)));
        }
    }

    /// The job was cancelled: its code is asked to stop, and goes on until it does, or until `latest`.
    pub(super) fn cancel(&self, lease: &LeaseRef, reason: String, latest: Instant) {
        let signal = lock(&self.state).live.get_mut(lease).map(|live| {
            live.latest = Some(live.latest.map_or(latest, |former| former.min(latest)));
            live.deadline.send_if_modified(|deadline| {
                let is_later = *deadline > latest;
                *deadline = latest.min(*deadline);
                is_later
            });
            live.signal.clone()
        });
        // Not under the lock: this wakes whoever waits.
        if let Some(signal) = signal {
            signal.cancel(reason);
        }
    }

    pub(super) fn stop(&self, lease: &LeaseRef, why: Stop) {
        if let Some(live) = lock(&self.state).live.get_mut(lease)
            && let Some(stop) = live.stop.take()
        {
            let _ = stop.send(why);
        }
    }

    pub(super) fn stop_all(&self, why: Stop) {
        for live in lock(&self.state).live.values_mut() {
            if let Some(stop) = live.stop.take() {
                let _ = stop.send(why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobraft_protocol::{FencingToken, JobId, LogTime};
    use std::time::Duration;

    fn lease(token: u64) -> LeaseRef {
        LeaseRef { job: JobId::new(LogTime::from_ms(1), [0; 10]), token: FencingToken(token) }
    }

    #[test]
    fn no_more_jobs_than_slots_are_admitted() {
        let table = Table::new(2);
        let now = Instant::now();
        let first = table.admit(lease(1), now);
        let second = table.admit(lease(2), now);
        assert!(matches!((&first, &second), (Admission::Admitted(_), Admission::Admitted(_))));
        assert!(matches!(table.admit(lease(2), now), Admission::Duplicate));
        assert!(matches!(table.admit(lease(3), now), Admission::Full));
        assert_eq!(table.credits_anew(), 0);
        drop(first);
        assert_eq!(table.credits_anew(), 1);
        assert!(matches!(table.admit(lease(4), now), Admission::Admitted(_)));
    }

    #[test]
    fn nothing_extends_a_lease_beyond_the_grace_of_its_cancellation() {
        let table = Table::new(1);
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let Admission::Admitted(slot) = table.admit(lease(1), after(10)) else { panic!("there is a slot") };
        let deadline = || *slot.deadline.borrow();
        table.cancel(&lease(1), "over".to_owned(), after(25));
        assert_eq!(deadline(), after(10), "it is not extended by being cancelled");
        table.extend(&lease(1), after(20));
        assert_eq!(deadline(), after(20));
        table.extend(&lease(1), after(30));
        assert_eq!(deadline(), after(25));
        table.cancel(&lease(1), "over".to_owned(), after(5));
        assert_eq!(deadline(), after(5), "cancelled again, it has less time");
        table.cancel(&lease(1), "over".to_owned(), after(15));
        table.extend(&lease(1), after(30));
        assert_eq!(deadline(), after(5), "and never more");
    }

    #[test]
    fn a_closed_table_admits_nothing() {
        let table = Table::new(1);
        table.close();
        assert!(matches!(table.admit(lease(1), Instant::now()), Admission::Full));
    }
}
