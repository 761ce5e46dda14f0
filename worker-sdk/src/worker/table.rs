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
use tokio::sync::Notify;

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
    live: HashMap<LeaseRef, Arc<Tenure>>,
}

/// How long a job that runs here may go on.
#[derive(Debug)]
pub(super) struct Tenure {
    terms: Mutex<Terms>,
    changed: Notify,
    /// How the job's own code hears that it is to stop.
    pub(super) signal: StopSignal,
}

#[derive(Debug)]
struct Terms {
    deadline: Instant,
    /// When the grace of its cancellation is over: nothing extends it beyond.
    latest: Option<Instant>,
    stop: Option<Stop>,
}

impl Tenure {
    /// The instant at which the lease must be taken for lost, as of now.
    pub(super) fn deadline(&self) -> Instant {
        lock(&self.terms).deadline
    }

    /// Waits until the job must stop, at the latest at `limit`: why, or `None` if that is the reason. Only one may wait at a time.
    pub(super) async fn over(&self, limit: Instant) -> Option<Stop> {
        loop {
            let deadline = {
                let terms = lock(&self.terms);
                if terms.stop.is_some() {
                    return terms.stop;
                }
                terms.deadline
            };
            tokio::select! {
                () = tokio::time::sleep_until(deadline.min(limit).into()) => return (deadline <= limit).then_some(Stop::Lost),
                () = self.changed.notified() => {}
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Terms)) {
        change(&mut lock(&self.terms));
        self.changed.notify_one();
    }

    fn stop(&self, why: Stop) {
        self.change(|terms| terms.stop = terms.stop.or(Some(why)));
    }
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
    pub(super) tenure: Arc<Tenure>,
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
        let terms = Mutex::new(Terms { deadline, latest: None, stop: None });
        let tenure = Arc::new(Tenure { terms, changed: Notify::new(), signal: StopSignal::default() });
        state.live.insert(lease, Arc::clone(&tenure));
        Admission::Admitted(Slot { table: Arc::clone(self), lease, tenure })
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
        if let Some(tenure) = self.tenure(lease) {
            tenure.change(|terms| terms.deadline = terms.latest.map_or(deadline, |latest| deadline.min(latest)));
        }
    }

    /// The job was cancelled: its code is asked to stop, and goes on until it does, or until `latest`.
    pub(super) fn cancel(&self, lease: &LeaseRef, reason: String, latest: Instant) {
        if let Some(tenure) = self.tenure(lease) {
            tenure.change(|terms| {
                terms.latest = Some(terms.latest.map_or(latest, |former| former.min(latest)));
                terms.deadline = terms.deadline.min(latest);
            });
            tenure.signal.cancel(reason);
        }
    }

    pub(super) fn stop(&self, lease: &LeaseRef, why: Stop) {
        if let Some(tenure) = self.tenure(lease) {
            tenure.stop(why);
        }
    }

    pub(super) fn stop_all(&self, why: Stop) {
        lock(&self.state).live.values().for_each(|tenure| tenure.stop(why));
    }

    fn tenure(&self, lease: &LeaseRef) -> Option<Arc<Tenure>> {
        lock(&self.state).live.get(lease).cloned()
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
        let deadline = || slot.tenure.deadline();
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

    #[tokio::test]
    async fn a_job_is_over_when_it_is_stopped_or_its_lease_or_its_time_is_over() {
        let (table, now) = (Table::new(3), Instant::now());
        let (past, limit, future) = (now, now + Duration::from_secs(60), now + Duration::from_secs(120));
        let admit = |token, deadline| match table.admit(lease(token), deadline) {
            Admission::Admitted(slot) => slot,
            _ => panic!("there are slots"),
        };
        let (lost, held) = (admit(1, past), admit(2, future));
        assert_eq!(lost.tenure.over(future).await, Some(Stop::Lost));
        assert_eq!(held.tenure.over(past).await, None, "its time is over, not its lease");
        // Who waits hears what is said, and need not wait until the limit.
        let (end, ()) = tokio::join!(held.tenure.over(limit), async { table.extend(&lease(2), past) });
        assert_eq!(end, Some(Stop::Lost));
        let third = admit(3, future);
        let (end, ()) = tokio::join!(third.tenure.over(limit), async { table.stop(&lease(3), Stop::Lost) });
        assert_eq!(end, Some(Stop::Lost));
        table.stop_all(Stop::Drain);
        assert_eq!(third.tenure.over(future).await, Some(Stop::Lost), "the first reason counts");
        assert_eq!(held.tenure.over(future).await, Some(Stop::Drain));
    }

    #[test]
    fn a_closed_table_admits_nothing() {
        let table = Table::new(1);
        table.close();
        assert!(matches!(table.admit(lease(1), Instant::now()), Admission::Full));
    }
}
