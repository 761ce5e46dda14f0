//! What the errands ask for: every command that a client can cause, but for modules, whose bytes have ways of their own.

use super::errands::Known;
use super::ledger::Ledger;
use bytes::Bytes;
use jobraft_core::Core;
use jobraft_core::command::{Command, SecretCommand, Target};
use jobraft_protocol::{
    After, BatchId, Completion, Failure, FailureKind, GroupKey, JobAction, JobId, JobTemplate, LogTime, Namespace,
    NamespaceChange, NamespaceSetting, NewBatch, NewJob, QueueMode, QueueName, QueueSetting, Rate, Schedule,
    ScheduleName, SecretGrant, SecretName, Setting, Start, Task, TaskName, Unique, UniqueKey, WorkerInfo,
};
use rand::RngExt as _;
use rand::rngs::SmallRng;

/// Beyond so many leases nothing more is leased.
const HELD_MAX: usize = 24;
/// Workers that are registered in one run.
const WORKERS_MAX: usize = 12;

/// Draws a command for log time `time`, of what is known; `None` if there is nothing to be done of its kind.
pub(super) fn draw(known: &Known, time: LogTime, random: &mut SmallRng) -> Option<Command> {
    match random.random_range(0..100) {
        0..30 => Some(enqueue(known, time, random)),
        30..33 => batch(known, time, random),
        33..37 => configure(random),
        37..42 => act(known, random),
        42..45 => Some(register(known)),
        45 => Some(rule(random)),
        _ => work(known, time, random),
    }
}

/// Draws what helps to get done what there is.
pub(super) fn wind_up(known: &Known, time: LogTime, random: &mut SmallRng) -> Option<Command> {
    // Again and again: what was asked for before may yet set another limit.
    if random.random_ratio(1, 8) {
        return Some(open(&queue(random)));
    }
    if known.workers.is_empty() {
        return Some(register(known));
    }
    if random.random() { lease(known, random) } else { complete(known, time, false, random) }
}

/// Lifts every limit of a queue. Of one alone: where its namespace is no more, this is refused.
fn open(queue: &QueueName) -> Command {
    let each = [
        QueueSetting::Mode(QueueMode::Open),
        QueueSetting::Concurrency(None),
        QueueSetting::GroupConcurrency(None),
        QueueSetting::Rate(None),
    ];
    Command::Configure { settings: each.map(|setting| Setting::Queue(queue.clone(), setting)).into() }
}

fn work(known: &Known, time: LogTime, random: &mut SmallRng) -> Option<Command> {
    let held = pick(&known.held, random).copied();
    match random.random_range(0..60) {
        0..25 => lease(known, random),
        25..42 => complete(known, time, random.random_ratio(1, 8), random),
        42..47 => {
            let (message, retryable) = ("it failed".to_owned(), random.random());
            let failure = Failure { kind: FailureKind::Error, message, retryable, log: Bytes::new() };
            Some(Command::Fail { lease: held?, failure })
        }
        47..50 => Some(Command::Release { lease: held?, delay_ms: random.random_range(0..3_000) }),
        50..56 => {
            let lease_ms = random.random_range(1_000..30_000);
            Some(Command::Extend { leases: vec![held?], lease_ms, progress: Vec::new() })
        }
        56..59 => Some(Command::Checkpoint { lease: held?, data: Bytes::from_static(b"half way") }),
        _ => Some(Command::Disconnect { worker: *pick(&known.workers, random)? }),
    }
}

fn lease(known: &Known, random: &mut SmallRng) -> Option<Command> {
    let worker = *pick(&known.workers, random)?;
    (known.held.len() < HELD_MAX).then(|| Command::Lease {
        worker,
        queues: queues(),
        shares: Vec::new(),
        max: random.random_range(1..6),
        lease_ms: random.random_range(1_000..20_000),
    })
}

fn complete(known: &Known, time: LogTime, enqueues: bool, random: &mut SmallRng) -> Option<Command> {
    let lease = *pick(&known.held, random)?;
    let jobs = if enqueues { vec![job(known, time, random)] } else { Vec::new() };
    let completion = Completion { result: Bytes::from_static(b"done"), jobs, ..Completion::default() };
    Some(Command::Complete { lease, completion, known: Vec::new() })
}

fn enqueue(known: &Known, time: LogTime, random: &mut SmallRng) -> Command {
    let again = pick(&known.jobs, random).cloned().filter(|_| random.random_ratio(1, 6));
    let jobs = (0..random.random_range(1..4)).map(|_| job(known, time, random)).chain(again).collect();
    Command::Enqueue { jobs, all_or_none: random.random_ratio(1, 5), known: Vec::new() }
}

fn batch(known: &Known, time: LogTime, random: &mut SmallRng) -> Option<Command> {
    if random.random_ratio(1, 3) {
        let batch = *pick(&known.batches, random)?;
        return Some(Command::SealBatch { batch, cancel: random.random_ratio(1, 4) });
    }
    let id = BatchId(JobId::new(time, random.random()));
    // All of it in one namespace: nothing else comes from clients.
    let queue = queue(random);
    let mut inside = || NewJob { queue: queue.clone(), ..job(known, time, random) };
    let (first, second, callback) = (inside(), inside(), inside());
    let mut batch = NewBatch::new(id, [first, second].into_iter().take(random.random_range(0..3)).collect());
    batch.open = random.random();
    batch.on_complete = random.random_ratio(1, 2).then(|| Box::new(callback));
    let namespace = Namespace::of(queue.as_str());
    Some(Command::CreateBatch { batch: Box::new(batch), known: Vec::new(), namespace })
}

fn configure(random: &mut SmallRng) -> Option<Command> {
    let queue = queue(random);
    let name = ScheduleName::new(&Namespace::of(queue.as_str()).full("every-minute")).expect("a name");
    let setting = match random.random_range(0..8) {
        0 => {
            let template = JobTemplate::new(queue, task(), Bytes::new());
            Setting::PutSchedule(Box::new(Schedule::new(name, "* * * * *", template)))
        }
        1 => Setting::PauseSchedule(name, random.random()),
        2 => Setting::RemoveSchedule(name),
        3 => Setting::Queue(queue, QueueSetting::Concurrency(Some(random.random_range(1..6)))),
        4 => {
            let rate = Rate { count: random.random_range(1..50), per_ms: 1_000, burst: None };
            Setting::Queue(queue, QueueSetting::Rate(Some(rate)))
        }
        5 => Setting::Queue(queue, QueueSetting::Mode(QueueMode::Paused)),
        6 => Setting::Queue(queue, QueueSetting::GroupConcurrency(Some(random.random_range(1..3)))),
        _ => return Some(open(&queue)),
    };
    Some(Command::Configure { settings: vec![setting] })
}

/// Makes the namespace, bounds it, or removes it for good; often refused.
fn rule(random: &mut SmallRng) -> Command {
    let name = namespace();
    if random.random_ratio(1, 3) {
        return keep(random);
    }
    let quota = vec![
        NamespaceSetting::Jobs(random.random_ratio(1, 3).then(|| random.random_range(1..20))),
        NamespaceSetting::Rate(random.random_ratio(1, 3).then(|| Rate::new(random.random_range(1..20), 1_000))),
    ];
    let change = match random.random_range(0..16) {
        0..8 => NamespaceChange::Create { name, quota },
        8..15 => NamespaceChange::Set { name, quota },
        _ => NamespaceChange::Delete { name },
    };
    Command::ChangeNamespace { change, by: "operator".to_owned() }
}

/// Puts or removes a secret, in that namespace or in none, sealed as far as anybody here can tell.
fn keep(random: &mut SmallRng) -> Command {
    let name = if random.random() { namespace().full("SECRET") } else { "SECRET".to_owned() };
    let name = SecretName::new(&name).expect("a name");
    let change = match random.random_range(0..3) {
        0 => SecretCommand::Delete { name },
        1 => SecretCommand::Grant { name, grant: SecretGrant::default() },
        _ => SecretCommand::Put { name, sealed: vec![random.random(); 40].into(), grant: None },
    };
    Command::ChangeSecret { change, by: "operator".to_owned() }
}

fn act(known: &Known, random: &mut SmallRng) -> Option<Command> {
    let job = pick(&known.jobs, random)?.id;
    let action = match random.random_range(0..5) {
        0 => JobAction::Cancel { reason: "no more".to_owned(), grace_ms: random.random_range(0..5_000) },
        1 => JobAction::Retry,
        2 => JobAction::Prioritize { priority: random.random_range(0..10) },
        3 => JobAction::Move { queue: queue(random) },
        _ => JobAction::Delete,
    };
    Some(Command::Act { targets: vec![Target { job, row: None }], action, only_in: Vec::new(), by: String::new() })
}

fn register(known: &Known) -> Command {
    let number = known.workers.len() % WORKERS_MAX;
    let name = format!("worker-{number}");
    Command::RegisterWorker {
        info: WorkerInfo {
            name,
            agent: "simulation".to_owned(),
            queues: queues(),
            concurrency: 8,
            ..WorkerInfo::default()
        },
    }
}

fn job(known: &Known, time: LogTime, random: &mut SmallRng) -> NewJob {
    let id = JobId::new(time, random.random());
    let mut job = NewJob::new(id, queue(random), task(), vec![7; random.random_range(0..300)]);
    job.priority = random.random_ratio(1, 3).then(|| random.random_range(0..10));
    job.max_attempts = random.random_ratio(1, 3).then(|| random.random_range(1..4));
    if random.random_ratio(1, 4) {
        job.start = Start::AfterMs(random.random_range(1..8_000));
    }
    job.ttl_ms = random.random_ratio(1, 8).then(|| random.random_range(1_000..10_000));
    if random.random_ratio(1, 4) {
        job.group = Some(GroupKey::new(&format!("group-{}", random.random_range(0..4))).expect("a key"));
    }
    if random.random_ratio(1, 5) {
        let key = UniqueKey::new(&format!("errand-{}", random.random_range(0..6))).expect("a key");
        job.unique = Some(Unique { key, scope: Default::default(), on_conflict: Default::default() });
    }
    if random.random_ratio(1, 6) {
        job.after =
            pick(&known.jobs, random).map(|other| After { jobs: vec![other.id], on_failure: Default::default() });
    }
    if random.random_ratio(1, 10) {
        job.batch = pick(&known.batches, random).copied();
    }
    job
}

fn task() -> Task {
    Task::Handler(TaskName::new("errand").expect("a name"))
}

/// Whether errands have work that can be done.
pub(super) fn is_work_left(ledger: &Ledger) -> bool {
    let (ours, all) = (queues(), ledger.read(Core::queues));
    all.iter().any(|queue| ours.contains(&queue.queue) && queue.ready + queue.leased > 0)
}

/// The queues of errands: nobody else has work there. One is in a namespace of its own, once there is one.
pub(super) fn queues() -> Vec<QueueName> {
    let names = ["errands-1".to_owned(), "errands-2".to_owned(), namespace().full("errands-3")];
    names.into_iter().map(|name| QueueName::new(&name).expect("a name")).collect()
}

/// One of them.
fn queue(random: &mut SmallRng) -> QueueName {
    let mut queues = queues();
    queues.swap_remove(random.random_range(0..queues.len()))
}

fn namespace() -> Namespace {
    Namespace::new("acme").expect("a name")
}

fn pick<'a, T>(from: &'a [T], random: &mut SmallRng) -> Option<&'a T> {
    if from.is_empty() { None } else { from.get(random.random_range(0..from.len())) }
}
