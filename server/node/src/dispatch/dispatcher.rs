//! The dispatcher: takes demands and events, and turns them into leases.

use super::demands::{DemandId, Demands};
use super::heard::Heard;
use super::news::News;
use super::orders::{Sink, carry_out, end};
use super::schedules::Schedules;
use super::timers::Timers;
use super::wish::{Kind, Wish};
use super::{EndWatch, Outgoing, hints, lock};
use crate::consensus::Consensus;
use jobraft_core::Core;
use jobraft_core::command::Event;
use jobraft_protocol::{BatchId, Error, ErrorCode, JobId, LeasedJob, LogTime, QueueName, WorkerId, WorkerOrder};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Fetches and subscriptions that wait on one node; further ones are refused with `overloaded`.
const DEMANDS_MAX: usize = 262_144;

/// See the module. Clones share everything.
#[derive(Clone, Default)]
pub struct Dispatcher {
    pub(super) shared: Arc<Shared>,
}

#[derive(Default)]
pub(super) struct Shared {
    demands: Mutex<Demands<Sink>>,
    news: Mutex<News>,
    wake: Notify,
    timers: Timers,
    ended: EndWatch<JobId>,
    batches: EndWatch<BatchId>,
    schedules: Schedules,
    heard: Heard,
    /// Whether demands are taken: this node leads, and [`Dispatcher::run`] knows.
    leads: AtomicBool,
    /// By which orders are carried out, while [`Dispatcher::run`] does. It leads back here: whoever ends takes it out.
    consensus: Mutex<Option<Consensus>>,
}

/// Takes no more demands and foresees nothing once it is dropped, also when [`Dispatcher::run`] is aborted.
struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        let demands = lock(&self.0.demands);
        self.0.leads.store(false, Ordering::SeqCst);
        let consensus = lock(&self.0.consensus).take();
        drop(demands);
        drop(consensus);
    }
}

impl Dispatcher {
    /// A dispatcher that nobody waits at yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hears what was applied on this node, and when the next thing falls due then. Never blocks.
    pub fn observe(&self, events: &[Event], next_timer: Option<LogTime>) {
        self.shared.timers.applied(next_timer);
        self.shared.ended.ended(events.iter().filter_map(|event| match event {
            Event::Ended(job) => Some(*job),
            _ => None,
        }));
        self.shared.batches.ended(events.iter().filter_map(|event| match event {
            Event::BatchEnded(batch) => Some(*batch),
            _ => None,
        }));
        if events.contains(&Event::Scheduled) {
            self.shared.schedules.changed();
        }
        if !self.shared.leads.load(Ordering::SeqCst) {
            return;
        }
        let mut is_news = false;
        let mut news = lock(&self.shared.news);
        for event in events {
            is_news |= news.note(event);
        }
        drop(news);
        if is_news {
            self.shared.wake.notify_one();
        }
    }

    /// Serves demands while this node leads, and refuses them while it does not; ends when consensus stops.
    pub async fn run(&self, consensus: Consensus) {
        let _timers = {
            let (shared, consensus) = (Arc::clone(&self.shared), consensus.clone());
            AbortOnDropHandle::new(tokio::spawn(async move { shared.timers.run(consensus).await }))
        };
        let _heard = {
            let (shared, consensus) = (Arc::clone(&self.shared), consensus.clone());
            AbortOnDropHandle::new(tokio::spawn(async move { shared.heard.run(consensus).await }))
        };
        let _schedules = {
            let (shared, consensus) = (Arc::clone(&self.shared), consensus.clone());
            AbortOnDropHandle::new(tokio::spawn(async move { shared.schedules.run(consensus).await }))
        };
        let mut leadership = consensus.leadership();
        let running = Running(Arc::clone(&self.shared));
        *lock(&self.shared.consensus) = Some(consensus.clone());
        self.lead(&consensus);
        loop {
            tokio::select! {
                biased;
                changed = leadership.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.lead(&consensus);
                }
                () = self.shared.wake.notified() => self.dispatch(&consensus),
            }
        }
        drop(running);
        let stopping = Error::new(ErrorCode::ShuttingDown, "the node is stopping");
        for (worker, sink) in lock(&self.shared.demands).end_all() {
            end(sink, worker, &stopping);
        }
    }

    /// Follows what is now known about who leads.
    fn lead(&self, consensus: &Consensus) {
        let now = consensus.leadership().borrow().clone();
        let led = self.shared.leads.swap(now.is_leader, Ordering::SeqCst);
        if now.is_leader {
            let queues = lock(&self.shared.demands).queues();
            self.changed(&queues);
        } else if led {
            *lock(&self.shared.news) = News::default();
            let refusal = now.not_leader();
            for (worker, sink) in lock(&self.shared.demands).end_all() {
                end(sink, worker, &refusal);
            }
        }
    }

    /// Something changed in these queues that may let somebody be served.
    pub(super) fn changed(&self, queues: &[QueueName]) {
        if !queues.is_empty() {
            lock(&self.shared.news).queues.extend(queues.iter().cloned());
            self.shared.wake.notify_one();
        }
    }

    fn dispatch(&self, consensus: &Consensus) {
        let News { mut queues, cancels, revoked, lost, orders } = std::mem::take(&mut *lock(&self.shared.news));
        let mut ended = Vec::new();
        let orders = {
            let mut demands = lock(&self.shared.demands);
            for (worker, lease, notice) in cancels {
                demands.subscribers(worker).for_each(|sink| hints::cancel_requested(sink, worker, lease, &notice));
            }
            for (worker, leases) in revoked {
                demands.subscribers(worker).for_each(|sink| hints::revoked(sink, worker, &leases));
            }
            // A worker that is gone must not get the same job again and again until its connection is given up. One that lives
            // subscribes anew.
            for worker in lost {
                ended.extend(demands.end_subscriptions(worker));
            }
            for (worker, order) in orders {
                demands.subscribers(worker).for_each(|sink| hints::ordered(sink, worker, order));
                if order == WorkerOrder::Run {
                    queues.extend(demands.wake(worker));
                }
            }
            let queues: Vec<QueueName> = queues.into_iter().collect();
            consensus.read(|core| {
                demands.plan(&queues, |queue| core.ready_count(queue), |worker| is_held_back(core, worker))
            })
        };
        for (worker, sink) in ended {
            end(sink, worker, &consensus.leadership().borrow().not_leader());
        }
        for order in orders {
            tokio::spawn(carry_out(self.clone(), consensus.clone(), order, None));
        }
    }

    /// Waits up to `wait` for jobs; gives up early, as if there were none, when `closed` is cancelled.
    ///
    /// # Errors
    /// `not_leader` or `unavailable`, also when leadership ends meanwhile; `overloaded`; what the state machine refuses.
    pub(crate) async fn lease(
        &self,
        consensus: &Consensus,
        wish: Wish,
        wait: Duration,
        closed: &CancellationToken,
    ) -> Result<Vec<LeasedJob>, Error> {
        let (answer, mut answered) = oneshot::channel();
        let sink = Sink::Answer(Arc::new(Mutex::new(Some(answer))));
        let id = self.add(consensus, wish, Kind::Once, sink)?;
        let gone = |_| Error::new(ErrorCode::ShuttingDown, "the node is stopping");
        tokio::select! {
            biased;
            answer = &mut answered => return answer.map_err(gone)?,
            () = closed.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
        if lock(&self.shared.demands).withdraw(id) {
            return Ok(Vec::new());
        }
        // An order is under way for it, or its answer is: neither takes long. An order that brings nothing ends it.
        answered.await.unwrap_or_else(|_| Ok(Vec::new()))
    }

    /// Serves a worker by pushes, until [`Dispatcher::unsubscribe`] or until leadership ends. One that was told not to run
    /// is told again, since it may have been told while nobody reached it.
    ///
    /// # Errors
    /// `not_leader`, `unavailable` or `overloaded`.
    pub(crate) fn subscribe(
        &self,
        consensus: &Consensus,
        wish: Wish,
        pushes: mpsc::Sender<Outgoing>,
    ) -> Result<DemandId, Error> {
        let (worker, sink) = (wish.worker, Sink::Push(pushes));
        let id = self.add(consensus, wish, Kind::Subscription, sink.clone())?;
        match consensus.read(|core| core.worker_order(worker)) {
            None | Some(WorkerOrder::Run) => {}
            Some(order) => hints::ordered(&sink, worker, order),
        }
        Ok(id)
    }

    /// Lets more be pushed.
    ///
    /// # Errors
    /// `not_leader` or `not_found` if the subscription is over.
    pub(crate) fn add_credits(&self, consensus: &Consensus, id: DemandId, credits: u32) -> Result<(), Error> {
        let queues = lock(&self.shared.demands).add_credits(id, credits);
        match queues {
            Some(queues) => {
                self.changed(&queues);
                Ok(())
            }
            None if self.shared.leads.load(Ordering::SeqCst) => {
                Err(Error::new(ErrorCode::NotFound, "the subscription is over: subscribe again"))
            }
            None => Err(consensus.leadership().borrow().not_leader()),
        }
    }

    /// Stops pushing. What was leased for it and not yet pushed is given back.
    pub(crate) fn unsubscribe(&self, id: DemandId) {
        lock(&self.shared.demands).remove(id);
    }

    /// A worker that the state knows was heard of.
    pub(crate) fn heard(&self, worker: WorkerId) {
        self.shared.heard.note(worker);
    }

    /// Who waits for the end of a job.
    pub(crate) fn ended(&self) -> &EndWatch<JobId> {
        &self.shared.ended
    }

    /// Who waits for the end of a batch.
    pub(crate) fn batches(&self) -> &EndWatch<BatchId> {
        &self.shared.batches
    }

    /// Consensus, while this node leads and demands are served.
    pub(super) fn led(&self) -> Option<Consensus> {
        lock(&self.shared.consensus).clone().filter(|_| self.shared.leads.load(Ordering::SeqCst))
    }

    pub(super) fn demands(&self) -> MutexGuard<'_, Demands<Sink>> {
        lock(&self.shared.demands)
    }

    fn add(&self, consensus: &Consensus, wish: Wish, kind: Kind, sink: Sink) -> Result<DemandId, Error> {
        let queues = wish.queues.clone();
        let id = {
            let mut demands = lock(&self.shared.demands);
            // Asked under the lock: once leadership is known to be lost, no demand comes in behind those that are ended.
            if !self.shared.leads.load(Ordering::SeqCst) {
                return Err(consensus.leadership().borrow().not_leader());
            }
            if demands.len() >= DEMANDS_MAX {
                let message = format!("{DEMANDS_MAX} workers wait at this node already");
                return Err(Error::new(ErrorCode::Overloaded, message).retry_after_ms(1_000));
            }
            demands.add(wish, kind, sink)
        };
        self.changed(&queues);
        Ok(id)
    }
}

/// Whether a worker has been told not to run. One that is not known is refused by the state machine, and hears of it.
pub(super) fn is_held_back(core: &Core, worker: WorkerId) -> bool {
    core.worker_order(worker).is_some_and(|order| order != WorkerOrder::Run)
}
