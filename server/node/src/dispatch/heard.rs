//! Which workers this leader has heard of: said to the others now and then, for all of them at once.
//!
//! A worker that extends leases or takes jobs is seen by the state machine itself; this is for those that are idle, whose
//! word should not cost an entry each. A leader that is deposed forgets what it heard: they will say it to the next.

use super::lock;
use crate::consensus::Consensus;
use jobraft_core::command::Command;
use jobraft_protocol::{WorkerId, limits};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

/// Workers in one command; the rest goes with the next.
const WORKERS_PER_COMMAND_MAX: usize = 4_096;

/// Those heard of since they were last told. Bounded by the workers that the cluster knows: see [`Heard::note`].
#[derive(Default)]
pub(crate) struct Heard {
    workers: Mutex<BTreeSet<WorkerId>>,
}

impl Heard {
    /// Notes that a worker was heard of, which the caller has seen to be known.
    pub(crate) fn note(&self, worker: WorkerId) {
        lock(&self.workers).insert(worker);
    }

    fn take(&self) -> BTreeSet<WorkerId> {
        std::mem::take(&mut *lock(&self.workers))
    }

    /// Says who was heard of, while this node leads, until consensus stops.
    pub(super) async fn run(&self, consensus: Consensus) {
        let mut leadership = consensus.leadership();
        loop {
            if leadership.wait_for(|now| now.is_leader).await.is_err() {
                return;
            }
            drop(self.take());
            loop {
                tokio::select! {
                    lost = leadership.wait_for(|now| !now.is_leader) => match lost {
                        Ok(_) => break,
                        Err(_) => return,
                    },
                    () = tokio::time::sleep(Duration::from_millis(limits::WORKER_SEEN_MS)) => {}
                }
                self.tell(&consensus).await;
            }
        }
    }

    async fn tell(&self, consensus: &Consensus) {
        let workers: Vec<WorkerId> = self.take().into_iter().collect();
        for workers in workers.chunks(WORKERS_PER_COMMAND_MAX) {
            if let Err(error) = consensus.propose(Command::WorkersSeen { workers: workers.to_vec() }).await {
                // They speak again before they are forgotten.
                tracing::debug!(%error, "could not say which workers are alive");
                return;
            }
        }
    }
}
