//! What is wanted of the dispatcher, and what it wants of the state machine.

use super::demands::DemandId;
use jobraft_core::command::Command;
use jobraft_protocol::{QueueName, WorkerId};

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Who.
    pub(crate) worker: WorkerId,
    /// Where from; each named once. Without weights the first with work comes first.
    pub(crate) queues: Vec<QueueName>,
    /// None, or one for each queue: in which proportions jobs are taken while there are some in each.
    pub(crate) weights: Vec<u32>,
    /// How many at most.
    pub(crate) credits: u32,
    /// For how long.
    pub(crate) lease_ms: u64,
}

/// A lease to be proposed, on behalf of a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// For whom.
    pub(crate) demand: DemandId,
    /// The worker.
    pub(crate) worker: WorkerId,
    /// The queues that have something for it, the one to be taken from first in front.
    pub(crate) queues: Vec<QueueName>,
    /// How many of each.
    pub(crate) shares: Vec<u32>,
    /// How many in all.
    pub(crate) max: u32,
    /// For how long.
    pub(crate) lease_ms: u64,
}

impl Order {
    /// What is proposed.
    pub(crate) fn lease(&self) -> Command {
        let Self { worker, lease_ms, max, .. } = *self;
        Command::Lease { worker, queues: self.queues.clone(), shares: self.shares.clone(), max, lease_ms }
    }
}

/// For how long a demand lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Until it got something.
    Once,
    /// Until it is removed.
    Subscription,
}
