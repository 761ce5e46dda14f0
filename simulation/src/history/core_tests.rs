//! The specification against the real state machine: whatever it does in random runs is let pass, and most of what it could
//! never do is caught.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use jobraft_core::{Command, Core, Entry, Target};
use jobraft_protocol::{
    After, Backoff, BackoffCurve, Completion, Error, ErrorCode, Failure, FencingToken, JobAction, JobId, JobState,
    LeaseRef, LogTime, NewJob, OnConflict, OnFailure, Start, Task, Unique, UniqueScope, WorkerId, WorkerInfo,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

const RUNS: u64 = 60;
const STEPS: usize = 120;
/// Runs in which all jobs want one key: many short ones, since the search grows with what is left open of each job.
const CONTENDED_RUNS: u64 = 500;
const CONTENDED_STEPS: usize = 30;

/// One run: a core that is asked one thing after the other, and the history of it.
struct Run {
    rng: StdRng,
    core: Core,
    at: u64,
    history: History,
    news: BTreeMap<JobId, NewJob>,
    leases: Vec<(LeaseRef, WorkerId)>,
    workers: Vec<WorkerId>,
    seed: u16,
    /// Whether all jobs want one key.
    is_contended: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut run = Self {
            rng: StdRng::seed_from_u64(seed),
            core: Core::new(),
            at: 1_000_000_000,
            history: History::default(),
            news: BTreeMap::new(),
            leases: Vec::new(),
            workers: Vec::new(),
            seed: 0,
            is_contended: false,
        };
        run.register();
        run.register();
        run
    }

    fn play(&mut self, steps: usize) {
        for _ in 0..steps {
            self.at += match self.rng.random_range(0..20) {
                0..14 => self.rng.random_range(0..2_000),
                14..19 => self.rng.random_range(2_000..30_000),
                _ => self.rng.random_range(30_000..400_000),
            };
            self.step();
        }
        let jobs: Vec<JobId> = self.news.keys().copied().collect();
        jobs.into_iter().for_each(|job| self.get(job));
    }

    fn step(&mut self) {
        let held = self.pick_lease();
        match (self.rng.random_range(0..24), held) {
            (0..5, _) => self.enqueue(),
            (5..10, _) => self.lease(),
            (10, _) => self.get_any(),
            (11..14, _) => self.act(),
            (14, _) => self.disconnect(),
            (15, _) => drop(self.apply(Vec::new())),
            (16, Some((lease, _))) => self.extend(lease),
            (17, Some((lease, _))) => self.checkpoint(lease),
            (18..21, Some((lease, _))) => self.complete(lease),
            (21..23, Some((lease, _))) => self.fail(lease),
            (_, Some((lease, _))) => self.release(lease),
            (_, None) => self.get_any(),
        }
    }

    fn apply(&mut self, commands: Vec<Command>) -> Vec<Result<jobraft_core::Outcome, Error>> {
        let leader_change = self.rng.random_bool(0.03);
        self.core.apply(&Entry { at: LogTime::from_ms(self.at), leader_change, commands }).outcomes
    }

    fn ask(&mut self, command: Command) -> Result<jobraft_core::Outcome, Error> {
        self.apply(vec![command]).remove(0)
    }

    /// Tells the history, which at times never hears of the outcome.
    fn tell(&mut self, job: JobId, call: Call, outcome: Outcome) {
        let ask = self.history.ask(1, job, call);
        if self.rng.random_bool(0.97) {
            self.history.answer(ask, outcome);
        }
    }

    fn register(&mut self) {
        match self.ask(Command::RegisterWorker { info: WorkerInfo::default() }).unwrap() {
            jobraft_core::Outcome::Registered(worker) => self.workers.push(worker),
            other => panic!("{other:?}"),
        }
    }

    fn any_job(&mut self) -> Option<JobId> {
        let place = self.rng.random_range(0..self.news.len().max(1));
        self.news.keys().nth(place).copied()
    }

    /// One of the latest leases.
    fn pick_lease(&mut self) -> Option<(LeaseRef, WorkerId)> {
        let back = self.rng.random_range(1..5);
        self.leases.len().checked_sub(back).map(|place| self.leases[place])
    }

    fn new_job(&mut self) -> NewJob {
        self.seed += 1;
        let [high, low] = self.seed.to_be_bytes();
        let id = JobId::new(LogTime::from_ms(self.at), [high, low, 0, 0, 0, 0, 0, 0, high, low]);
        let mut new = NewJob::new(id, "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
        let rng = &mut self.rng;
        if rng.random_bool(0.3) {
            new.start = Start::AfterMs(rng.random_range(1..10_000));
        }
        if rng.random_bool(0.5) {
            new.max_attempts = Some(rng.random_range(1..4));
            new.max_crashes = Some(rng.random_range(1..4));
            new.backoff = Some(Backoff::new(BackoffCurve::Fixed { delay_ms: rng.random_range(0..5_000) }));
        }
        if rng.random_bool(0.2) {
            new.run_timeout_ms = Some(rng.random_range(1..10_000));
        }
        new.ttl_ms = rng.random_bool(0.15).then(|| rng.random_range(1..20_000));
        new.start_deadline_ms = rng.random_bool(0.15).then(|| rng.random_range(1..20_000));
        if self.is_contended {
            let scopes = [UniqueScope::UntilStarted, UniqueScope::UntilDone, UniqueScope::ForMs(4_000)];
            let scope = if rng.random_bool(0.5) { UniqueScope::Waiting } else { scopes[rng.random_range(0..3)] };
            let on_conflict = [OnConflict::Reject, OnConflict::ReturnExisting][rng.random_range(0..2)];
            new.unique = Some(Unique { key: "a".parse().unwrap(), scope, on_conflict });
        } else if rng.random_bool(0.5) {
            let scopes =
                [UniqueScope::Waiting, UniqueScope::UntilStarted, UniqueScope::UntilDone, UniqueScope::ForMs(9_000)];
            let replace = OnConflict::Replace { payload: rng.random_bool(0.5), start: true };
            // Of one key all replace or none does: where some do, less can be said of all.
            let (key, conflicts) = match rng.random_range(0..3) {
                0 => ("r", [replace, replace]),
                1 => ("a", [OnConflict::Reject, OnConflict::ReturnExisting]),
                _ => ("b", [OnConflict::Reject, OnConflict::ReturnExisting]),
            };
            let (scope, on_conflict) = (scopes[rng.random_range(0..4)], conflicts[rng.random_range(0..2)]);
            new.unique = Some(Unique { key: key.parse().unwrap(), scope, on_conflict });
        }
        if rng.random_bool(0.15) {
            let on_failure = OnFailure::ALL[rng.random_range(0..3)];
            new.after = self.any_job().map(|job| After { jobs: vec![job], on_failure });
        }
        new
    }

    fn enqueue(&mut self) {
        let new = match self.any_job().filter(|_| self.rng.random_bool(0.2)) {
            Some(job) => self.news[&job].clone(),
            None => self.new_job(),
        };
        self.news.insert(new.id, new.clone());
        let answer = self.ask(Command::enqueue(vec![new.clone()]));
        let outcome = match answer.unwrap() {
            jobraft_core::Outcome::Enqueued(outcomes) => Outcome::from(&outcomes[0]),
            other => panic!("{other:?}"),
        };
        self.tell(new.id, Call::Enqueue(Box::new(new)), outcome);
    }

    fn lease(&mut self) {
        let worker = self.workers[self.rng.random_range(0..self.workers.len())];
        let lease_ms = self.rng.random_range(0..15_000);
        let max = self.rng.random_range(1..3);
        let queues = vec!["q".parse().unwrap()];
        let called = self.history.tick();
        let answer = self.ask(Command::Lease { worker, queues, shares: Vec::new(), max, lease_ms });
        let jobraft_core::Outcome::Leased(leased) = answer.unwrap() else { panic!() };
        if self.rng.random_bool(0.03) {
            return self.history.unseen_leases(called);
        }
        for job in leased.jobs {
            self.leases.push((job.lease(), worker));
            self.history.leased(1, called, worker, lease_ms, job.id, Outcome::from(&job));
        }
    }

    fn get_any(&mut self) {
        if let Some(job) = self.any_job() {
            self.get(job);
        }
    }

    fn get(&mut self, job: JobId) {
        let view = self.core.view(job).filter(|_| !self.core.is_gone(job));
        let outcome = match view {
            Some(view) => Outcome::View(Box::new(Seen::from(&view))),
            None => Outcome::Refused(ErrorCode::NotFound),
        };
        let ask = self.history.ask(1, job, Call::Get);
        self.history.answer(ask, outcome);
    }

    fn extend(&mut self, lease: LeaseRef) {
        let lease_ms = self.rng.random_range(0..15_000);
        let answer = self.ask(Command::Extend { leases: vec![lease], lease_ms, progress: Vec::new() });
        let jobraft_core::Outcome::Extended(mut extended) = answer.unwrap() else { panic!() };
        let outcome = match extended.remove(0) {
            Ok(extended) => Outcome::Extended { expires_at: extended.expires_at, to_stop: extended.cancel.is_some() },
            Err(error) => Outcome::Refused(error.code),
        };
        self.tell(lease.job, Call::Extend { token: lease.token, lease_ms }, outcome);
    }

    fn checkpoint(&mut self, lease: LeaseRef) {
        let data = self.rng.random::<u64>().to_be_bytes();
        let answer = self.ask(Command::Checkpoint { lease, data: data.to_vec().into() });
        self.tell(lease.job, Call::Checkpoint { token: lease.token, data: mark(&data) }, reported(answer));
    }

    fn complete(&mut self, lease: LeaseRef) {
        let result = self.rng.random::<u64>().to_be_bytes();
        let jobs = if self.rng.random_bool(0.2) { vec![self.new_job()] } else { Vec::new() };
        let completion = Completion { result: result.to_vec().into(), jobs: jobs.clone(), ..Completion::default() };
        let was_live = self.core.is_live(lease.job);
        let outcome = reported(self.ask(Command::complete(lease, completion)));
        self.tell(lease.job, Call::Complete { token: lease.token, result: mark(&result) }, outcome.clone());
        for child in jobs.into_iter().filter(|_| was_live && outcome == Outcome::Done) {
            self.news.insert(child.id, child.clone());
            self.tell(child.id, Call::Enqueue(Box::new(child)), Outcome::Done);
        }
    }

    fn fail(&mut self, lease: LeaseRef) {
        let retryable = self.rng.random_bool(0.8);
        let failure = if retryable { Failure::retryable("no") } else { Failure::final_error("no") };
        let outcome = reported(self.ask(Command::Fail { lease, failure }));
        self.tell(lease.job, Call::Fail { token: lease.token, retryable }, outcome);
    }

    fn release(&mut self, lease: LeaseRef) {
        let delay_ms = if self.rng.random_bool(0.5) { 0 } else { self.rng.random_range(0..5_000) };
        let outcome = reported(self.ask(Command::Release { lease, delay_ms }));
        self.tell(lease.job, Call::Release { token: lease.token, delay_ms }, outcome);
    }

    fn disconnect(&mut self) {
        let worker = self.workers.remove(0);
        self.ask(Command::Disconnect { worker }).unwrap();
        let jobs: BTreeSet<JobId> =
            self.leases.iter().filter(|(_, holder)| *holder == worker).map(|(lease, _)| lease.job).collect();
        for job in jobs {
            self.tell(job, Call::Disconnect { worker }, Outcome::Done);
        }
        self.register();
    }

    fn act(&mut self) {
        let Some(job) = self.any_job() else { return };
        let only_in = match self.rng.random_range(0..3) {
            0 => JobState::ALL.into_iter().filter(|_| self.rng.random_bool(0.5)).collect(),
            _ => Vec::new(),
        };
        let grace_ms = if self.rng.random_bool(0.5) { 0 } else { self.rng.random_range(1..5_000) };
        let (action, call) = match self.rng.random_range(0..8) {
            0..3 => (
                JobAction::Cancel { reason: String::new(), grace_ms },
                Call::Cancel { grace_ms, only_in: only_in.clone() },
            ),
            3..6 => (JobAction::Retry, Call::Retry { only_in: only_in.clone() }),
            6 => (JobAction::Delete, Call::Delete { only_in: only_in.clone() }),
            _ => {
                let call = Call::Amend { only_in: only_in.clone(), waiting_only: false };
                (JobAction::Prioritize { priority: 3 }, call)
            }
        };
        // No checkpoint was made: no payload rests.
        let row = self.core.row(job).and_then(|row| row.body::<()>(|| Ok(None)).ok().flatten());
        let target = Target { job, row: row.map(Into::into) };
        let answer = self.ask(Command::Act { targets: vec![target], action, only_in, by: String::new() });
        let jobraft_core::Outcome::Acted(mut acted) = answer.unwrap() else { panic!() };
        let outcome = match acted.remove(0) {
            Ok(()) => Outcome::Done,
            Err(Error { code: code @ (ErrorCode::WrongState | ErrorCode::NotFound), .. }) => Outcome::Refused(code),
            Err(error) => Outcome::Untold(error.code),
        };
        self.tell(job, call, outcome);
    }
}

fn reported(answer: Result<jobraft_core::Outcome, Error>) -> Outcome {
    match answer {
        Ok(jobraft_core::Outcome::Failed { state, .. }) => Outcome::Failed { state },
        Ok(_) => Outcome::Done,
        Err(Error { code: code @ (ErrorCode::LeaseLost | ErrorCode::Cancelled), .. }) => Outcome::Refused(code),
        Err(error) => Outcome::Untold(error.code),
    }
}

#[test]
fn whatever_the_state_machine_does_is_let_pass() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..RUNS {
        let mut run = Run::new(seed);
        run.play(STEPS);
        match judge(&run.history, &Demands::default()) {
            Verdict::Passed(figures) => {
                figures.kinds.into_iter().for_each(|(kind, n)| *kinds.entry(kind).or_default() += n)
            }
            other => panic!("run {seed}: {other} (unseen leases since {:?})", run.history.unseen_leases_since),
        }
    }
    assert!(kinds.len() >= 13 && kinds.values().all(|count| *count > 50), "{kinds:?}");
}

#[test]
fn whoever_takes_a_contended_key_again_is_let_pass() {
    for seed in 0..CONTENDED_RUNS {
        let mut run = Run::new(seed);
        run.is_contended = true;
        run.play(CONTENDED_STEPS);
        let verdict = judge(&run.history, &Demands::default());
        assert!(verdict.is_passed(), "run {seed}: {verdict}");
    }
}

/// Another answer than the one that was given.
fn falsify(rng: &mut StdRng, history: &mut History) -> Option<String> {
    let place = rng.random_range(0..history.operations.len());
    let operation = &mut history.operations[place];
    let (call, outcome) = (&operation.call, operation.outcome.as_mut()?);
    let before = format!("{outcome:?}");
    match (call, &mut *outcome) {
        (_, Outcome::Created) => *outcome = Outcome::Existing,
        (Call::Enqueue(new), Outcome::Existing) if new.unique.is_none() => *outcome = Outcome::Created,
        (_, Outcome::Leased { token, attempt, .. }) => match rng.random_range(0..2) {
            0 => *attempt += 1,
            _ => *token = FencingToken(0),
        },
        (_, Outcome::Failed { state }) => {
            *state = if *state == JobState::Dead { JobState::Scheduled } else { JobState::Dead };
        }
        (Call::Complete { .. } | Call::Release { .. } | Call::Checkpoint { .. }, Outcome::Done) => {
            *outcome = Outcome::Refused(ErrorCode::LeaseLost);
        }
        (Call::Complete { .. } | Call::Release { .. }, Outcome::Refused(_)) => *outcome = Outcome::Done,
        (_, Outcome::View(seen)) => match rng.random_range(0..2) {
            0 => seen.attempt += 1,
            _ => {
                let others: Vec<JobState> =
                    [JobState::Completed, JobState::Dead, JobState::Leased, JobState::Ready].into();
                let others: Vec<JobState> = others.into_iter().filter(|state| *state != seen.state).collect();
                if matches!(seen.state, JobState::Scheduled | JobState::Blocked) {
                    return None;
                }
                seen.state = others[rng.random_range(0..others.len())];
            }
        },
        _ => return None,
    }
    Some(format!("operation {place}: {call:?}: {before} became {outcome:?}"))
}

#[test]
fn most_of_what_the_state_machine_could_never_do_is_caught() {
    let (mut tried, mut missed) = (0, Vec::new());
    for seed in 0..RUNS {
        let mut run = Run::new(seed);
        run.play(STEPS);
        for _ in 0..5 {
            let mut history = run.history.clone();
            let Some(what) = falsify(&mut run.rng, &mut history) else { continue };
            tried += 1;
            if judge(&history, &Demands::default()).is_passed() {
                missed.push(format!("run {seed}: {what}"));
            }
        }
    }
    let share = missed.len() * 100 / tried;
    assert!(share <= 15, "{} of {tried} missed:\n{}", missed.len(), missed.join("\n"));
}
