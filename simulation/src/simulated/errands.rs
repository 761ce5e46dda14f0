//! Work for the cluster, asked of its nodes without a client between: jobs in all shapes, workers who take them, finish
//! them, fail, or forget them, and readers who must not read what is old.

use super::cluster::Cluster;
use super::ledger::Ledger;
use super::network::HostId;
use super::wishes;
use super::world::World;
use jobraft_core::command::{Command, Outcome};
use jobraft_node::consensus::Consensus;
use jobraft_protocol::{BatchId, LeaseRef, NewJob, NodeId, WorkerId};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Jobs, and batches, that are remembered, to be asked for again.
const REMEMBERED_MAX: usize = 64;

/// How soon to look again for work that is left, in the end.
const IDLE_NS: u64 = 1_000_000_000;

/// See the module.
pub struct Errands {
    random: SmallRng,
    next_ns: u64,
    pause_ns_max: u64,
    known: Arc<Mutex<Known>>,
    is_over: bool,
}

/// What those who ask know.
#[derive(Default)]
pub(super) struct Known {
    pub(super) workers: Vec<WorkerId>,
    pub(super) held: Vec<LeaseRef>,
    pub(super) jobs: Vec<NewJob>,
    pub(super) batches: Vec<BatchId>,
    is_over: bool,
    done: Done,
}

/// How often errands were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Done {
    /// With what was asked for.
    pub answered: u64,
    /// With a refusal, or with not knowing.
    pub refused: u64,
    /// Linearizable reads that succeeded.
    pub reads: u64,
}

impl Errands {
    /// The errands of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed ^ 0x6572_7261_6e64_7321);
        let pause_ns_max = [20, 100, 400][random.random_range(0..3_usize)] * 1_000_000;
        Self { random, next_ns: 2_500_000_000, pause_ns_max, known: Arc::default(), is_over: false }
    }

    /// When the next one is due.
    #[must_use]
    pub const fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Only finishes what was begun, from now on.
    pub fn wind_up(&mut self) {
        self.is_over = true;
        lock(&self.known).is_over = true;
    }

    /// How often they were answered.
    #[must_use]
    pub fn done(&self) -> Done {
        lock(&self.known).done
    }

    /// Runs the next errand, if there is anybody to ask.
    pub fn run(&mut self, world: &mut World, cluster: &Cluster, ledger: &Ledger) {
        self.next_ns = world.now_ns() + self.random.random_range(100_000..=self.pause_ns_max);
        if self.is_over && !wishes::is_work_left(ledger) {
            self.next_ns = world.now_ns() + IDLE_NS;
            return;
        }
        let Some((host, node, consensus)) = self.choose(world, cluster) else { return };
        if self.random.random_ratio(1, 6) {
            let reading = read(consensus, node, ledger.clone(), Arc::clone(&self.known));
            world.host_mut(host).expect("it was chosen because it runs").spawn(reading);
            return;
        }
        let Some(time) = world.within(host, || consensus.log_time()) else { return };
        let draw = if self.is_over { wishes::wind_up } else { wishes::draw };
        let Some(command) = draw(&lock(&self.known), time, &mut self.random) else { return };
        let asking = ask(consensus, command, Arc::clone(&self.known));
        world.host_mut(host).expect("it was chosen because it runs").spawn(asking);
    }

    /// The leader mostly; sometimes any node, which may think that it is.
    fn choose(&mut self, world: &World, cluster: &Cluster) -> Option<(HostId, NodeId, Consensus)> {
        let any = self.random.random_ratio(1, 5).then(|| {
            let running: Vec<HostId> =
                cluster.members().map(|(host, _)| host).filter(|host| world.is_up(*host)).collect();
            let host = *running.get(self.random.random_range(0..running.len().max(1)))?;
            Some((host, cluster.consensus(host)?))
        });
        let (host, consensus) = any.flatten().or_else(|| cluster.leader(world))?;
        Some((host, cluster.member(host)?.node, consensus))
    }
}

/// Reads, and is told no less than what anybody had applied when it began.
async fn read(consensus: Consensus, node: NodeId, ledger: Ledger, known: Arc<Mutex<Known>>) {
    let agreed = ledger.end_index();
    if consensus.barrier().await.is_ok() {
        ledger.check_read(node, agreed);
        lock(&known).done.reads += 1;
    }
}

async fn ask(consensus: Consensus, command: Command, known: Arc<Mutex<Known>>) {
    let asked = command.clone();
    let answer = consensus.propose(command).await;
    let mut known = lock(&known);
    if answer.is_ok() {
        known.done.answered += 1;
    } else {
        known.done.refused += 1;
    }
    match (asked, answer) {
        (Command::Enqueue { jobs, .. }, Ok(_)) => {
            known.jobs.extend(jobs);
            let excess = known.jobs.len().saturating_sub(REMEMBERED_MAX);
            known.jobs.drain(..excess);
        }
        (Command::CreateBatch { batch, .. }, Ok(_)) => {
            known.batches.push(batch.id);
            let excess = known.batches.len().saturating_sub(REMEMBERED_MAX);
            known.batches.drain(..excess);
        }
        // One that left, or was forgotten, leases nothing more.
        (Command::Lease { worker, .. } | Command::Disconnect { worker }, Err(_))
        | (Command::Disconnect { worker }, _) => {
            known.workers.retain(|known| *known != worker);
        }
        (_, Ok(Outcome::Registered(worker))) => known.workers.push(worker),
        (_, Ok(Outcome::Leased(leased))) => known.held.extend(leased.jobs.iter().map(|job| job.lease())),
        // Mostly forgotten; sometimes tried again, which must be refused.
        (Command::Complete { lease, .. } | Command::Fail { lease, .. } | Command::Release { lease, .. }, _) => {
            let is_kept = !known.is_over && lease.token.0.is_multiple_of(32);
            known.held.retain(|held| *held != lease || is_kept);
            known.held.retain(|held| held.token.0 + 400 > lease.token.0);
        }
        _ => {}
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
