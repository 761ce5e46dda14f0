//! A little work for the cluster, asked of its leader without a client between: jobs in all shapes, and workers who take
//! them, finish them, fail, or forget them. What clients see is judged elsewhere; this keeps the log moving.

use super::cluster::Cluster;
use super::world::World;
use bytes::Bytes;
use jobraft_core::command::{Command, Outcome, Target};
use jobraft_node::consensus::Consensus;
use jobraft_protocol::{
    Completion, Failure, FailureKind, JobAction, JobId, LeaseRef, LogTime, NewJob, QueueName, Start, Task, TaskName,
    Unique, UniqueKey, WorkerId, WorkerInfo,
};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::{Arc, Mutex, PoisonError};

/// Jobs that are remembered, to be cancelled, retried or enqueued again.
const REMEMBERED_MAX: usize = 64;
/// Beyond so many leases nothing more is leased.
const HELD_MAX: usize = 24;

/// See the module.
pub struct Errands {
    random: SmallRng,
    next_ns: u64,
    pause_ns_max: u64,
    known: Arc<Mutex<Known>>,
    is_over: bool,
}

#[derive(Default)]
struct Known {
    workers: Vec<WorkerId>,
    held: Vec<LeaseRef>,
    jobs: Vec<NewJob>,
    answered: u64,
    refused: u64,
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
    }

    /// How many were answered, and how many of them with a refusal.
    #[must_use]
    pub fn answered(&self) -> (u64, u64) {
        let known = lock(&self.known);
        (known.answered, known.refused)
    }

    /// Runs the next errand, if somebody leads.
    pub fn run(&mut self, world: &mut World, cluster: &Cluster) {
        self.next_ns = world.now_ns() + self.random.random_range(100_000..=self.pause_ns_max);
        let Some((host, consensus)) = cluster.leader(world) else { return };
        let Some(time) = world.within(host, || consensus.log_time()) else { return };
        let Some(command) = self.draw(time) else { return };
        let known = Arc::clone(&self.known);
        if let Some(host) = world.host_mut(host) {
            host.spawn(ask(consensus, command, known));
        }
    }

    fn draw(&mut self, time: LogTime) -> Option<Command> {
        let known = lock(&self.known);
        let random = &mut self.random;
        let worker = pick(&known.workers, random).copied();
        let held = pick(&known.held, random).copied();
        let kind = if self.is_over { random.random_range(50..80) } else { random.random_range(0..100) };
        let command = match (kind, worker, held) {
            (0..40, ..) => {
                let count = random.random_range(1..4);
                let again = pick(&known.jobs, random).cloned();
                let again = again.filter(|_| random.random_ratio(1, 6));
                let jobs = (0..count).map(|_| job(time, random)).chain(again).collect();
                Command::Enqueue { jobs, all_or_none: random.random_ratio(1, 5), known: Vec::new() }
            }
            (40..45, ..) | (_, None, _) => {
                let info = WorkerInfo {
                    name: format!("worker-{}", known.workers.len()),
                    agent: "simulation".to_owned(),
                    queues: queues(),
                    concurrency: 8,
                };
                Command::RegisterWorker { info }
            }
            (45..65, Some(worker), _) if known.held.len() < HELD_MAX => Command::Lease {
                worker,
                queues: queues(),
                shares: Vec::new(),
                max: random.random_range(1..6),
                lease_ms: random.random_range(1_000..20_000),
            },
            (45..80, _, Some(lease)) => {
                let jobs =
                    if !self.is_over && random.random_ratio(1, 8) { vec![job(time, random)] } else { Vec::new() };
                let completion = Completion { result: Bytes::from_static(b"done"), jobs, ..Completion::default() };
                Command::Complete { lease, completion, known: Vec::new() }
            }
            (80..84, _, Some(lease)) => {
                let (message, retryable) = ("it failed".to_owned(), random.random());
                let failure = Failure { kind: FailureKind::Error, message, retryable, log: Bytes::new() };
                Command::Fail { lease, failure }
            }
            (84..86, _, Some(lease)) => Command::Release { lease, delay_ms: random.random_range(0..3_000) },
            (86..91, _, Some(lease)) => Command::Extend {
                leases: vec![lease],
                lease_ms: random.random_range(1_000..30_000),
                progress: Vec::new(),
            },
            (91..92, _, Some(lease)) => Command::Checkpoint { lease, data: Bytes::from_static(b"half way") },
            (92..93, Some(worker), _) => Command::Disconnect { worker },
            (93.., ..) => {
                let job = pick(&known.jobs, random)?.id;
                let action = match random.random_range(0..4) {
                    0 => JobAction::Cancel { reason: "no more".to_owned(), grace_ms: random.random_range(0..5_000) },
                    1 => JobAction::Retry,
                    2 => JobAction::Prioritize { priority: random.random_range(0..10) },
                    _ => JobAction::Delete,
                };
                Command::Act { targets: vec![Target { job, row: None }], action, only_in: Vec::new() }
            }
            _ => return None,
        };
        Some(command)
    }
}

async fn ask(consensus: Consensus, command: Command, known: Arc<Mutex<Known>>) {
    let asked = command.clone();
    let answer = consensus.propose(command).await;
    let mut known = lock(&known);
    known.answered += 1;
    known.refused += u64::from(answer.is_err());
    match (asked, answer) {
        (Command::Enqueue { jobs, .. }, Ok(_)) => {
            known.jobs.extend(jobs);
            let excess = known.jobs.len().saturating_sub(REMEMBERED_MAX);
            known.jobs.drain(..excess);
        }
        (_, Ok(Outcome::Registered(worker))) => known.workers.push(worker),
        (_, Ok(Outcome::Leased(jobs))) => known.held.extend(jobs.iter().map(|job| job.lease())),
        // Mostly forgotten; sometimes tried again, which must be refused.
        (Command::Complete { lease, .. } | Command::Fail { lease, .. } | Command::Release { lease, .. }, _) => {
            known.held.retain(|held| *held != lease || lease.token.0.is_multiple_of(16));
            known.held.retain(|held| held.token.0 + 400 > lease.token.0);
        }
        _ => {}
    }
}

fn job(time: LogTime, random: &mut SmallRng) -> NewJob {
    let id = JobId::new(time, random.random());
    let queue = queues().swap_remove(random.random_range(0..2));
    let task = Task::Handler(TaskName::new("errand").expect("a name"));
    let mut job = NewJob::new(id, queue, task, vec![7; random.random_range(0..300)]);
    job.priority = random.random_ratio(1, 3).then(|| random.random_range(0..10));
    job.max_attempts = random.random_ratio(1, 3).then(|| random.random_range(1..4));
    if random.random_ratio(1, 4) {
        job.start = Start::AfterMs(random.random_range(1..8_000));
    }
    if random.random_ratio(1, 8) {
        job.ttl_ms = Some(random.random_range(500..10_000));
    }
    if random.random_ratio(1, 5) {
        let key = UniqueKey::new(&format!("key-{}", random.random_range(0..6))).expect("a key");
        job.unique = Some(Unique { key, scope: Default::default(), on_conflict: Default::default() });
    }
    job
}

fn queues() -> Vec<QueueName> {
    ["alpha", "beta"].into_iter().map(|name| QueueName::new(name).expect("a name")).collect()
}

fn pick<'a, T>(from: &'a [T], random: &mut SmallRng) -> Option<&'a T> {
    if from.is_empty() { None } else { from.get(random.random_range(0..from.len())) }
}

fn lock(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
