//! Who waits for jobs, and who gets those that are ready. No I/O: given what is ready, it says what to lease for whom.
//!
//! What must hold: of a queue's ready jobs, no more are asked for than there are, whatever is under way counted but for what
//! was foreseen, so that a thousand idle workers do not all ask for one job; a demand has one order under way at most; who was served goes
//! behind all others that wait on the same queue; ready jobs are left alone only if nobody waits for them; a worker that was
//! told not to run makes no order, and is looked at again only when it was told to run; one that let a lease run out gets
//! no more on a subscription from before; a queue that brings nothing although it seems to have something is left alone for a
//! while, so that nobody asks it again and again.

use super::strides::Strides;
use super::wish::{Kind, Order, Wish};
use jobraft_protocol::{QueueName, WorkerId, limits};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Orders in a row that bring nothing from a queue, after which it is left alone for a while.
const FRUITLESS_MAX: u32 = 2;

/// A demand, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DemandId(u64);

/// All demands on this node. `S` is where each is served.
#[derive(Debug)]
pub(crate) struct Demands<S> {
    by_id: HashMap<DemandId, Demand<S>>,
    /// On each queue, those that could be served now, the one that has waited longest first.
    waiting: HashMap<QueueName, BTreeSet<(Turn, DemandId)>>,
    /// On each queue, how many of its ready jobs the orders under way ask for.
    reserved: HashMap<QueueName, usize>,
    /// What each order under way has reserved. Outlives a demand that goes away meanwhile.
    orders: HashMap<DemandId, Vec<(QueueName, usize)>>,
    /// How many orders in a row each queue has let come back with nothing. Bounded by the queues that there are.
    fruitless: HashMap<QueueName, u32>,
    /// Those that are left alone for a while.
    resting: BTreeSet<QueueName>,
    /// All of them by worker.
    of_worker: BTreeSet<(WorkerId, DemandId)>,
    next: u64,
}

/// When a demand came, or was last served: a place in the order of all such moments.
type Turn = u64;

#[derive(Debug)]
struct Demand<S> {
    worker: WorkerId,
    queues: Arc<[QueueName]>,
    /// There if its queues have weights.
    strides: Option<Strides>,
    credits: u32,
    lease_ms: u64,
    turn: Turn,
    kind: Kind,
    phase: Phase,
    /// Whether its worker was last seen to have been told not to run: then it waits on no queue.
    rests: bool,
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
            fruitless: HashMap::new(),
            resting: BTreeSet::new(),
            of_worker: BTreeSet::new(),
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
        let Wish { worker, queues, weights, credits, lease_ms } = wish;
        let strides = match kind {
            _ if weights.is_empty() => None,
            Kind::Subscription => Some(Strides::new(&weights)),
            // Its turn must not always begin with the same queue.
            Kind::Once => Some(Strides::at_random(&weights)),
        };
        let demand = Demand {
            worker,
            queues: queues.into(),
            strides,
            credits: credits.min(limits::CREDITS_MAX),
            lease_ms,
            turn,
            kind,
            phase: Phase::Waiting,
            rests: false,
            sink,
        };
        self.of_worker.insert((worker, id));
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
        self.of_worker.remove(&(demand.worker, id));
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
        let ids = self.by_id.keys().copied().collect();
        self.end(ids)
    }

    /// Ends a worker's subscriptions, like [`Demands::end_all`].
    pub(crate) fn end_subscriptions(&mut self, worker: WorkerId) -> Vec<(WorkerId, S)> {
        let is_subscription = |id: &DemandId| self.by_id.get(id).is_some_and(|it| it.kind == Kind::Subscription);
        let ids = self.of(worker).filter(is_subscription).collect();
        self.end(ids)
    }

    fn end(&mut self, ids: Vec<DemandId>) -> Vec<(WorkerId, S)> {
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
        let demands = self.of(worker).filter_map(|id| self.by_id.get(&id));
        demands.filter(|demand| demand.kind == Kind::Subscription).map(|demand| &demand.sink)
    }

    fn of(&self, worker: WorkerId) -> impl Iterator<Item = DemandId> {
        self.of_worker.range((worker, DemandId(0))..=(worker, DemandId(u64::MAX))).map(|&(_, id)| id)
    }

    /// A worker was told to run: its demands wait again. Returns the queues to be planned.
    pub(crate) fn wake(&mut self, worker: WorkerId) -> Vec<QueueName> {
        let mut queues = Vec::new();
        for id in self.of(worker).collect::<Vec<_>>() {
            if let Some(demand) = self.by_id.get_mut(&id)
                && std::mem::take(&mut demand.rests)
            {
                queues.extend(demand.queues.iter().cloned());
                self.enter(id);
            }
        }
        queues
    }

    /// Lets a demand wait on no queue until its worker is told to run.
    fn rest(&mut self, id: DemandId) {
        self.leave(id);
        if let Some(demand) = self.by_id.get_mut(&id) {
            demand.rests = true;
        }
    }

    /// Says what to lease now, given queues where something changed, how many jobs are ready in any queue, and which
    /// workers have been told not to run.
    pub(crate) fn plan(
        &mut self,
        changed: &[QueueName],
        ready: impl Fn(&QueueName) -> usize,
        is_held_back: impl Fn(WorkerId) -> bool,
    ) -> Vec<Order> {
        let mut orders = Vec::new();
        for queue in changed {
            while self.free(queue, &ready) > 0
                && let Some(&(_, id)) = self.waiting.get(queue).and_then(BTreeSet::first)
            {
                if self.by_id.get(&id).is_some_and(|demand| is_held_back(demand.worker)) {
                    self.rest(id);
                } else if let Some(order) = self.order(id, &ready) {
                    orders.push(order);
                } else {
                    break;
                }
            }
        }
        orders
    }

    /// Says what to lease of jobs that are about to be ready, so many in each of these queues. The leases are to be in the entry that
    /// brings the jobs.
    ///
    /// Nothing is reserved: what they lease is never seen as ready.
    pub(crate) fn foresee(
        &mut self,
        coming: &BTreeMap<QueueName, usize>,
        is_held_back: impl Fn(WorkerId) -> bool,
    ) -> Vec<Order> {
        let queues: Vec<QueueName> = coming.keys().cloned().collect();
        let reserved = std::mem::take(&mut self.reserved);
        let orders = self.plan(&queues, |queue| coming.get(queue).copied().unwrap_or(0), is_held_back);
        self.reserved = reserved;
        for order in &orders {
            for (_, reserved) in self.orders.get_mut(&order.demand).into_iter().flatten() {
                *reserved = 0;
            }
        }
        orders
    }

    /// Whether somebody could be served from a queue now.
    pub(crate) fn is_waited_on(&self, queue: &QueueName) -> bool {
        self.waiting.contains_key(queue)
    }

    /// Whether nobody could be served now.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Ready jobs that no order asks for yet.
    fn free(&self, queue: &QueueName, ready: impl Fn(&QueueName) -> usize) -> usize {
        if self.resting.contains(queue) {
            return 0;
        }
        ready(queue).saturating_sub(self.reserved.get(queue).copied().unwrap_or(0))
    }

    /// What a queue has for one who waits on it: an even share, so that nobody is loaded up to the limit while others of
    /// the same queue sit idle.
    fn share(&self, queue: &QueueName, ready: impl Fn(&QueueName) -> usize) -> usize {
        let waiting = self.waiting.get(queue).map_or(1, BTreeSet::len).max(1);
        self.free(queue, ready).div_ceil(waiting)
    }

    /// Gives a demand its share of each of its queues, in its order or by their weights, until it has enough.
    fn order(&mut self, id: DemandId, ready: impl Fn(&QueueName) -> usize) -> Option<Order> {
        let demand = self.by_id.get_mut(&id)?;
        let (worker, lease_ms, queues) = (demand.worker, demand.lease_ms, Arc::clone(&demand.queues));
        let wanted = demand.credits.min(limits::LEASE_JOBS_MAX) as usize;
        let taken = match demand.strides.take() {
            Some(mut strides) => {
                let shares: Vec<usize> = queues.iter().map(|queue| self.share(queue, &ready)).collect();
                let picked = strides.pick(&shares, wanted);
                self.by_id.get_mut(&id)?.strides = Some(strides);
                picked.into_iter().map(|(place, count)| (queues[place].clone(), count)).collect()
            }
            None => self.in_order(&queues, wanted, &ready),
        };
        let max = taken.iter().map(|(_, count)| count).sum::<usize>();
        if max == 0 {
            return None;
        }
        self.leave(id);
        self.by_id.get_mut(&id)?.phase = Phase::Ordered;
        for (queue, count) in &taken {
            *self.reserved.entry(queue.clone()).or_default() += count;
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(limits::LEASE_JOBS_MAX);
        let shares = taken.iter().map(|&(_, share)| count(share)).collect();
        let queues = taken.iter().map(|(queue, _)| queue.clone()).collect();
        self.orders.insert(id, taken);
        Some(Order { demand: id, worker, queues, shares, max: count(max), lease_ms })
    }

    /// Takes from the first queue what it has, then from the next.
    fn in_order(
        &self,
        queues: &[QueueName],
        mut wanted: usize,
        ready: impl Fn(&QueueName) -> usize,
    ) -> Vec<(QueueName, usize)> {
        let mut taken = Vec::new();
        for queue in queues {
            if wanted == 0 {
                break;
            }
            let count = self.share(queue, &ready).min(wanted);
            if count > 0 {
                wanted -= count;
                taken.push((queue.clone(), count));
            }
        }
        taken
    }

    /// An order came back with a job from each of the `leased` queues, or failed with none: what it had reserved is free
    /// again. Returns where the jobs go, nowhere if the demand is gone, and the queues to be planned.
    pub(crate) fn settle<'a>(
        &mut self,
        id: DemandId,
        leased: impl Iterator<Item = &'a QueueName>,
    ) -> (Option<S>, Vec<QueueName>) {
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
        let mut taken = vec![0; demand.queues.len()];
        for queue in leased {
            if let Some(place) = demand.queues.iter().position(|own| own == queue) {
                taken[place] += 1;
            }
        }
        if let Some(strides) = &mut demand.strides {
            strides.charge(&taken);
        }
        let leased: usize = taken.iter().sum();
        demand.credits = demand.credits.saturating_sub(u32::try_from(leased).unwrap_or(u32::MAX));
        if leased > 0 && demand.kind == Kind::Once {
            return (self.remove(id), queues);
        }
        (Some(demand.sink.clone()), queues)
    }

    /// An order that was not refused brought something from these of its queues, or nothing from any. Returns the queues that
    /// are to be left alone for a while, until [`Demands::wake_queues`].
    ///
    /// One order that brings nothing is no sign: another worker may have been quicker. But were a queue to count jobs as ready
    /// that cannot be leased, it would be asked again at once, for ever.
    pub(crate) fn brought<'a>(
        &mut self,
        asked: &[QueueName],
        leased: impl Iterator<Item = &'a QueueName>,
    ) -> Vec<QueueName> {
        let mut is_fruitless = true;
        for queue in leased {
            is_fruitless = false;
            self.fruitless.remove(queue);
        }
        let mut resting = Vec::new();
        for queue in asked.iter().filter(|_| is_fruitless) {
            let count = self.fruitless.entry(queue.clone()).or_default();
            *count = count.saturating_add(1);
            if *count >= FRUITLESS_MAX && self.resting.insert(queue.clone()) {
                resting.push(queue.clone());
            }
        }
        resting
    }

    /// These queues were left alone for long enough; they are to be planned.
    pub(crate) fn wake_queues(&mut self, queues: &[QueueName]) {
        self.resting.retain(|queue| !queues.contains(queue));
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
        if demand.phase == Phase::Waiting && demand.credits > 0 && !demand.rests {
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
