//! What was applied on this node and concerns somebody who waits at it, since the dispatcher last looked.

use jobraft_core::command::Event;
use jobraft_protocol::{CancelNotice, LeaseRef, QueueName, WorkerId, WorkerOrder};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Default)]
pub(super) struct News {
    /// Queues where something changed that may let somebody be served.
    pub(super) queues: BTreeSet<QueueName>,
    /// Jobs that their workers are asked to stop.
    pub(super) cancels: Vec<(WorkerId, LeaseRef, CancelNotice)>,
    /// Leases that their workers have lost.
    pub(super) revoked: BTreeMap<WorkerId, Vec<LeaseRef>>,
    /// Workers that let a lease run out.
    pub(super) lost: BTreeSet<WorkerId>,
    /// What workers were told to do, the last of it.
    pub(super) orders: BTreeMap<WorkerId, WorkerOrder>,
}

impl News {
    /// Takes an event in; says whether the dispatcher is to look at once.
    pub(super) fn note(&mut self, event: &Event) -> bool {
        match event {
            // Once it is known that a queue changed, somebody was woken.
            Event::Ready(queue) => return self.queues.insert(queue.clone()),
            Event::CancelRequested { worker, lease, notice } => self.cancels.push((*worker, *lease, notice.clone())),
            Event::Revoked { worker, lease } => self.revoked.entry(*worker).or_default().push(*lease),
            Event::LeaseExpired { worker } => return self.lost.insert(*worker),
            Event::Ordered { worker, order } => drop(self.orders.insert(*worker, *order)),
            Event::Ended(_) | Event::BatchEnded(_) | Event::Scheduled | Event::TokenChanged | Event::ModuleReady(_) => {
                return false;
            }
        }
        true
    }
}
