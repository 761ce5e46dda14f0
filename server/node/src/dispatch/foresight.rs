//! Jobs that an entry is about to make ready are leased by that very entry, for those who wait: they need not wait for another
//! round of the cluster.
//!
//! What must hold: jobs that something may keep from being leased are left to who sees what is ready; an entry grows by no more
//! leases than it brings jobs, and not beyond the commands that it may have; each lease is heard of, also while the node stops.

use super::Dispatcher;
use super::dispatcher::is_held_back;
use super::orders::carry_out;
use crate::consensus::{StateMachine, Waiting};
use jobraft_core::Core;
use jobraft_core::command::Command;
use jobraft_protocol::{QueueName, limits};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

impl Dispatcher {
    /// Leases for those who wait, of what this batch brings; to be proposed behind it, in one entry.
    pub(crate) fn foresee(&self, state: &StateMachine, batch: &[Waiting]) -> Vec<Waiting> {
        let mut demands = self.demands();
        if demands.is_idle() {
            return Vec::new();
        }
        // Asked under the lock of the demands: once there is none, nobody would carry out what is ordered.
        let Some(consensus) = self.led() else { return Vec::new() };
        let orders = state.read(|core| {
            let coming = coming(core, batch, |queue| demands.is_waited_on(queue));
            demands.foresee(&coming, |worker| is_held_back(core, worker))
        });
        drop(demands);
        let leases = orders.into_iter().map(|order| {
            let (answer, asked) = oneshot::channel();
            let lease = Waiting { commands: vec![order.lease()], answer };
            tokio::spawn(carry_out(self.clone(), consensus.clone(), order, Some(asked)));
            lease
        });
        leases.collect()
    }
}

/// How many jobs these commands are to make ready at once, in the queues that are waited on; as many as leases have room beside
/// the commands.
fn coming(core: &Core, batch: &[Waiting], is_waited_on: impl Fn(&QueueName) -> bool) -> BTreeMap<QueueName, usize> {
    let commands = || batch.iter().flat_map(|waiting| &waiting.commands);
    let jobs = commands().flat_map(|command| match command {
        Command::Enqueue { jobs, .. } => &jobs[..],
        Command::CreateBatch { batch, .. } => &batch.jobs,
        Command::Complete { completion, .. } => &completion.jobs,
        _ => &[],
    });
    let room = limits::ENTRY_COMMANDS_MAX.saturating_sub(commands().count());
    let mut coming: BTreeMap<QueueName, usize> = BTreeMap::new();
    for job in jobs.filter(|job| is_waited_on(&job.queue) && core.can_be_leased_at_once(job)).take(room) {
        match coming.get_mut(&job.queue) {
            Some(count) => *count += 1,
            None => drop(coming.insert(job.queue.clone(), 1)),
        }
    }
    coming
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use jobraft_protocol::{
        BatchId, Completion, FencingToken, JobId, LeaseRef, LogTime, Namespace, NewBatch, NewJob, Start, Task,
    };

    fn job(queue: &str) -> NewJob {
        let id = JobId::new(LogTime::ZERO, [7; 10]);
        NewJob::new(id, queue.parse().unwrap(), Task::Handler("t".parse().unwrap()), "")
    }

    fn batch(commands: Vec<Command>) -> Vec<Waiting> {
        vec![Waiting { commands, answer: oneshot::channel().0 }]
    }

    fn counted(batch: &[Waiting]) -> Vec<(String, usize)> {
        let coming = coming(&Core::new(), batch, |queue| queue.as_str() != "unwanted");
        coming.into_iter().map(|(queue, count)| (queue.to_string(), count)).collect()
    }

    #[test]
    fn what_can_be_leased_at_once_is_counted_children_and_batches_as_well() {
        let later = NewJob { start: Start::AfterMs(1), ..job("q") };
        let lease = LeaseRef { job: job("q").id, token: FencingToken(1) };
        let children = Completion { jobs: vec![job("child"), job("q")], ..Completion::default() };
        let new = NewBatch::new(BatchId(job("q").id), vec![job("first")]);
        let commands = vec![
            Command::enqueue(vec![job("q"), later, job("unwanted")]),
            Command::complete(lease, children),
            Command::CreateBatch { batch: Box::new(new), known: vec![], namespace: Namespace::default() },
        ];
        let all = [("child".to_owned(), 1), ("first".to_owned(), 1), ("q".to_owned(), 2)];
        assert_eq!(counted(&batch(commands)), all);
    }

    #[test]
    fn leases_are_foreseen_for_no_more_jobs_than_commands_have_room() {
        let full = |commands| batch(vec![Command::enqueue(vec![job("q"); 2]); commands]);
        assert_eq!(counted(&full(limits::ENTRY_COMMANDS_MAX - 5)), [("q".to_owned(), 5)]);
        assert_eq!(counted(&full(limits::ENTRY_COMMANDS_MAX + 5)), []);
    }
}
