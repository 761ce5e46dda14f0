//! Whoever looks after the cluster: adds, removes and replaces nodes, one change at a time, until each is done.

use super::chronicle;
use super::cluster::Cluster;
use super::environment::SECOND_NS;
use super::network::HostId;
use super::world::World;
use jobraft_protocol::{Error, NodeId};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How often the operator looks.
const LOOK_NS: u64 = SECOND_NS / 4;
/// After so long without a word an order is given again: whoever had it may be no more.
const PATIENCE_NS: u64 = 20 * SECOND_NS;

/// What a leader says of a directory that was used before.
const SPOILED: &str = "belongs to a cluster already";

/// A change of membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node that runs becomes a voter.
    Add(HostId),
    /// A node goes, and its host with it.
    Remove(HostId),
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// It was made.
    Done(Change),
    /// A leader that lost its majority had begun to add this node: no other takes its directory any more.
    Spoiled(HostId),
}

/// See the module.
#[derive(Default)]
pub struct Operator {
    waiting: VecDeque<Change>,
    order: Option<Order>,
    looks_at_ns: u64,
    done: u64,
}

struct Order {
    given_at_ns: u64,
    answer: Arc<Mutex<Option<Result<(), Error>>>>,
}

impl Operator {
    /// Has a change made once those before it are done.
    pub fn ask_for(&mut self, change: Change) {
        self.waiting.push_back(change);
    }

    /// The changes that are not done.
    pub fn waiting(&self) -> impl Iterator<Item = Change> {
        self.waiting.iter().copied()
    }

    /// How many changes were made.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// When to look again.
    #[must_use]
    pub fn looks_at_ns(&self) -> u64 {
        if self.waiting.is_empty() { u64::MAX } else { self.looks_at_ns }
    }

    /// Has a change made before all others.
    pub fn ask_first_for(&mut self, change: Change) {
        self.waiting.push_front(change);
        self.order = None;
    }

    /// Looks how the change under way is; says what came of it, once it is over.
    pub fn look(&mut self, world: &mut World, cluster: &Cluster) -> Option<Over> {
        let now = world.now_ns();
        let change = *self.waiting.front()?;
        if now < self.looks_at_ns {
            return None;
        }
        self.looks_at_ns = now + LOOK_NS;
        if let Some(order) = &self.order {
            let answer = order.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
            match answer {
                None if now < order.given_at_ns + PATIENCE_NS => return None,
                Some(Err(error)) => {
                    chronicle::note(format_args!("{change:?}: {}", error.message));
                    if let Change::Add(host) = change
                        && error.message.contains(SPOILED)
                    {
                        self.waiting.pop_front();
                        self.order = None;
                        return Some(Over::Spoiled(host));
                    }
                }
                None | Some(Ok(())) => {}
            }
            self.order = None;
        }
        let (leader, consensus) = cluster.leader(world)?;
        if is_done(change, cluster, &consensus.members(), &consensus.voters()) {
            chronicle::note(format_args!("{change:?} is done"));
            self.waiting.pop_front();
            self.done += 1;
            return Some(Over::Done(change));
        }
        let answer = Arc::default();
        self.order = Some(Order { given_at_ns: now, answer: Arc::clone(&answer) });
        let (Change::Add(host) | Change::Remove(host)) = change;
        let (node, address) = cluster.member(host).map(|member| (member.node, member.address.clone()))?;
        chronicle::note(format_args!("{change:?}: node {node}, ordered from {}", world.station(leader).name));
        world.host_mut(leader)?.spawn(async move {
            let result = match change {
                Change::Add(_) => consensus.add_node(node, address, false).await,
                Change::Remove(_) => consensus.remove_node(node).await,
            };
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        });
        None
    }
}

/// Whether the leader's membership shows the change, and that it was committed is seen from its having an effect there.
fn is_done<M>(change: Change, cluster: &Cluster, members: &[(NodeId, M)], voters: &[NodeId]) -> bool {
    let node = |host| cluster.member(host).map(|member| member.node);
    match change {
        Change::Add(host) => node(host).is_some_and(|node| voters.contains(&node)),
        Change::Remove(host) => node(host).is_none_or(|node| !members.iter().any(|(member, _)| *member == node)),
    }
}
