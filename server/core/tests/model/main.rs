//! Random commands against the core and against a simple model of what is documented: both must say the same of every
//! answer, job, queue, key, worker and value. Each log is also cut at random places: full replay, and checkpoints with
//! restores and the tail, must give one state.
//!
//! `PROPTEST_CASES=5000 cargo test -p jobraft-core --test model` looks further.
#![expect(clippy::unwrap_used, reason = "tests")]

mod reference;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod together;

use jobraft_core::{Command, Core, Entry, Outcome, Target, identity};
use jobraft_protocol::{
    After, BatchId, Completion, EnqueueOutcome, Error, Failure, FencingToken, JobAction, JobId, JobState, JobTemplate,
    LeaseRef, LogTime, Namespace, NewBatch, NewJob, QueueName, Schedule, ScheduleName, Setting, StateWrite, Task,
    UniqueKey, WorkerId, WorkerInfo, WorkerOrder,
};
use proptest::prelude::*;
use reference::{Job, Reference};
use std::collections::{BTreeMap, BTreeSet};
use steps::{Act, Calendar, GROUPS, Held, KEYS, Pass, Plan, QUEUES, SCHEDULES, Step};
use support::{Disk, Trio};

const CASES: u32 = 100;

#[derive(Default)]
struct World {
    trio: Trio,
    model: Reference,
    at: u64,
    minted: u64,
    ids: BTreeMap<u8, JobId>,
    tokens: BTreeMap<JobId, u64>,
    noted: BTreeMap<JobId, (Target, Option<Job>)>,
    batches: BTreeMap<u8, BatchId>,
    entries: Vec<Entry>,
}

fn queue(at: usize) -> QueueName {
    QUEUES[at].parse().unwrap()
}

fn schedule_name(at: usize) -> ScheduleName {
    SCHEDULES[at].parse().unwrap()
}

impl World {
    fn new() -> Self {
        let mut world = Self { at: 1_000_000_000_000, ..Self::default() };
        world.advance(Pass::Ms(0), false);
        for _ in 0..3 {
            world.command(Command::RegisterWorker { info: WorkerInfo::default() }, &[]);
        }
        world
    }

    fn apply(&mut self, leader_change: bool, commands: Vec<Command>) -> Vec<Result<Outcome, Error>> {
        let entry = Entry { at: LogTime::from_ms(self.at), leader_change, commands };
        let applied = self.trio.apply(&entry);
        self.entries.push(entry);
        applied.outcomes
    }

    fn advance(&mut self, pass: Pass, leader_change: bool) {
        let now = self.trio.plain.now().as_ms();
        self.at = match pass {
            Pass::Ms(ms) => self.at.saturating_add_signed(ms),
            Pass::Timer(beside) => self
                .trio
                .plain
                .next_timer()
                .map(|at| at.as_ms().saturating_add_signed(beside).min(now + 100_000_000))
                // A far one is worth a try now and then.
                .filter(|at| *at < now + 1_000_000 || beside == 0)
                .unwrap_or(now),
        };
        self.apply(leader_change, Vec::new());
        let present: BTreeSet<u64> = self.trio.plain.workers(None).map(|worker| worker.id.0).collect();
        self.model.advance(self.at, leader_change, &present);
        self.compare();
    }

    fn command(&mut self, command: Command, rows: &[Option<Job>]) {
        let expected = self.model.run(&command, rows);
        let outcome = self.apply(false, vec![command.clone()]).remove(0);
        if let Ok(Outcome::Leased(leased)) = &outcome {
            self.tokens.extend(leased.jobs.iter().map(|job| (job.id, job.token.0)));
        }
        assert_eq!(answer(&outcome), expected, "{command:?}");
        self.compare();
    }

    fn id(&self, job: u8) -> JobId {
        self.ids.get(&job).copied().unwrap_or_else(|| JobId::new(LogTime::from_ms(self.at), [job; 10]))
    }

    /// One of the jobs in that state, if there are any: else most steps would be refused.
    fn one_in(&self, state: JobState, job: u8) -> JobId {
        let ids: Vec<JobId> = self.model.jobs.iter().map(|job| job.id).collect();
        let in_state = |id: &JobId| self.model.visible(*id).is_some_and(|job| job.state == state);
        let ids: Vec<JobId> = ids.into_iter().filter(in_state).collect();
        ids.get(usize::from(job) % ids.len().max(1)).copied().unwrap_or_else(|| self.id(job))
    }

    fn lease(&self, (job, age): Held) -> LeaseRef {
        let id = if age == 0 { self.one_in(JobState::Leased, job) } else { self.id(job) };
        let newest = self.tokens.get(&id).copied().unwrap_or(1);
        LeaseRef { job: id, token: FencingToken(newest.saturating_sub(age)) }
    }

    fn is_outside_window(&self, id: JobId) -> bool {
        self.trio.plain.now().ms_since(id.minted_at()) > jobraft_protocol::limits::IDEMPOTENCY_WINDOW_MS_DEFAULT
    }

    fn new_jobs(&mut self, plans: &[Plan]) -> Vec<NewJob> {
        // Twice: so that a job may come after one behind it.
        for plan in plans.iter().filter(|plan| plan.anew) {
            let id = self.mint(plan.job);
            self.ids.insert(plan.job, id);
        }
        let asked: Vec<JobId> = plans.iter().map(|plan| self.id(plan.job)).collect();
        plans.iter().map(|plan| self.new_job(&Plan { anew: false, ..plan.clone() }, &asked)).collect()
    }

    fn new_job(&mut self, plan: &Plan, asked: &[JobId]) -> NewJob {
        let is_old = |id: &JobId| !self.trio.plain.remembers(*id) && self.is_outside_window(*id);
        if plan.anew || self.ids.get(&plan.job).is_none_or(|id| is_old(id) && !plan.is_careless) {
            let id = self.mint(plan.job);
            self.ids.insert(plan.job, id);
        }
        let mut after: Vec<JobId> = plan.after.iter().map(|job| self.id(*job)).collect();
        if !plan.is_careless {
            after.retain(|id| *id != self.ids[&plan.job] && (self.model.find(*id).is_some() || asked.contains(id)));
            after.sort_unstable();
            after.dedup();
        }
        NewJob {
            group: plan.group.map(|at| GROUPS[at].parse().unwrap()),
            after: (!after.is_empty()).then_some(After { jobs: after, on_failure: plan.on_failure }),
            batch: plan.batch.and_then(|batch| self.batches.get(&batch).copied()),
            start: plan.start,
            priority: plan.priority,
            max_attempts: plan.max_attempts,
            run_timeout_ms: plan.timeout,
            ttl_ms: plan.ttl,
            start_deadline_ms: plan.deadline,
            backoff: Some(steps::backoff(plan.job)),
            max_crashes: plan.max_crashes,
            unique: plan.unique.clone(),
            ..NewJob::new(
                self.ids[&plan.job],
                queue(plan.queue),
                Task::Handler("t".parse().unwrap()),
                vec![plan.job; plan.payload],
            )
        }
    }

    fn mint(&mut self, seed: u8) -> JobId {
        self.minted += 1;
        let mut random = [seed; 10];
        random[8..].copy_from_slice(&(self.minted as u16).to_be_bytes());
        JobId::new(self.trio.plain.now(), random)
    }

    /// What the leader puts into the entry of ended jobs that these come after.
    fn known(&self, jobs: &[NewJob], row: u8) -> (Vec<Target>, Vec<Option<Job>>) {
        let mut ids: Vec<JobId> = jobs.iter().flat_map(|job| &job.after).flat_map(|after| after.jobs.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !self.trio.plain.is_live(*id) && jobs.iter().all(|job| job.id != *id));
        let read = ids.into_iter().map(|id| match (row, self.noted.get(&id)) {
            (0, _) => (Target { job: id, row: None }, None),
            (1, Some(noted)) => noted.clone(),
            _ => self.read(id),
        });
        let (mut targets, rows): (Vec<_>, Vec<_>) = read.unzip();
        for row in targets.iter_mut().filter_map(|target| target.row.as_mut()) {
            *row = identity(row).unwrap().into();
        }
        (targets, rows)
    }

    fn schedule(&self, at: usize, calendar: &Calendar) -> Schedule {
        let task = Task::Handler("t".parse().unwrap());
        let job = JobTemplate {
            priority: Some(calendar.priority),
            unique: calendar.unique.clone(),
            group: calendar.group.map(|at| GROUPS[at].parse().unwrap()),
            max_attempts: Some(2),
            backoff: Some(steps::backoff(0)),
            ..JobTemplate::new(queue(calendar.queue), task, vec![1; 3])
        };
        Schedule {
            name: schedule_name(at),
            cron: "* * * * *".to_owned(),
            time_zone: format!("Zone/{}", calendar.zone),
            job,
            catch_up: calendar.catch_up,
            overlap: calendar.overlap,
        }
    }

    /// One that is known, mostly: they are forgotten where time passes quickly.
    fn worker(&mut self, at: u64) -> WorkerId {
        let mut ids: Vec<WorkerId> = self.trio.plain.workers(None).map(|worker| worker.id).collect();
        if at > 3 {
            return WorkerId(at);
        }
        if ids.is_empty() {
            self.command(Command::RegisterWorker { info: WorkerInfo::default() }, &[]);
            ids = self.trio.plain.workers(None).map(|worker| worker.id).collect();
        }
        ids[at as usize % ids.len()]
    }

    /// What a leader reads of the job, and the same in the model.
    fn read(&self, id: JobId) -> (Target, Option<Job>) {
        let target = self.trio.target(id);
        let row = target.row.as_ref().and_then(|_| self.model.visible(id).cloned());
        assert_eq!(row.is_some(), target.row.is_some());
        (target, row)
    }

    fn run(&mut self, step: &Step) {
        let mut rows = Vec::new();
        let command = match step {
            Step::Enqueue { plans, all, row } => {
                let jobs = self.new_jobs(plans);
                let (known, read) = self.known(&jobs, *row);
                rows = read;
                Command::Enqueue { jobs, all_or_none: *all, known }
            }
            Step::CreateBatch { batch, anew, open, plans, row, calls } => {
                let is_old = |id: &BatchId| self.trio.plain.batch(*id).is_none() && self.is_outside_window(id.0);
                if *anew || self.batches.get(batch).is_none_or(is_old) {
                    let id = self.mint(0xb0);
                    self.batches.insert(*batch, BatchId(id));
                }
                let jobs = self.new_jobs(plans);
                let (known, read) = self.known(&jobs, *row);
                rows = read;
                let mut callback = |at: Option<usize>| {
                    let (id, task) = (self.mint(0xc0), Task::Handler("t".parse().unwrap()));
                    at.map(|at| NewJob { max_attempts: Some(1), ..NewJob::new(id, queue(at), task, "") }).map(Box::new)
                };
                let [on_complete, on_failure] = calls.map(&mut callback);
                let id = self.batches[batch];
                let batch = NewBatch { on_complete, on_failure, open: *open, ..NewBatch::new(id, jobs) };
                Command::CreateBatch { batch: Box::new(batch), known, namespace: Default::default() }
            }
            Step::SealBatch(batch, cancel) => {
                let batch = self.batches.get(batch).copied().unwrap_or(BatchId(self.id(0)));
                Command::SealBatch { batch, cancel: *cancel }
            }
            Step::Put(at, calendar) => {
                Command::Configure { settings: vec![Setting::PutSchedule(Box::new(self.schedule(*at, calendar)))] }
            }
            Step::Pause(at, paused) => {
                Command::Configure { settings: vec![Setting::PauseSchedule(schedule_name(*at), *paused)] }
            }
            Step::Remove(at) => Command::Configure { settings: vec![Setting::RemoveSchedule(schedule_name(*at))] },
            Step::Run(at, job, anew) => {
                if *anew || !self.ids.contains_key(job) {
                    let id = self.mint(*job);
                    self.ids.insert(*job, id);
                }
                Command::RunSchedule { name: schedule_name(*at), job: self.id(*job) }
            }
            Step::Tick { name, ago, passed_over, more, is_old } => {
                let now = self.trio.plain.now().as_ms();
                let mut ticks: Vec<LogTime> = ago.iter().map(|ago| LogTime::from_ms(now + 1_000 - ago)).collect();
                ticks.sort_unstable();
                let name = schedule_name(*name);
                let revision = self.model.revision_of(&name) - u64::from(*is_old && self.model.revision_of(&name) > 0);
                Command::Tick { name, revision, ticks, passed_over: *passed_over, more: *more }
            }
            Step::Group(at, group, setting) => Command::Configure {
                settings: vec![Setting::Group(queue(*at), GROUPS[*group].parse().unwrap(), *setting)],
            },
            Step::Register => Command::RegisterWorker { info: WorkerInfo::default() },
            Step::Seen(worker) => Command::WorkersSeen { workers: vec![WorkerId(*worker)] },
            Step::Order(worker, order) => Command::OrderWorker {
                worker: WorkerId(*worker),
                order: [WorkerOrder::Quiet, WorkerOrder::Stop].get(*order as usize).copied().unwrap_or_default(),
            },
            Step::Lease { worker, queues, max, lease_ms } => Command::Lease {
                worker: self.worker(*worker),
                queues: queues.iter().map(|at| queue(*at)).collect(),
                shares: Vec::new(),
                max: *max,
                lease_ms: *lease_ms,
            },
            Step::Extend(held, lease_ms) => Command::Extend {
                leases: held.iter().map(|held| self.lease(*held)).collect(),
                lease_ms: *lease_ms,
                progress: Vec::new(),
            },
            Step::Checkpoint(held, bytes) => {
                Command::Checkpoint { lease: self.lease(*held), data: vec![1; *bytes].into() }
            }
            Step::Complete { held, children, writes } => {
                let lease = self.lease(*held);
                let write = |(key, value, if_version): &(usize, Option<usize>, Option<u64>)| StateWrite {
                    key: format!("s{key}").parse().unwrap(),
                    value: value.map(|bytes| vec![7; bytes].into()),
                    if_version: *if_version,
                };
                let jobs = self.new_jobs(children);
                let (known, read) = self.known(&jobs, 2);
                rows = read;
                let state = writes.iter().map(write).collect();
                Command::Complete { lease, completion: Completion { jobs, state, ..Completion::default() }, known }
            }
            Step::Fail(held, retryable) => Command::Fail {
                lease: self.lease(*held),
                failure: Failure { retryable: *retryable, ..Failure::retryable("broken") },
            },
            Step::Release(held, delay_ms) => Command::Release { lease: self.lease(*held), delay_ms: *delay_ms },
            Step::Disconnect(worker) => Command::Disconnect { worker: WorkerId(*worker) },
            Step::Act { jobs, row, act, only_in } => {
                let read = jobs.iter().map(|job| {
                    let id = match act {
                        Act::Retry if *row > 2 => self.one_in(JobState::Dead, *job),
                        Act::Cancel { grace_ms } if *grace_ms > 0 => self.one_in(JobState::Leased, *job),
                        _ => self.id(*job),
                    };
                    match (*row, self.noted.get(&id)) {
                        (0, _) => (Target { job: id, row: None }, None),
                        (1 | 2, Some(noted)) => noted.clone(),
                        _ => self.read(id),
                    }
                });
                let (mut targets, read): (Vec<_>, Vec<_>) = read.unzip();
                rows = read;
                if matches!(act, Act::Delete) {
                    for row in targets.iter_mut().filter_map(|target| target.row.as_mut()) {
                        *row = identity(row).unwrap().into();
                    }
                }
                let action = match act {
                    Act::Cancel { grace_ms } => JobAction::Cancel { reason: "enough".to_owned(), grace_ms: *grace_ms },
                    Act::Delete => JobAction::Delete,
                    Act::Retry => JobAction::Retry,
                    Act::Move { queue: at } => JobAction::Move { queue: queue(*at) },
                    Act::Prioritize { priority } => JobAction::Prioritize { priority: *priority },
                };
                Command::Act { targets, action, only_in: only_in.clone(), by: String::new() }
            }
            Step::Note(job) => {
                let id = self.id(*job);
                self.noted.insert(id, self.read(id));
                return;
            }
            Step::Configure(settings) => Command::Configure {
                settings: settings.iter().map(|(at, setting)| Setting::Queue(queue(*at), *setting)).collect(),
            },
            Step::CreateQueues(create) => Command::Configure { settings: vec![Setting::CreateQueues(*create)] },
            Step::Nothing => return,
        };
        self.command(command, &rows);
    }

    /// Everything that can be read says the same.
    fn compare(&self) {
        let (core, model) = (&self.trio.plain, &self.model);
        assert_eq!(core.now().as_ms(), model.now);
        for job in &model.jobs {
            let shown = self.trio.view(job.id).map(|view| {
                let lease = view.lease.map(|lease| (lease.worker.0, lease.token.0, lease.expires_at.as_ms()));
                let times =
                    [view.ttl_ends_at, view.start_by, view.finished_at, view.cancel.map(|cancel| cancel.hard_at)];
                let crashes: Vec<u64> = view.crashed_at.iter().map(|at| at.as_ms()).collect();
                let counts =
                    [view.attempt as usize, view.errors.len(), view.payload.len(), view.checkpoint_bytes as usize];
                let run_at = (view.state == JobState::Scheduled).then_some(view.run_at.as_ms());
                let place = (view.state, view.end_reason, view.queue.as_str().to_owned(), view.priority);
                let after: Vec<_> = view.after.iter().map(|one| (one.job, one.ended)).collect();
                let ties = (view.group, after, view.batch.filter(|_| view.is_callback), view.tick);
                format!(
                    "{place:?} {counts:?} {run_at:?} {lease:?} {:?} {crashes:?} {ties:?}",
                    times.map(|at| at.map(LogTime::as_ms))
                )
            });
            let expected = model.visible(job.id).map(|job| {
                let lease = job.lease.as_ref().map(|lease| (lease.worker, lease.token, lease.expires_at));
                let hard_at = job.lease.as_ref().and_then(|lease| lease.hard_at);
                let times = [job.ttl_at, job.start_by, job.finished_at, hard_at];
                let counts = [job.attempt as usize, job.errors, job.payload, job.checkpoint];
                let run_at = (job.state == JobState::Scheduled).then_some(job.run_at);
                let place = (job.state, job.reason, job.queue.clone(), job.priority);
                let ties = (job.new.group.clone(), &job.after, job.calls, &job.tick);
                format!("{place:?} {counts:?} {run_at:?} {lease:?} {times:?} {:?} {ties:?}", job.crashes)
            });
            assert_eq!(shown, expected, "{job:?}");
        }
        self.compare_queues();
        self.compare_batches();
        self.compare_schedules();
        // To ask is an entry, and what is due would fall due before its answer.
        let is_quiet = core.next_timer().is_none_or(|at| at > core.now());
        for key in KEYS.iter().filter(|_| is_quiet) {
            assert_eq!(self.holder(&key.parse().unwrap()), model.holder(&key.parse().unwrap()), "the holder of {key}");
        }
        let workers: Vec<_> = core.workers(None).collect();
        let shown: Vec<_> = workers.iter().map(|worker| (worker.id.0, worker.order, worker.held)).collect();
        let held = |id| {
            let leases = model.jobs.iter().filter_map(|job| job.lease.as_ref());
            leases.filter(|lease| lease.worker == id).count() as u64
        };
        let expected: Vec<_> = model.workers.iter().map(|known| (known.id, known.order, held(known.id))).collect();
        assert_eq!(shown, expected);
        for (worker, known) in workers.iter().zip(&model.workers) {
            let behind = known.heard.checked_sub(worker.last_seen.as_ms());
            assert!(behind.is_some_and(|ms| ms < jobraft_protocol::limits::WORKER_SEEN_MS), "{worker:?}");
        }
        let values = core.state_values(&Namespace::default(), "", None, 100);
        let shown: Vec<_> =
            values.iter().map(|value| (value.key.as_str().to_owned(), value.value.len(), value.version)).collect();
        assert_eq!(shown, model.values);
        assert_eq!(core.settings().create_queues, !model.no_new_queues);
    }

    fn compare_queues(&self) {
        let stats = self.trio.plain.queues();
        assert_eq!(stats.len(), self.model.queues.len());
        for stats in stats {
            let queue = self.model.queues.iter().find(|queue| queue.name == stats.queue.as_str()).unwrap();
            let here = || self.model.jobs.iter().filter(|job| job.queue == queue.name);
            let count = |state| here().filter(|job| job.state == state).count() as u64;
            let states = [JobState::Scheduled, JobState::Blocked, JobState::Ready, JobState::Leased];
            let live = states.map(count);
            assert_eq!([stats.scheduled, stats.blocked, stats.ready, stats.leased], live, "{}", queue.name);
            let gives = self.trio.plain.ready_count(&stats.queue) > 0;
            assert_eq!(gives, self.model.whose_turn(&queue.name).is_some(), "whether {} gives", queue.name);
            self.compare_groups(queue);
            assert_eq!([stats.completed, stats.dead, stats.cancelled, stats.expired], queue.ended, "{}", queue.name);
            let waiting = here().filter(|job| job.waits());
            let left = |job: &Job| {
                let view = self.trio.view(job.id).unwrap();
                view.log.len() + view.errors.iter().map(|error| error.message.len()).sum::<usize>() + job.checkpoint
            };
            let after = |job: &Job| {
                job.new.after.as_ref().map_or(0, |after| after.jobs.len() * jobraft_protocol::limits::PREDECESSOR_BYTES)
            };
            assert_eq!(
                stats.waiting_bytes,
                waiting.map(|job| (job.payload + after(job) + left(job)) as u64).sum::<u64>()
            );
            assert_eq!(stats.settings, queue.settings);
        }
    }

    /// Of groups without jobs and settings the core may know or forget.
    fn compare_groups(&self, queue: &reference::Queue) {
        let shown = self.trio.plain.groups(&queue.name.parse().unwrap(), None, 100).unwrap();
        for group in queue.groups.iter().filter(|group| group.key.is_some()) {
            let here = |job: &&Job| job.queue == queue.name && job.group() == group.key.as_deref();
            let count = |states: &[JobState]| {
                self.model.jobs.iter().filter(here).filter(|job| states.contains(&job.state)).count() as u64
            };
            let waiting = [JobState::Scheduled, JobState::Blocked];
            let counts = [count(&[JobState::Ready]), count(&[JobState::Leased]), count(&waiting)];
            match shown.iter().find(|view| Some(view.group.as_str()) == group.key.as_deref()) {
                Some(view) => {
                    assert_eq!([view.ready, view.leased, view.waiting], counts, "{group:?} of {}", queue.name);
                    assert_eq!(view.settings, group.settings);
                }
                None => assert_eq!((counts, group.settings), ([0; 3], jobraft_protocol::GroupSettings::default())),
            }
        }
    }

    fn compare_batches(&self) {
        let views = self.trio.plain.batches(&Namespace::default(), None, 1_000);
        assert_eq!(views.len(), self.model.batches.len());
        for view in views {
            let batch = self.model.batches.iter().find(|batch| batch.id == view.id).unwrap();
            let counts = [view.live, view.completed, view.dead, view.cancelled, view.expired];
            let shown = (view.state.as_str(), counts, view.ended_at.map(LogTime::as_ms), view.failure_called);
            let model = &self.model;
            let expected = (model.batch_state(batch), model.counts(view.id), batch.ended_at, batch.failure_called);
            assert_eq!(shown, expected, "{batch:?}");
        }
    }

    fn compare_schedules(&self) {
        let views: Vec<_> = self.trio.plain.schedules(None).collect();
        assert_eq!(views.len(), self.model.schedules.len());
        for view in views {
            let known = self.model.schedules.iter().find(|known| known.put.name == view.schedule.name).unwrap();
            let counts = [view.fired, view.missed, view.skipped];
            let shown = (view.paused, view.ticked_to.as_ms(), view.last_job, counts, view.last_error.is_some());
            let expected = (known.paused, known.ticked_to, known.last_job, known.counts, known.is_stuck);
            assert_eq!((shown, view.schedule), (expected, known.put.clone()), "{known:?}");
        }
    }

    /// Who holds a key, as an enqueue would be told.
    fn holder(&self, key: &UniqueKey) -> Option<JobId> {
        let mut core = self.trio.plain.clone();
        let unique = jobraft_protocol::Unique {
            key: key.clone(),
            scope: jobraft_protocol::UniqueScope::UntilDone,
            on_conflict: jobraft_protocol::OnConflict::ReturnExisting,
        };
        let id = JobId::new(core.now(), [0xee; 10]);
        let task = Task::Handler("t".parse().unwrap());
        let job = NewJob { unique: Some(unique), ..NewJob::new(id, "probe".parse().unwrap(), task, "") };
        let entry = Entry { at: core.now(), commands: vec![Command::enqueue(vec![job])], ..Entry::default() };
        match core.apply(&entry).outcomes.remove(0) {
            Ok(Outcome::Enqueued(outcomes)) => match outcomes[0] {
                EnqueueOutcome::Duplicate(holder) => Some(holder),
                _ => None,
            },
            other => panic!("{other:?}"),
        }
    }
}

fn answer(outcome: &Result<Outcome, Error>) -> String {
    let outcome = match outcome {
        Err(error) => return format!("error {}", error.code),
        Ok(outcome) => outcome,
    };
    let texts: Vec<String> = match outcome {
        Outcome::Done => vec!["done".to_owned()],
        Outcome::Registered(worker) => vec![worker.to_string()],
        Outcome::Batch(view) => vec![format!("{} {}", view.state, view.live)],
        Outcome::Enqueued(outcomes) => outcomes
            .iter()
            .map(|outcome| match outcome {
                EnqueueOutcome::Created => "created".to_owned(),
                EnqueueOutcome::Existing => "existing".to_owned(),
                EnqueueOutcome::Duplicate(holder) => format!("duplicate {holder}"),
                EnqueueOutcome::Replaced(holder) => format!("replaced {holder}"),
                EnqueueOutcome::Refused(error) => format!("refused {}", error.code),
            })
            .collect(),
        Outcome::Leased(leased) => leased
            .jobs
            .iter()
            .map(|job| format!("{} {} {} {} {}", job.id, job.token, job.attempt, job.expires_at, job.checkpoint.len()))
            .collect(),
        Outcome::Extended(results) => results
            .iter()
            .map(|result| match result {
                Ok(extended) => {
                    let hard_at = extended.cancel.as_ref().map(|cancel| cancel.hard_at.as_ms());
                    format!("{} {hard_at:?}", extended.expires_at)
                }
                Err(error) => format!("error {}", error.code),
            })
            .collect(),
        Outcome::Acted(results) => results
            .iter()
            .map(|result| result.as_ref().map_or_else(|error| format!("error {}", error.code), |()| "done".to_owned()))
            .collect(),
        Outcome::Failed { state, retry_at: None } => vec![state.to_string()],
        Outcome::Failed { state, retry_at: Some(at) } => vec![format!("{state} {at}")],
    };
    texts.join(", ")
}

/// Full replay against checkpoints and restores at the given places of the log, with what comes after.
fn check_cuts(entries: &[Entry], cuts: &[prop::sample::Index]) {
    let cuts: BTreeSet<usize> = cuts.iter().map(|cut| cut.index(entries.len())).collect();
    let (mut full, mut core, mut disk) = (Core::new(), Core::new(), Disk::default());
    for (place, entry) in entries.iter().enumerate() {
        assert_eq!(disk.complete(core.apply(entry)), full.apply(entry), "an answer after a restart");
        if cuts.contains(&place) {
            disk.checkpoint(&mut core);
            disk.sweep(&core);
            core = disk.load();
            assert_eq!(disk.state_hash(&core), full.state_hash(), "restored after entry {place}");
        }
    }
    assert_eq!(disk.state_hash(&core), full.state_hash(), "checkpoints and tail");
    assert_eq!(core.next_timer(), full.next_timer());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("PROPTEST_CASES").map_or(CASES, |text| text.parse().unwrap()), ..ProptestConfig::default() })]

    #[test]
    fn the_core_does_what_is_documented(
        log in prop::collection::vec((steps::pass(), prop::bool::weighted(0.03), steps::step()), 1..100),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut world = World::new();
        for (pass, leader_change, step) in &log {
            world.advance(*pass, *leader_change);
            world.run(step);
        }
        check_cuts(&world.entries, &cuts);
    }
}
