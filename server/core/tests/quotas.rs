//! Random logs of a namespace with a quota: nothing panics, restored states agree, and there is never more than was permitted.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use jobraft_core::{Command, Entry, Outcome};
use jobraft_protocol::{
    After, BatchId, Completion, EnqueueOutcome, Error, Failure, FencingToken, JobAction, JobId, LeaseRef, LogTime,
    Namespace, NamespaceChange, NamespaceSetting, NewBatch, NewJob, OnConflict, QueueName, Rate, StateWrite, Task,
    Unique, UniqueScope, WorkerId, WorkerInfo,
};
use proptest::prelude::*;
use support::Trio;

const JOBS_MAX: u64 = 6;
const QUEUES_MAX: u64 = 3;

/// What a job is like.
#[derive(Clone, Debug)]
struct Plan {
    queue: u8,
    payload: usize,
    key: Option<(u8, bool)>,
    after: Option<usize>,
    batch: Option<usize>,
}

#[derive(Clone, Debug)]
enum Step {
    Enqueue { plans: Vec<Plan>, all: bool },
    Batch { plans: Vec<Plan>, complete: Option<Plan>, failure: Option<Plan>, open: bool },
    Seal { batch: usize, cancel: bool },
    Lease { max: u32 },
    Complete { lease: usize, plans: Vec<Plan>, value: Option<usize> },
    Fail { lease: usize, retryable: bool, checkpoint: usize },
    Act { job: usize, action: u8 },
    Bytes { most: Option<u64> },
    Rate { count: Option<u64> },
    Delete,
}

fn plan() -> impl Strategy<Value = Plan> {
    let key = prop::option::weighted(0.3, (0..2_u8, any::<bool>()));
    let (after, batch) = (prop::option::weighted(0.2, 0..8_usize), prop::option::weighted(0.2, 0..4_usize));
    (0..5_u8, 0..400_usize, key, after, batch).prop_map(|(queue, payload, key, after, batch)| Plan {
        queue,
        payload,
        key,
        after,
        batch,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let plans = |most| prop::collection::vec(plan(), 0..most);
    let callback = || prop::option::weighted(0.5, plan());
    prop_oneof![
        5 => (plans(4), any::<bool>()).prop_map(|(plans, all)| Step::Enqueue { plans, all }),
        3 => (plans(3), callback(), callback(), any::<bool>())
            .prop_map(|(plans, complete, failure, open)| Step::Batch { plans, complete, failure, open }),
        1 => (0..4_usize, any::<bool>()).prop_map(|(batch, cancel)| Step::Seal { batch, cancel }),
        4 => (1..4_u32).prop_map(|max| Step::Lease { max }),
        4 => (0..4_usize, plans(3), prop::option::of(0..300_usize))
            .prop_map(|(lease, plans, value)| Step::Complete { lease, plans, value }),
        2 => (0..4_usize, any::<bool>(), 0..200_usize)
            .prop_map(|(lease, retryable, checkpoint)| Step::Fail { lease, retryable, checkpoint }),
        3 => (0..8_usize, 0..4_u8).prop_map(|(job, action)| Step::Act { job, action }),
        1 => prop::option::of(0..1_500_u64).prop_map(|most| Step::Bytes { most }),
        1 => prop::option::of(1..5_u64).prop_map(|count| Step::Rate { count }),
        1 => Just(Step::Delete),
    ]
}

struct World {
    trio: Trio,
    at: u64,
    made: u64,
    jobs: Vec<JobId>,
    batches: Vec<BatchId>,
    leases: Vec<LeaseRef>,
}

fn acme() -> Namespace {
    Namespace::new("acme").unwrap()
}

fn queues() -> Vec<QueueName> {
    (0..5).map(|number| acme().full(&format!("q{number}")).parse().unwrap()).collect()
}

/// From behind, as far as there are some.
fn late<T: Copy>(of: &[T], back: usize) -> Option<T> {
    of.len().checked_sub(1 + back).map(|place| of[place])
}

impl World {
    fn new() -> Self {
        let (jobs, batches, leases) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = Self { trio: Trio::default(), at: 1_000_000, made: 0, jobs, batches, leases };
        let quota = vec![NamespaceSetting::Jobs(Some(JOBS_MAX)), NamespaceSetting::Queues(Some(QUEUES_MAX))];
        let change = NamespaceChange::Create { name: acme(), quota };
        world.apply(Command::ChangeNamespace { change, by: "ops".to_owned() }).unwrap();
        let info = WorkerInfo { namespace: acme(), ..WorkerInfo::default() };
        world.apply(Command::RegisterWorker { info }).unwrap();
        world
    }

    fn apply(&mut self, command: Command) -> Result<Outcome, Error> {
        let entry = Entry { at: LogTime::from_ms(self.at), leader_change: false, commands: vec![command] };
        self.trio.apply(&entry).outcomes.remove(0)
    }

    fn id(&mut self) -> JobId {
        self.made += 1;
        let mut random = [7; 10];
        random[2..].copy_from_slice(&self.made.to_be_bytes());
        JobId::new(LogTime::from_ms(self.at), random)
    }

    fn job(&mut self, plan: &Plan) -> NewJob {
        let id = self.id();
        self.jobs.push(id);
        let task = Task::Handler("t".parse().unwrap());
        let unique = plan.key.map(|(key, replaces)| Unique {
            key: acme().full(&format!("k{key}")).parse().unwrap(),
            scope: UniqueScope::UntilDone,
            on_conflict: if replaces {
                OnConflict::Replace { payload: true, start: false }
            } else {
                OnConflict::Reject
            },
        });
        let after = plan.after.and_then(|back| late(&self.jobs, back + 1));
        NewJob {
            unique,
            after: after.map(|job| After { jobs: vec![job], ..After::default() }),
            batch: plan.batch.and_then(|back| late(&self.batches, back)),
            max_attempts: Some(2),
            group: (!plan.payload.is_multiple_of(3)).then(|| format!("g{}", plan.payload % 3).parse().unwrap()),
            ..NewJob::new(id, queues()[usize::from(plan.queue)].clone(), task, vec![7; plan.payload])
        }
    }

    fn callback(&mut self, plan: &Option<Plan>) -> Option<Box<NewJob>> {
        let plan = plan.as_ref()?;
        Some(Box::new(self.job(&Plan { key: None, after: None, batch: None, ..plan.clone() })))
    }

    fn command(&mut self, step: &Step) -> Option<Command> {
        let set = |setting| {
            let change = NamespaceChange::Set { name: acme(), quota: vec![setting] };
            Command::ChangeNamespace { change, by: String::new() }
        };
        Some(match step {
            Step::Enqueue { plans, all } => {
                let jobs = plans.iter().map(|plan| self.job(plan)).collect();
                Command::Enqueue { jobs, all_or_none: *all, known: Vec::new() }
            }
            Step::Batch { plans, complete, failure, open } => {
                let (on_complete, on_failure) = (self.callback(complete), self.callback(failure));
                let jobs = plans.iter().map(|plan| self.job(&Plan { batch: None, ..plan.clone() })).collect();
                let id = BatchId(self.id());
                self.batches.push(id);
                let batch = NewBatch { on_complete, on_failure, open: *open, ..NewBatch::new(id, jobs) };
                Command::CreateBatch { batch: Box::new(batch), known: Vec::new(), namespace: acme() }
            }
            Step::Seal { batch, cancel } => Command::SealBatch { batch: late(&self.batches, *batch)?, cancel: *cancel },
            Step::Lease { max } => Command::Lease {
                worker: WorkerId(1),
                queues: queues(),
                shares: Vec::new(),
                max: *max,
                lease_ms: 30_000,
            },
            Step::Complete { lease, plans, value } => {
                let lease = late(&self.leases, *lease)?;
                let jobs = plans.iter().map(|plan| self.job(plan)).collect();
                let write = |bytes: &usize| StateWrite {
                    key: acme().full("v").parse().unwrap(),
                    value: (*bytes > 0).then(|| vec![7; *bytes].into()),
                    if_version: None,
                };
                let state = value.iter().map(write).collect();
                Command::complete(lease, Completion { jobs, state, ..Completion::default() })
            }
            Step::Fail { lease, retryable, checkpoint } => {
                let lease = late(&self.leases, *lease)?;
                let _ = self.apply(Command::Checkpoint { lease, data: vec![7; *checkpoint].into() });
                Command::Fail { lease, failure: Failure { retryable: *retryable, ..Failure::retryable("broken") } }
            }
            Step::Act { job, action } => Command::Act {
                targets: vec![self.trio.target(late(&self.jobs, *job)?)],
                action: match action {
                    0 => JobAction::Cancel { reason: String::new(), grace_ms: 0 },
                    1 => JobAction::Retry,
                    2 => JobAction::Delete,
                    _ => JobAction::Move { queue: queues()[4].clone() },
                },
                only_in: Vec::new(),
                by: String::new(),
            },
            Step::Bytes { most } => set(NamespaceSetting::Bytes(most.map(|most| most + 1))),
            Step::Rate { count } => set(NamespaceSetting::Rate(count.map(|count| Rate::new(count, 1_000)))),
            Step::Delete => {
                let change = NamespaceChange::Delete { name: acme() };
                Command::ChangeNamespace { change, by: String::new() }
            }
        })
    }

    /// What there is, counted by what can be seen of it.
    fn check(&self) {
        let Some(seen) = self.trio.plain.namespaces(None).find(|view| view.name == acme()) else { return };
        assert!(seen.jobs <= JOBS_MAX && seen.queues <= QUEUES_MAX, "{seen:?}");
        let live = self.jobs.iter().filter_map(|&id| self.trio.plain.view(id)).filter(|view| !view.state.is_terminal());
        let batches =
            self.batches.iter().filter_map(|&id| self.trio.plain.batch(id)).filter(|view| view.ended_at.is_none());
        let to_come = batches.map(|view| {
            let failure = u64::from(view.on_failure.is_some() && !view.failure_called);
            1 + u64::from(view.on_complete.is_some()) + failure
        });
        assert_eq!(seen.jobs, live.count() as u64 + to_come.sum::<u64>(), "{seen:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn a_quota_holds_whatever_comes(steps in prop::collection::vec((0..4_000_u64, step()), 1..60)) {
        let mut world = World::new();
        for (passed, step) in steps {
            world.at += passed;
            let Some(command) = world.command(&step) else { continue };
            match world.apply(command) {
                Ok(Outcome::Leased(leased)) => world.leases.extend(leased.jobs.iter().map(|job| job.lease())),
                Ok(Outcome::Enqueued(outcomes)) => {
                    let is_refused = |outcome: &EnqueueOutcome| matches!(outcome, EnqueueOutcome::Refused(_));
                    let all = matches!(step, Step::Enqueue { all: true, .. });
                    prop_assert!(!all || !outcomes.iter().any(is_refused));
                }
                _ => {}
            }
            world.check();
        }
        let forged = LeaseRef { job: world.id(), token: FencingToken(1) };
        world.apply(Command::complete(forged, Completion::default())).unwrap_err();
    }
}
