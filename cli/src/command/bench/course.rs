//! What producers and workers of one measurement share: the clock, the requests to come, and what is written down.

use super::jobs::Jobs;
use super::latency::Recorder;
use super::load::Load;
use super::moments::Moments;
use super::schedule::{Ticket, Tickets};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};

/// One measurement under way. There is one process, hence one clock.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) load: Load,
    pub(super) jobs: Jobs,
    started: OnceLock<Instant>,
    tickets: Tickets,
    /// Requests of an open loop whose time has come; without end once none is to come.
    pub(super) due: Option<Arc<Semaphore>>,
    /// With a backlog, a job may end only for one that was enqueued.
    pub(super) permits: Option<Semaphore>,
    /// Absent with a backlog: what was enqueued is not what runs next.
    moments: Option<Moments>,
    pub(super) enqueue: Recorder,
    pub(super) dispatch: Recorder,
    pub(super) complete: Recorder,
    pub(super) tally: Tally,
    /// A job is completed.
    pub(super) completion: Notify,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) enqueued: AtomicU64,
    /// Enqueues that found their key held.
    pub(super) duplicates: AtomicU64,
    /// Completions that the cluster has accepted.
    pub(super) completed: AtomicU64,
    /// When the last of them was, in nanoseconds since the start.
    last_completed_ns: AtomicU64,
}

impl Course {
    /// All is ready; the clock does not run yet.
    pub(super) fn new(load: Load, jobs: Jobs) -> Self {
        Self {
            jobs,
            started: OnceLock::new(),
            tickets: Tickets::new(load.schedule),
            due: load.schedule.rate.is_some().then(|| Arc::new(Semaphore::new(0))),
            permits: (load.waiting > 0).then(|| Semaphore::new(0)),
            moments: (load.waiting == 0).then(Moments::new),
            enqueue: Recorder::new(),
            dispatch: Recorder::new(),
            complete: Recorder::new(),
            tally: Tally::default(),
            completion: Notify::new(),
            load,
        }
    }

    /// Starts the clock, once.
    pub(super) fn begin(&self) -> Instant {
        *self.started.get_or_init(Instant::now)
    }

    /// Since the start.
    pub(super) fn now(&self) -> Duration {
        self.started.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// The next request, once it is to be sent; nothing when the measurement is over.
    pub(super) async fn ticket(&self) -> Option<Ticket> {
        if let Some(due) = &self.due {
            due.acquire().await.ok()?.forget();
        }
        self.tickets.next(self.now())
    }

    /// A request for these jobs was answered: those of these numbers are enqueued, the others' keys were held.
    pub(super) fn enqueued(&self, ticket: &Ticket, numbers: &[u64]) {
        let now = self.now();
        let jobs = numbers.len() as u64;
        self.tally.enqueued.fetch_add(jobs, Relaxed);
        self.tally.duplicates.fetch_add(u64::from(ticket.jobs) - jobs, Relaxed);
        self.enqueue.record(now.saturating_sub(ticket.due));
        if let Some(permits) = &self.permits {
            permits.add_permits(numbers.len());
        }
        let moments = self.moments.iter().flat_map(|moments| numbers.iter().map(move |number| (moments, *number)));
        for (moments, number) in moments {
            if let Some(waited) = moments.confirmed(number, now) {
                self.dispatch.record(waited);
            }
        }
    }

    /// The handler of the job of this number begins.
    pub(super) fn began(&self, number: u64) {
        if let Some(waited) = self.moments.as_ref().and_then(|moments| moments.began(number, self.now())) {
            self.dispatch.record(waited);
        }
    }

    /// A completion was accepted, so long after its handler's end.
    pub(super) fn completed(&self, took: Duration) {
        self.complete.record(took);
        let nanos = u64::try_from(self.now().as_nanos()).unwrap_or(u64::MAX);
        self.tally.last_completed_ns.fetch_max(nanos, Relaxed);
        self.tally.completed.fetch_add(1, Relaxed);
        self.completion.notify_one();
    }

    /// Waits until all that was enqueued is completed.
    pub(super) async fn drained(&self) {
        while self.tally.completed.load(Relaxed) < self.tally.enqueued.load(Relaxed) {
            self.completion.notified().await;
        }
    }

    /// From the start to the last completion.
    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.tally.last_completed_ns.load(Relaxed))
    }
}
