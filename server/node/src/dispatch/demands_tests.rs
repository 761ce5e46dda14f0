//! Who gets what, without a cluster.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::demands::{DemandId, Demands, Resumed};
use super::wish::{Kind, Order, Wish};
use jobraft_protocol::{QueueName, WorkerId, limits};
use std::collections::{BTreeMap, BTreeSet, HashMap};

fn queue(name: &str) -> QueueName {
    name.parse().unwrap()
}

/// Demands, and queues with so many ready jobs, which orders take away when they are settled.
#[derive(Default)]
struct Bench {
    demands: Demands<u64>,
    ready: HashMap<QueueName, usize>,
    /// Of these queues nothing can be leased, whatever they say is ready.
    barren: BTreeSet<QueueName>,
    /// Those that are left alone.
    resting: Vec<QueueName>,
    held_back: BTreeSet<WorkerId>,
}

impl Bench {
    fn with(ready: &[(&str, usize)]) -> Self {
        let ready = ready.iter().map(|(name, count)| (queue(name), *count)).collect();
        Self { ready, ..Self::default() }
    }

    fn add(&mut self, worker: u64, queues: &[&str], credits: u32, kind: Kind) -> DemandId {
        let queues = queues.iter().map(|name| queue(name)).collect();
        let wish = Wish { worker: WorkerId(worker), queues, weights: vec![], credits, lease_ms: 1_000 };
        self.demands.add(wish, kind, worker)
    }

    fn add_weighted(&mut self, worker: u64, queues: &[(&str, u32)], credits: u32, kind: Kind) -> DemandId {
        let weights = queues.iter().map(|(_, weight)| *weight).collect();
        let queues = queues.iter().map(|(name, _)| queue(name)).collect();
        let wish = Wish { worker: WorkerId(worker), queues, weights, credits, lease_ms: 1_000 };
        self.demands.add(wish, kind, worker)
    }

    fn plan(&mut self) -> Vec<Order> {
        let queues = self.demands.queues();
        let ready = |queue: &QueueName| self.ready.get(queue).copied().unwrap_or(0);
        self.demands.plan(&queues, ready, |worker| self.held_back.contains(&worker))
    }

    fn foresee(&mut self, name: &str, count: usize) -> Vec<Order> {
        let coming = BTreeMap::from([(queue(name), count)]);
        self.demands.foresee(&coming, |worker| self.held_back.contains(&worker))
    }

    /// Applies an order as the state machine would; returns where its jobs go.
    fn apply(&mut self, order: &Order) -> (usize, Option<u64>) {
        let mut leased = Vec::new();
        for (queue, &share) in order.queues.iter().zip(&order.shares) {
            let ready = self.ready.get_mut(queue).unwrap();
            let count = if self.barren.contains(queue) { 0 } else { (*ready).min(share as usize) };
            *ready -= count;
            leased.extend(std::iter::repeat_n(queue, count));
        }
        let (sink, freed) = self.demands.settle(order.demand, leased.iter().copied());
        self.resting.extend(self.demands.brought(&freed, leased.iter().copied()));
        self.demands.resume(order.demand);
        (leased.len(), sink)
    }

    /// Plans and applies until nothing moves; returns what each worker got, by rounds.
    fn run(&mut self) -> Vec<Vec<(u64, u32)>> {
        let mut rounds = Vec::new();
        loop {
            let orders = self.plan();
            if orders.is_empty() {
                return rounds;
            }
            rounds.push(orders.iter().map(|order| (order.worker.0, order.max)).collect());
            for order in orders {
                self.apply(&order);
            }
        }
    }
}

#[test]
fn one_ready_job_makes_one_of_a_thousand_idle_workers_ask() {
    let mut bench = Bench::with(&[("q", 1)]);
    for worker in 0..1_000 {
        bench.add(worker, &["q"], 10, Kind::Subscription);
    }
    let orders = bench.plan();
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].worker, orders[0].max), (WorkerId(0), 1));
    assert_eq!(bench.plan(), [], "what is under way is reserved");
}

#[test]
fn what_is_about_to_come_is_shared_evenly_and_reserves_nothing() {
    let mut bench = Bench::with(&[("q", 1)]);
    for worker in 1..=4 {
        bench.add(worker, &["q"], 10, Kind::Subscription);
    }
    let ready = bench.plan();
    assert_eq!(ready.iter().map(|order| (order.worker.0, order.max)).collect::<Vec<_>>(), [(1, 1)]);
    // What is ready is for the first already: it takes nothing of what comes.
    let foreseen = bench.foresee("q", 2);
    assert_eq!(foreseen.iter().map(|order| (order.worker.0, order.max)).collect::<Vec<_>>(), [(2, 1), (3, 1)]);
    assert_eq!(bench.foresee("r", 2), [], "nobody waits there");
    // Nothing came. What was reserved for others stays so.
    bench.ready.insert(queue("q"), 0);
    for order in &foreseen {
        assert_eq!(bench.demands.settle(order.demand, [].iter()), (Some(order.worker.0), vec![queue("q")]));
        bench.demands.resume(order.demand);
    }
    bench.ready.insert(queue("q"), 1);
    assert_eq!(bench.plan(), [], "it is the first one's");
    bench.ready.insert(queue("q"), 2);
    assert_eq!(bench.plan().iter().map(|order| (order.worker.0, order.max)).collect::<Vec<_>>(), [(4, 1)]);
}

#[test]
fn who_waited_longest_is_served_first_and_then_goes_behind() {
    let mut bench = Bench::default();
    for worker in 1..=3 {
        bench.add(worker, &["q"], 10, Kind::Subscription);
    }
    let served = (0..5).map(|_| {
        bench.ready.insert(queue("q"), 1);
        let order = bench.plan().remove(0);
        bench.apply(&order);
        order.worker.0
    });
    assert_eq!(served.collect::<Vec<_>>(), [1, 2, 3, 1, 2]);
}

#[test]
fn ready_jobs_are_shared_evenly() {
    let mut bench = Bench::with(&[("q", 10)]);
    for worker in 1..=3 {
        bench.add(worker, &["q"], 100, Kind::Subscription);
    }
    assert_eq!(bench.run(), [[(1, 4), (2, 3), (3, 3)]]);
}

#[test]
fn a_worker_gets_no_more_than_its_credits_nor_than_fits_in_one_answer() {
    let mut bench = Bench::with(&[("q", 10_000)]);
    let id = bench.add(1, &["q"], 5, Kind::Subscription);
    assert_eq!(bench.run(), [[(1, 5)]]);
    for _ in 0..2 {
        bench.demands.add_credits(id, u32::MAX);
        assert_eq!(bench.run().concat(), [(1, limits::LEASE_JOBS_MAX)]);
    }
}

#[test]
fn queues_are_served_in_the_order_in_which_the_worker_names_them() {
    let mut bench = Bench::with(&[("a", 2), ("b", 5)]);
    bench.add(1, &["b", "a"], 6, Kind::Subscription);
    let orders = bench.plan();
    assert_eq!(orders.len(), 1);
    assert_eq!((&orders[0].queues, &orders[0].shares, orders[0].max), (&vec![queue("b"), queue("a")], &vec![5, 1], 6));
}

#[test]
fn a_fetch_ends_with_the_first_jobs_and_waits_on_if_there_were_none() {
    let mut bench = Bench::with(&[("q", 1)]);
    bench.add(1, &["q"], 10, Kind::Once);
    let order = bench.plan().remove(0);
    // Somebody else took the job meanwhile.
    bench.ready.insert(queue("q"), 0);
    assert_eq!(bench.apply(&order), (0, Some(1)));
    assert_eq!(bench.demands.len(), 1);
    bench.ready.insert(queue("q"), 3);
    let order = bench.plan().remove(0);
    assert_eq!(bench.apply(&order), (3, Some(1)));
    assert_eq!((bench.demands.len(), bench.plan()), (0, vec![]));
}

#[test]
fn a_fetch_withdrawn_during_an_order_waits_no_longer_if_that_brings_nothing() {
    let mut bench = Bench::with(&[("q", 1)]);
    let id = bench.add(1, &["q"], 1, Kind::Once);
    let order = bench.plan().remove(0);
    assert!(!bench.demands.withdraw(id), "an order is under way");
    // Somebody else took the job meanwhile.
    bench.ready.insert(queue("q"), 0);
    assert_eq!(bench.apply(&order), (0, Some(1)));
    assert_eq!(bench.demands.len(), 0, "its time is over");
    bench.ready.insert(queue("q"), 1);
    assert_eq!(bench.plan(), [], "nobody would take the job");
}

#[test]
fn what_was_ordered_for_one_who_went_away_is_not_reserved_for_ever() {
    let mut bench = Bench::with(&[("q", 1)]);
    let gone = bench.add(1, &["q"], 1, Kind::Subscription);
    bench.add(2, &["q"], 1, Kind::Subscription);
    let order = bench.plan().remove(0);
    assert_eq!((order.demand, bench.plan()), (gone, vec![]));
    assert!(!bench.demands.withdraw(gone), "an order is under way");
    bench.demands.remove(gone);
    let (sink, queues) = bench.demands.settle(gone, [&queue("q")].into_iter());
    assert_eq!((sink, queues), (None, vec![queue("q")]), "its job goes back");
    assert_eq!(bench.plan()[0].worker, WorkerId(2));
}

#[test]
fn when_leadership_ends_each_demand_ends_once_after_its_order() {
    let mut bench = Bench::with(&[("q", 1)]);
    let ordered = bench.add(1, &["q"], 5, Kind::Subscription);
    bench.add(2, &["q"], 5, Kind::Subscription);
    let order = bench.plan().remove(0);
    assert_eq!(order.demand, ordered);
    assert_eq!(bench.demands.end_all(), [(WorkerId(2), 2)]);
    assert_eq!(
        bench.demands.settle(ordered, [&queue("q")].into_iter()).0,
        Some(1),
        "what was leased is still delivered"
    );
    assert_eq!(bench.demands.resume(ordered), Resumed::Ended(WorkerId(1), 1));
    assert_eq!(bench.demands.resume(ordered), Resumed::Gone);
    assert_eq!((bench.demands.len(), bench.demands.queues()), (0, vec![]));
}

#[test]
fn a_worker_is_found_by_its_subscriptions_only() {
    let mut bench = Bench::default();
    let id = bench.add(7, &["q"], 1, Kind::Subscription);
    bench.add(7, &["q"], 1, Kind::Once);
    bench.add(8, &["q"], 1, Kind::Subscription);
    assert_eq!(bench.demands.subscribers(WorkerId(7)).collect::<Vec<_>>(), [&7]);
    bench.demands.remove(id);
    assert_eq!(bench.demands.subscribers(WorkerId(7)).count(), 0);
}

#[test]
fn credits_that_come_during_an_order_count_after_it() {
    let mut bench = Bench::with(&[("q", 3)]);
    let id = bench.add(1, &["q"], 1, Kind::Subscription);
    let order = bench.plan().remove(0);
    bench.demands.add_credits(id, 2);
    assert_eq!(bench.plan(), [], "one order at a time");
    bench.apply(&order);
    assert_eq!(bench.run(), [[(1, 2)]]);
}

#[test]
fn weighted_queues_are_served_in_proportion_however_small_the_orders() {
    let mut bench = Bench::with(&[("a", 1_000_000), ("b", 1_000_000), ("c", 0)]);
    let id = bench.add_weighted(1, &[("c", 10), ("a", 3), ("b", 1)], 0, Kind::Subscription);
    for round in 0..4_000 {
        bench.demands.add_credits(id, 1 + round % 4);
        bench.run();
    }
    let taken = [1_000_000 - bench.ready[&queue("a")], 1_000_000 - bench.ready[&queue("b")]];
    assert_eq!(taken.iter().sum::<usize>(), 10_000, "a queue that is empty holds nobody back");
    assert!(taken[0].abs_diff(7_500) <= 150 && taken[1].abs_diff(2_500) <= 50, "{taken:?}");

    // It comes in now, and has no claim to what the others got meanwhile.
    bench.ready.insert(queue("c"), 1_000);
    bench.demands.add_credits(id, 14);
    bench.run();
    assert_eq!(1_000 - bench.ready[&queue("c")], 10);
}

#[test]
fn fetches_of_one_job_each_are_served_in_proportion_too() {
    let mut bench = Bench::with(&[("a", 10_000), ("b", 10_000)]);
    for _ in 0..2_000 {
        bench.add_weighted(1, &[("a", 3), ("b", 1)], 1, Kind::Once);
        bench.run();
    }
    let taken = 10_000 - bench.ready[&queue("b")];
    assert!(taken.abs_diff(500) <= 100, "{taken} of 2,000 are more than five standard deviations from a quarter");
}

#[test]
fn workers_with_weights_share_a_queue_with_workers_without() {
    let mut bench = Bench::with(&[("a", 4), ("b", 4)]);
    bench.add_weighted(1, &[("a", 1), ("b", 1)], 100, Kind::Subscription);
    bench.add(2, &["a"], 100, Kind::Subscription);
    let orders = bench.plan();
    let shares: Vec<_> = orders.iter().map(|order| (order.worker.0, order.shares.clone())).collect();
    assert_eq!(shares, [(1, vec![2, 4]), (2, vec![2])]);
}

#[test]
fn a_worker_told_not_to_run_is_passed_over_until_it_is_told_to() {
    let mut bench = Bench::with(&[("q", 10)]);
    for worker in 1..=2 {
        bench.add(worker, &["q"], 3, Kind::Subscription);
    }
    bench.held_back.insert(WorkerId(1));
    assert_eq!(bench.run(), [[(2, 3)]]);
    let id = bench.add(1, &["q"], 1, Kind::Once);
    assert_eq!(bench.plan(), [], "its fetches wait as well");
    assert_eq!(bench.demands.queues(), [], "nobody looks at it again for nothing");

    bench.held_back.clear();
    assert_eq!(bench.demands.wake(WorkerId(1)), [queue("q"), queue("q")]);
    assert_eq!(bench.demands.wake(WorkerId(1)), []);
    assert_eq!(bench.run().concat(), [(1, 3), (1, 1)]);
    assert!(!bench.demands.withdraw(id), "the fetch was answered");
}

#[test]
fn a_worker_held_back_during_its_order_rests_after_it_and_can_go() {
    let mut bench = Bench::with(&[("q", 5)]);
    let id = bench.add(1, &["q"], 2, Kind::Subscription);
    let order = bench.plan().remove(0);
    bench.held_back.insert(WorkerId(1));
    bench.demands.wake(WorkerId(1));
    bench.apply(&order);
    bench.demands.add_credits(id, 5);
    assert_eq!(bench.plan(), []);
    bench.demands.add_credits(id, 5);
    assert_eq!(bench.demands.queues(), [], "credits do not wake it");
    assert!(bench.demands.withdraw(id));
    assert_eq!(bench.demands.wake(WorkerId(1)), []);
}

#[test]
fn a_lost_workers_subscriptions_end_and_nobody_elses() {
    let mut bench = Bench::with(&[("q", 1)]);
    let lost = bench.add(7, &["q"], 5, Kind::Subscription);
    let fetch = bench.add(7, &["q"], 1, Kind::Once);
    let other = bench.add(8, &["q"], 5, Kind::Subscription);
    assert_eq!(bench.demands.end_subscriptions(WorkerId(7)), [(WorkerId(7), 7)]);
    assert_eq!(bench.demands.add_credits(lost, 1), None, "it has to subscribe anew");
    assert!(bench.demands.withdraw(fetch));
    assert_eq!(bench.plan().remove(0).demand, other);
}

#[test]
fn a_queue_that_says_more_than_it_gives_is_not_asked_again_and_again() {
    let mut bench = Bench::with(&[("barren", 7), ("q", 3)]);
    bench.barren.insert(queue("barren"));
    for worker in 0..3 {
        bench.add(worker, &["barren"], 5, Kind::Subscription);
    }
    assert!(bench.run().len() <= 2);
    assert_eq!(bench.plan(), []);
    assert_eq!(bench.resting, [queue("barren")]);
    // The other queues of those who wait there are served meanwhile.
    bench.add(9, &["barren", "q"], 5, Kind::Subscription);
    assert_eq!(bench.run(), [[(9, 3)]]);
    // After a while it is asked once more, and again left alone; until it gives something.
    for _ in 0..3 {
        let resting = std::mem::take(&mut bench.resting);
        bench.demands.wake_queues(&resting);
        assert_eq!(bench.run().len(), 1);
        assert_eq!(bench.resting, [queue("barren")]);
    }
    bench.barren.clear();
    let resting = std::mem::take(&mut bench.resting);
    bench.demands.wake_queues(&resting);
    let served: u32 = bench.run().into_iter().flatten().map(|(_, count)| count).sum();
    assert_eq!((served, bench.resting.len()), (7, 0));
}

#[test]
fn one_order_that_comes_back_with_nothing_is_followed_by_another_at_once() {
    let mut bench = Bench::with(&[("q", 1)]);
    bench.add(1, &["q"], 1, Kind::Subscription);
    let order = bench.plan().remove(0);
    // Another one was quicker, and a new job came.
    bench.ready.insert(queue("q"), 0);
    assert_eq!(bench.apply(&order).0, 0);
    bench.ready.insert(queue("q"), 1);
    assert_eq!(bench.run(), [[(1, 1)]]);
    // It counts from the beginning after one that brought something.
    bench.ready.insert(queue("q"), 1);
    bench.add(2, &["q"], 1, Kind::Subscription);
    let order = bench.plan().remove(0);
    bench.ready.insert(queue("q"), 0);
    assert_eq!(bench.apply(&order).0, 0);
    bench.ready.insert(queue("q"), 1);
    assert_eq!(bench.run(), [[(2, 1)]]);
}
