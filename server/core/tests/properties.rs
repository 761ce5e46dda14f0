//! Random logs, and the design's invariants checked after each entry.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use bytes::Bytes;
use ciborium::Value;
use jobraft_core::{Command, Core, Entry, Outcome, SecretCommand, Target};
use jobraft_protocol::{
    After, BatchId, CatchUp, Completion, Digest, EnqueueOutcome, ErrorCode, Failure, FencingToken, GroupSetting,
    JobAction, JobId, JobState, JobTemplate, LeaseRef, LogTime, ModuleManifest, ModuleName, ModuleRef, Namespace,
    NamespaceChange, NamespaceSetting, NewBatch, NewJob, OnFailure, Overlap, QueueName, QueueSetting, Rate, Schedule,
    SecretGrant, Setting, Start, Task, WorkerId, WorkerInfo,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use support::{Disk, Trio};

const JOBS: u8 = 6;
const WORKERS: u64 = 3;

/// What happens, before it is known which ids and tokens there are.
#[derive(Clone, Debug)]
enum Step {
    Enqueue { job: u8, delay_ms: u64, attempts: u32, priority: u8, minted_ago_ms: u64 },
    Lease { worker: u64, max: u32, lease_ms: u64 },
    Extend { job: u8, age: u64 },
    Complete { job: u8, age: u64 },
    Fail { job: u8, age: u64, retryable: bool },
    Release { job: u8, age: u64 },
    Disconnect { worker: u64 },
    Cancel { job: u8, grace_ms: u64 },
    Retry { job: u8 },
    Nothing,
}

fn step() -> impl Strategy<Value = Step> {
    let job = 0..JOBS;
    // Mostly the newest token, at times an older one or one never given.
    let age = prop_oneof![6 => Just(0_u64), 1 => Just(1), 1 => 2..6_u64];
    let delay = prop_oneof![2 => Just(0_u64), 1 => 1..20_000_u64];
    let minted = prop_oneof![3 => Just(0_u64), 1 => 0..400_000_u64];
    prop_oneof![
        4 => (job.clone(), delay, 1..4_u32, 0..3_u8, minted).prop_map(|(job, delay_ms, attempts, priority, minted_ago_ms)|
            Step::Enqueue { job, delay_ms, attempts, priority, minted_ago_ms }),
        5 => (1..=WORKERS + 1, 0..4_u32, 0..20_000_u64).prop_map(|(worker, max, lease_ms)| Step::Lease { worker, max, lease_ms }),
        2 => (job.clone(), age.clone()).prop_map(|(job, age)| Step::Extend { job, age }),
        3 => (job.clone(), age.clone()).prop_map(|(job, age)| Step::Complete { job, age }),
        3 => (job.clone(), age.clone(), any::<bool>()).prop_map(|(job, age, retryable)| Step::Fail { job, age, retryable }),
        1 => (job.clone(), age).prop_map(|(job, age)| Step::Release { job, age }),
        1 => (1..=WORKERS).prop_map(|worker| Step::Disconnect { worker }),
        1 => (job.clone(), prop_oneof![Just(0_u64), 1..20_000_u64]).prop_map(|(job, grace_ms)| Step::Cancel { job, grace_ms }),
        2 => job.prop_map(|job| Step::Retry { job }),
        2 => Just(Step::Nothing),
    ]
}

/// One entry: time passes (or, on a skewed leader, goes back), perhaps leaders change, then a step.
fn log() -> impl Strategy<Value = Vec<(i64, bool, Step)>> {
    let passed = prop_oneof![6 => 0..3_000_i64, 2 => 3_000..60_000_i64, 1 => 60_000..400_000_i64, 1 => -5_000..0_i64];
    prop::collection::vec((passed, prop::bool::weighted(0.05), step()), 1..80)
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => Just(0_u64), 2 => Just(1), 2 => Just(u64::MAX), 2 => Just(u64::MAX / 2), 1 => Just(u64::from(u32::MAX)),
        1 => 2..20_u64, 1 => any::<u64>(),
    ]
}

/// The world outside: which ids and tokens were given, and what must stay true about them.
#[derive(Default)]
struct World {
    trio: Trio,
    at: i64,
    ids: BTreeMap<u8, JobId>,
    tokens: BTreeMap<JobId, FencingToken>,
    newest_token: u64,
    created: BTreeSet<JobId>,
    ended: BTreeMap<JobId, JobState>,
    entries: Vec<Entry>,
}

impl World {
    fn new() -> Self {
        let mut world = Self { at: 1_000_000_000, ..Self::default() };
        let register = || Command::RegisterWorker { info: WorkerInfo::default() };
        world.apply(false, (0..WORKERS).map(|_| register()).collect());
        world
    }

    fn apply(&mut self, leader_change: bool, commands: Vec<Command>) -> Vec<Result<Outcome, jobraft_protocol::Error>> {
        let entry = Entry { at: LogTime::from_ms(self.at as u64), leader_change, commands };
        let outcomes = self.trio.apply(&entry).outcomes;
        self.entries.push(entry);
        outcomes
    }

    fn id(&self, job: u8) -> JobId {
        self.ids.get(&job).copied().unwrap_or_else(|| JobId::new(LogTime::from_ms(self.at as u64), [job; 10]))
    }

    fn lease(&self, job: u8, age: u64) -> LeaseRef {
        let id = self.id(job);
        let newest = self.tokens.get(&id).map_or(1, |token| token.0);
        LeaseRef { job: id, token: FencingToken(newest.saturating_sub(age)) }
    }

    fn command(&mut self, step: &Step) -> Option<Command> {
        Some(match *step {
            Step::Enqueue { job, delay_ms, attempts, priority, minted_ago_ms } => {
                let minted = LogTime::from_ms((self.at as u64).saturating_sub(minted_ago_ms));
                let known = self.ids.get(&job).copied().filter(|id| minted_ago_ms > 0 || !self.ended.contains_key(id));
                let id = known.unwrap_or_else(|| {
                    let mut random = [job; 10];
                    random[9] = self.entries.len() as u8;
                    JobId::new(minted, random)
                });
                self.ids.insert(job, id);
                let task = Task::Handler("t".parse().unwrap());
                let new = NewJob {
                    start: if delay_ms == 0 { Start::Now } else { Start::AfterMs(delay_ms) },
                    max_attempts: Some(attempts),
                    priority: Some(priority),
                    ..NewJob::new(
                        id,
                        if job % 2 == 0 { "even" } else { "odd" }.parse().unwrap(),
                        task,
                        vec![job; usize::from(job % 3) * 60],
                    )
                };
                Command::enqueue(vec![new])
            }
            Step::Lease { worker, max, lease_ms } => Command::Lease {
                worker: WorkerId(worker),
                queues: vec!["odd".parse().unwrap(), "even".parse().unwrap()],
                shares: Vec::new(),
                max,
                lease_ms,
            },
            Step::Extend { job, age } => {
                Command::Extend { leases: vec![self.lease(job, age)], lease_ms: 5_000, progress: Vec::new() }
            }
            Step::Complete { job, age } => Command::complete(
                self.lease(job, age),
                Completion { result: vec![job; 5].into(), ..Completion::default() },
            ),
            Step::Fail { job, age, retryable } => Command::Fail {
                lease: self.lease(job, age),
                failure: Failure { retryable, ..Failure::retryable("broken") },
            },
            Step::Release { job, age } => Command::Release { lease: self.lease(job, age), delay_ms: 0 },
            Step::Disconnect { worker } => Command::Disconnect { worker: WorkerId(worker) },
            Step::Cancel { job, grace_ms } => Command::Act {
                targets: vec![self.trio.target(self.id(job))],
                action: JobAction::Cancel { reason: "enough".to_owned(), grace_ms },
                only_in: Vec::new(),
                by: String::new(),
            },
            Step::Retry { job } => Command::Act {
                targets: vec![self.trio.target(self.id(job))],
                action: JobAction::Retry,
                only_in: Vec::new(),
                by: String::new(),
            },
            Step::Nothing => return None,
        })
    }

    fn run(&mut self, passed: i64, leader_change: bool, step: &Step) {
        self.at += passed;
        let before = self.trio.plain.now();
        self.apply(leader_change, Vec::new());
        let now = self.trio.plain.now();
        assert!(now >= before, "7: log time went back");
        self.check_jobs();
        let Some(command) = self.command(step) else { return };
        let hash = self.trio.plain.state_hash();
        let former: BTreeMap<JobId, _> = self.ids.values().map(|&id| (id, self.trio.view(id))).collect();
        let outcome = self.apply(false, vec![command.clone()]).remove(0);
        match &outcome {
            Err(_) => assert_eq!(self.trio.plain.state_hash(), hash, "4: a refused command changed something"),
            Ok(Outcome::Enqueued(outcomes)) => self.check_enqueued(&command, &outcomes[0]),
            Ok(Outcome::Leased(leased)) => {
                for job in &leased.jobs {
                    assert!(job.token.0 > self.newest_token, "4: tokens must increase");
                    self.newest_token = job.token.0;
                    self.tokens.insert(job.id, job.token);
                    let view = former[&job.id].as_ref().expect("a leased job was there before");
                    assert_eq!(view.state, JobState::Ready, "5: two leases of one job");
                    assert!(view.run_at <= now, "9: leased before its time");
                    assert!(job.attempt <= job.max_attempts, "8: an attempt beyond the limit");
                    assert!(!self.ended.contains_key(&job.id), "6: an ended job runs again");
                }
            }
            Ok(Outcome::Acted(results)) => {
                if let Command::Act { targets, action: JobAction::Retry, .. } = &command
                    && results[0].is_ok()
                {
                    assert_eq!(
                        self.ended.remove(&targets[0].job),
                        Some(JobState::Dead),
                        "6: only dead jobs live again"
                    );
                }
            }
            Ok(_) => {}
        }
        if let Command::Complete { lease, .. } | Command::Fail { lease, .. } = &command
            && outcome.is_ok()
        {
            assert_eq!(self.tokens.get(&lease.job), Some(&lease.token), "4: a stale token was taken");
        }
        self.check_jobs();
    }

    fn check_enqueued(&mut self, command: &Command, outcome: &EnqueueOutcome) {
        let Command::Enqueue { jobs, .. } = command else { unreachable!() };
        let id = jobs[0].id;
        match outcome {
            EnqueueOutcome::Created => assert!(self.created.insert(id), "2: a second job under one id"),
            EnqueueOutcome::Existing => assert!(self.created.contains(&id), "2: a retry of nothing"),
            EnqueueOutcome::Refused(error) => assert_eq!(error.code, ErrorCode::IdOutsideWindow),
            other => panic!("2: {other:?} of a job without a key"),
        }
    }

    fn check_jobs(&mut self) {
        let now = self.trio.plain.now();
        for &id in self.ids.values() {
            let Some(view) = self.trio.view(id) else {
                assert!(!self.created.contains(&id), "8: a job was dropped");
                continue;
            };
            assert!(view.attempt <= view.max_attempts, "8: an attempt beyond the limit");
            assert_eq!(view.lease.is_some(), view.state == JobState::Leased, "5: a lease without a leased job");
            assert!(view.lease.is_none_or(|lease| lease.expires_at > now), "7: a lease outlived its time");
            if let Some(state) = self.ended.get(&id) {
                assert_eq!(view.state, *state, "6: a terminal state was left");
            } else if view.state.is_terminal() {
                self.ended.insert(id, view.state);
            } else {
                let waits_in_vain = view.state == JobState::Ready && view.attempt >= view.max_attempts;
                assert!(!waits_in_vain, "8: ready without an attempt left");
            }
        }
    }
}

/// A copy in which one byte differs: the one that `choose` picks of all.
fn corrupted(disk: &Disk, choose: impl FnOnce(usize) -> usize, flip: u8) -> Disk {
    let mut copy = disk.clone();
    let jobs = copy.jobs.values_mut().map(|row| &mut row.body);
    let mut bodies: Vec<&mut Bytes> = jobs.chain(copy.rows.values_mut()).collect();
    bodies.push(&mut copy.header);
    let mut place = choose(bodies.iter().map(|body| body.len()).sum());
    for body in bodies {
        if place >= body.len() {
            place -= body.len();
            continue;
        }
        let mut flipped = body.to_vec();
        flipped[place] ^= flip;
        *body = flipped.into();
        break;
    }
    copy
}

/// Another number in place of one in the body: the one that `choose` picks of all.
fn renumbered(body: &[u8], choose: impl FnOnce(usize) -> usize, number: u64) -> Vec<u8> {
    fn numbers<'a>(value: &'a mut Value, found: &mut Vec<&'a mut Value>) {
        match value {
            Value::Integer(_) => found.push(value),
            Value::Array(values) => values.iter_mut().for_each(|value| numbers(value, found)),
            Value::Map(pairs) => pairs.iter_mut().for_each(|(_, value)| numbers(value, found)),
            _ => {}
        }
    }
    let mut value: Value = ciborium::from_reader(&body[1..]).unwrap();
    let mut found = Vec::new();
    numbers(&mut value, &mut found);
    if !found.is_empty() {
        let place = choose(found.len());
        *found[place] = Value::Integer(number.into());
    }
    let mut bytes = vec![body[0]];
    ciborium::into_writer(&value, &mut bytes).unwrap();
    bytes
}

/// A disk with something of everything, on top of what a log left.
fn with_all(world: &mut World) -> Disk {
    let (at, now) = (world.at as u64, LogTime::from_ms(world.at as u64));
    let id = |seed: u8| JobId::new(now, [seed; 10]);
    let new = |seed: u8| NewJob {
        group: Some(["g", "h"][usize::from(seed % 2)].parse().unwrap()),
        max_attempts: Some(1),
        ..NewJob::new(id(seed), "even".parse().unwrap(), Task::Handler("t".parse().unwrap()), "")
    };
    let after = |seed: u8, before: &[u8]| NewJob {
        after: Some(After { jobs: before.iter().map(|&seed| id(seed)).collect(), ..After::default() }),
        ..new(seed)
    };
    let queue: QueueName = "even".parse().unwrap();
    let rate = Some(Rate { burst: Some(2), ..Rate::new(3, 1_000) });
    let task = Task::Handler("t".parse().unwrap());
    let schedule = Schedule {
        name: "n".parse().unwrap(),
        cron: "* * * * *".to_owned(),
        time_zone: "UTC".to_owned(),
        job: JobTemplate { ttl_ms: Some(9_000), ..JobTemplate::new(queue.clone(), task, "") },
        catch_up: CatchUp::One,
        overlap: Overlap::Queue,
    };
    let batch = |seed: u8, open: bool, jobs: Vec<NewJob>| {
        let call = |seed| Some(Box::new(NewJob { group: None, ..new(seed) }));
        let (on_complete, on_failure) = (call(seed + 1), call(seed + 2));
        let batch = NewBatch { open, on_complete, on_failure, ..NewBatch::new(BatchId(id(seed)), jobs) };
        Command::CreateBatch { batch: Box::new(batch), known: Vec::new(), namespace: Default::default() }
    };
    let lease = Command::Lease {
        worker: WorkerId(1),
        queues: vec![queue.clone()],
        shares: Vec::new(),
        max: 3,
        lease_ms: 5_000,
    };
    world.apply(
        false,
        vec![
            Command::Configure {
                settings: vec![
                    Setting::Queue(queue.clone(), QueueSetting::GroupRate(rate)),
                    Setting::Queue(queue.clone(), QueueSetting::Concurrency(Some(9))),
                    Setting::Queue(queue.clone(), QueueSetting::Rate(rate)),
                    Setting::Group(queue.clone(), "g".parse().unwrap(), GroupSetting::Weight(Some(3))),
                    Setting::Group(queue.clone(), "h".parse().unwrap(), GroupSetting::Rate(rate)),
                    Setting::PutSchedule(Box::new(schedule)),
                ],
            },
            batch(100, false, vec![new(110), after(111, &[110]), new(112)]),
            batch(120, true, vec![new(130), after(131, &[130, 112])]),
            Command::RunSchedule { name: "n".parse().unwrap(), job: id(140) },
            lease,
        ],
    );
    world.apply(false, of_a_tenant(id(150)));
    world.at = at as i64 + 400;
    let tick = LogTime::from_ms(world.at as u64);
    let tick =
        Command::Tick { name: "n".parse().unwrap(), revision: 1, ticks: vec![tick], passed_over: 0, more: false };
    let leased: Vec<LeaseRef> = world
        .trio
        .disk
        .jobs
        .keys()
        .filter_map(|&id| {
            let lease = world.trio.plain.view(id)?.lease?;
            Some(LeaseRef { job: id, token: lease.token })
        })
        .collect();
    let mut commands = vec![tick];
    for (place, &lease) in leased.iter().enumerate() {
        commands.push(if place % 2 == 0 {
            Command::Fail { lease, failure: Failure::final_error("broken") }
        } else {
            Command::complete(lease, Completion::default())
        });
    }
    world.apply(false, commands);
    world.trio.disk.clone()
}

/// A namespace with a quota, a job, a module and a secret.
fn of_a_tenant(job: JobId) -> Vec<Command> {
    let acme = Namespace::new("acme").unwrap();
    let quota = vec![NamespaceSetting::Jobs(Some(9)), NamespaceSetting::Rate(Some(Rate::new(9, 1_000)))];
    let change = NamespaceChange::Create { name: acme.clone(), quota };
    let name: ModuleName = acme.full("m").parse().unwrap();
    let manifest = ModuleManifest {
        digest: Digest([7; 32]),
        size: 1,
        names: Vec::new(),
        imports: Vec::new(),
        owner: "o".to_owned(),
        signatures: Vec::new(),
    };
    let other = ModuleManifest { digest: Digest([8; 32]), ..manifest.clone() };
    let put =
        |manifest| Command::PutModule { manifest, name: Some(name.clone()), namespace: acme.clone(), only_own: true };
    let secret = SecretCommand::Put {
        name: acme.full("S").parse().unwrap(),
        sealed: vec![0xff; 9].into(),
        grant: Some(SecretGrant::to(vec![ModuleRef::Name(name.clone())])),
    };
    let queue = acme.full("q").parse().unwrap();
    vec![
        Command::ChangeNamespace { change, by: "ops".to_owned() },
        put(manifest),
        put(other),
        Command::ChangeSecret { change: secret, by: "ops".to_owned() },
        Command::enqueue(vec![NewJob::new(job, queue, Task::Module(Digest([7; 32])), "")]),
    ]
}

/// Whatever the rows made of the state: it takes commands of every kind, for a long time.
fn live_on(mut core: Core, disk: &Disk) {
    let queues: Vec<QueueName> = core.queues().into_iter().map(|stats| stats.queue).take(60).collect();
    for ms in [0, 100, 10_000, 100_000, 86_400_000, 40 * 86_400_000] {
        let at = core.now().plus_ms(ms);
        let lease =
            Command::Lease { worker: WorkerId(1), queues: queues.clone(), shares: Vec::new(), max: 9, lease_ms: 1_000 };
        let mut commands = vec![Command::RegisterWorker { info: WorkerInfo::default() }, lease];
        let read = |(&job, row): (&JobId, &jobraft_core::JobRow)| Target {
            job,
            row: (!core.is_live(job)).then(|| row.body.clone()),
        };
        let targets: Vec<Target> = disk.jobs.iter().map(read).collect();
        let act = |action| Command::Act { targets: targets.clone(), action, only_in: Vec::new(), by: String::new() };
        commands.push(act(JobAction::Retry));
        let ids: Vec<JobId> = targets.iter().map(|target| target.job).collect();
        let mut job =
            NewJob::new(JobId::new(at, [0xaa; 10]), "even".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
        job.group = Some("g".parse().unwrap());
        job.after = Some(After { jobs: ids, on_failure: OnFailure::Run });
        for view in core.batches(&Namespace::default(), None, 100) {
            let id = JobId::new(at, [0xbb; 10]);
            let jobs = vec![NewJob { id, batch: Some(view.id), after: None, ..job.clone() }];
            commands.push(Command::enqueue(jobs));
            commands.push(Command::SealBatch { batch: view.id, cancel: ms % 3 == 1 });
        }
        commands.push(Command::Enqueue { jobs: vec![job], all_or_none: true, known: targets.clone() });
        for plan in core.plans() {
            let (name, revision) = (plan.name, plan.revision);
            commands.push(Command::Tick { name, revision, ticks: vec![at], passed_over: 3, more: false });
        }
        let held = core.workers(None).flat_map(|worker| worker.jobs).filter_map(|id| Some((id, core.view(id)?.lease?)));
        let held: Vec<LeaseRef> = held.map(|(job, lease)| LeaseRef { job, token: lease.token }).collect();
        commands.extend(held.iter().take(2).map(|lease| Command::complete(*lease, Completion::default())));
        commands.extend(held.iter().skip(2).map(|lease| Command::Release { lease: *lease, delay_ms: 0 }));
        if ms > 10_000 {
            commands.push(act(JobAction::Move { queue: "odd".parse().unwrap() }));
            commands.push(act(JobAction::Cancel { reason: String::new(), grace_ms: 0 }));
        }
        core.apply(&Entry { at, leader_change: ms == 100, commands });
        drop(core.take_changes());
        let _ = (
            core.state_hash_with(|id| disk.payload(id).ok_or(id)),
            core.pinned(),
            core.next_timer(),
            core.horizons(None, 99),
        );
        for queue in &queues {
            let _ = (core.groups(queue, None, 99), core.ready_count(queue));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").map_or(48, |text| text.parse().unwrap()), ..ProptestConfig::default() })]

    #[test]
    fn random_logs_keep_the_invariants(log in log()) {
        let mut world = World::new();
        for (passed, leader_change, step) in &log {
            world.run(*passed, *leader_change, step);
        }
    }

    #[test]
    fn checkpoint_and_tail_equal_full_replay(log in log(), cuts in prop::collection::btree_set(0..160_usize, 0..4)) {
        let mut world = World::new();
        for (passed, leader_change, step) in &log {
            world.run(*passed, *leader_change, step);
        }
        let (mut core, mut disk) = (Core::new(), Disk::default());
        for (index, entry) in world.entries.iter().enumerate() {
            core.apply(entry);
            if cuts.contains(&index) {
                disk.checkpoint(&mut core);
                core = disk.load();
            }
        }
        prop_assert_eq!(disk.state_hash(&core), world.trio.plain.state_hash());
    }

    #[test]
    fn corrupt_rows_are_refused_without_panic(log in log(), place in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut world = World::new();
        for (passed, leader_change, step) in &log {
            world.run(*passed, *leader_change, step);
        }
        // Whatever a flipped byte makes of the rows: an error, or a state that applies entries.
        let disk = with_all(&mut world);
        let corrupt = corrupted(&disk, |total| place.index(total), flip);
        if let Ok(core) = corrupt.try_load() {
            live_on(core, &corrupt);
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_without_panic(
        log in prop::collection::vec((0..3_000_i64, step()), 0..10),
        rows in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), number()), 1..40),
    ) {
        let mut world = World::new();
        for (passed, step) in &log {
            world.run(*passed, false, step);
        }
        let disk = with_all(&mut world);
        for (row, place, number) in &rows {
            let mut corrupt = disk.clone();
            let jobs = corrupt.jobs.values_mut().map(|row| &mut row.body);
            let mut bodies: Vec<&mut Bytes> = jobs.chain(corrupt.rows.values_mut()).collect();
            bodies.push(&mut corrupt.header);
            let body = &mut bodies[row.index(disk.jobs.len() + disk.rows.len() + 1)];
            **body = renumbered(body, |count| place.index(count), *number).into();
            if let Ok(core) = corrupt.try_load() {
                live_on(core, &corrupt);
            }
        }
    }
}
