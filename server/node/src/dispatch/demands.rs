//! Who waits for jobs, and who gets those that are ready. No I/O: given what is ready, it says what to lease for whom.
//!
//! What must hold: of a queue's ready jobs, no more are asked for than there are, whatever is under way counted, so that
//! a thousand idle workers do not all ask for one job; a demand has one order under way at most; who was served goes
//! behind all others that wait on the same queue; ready jobs are left alone only if nobody waits for them.

use super::wish::{Kind, Order, Wish};
use jobraft_protocol::{QueueName, WorkerId, limits};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A demand, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DemandId(u64);

/// All demands on this node. `S` is where each is served.
#[derive(Debug)]
pub(crate) struct Demands<S> {
    by_id: HashMap<DemandId, Demand<S>>,
    /// On each queue, those that could be served now, the one that has waited longest first.
    waiting: HashMap<QueueName, BTreeSet<(Turn, DemandId)>>,
    /// On each queue, how many jobs the orders under way ask for.
    reserved: HashMap<QueueName, usize>,
    /// What each order under way asks for. Outlives a demand that goes away meanwhile.
    orders: HashMap<DemandId, Vec<(QueueName, usize)>>,
    /// Subscriptions by worker.
    subscribers: BTreeSet<(WorkerId, DemandId)>,
    next: u64,
}

/// When a demand came, or was last served: a place in the order of all such moments.
type Turn = u64;

#[derive(Debug)]
struct Demand<S> {
    worker: WorkerId,
    queues: Arc<[QueueName]>,
    credits: u32,
    lease_ms: u64,
    turn: Turn,
    kind: Kind,
    phase: Phase,
    sink: S,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Could be served, if it has credits.
    Waiting,
    /// Has an order under way.
    Ordered,
    /// Has an order under way, after which it ends and is told so.
    Closing,
    /// Has an order under way, after which it ends unless that brought something: nobody waits any longer.
    Withdrawn,
}

impl<S> Default for Demands<S> {
    fn default() -> Self {
        Self {
            by_id: HashMap::new(),
            waiting: HashMap::new(),
            reserved: HashMap::new(),
            orders: HashMap::new(),
            subscribers: BTreeSet::new(),
            next: 0,
        }
    }
}

impl<S: Clone> Demands<S> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Adds a demand; its queues are to be planned then.
    pub(crate) fn add(&mut self, wish: Wish, kind: Kind, sink: S) -> DemandId {
        let turn = self.turn();
        let id = DemandId(turn);
        let Wish { worker, mut queues, credits, lease_ms } = wish;
        let mut seen = BTreeSet::new();
        queues.retain(|queue| seen.insert(queue.clone()));
        let credits = credits.min(limits::CREDITS_MAX);
        let demand =
            Demand { worker, queues: queues.into(), credits, lease_ms, turn, kind, phase: Phase::Waiting, sink };
        if kind == Kind::Subscription {
            self.subscribers.insert((worker, id));
        }
        self.by_id.insert(id, demand);
        self.enter(id);
        id
    }

    /// Adds to what a demand may get; returns the queues to be planned, or none if there is no such demand.
    pub(crate) fn add_credits(&mut self, id: DemandId, credits: u32) -> Option<Arc<[QueueName]>> {
        let demand = self.by_id.get_mut(&id)?;
        demand.credits = demand.credits.saturating_add(credits).min(limits::CREDITS_MAX);
        let queues = Arc::clone(&demand.queues);
        self.enter(id);
        Some(queues)
    }

    /// Removes a demand, if it is there. What is ordered for it comes back to nobody: see [`Demands::settle`].
    pub(crate) fn remove(&mut self, id: DemandId) -> Option<S> {
        self.leave(id);
        let demand = self.by_id.remove(&id)?;
        self.subscribers.remove(&(demand.worker, id));
        Some(demand.sink)
    }

    /// Removes a demand that nothing is under way for; says whether it did. Any other ends with its order, whatever that
    /// brings.
    pub(crate) fn withdraw(&mut self, id: DemandId) -> bool {
        match self.by_id.get_mut(&id) {
            Some(demand) if demand.phase == Phase::Ordered => demand.phase = Phase::Withdrawn,
            Some(demand) if demand.phase == Phase::Waiting => return self.remove(id).is_some(),
            _ => {}
        }
        false
    }

    /// Ends all demands: returns those that are gone now. The others go with [`Demands::resume`], after their orders.
    pub(crate) fn end_all(&mut self) -> Vec<(WorkerId, S)> {
        let ids: Vec<DemandId> = self.by_id.keys().copied().collect();
        let mut ended = Vec::new();
        for id in ids {
            let Some(demand) = self.by_id.get_mut(&id) else { continue };
            if demand.phase == Phase::Waiting {
                let worker = demand.worker;
                ended.extend(self.remove(id).map(|sink| (worker, sink)));
            } else {
                demand.phase = Phase::Closing;
            }
        }
        ended
    }

    /// The queues that somebody waits on.
    pub(crate) fn queues(&self) -> Vec<QueueName> {
        self.waiting.keys().cloned().collect()
    }

    /// Where a worker's subscriptions are served.
    pub(crate) fn subscribers(&self, worker: WorkerId) -> impl Iterator<Item = &S> {
        let range = (worker, DemandId(0))..=(worker, DemandId(u64::MAX));
        self.subscribers.range(range).filter_map(|(_, id)| self.by_id.get(id)).map(|demand| &demand.sink)
    }

    /// Says what to lease now, given queues where something changed and how many jobs are ready in any queue.
    pub(crate) fn plan(&mut self, changed: &[QueueName], ready: impl Fn(&QueueName) -> usize) -> Vec<Order> {
        let mut orders = Vec::new();
        for queue in changed {
            while self.free(queue, &ready) > 0
                && let Some(&(_, id)) = self.waiting.get(queue).and_then(BTreeSet::first)
                && let Some(order) = self.order(id, &ready)
            {
                orders.push(order);
            }
        }
        orders
    }

    /// Ready jobs that no order asks for yet.
    fn free(&self, queue: &QueueName, ready: impl Fn(&QueueName) -> usize) -> usize {
        ready(queue).saturating_sub(self.reserved.get(queue).copied().unwrap_or(0))
    }

    /// Gives a demand its share of each of its queues, in its order, until it has enough.
    fn order(&mut self, id: DemandId, ready: impl Fn(&QueueName) -> usize) -> Option<Order> {
        let demand = self.by_id.get(&id)?;
        let (worker, lease_ms, queues) = (demand.worker, demand.lease_ms, Arc::clone(&demand.queues));
        let mut wanted = demand.credits.min(limits::LEASE_JOBS_MAX) as usize;
        let mut taken = Vec::new();
        for queue in queues.iter() {
            if wanted == 0 {
                break;
            }
            // An even share: nobody is loaded up to the limit while others of the same queue sit idle.
            let waiting = self.waiting.get(queue).map_or(1, BTreeSet::len).max(1);
            let count = self.free(queue, &ready).div_ceil(waiting).min(wanted);
            if count > 0 {
                wanted -= count;
                taken.push((queue.clone(), count));
            }
        }
        let max = taken.iter().map(|(_, count)| count).sum::<usize>();
        if max == 0 {
            return None;
        }
        self.leave(id);
        self.by_id.get_mut(&id)?.phase = Phase::Ordered;
        for (queue, count) in &taken {
            *self.reserved.entry(queue.clone()).or_default() += count;
        }
        let queues = taken.iter().map(|(queue, _)| queue.clone()).collect();
        self.orders.insert(id, taken);
        let max = u32::try_from(max).unwrap_or(limits::LEASE_JOBS_MAX);
        Some(Order { demand: id, worker, queues, max, lease_ms })
    }

    /// An order came back with `leased` jobs, or failed with none: what it had reserved is free again. Returns where the
    /// jobs go, nowhere if the demand is gone, and the queues to be planned.
    pub(crate) fn settle(&mut self, id: DemandId, leased: usize) -> (Option<S>, Vec<QueueName>) {
        let mut queues = Vec::new();
        for (queue, count) in self.orders.remove(&id).unwrap_or_default() {
            if let Some(reserved) = self.reserved.get_mut(&queue) {
                *reserved = reserved.saturating_sub(count);
                if *reserved == 0 {
                    self.reserved.remove(&queue);
                }
            }
            queues.push(queue);
        }
        let Some(demand) = self.by_id.get_mut(&id) else { return (None, queues) };
        demand.credits = demand.credits.saturating_sub(u32::try_from(leased).unwrap_or(u32::MAX));
        if leased > 0 && demand.kind == Kind::Once {
            return (self.remove(id), queues);
        }
        (Some(demand.sink.clone()), queues)
    }

    /// After what an order brought was delivered: the demand waits again, behind the others, and its queues are to be
    /// planned. Or it was to end: then it is gone, and its sink is returned if somebody is to be told.
    pub(crate) fn resume(&mut self, id: DemandId) -> Resumed<S> {
        let turn = self.turn();
        let Some(demand) = self.by_id.get_mut(&id) else { return Resumed::Gone };
        if matches!(demand.phase, Phase::Closing | Phase::Withdrawn) {
            let (worker, told) = (demand.worker, demand.phase == Phase::Closing);
            return self.remove(id).filter(|_| told).map_or(Resumed::Gone, |sink| Resumed::Ended(worker, sink));
        }
        demand.phase = Phase::Waiting;
        demand.turn = turn;
        let queues = Arc::clone(&demand.queues);
        self.enter(id);
        Resumed::Waits(queues)
    }

    fn turn(&mut self) -> Turn {
        self.next += 1;
        self.next
    }

    /// Lets a demand wait on its queues, if it may.
    fn enter(&mut self, id: DemandId) {
        let Some(demand) = self.by_id.get(&id) else { return };
        if demand.phase == Phase::Waiting && demand.credits > 0 {
            for queue in demand.queues.iter() {
                self.waiting.entry(queue.clone()).or_default().insert((demand.turn, id));
            }
        }
    }

    fn leave(&mut self, id: DemandId) {
        let Some(demand) = self.by_id.get(&id) else { return };
        for queue in demand.queues.iter() {
            if let Some(waiting) = self.waiting.get_mut(queue) {
                waiting.remove(&(demand.turn, id));
                if waiting.is_empty() {
                    self.waiting.remove(queue);
                }
            }
        }
    }
}

/// What became of a demand after its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resumed<S> {
    /// It waits again, on these queues.
    Waits(Arc<[QueueName]>),
    /// It is over; this is where to say so.
    Ended(WorkerId, S),
    /// It was over before.
    Gone,
}
