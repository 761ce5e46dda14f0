//! What the documents say of a job's life, as simply as it can be said: lists, searched from end to end.
//!
//! Written from the documentation of the protocol and the book, not from the core. Only what shows is here: no
//! checkpoints, no indexes, no clearing away of what nobody can see. Where the documents leave a choice (which of two
//! timers of the same instant fires first), the order of the ids decides.

use crate::together::{Batch, Group, Schedule, Verdict, With};
use jobraft_core::Command;
use jobraft_protocol::{
    BatchId, EndReason, ErrorCode, FencingToken, JobAction, JobId, JobState, LeaseRef, NewJob, OnConflict, QueueMode,
    QueueSettings, Retention, ScheduleTick, Setting, Start, StateWrite, Unique, UniqueKey, UniqueScope, WorkerOrder,
    limits,
};
use std::collections::BTreeSet;

pub(crate) type Refused<T> = Result<T, ErrorCode>;

#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) worker: u64,
    pub(crate) token: u64,
    granted_at: u64,
    pub(crate) expires_at: u64,
    /// When its worker took or last extended it.
    heard_at: u64,
    length: u64,
    pub(crate) hard_at: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) new: NewJob,
    pub(crate) queue: String,
    pub(crate) state: JobState,
    pub(crate) priority: u8,
    pub(crate) attempt: u32,
    max_attempts: u32,
    pub(crate) run_at: u64,
    place: usize,
    pub(crate) payload: usize,
    pub(crate) ttl_at: Option<u64>,
    pub(crate) start_by: Option<u64>,
    pub(crate) crashes: Vec<u64>,
    pub(crate) errors: usize,
    pub(crate) lease: Option<Lease>,
    reported: Option<u64>,
    pub(crate) finished_at: Option<u64>,
    /// Which one of its queue it was to end in its state.
    number: u64,
    pub(crate) reason: Option<EndReason>,
    pub(crate) checkpoint: usize,
    pub(crate) deleted: bool,
    /// Its retention was over at some time: never again.
    gone: bool,
    /// What it comes after, and how those ended.
    pub(crate) after: Vec<(JobId, Option<JobState>)>,
    /// Those of them that were kept no longer when it was retried.
    lost: Vec<JobId>,
    /// The batch for which it was called.
    pub(crate) calls: Option<BatchId>,
    pub(crate) tick: Option<ScheduleTick>,
}

impl Job {
    pub(crate) fn waits(&self) -> bool {
        matches!(self.state, JobState::Scheduled | JobState::Blocked | JobState::Ready)
    }

    pub(crate) fn group(&self) -> Option<&str> {
        self.new.group.as_ref().map(|group| group.as_str())
    }

    fn expiry(&self) -> Option<(u64, EndReason)> {
        let ttl = self.ttl_at.filter(|_| self.attempt == 0).map(|at| (at, EndReason::TtlOver));
        let deadline = self.start_by.map(|at| (at, EndReason::StartDeadline));
        match (ttl, deadline) {
            (Some(ttl), Some(deadline)) => Some(if deadline.0 < ttl.0 { deadline } else { ttl }),
            (ttl, deadline) => ttl.or(deadline),
        }
    }

    fn due(&self) -> Option<u64> {
        let expiry = self.expiry().map(|(at, _)| at);
        match self.state {
            JobState::Leased => self.lease.as_ref().map(|lease| lease.expires_at),
            JobState::Scheduled => Some(expiry.map_or(self.run_at, |at| at.min(self.run_at))),
            JobState::Ready => expiry,
            JobState::Blocked if self.verdict() != Verdict::Waits => Some(0),
            JobState::Blocked => expiry,
            _ => None,
        }
    }

    fn timeout(&self) -> u64 {
        self.new.run_timeout_ms.unwrap_or(limits::RUN_TIMEOUT_MS_DEFAULT)
    }

    fn unique(&self) -> Option<&Unique> {
        self.new.unique.as_ref()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) settings: QueueSettings,
    /// Completed, dead, cancelled, expired.
    pub(crate) ended: [u64; 4],
    /// Those that ever were; the jobs without a group are one.
    pub(crate) groups: Vec<Group>,
    pub(crate) bucket: crate::together::Bucket,
    /// The pass of the last lease, and the greatest of all.
    pub(crate) virtual_time: u64,
    pub(crate) top: u64,
    /// How often a group came to stand among the turns.
    pub(crate) orders: u64,
}

fn slot(state: JobState) -> usize {
    match state {
        JobState::Completed => 0,
        JobState::Dead => 1,
        JobState::Cancelled => 2,
        _ => 3,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) id: u64,
    pub(crate) heard: u64,
    pub(crate) order: WorkerOrder,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) now: u64,
    pub(crate) jobs: Vec<Job>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) workers: Vec<Worker>,
    keys: Vec<(UniqueKey, JobId, Option<u64>)>,
    pub(crate) values: Vec<(String, usize, u64)>,
    tokens: u64,
    registered: u64,
    version: u64,
    places: usize,
    pub(crate) no_new_queues: bool,
    /// Jobs whose ids others have by now: their batches still count them.
    pub(crate) former: Vec<Job>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) revision: u64,
}

impl Reference {
    pub(crate) fn find(&self, id: JobId) -> Option<usize> {
        self.jobs.iter().position(|job| job.id == id)
    }

    pub(crate) fn live(&self, id: JobId) -> Option<usize> {
        self.find(id).filter(|&at| !self.jobs[at].state.is_terminal())
    }

    pub(crate) fn remembered(&self, id: JobId) -> Option<usize> {
        self.find(id).filter(|&at| {
            let since = self.jobs[at].finished_at.map(|end| end.max(id.minted_at().as_ms()));
            since.is_some_and(|since| since + limits::IDEMPOTENCY_WINDOW_MS_DEFAULT >= self.now)
        })
    }

    pub(crate) fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.name == name)
    }

    pub(crate) fn queue_made(&mut self, name: &str) -> &mut Queue {
        let at = self.queues.iter().position(|queue| queue.name == name).unwrap_or_else(|| {
            self.queues.push(Queue { name: name.to_owned(), ..Queue::default() });
            self.queues.len() - 1
        });
        &mut self.queues[at]
    }

    /// Whether a job that lives, or may by its own retention be retried, comes after it.
    pub(crate) fn is_pinned(&self, id: JobId) -> bool {
        let may_be_retried = |job: &Job| job.state == JobState::Dead && !job.deleted && self.is_retained(job);
        let holds = |job: &Job| job.after.iter().any(|one| one.0 == id) && !job.lost.contains(&id);
        self.jobs.iter().any(|job| holds(job) && (!job.state.is_terminal() || may_be_retried(job)))
    }

    /// Whether a live job comes after it.
    fn is_waited_for(&self, id: JobId) -> bool {
        let holds = |job: &Job| job.after.iter().any(|one| one.0 == id) && !job.lost.contains(&id);
        self.jobs.iter().any(|job| holds(job) && !job.state.is_terminal())
    }

    fn is_kept(&self, job: &Job) -> bool {
        job.state.is_terminal() && (self.is_retained(job) || self.is_pinned(job.id))
    }

    fn is_retained(&self, job: &Job) -> bool {
        let (Some(end), Some(queue)) = (job.finished_at, self.queue(&job.queue)) else { return false };
        let settings = &queue.settings;
        let (set, default) = match job.state {
            JobState::Completed => (settings.keep_completed, limits::RETENTION_COMPLETED_MS_DEFAULT),
            JobState::Dead => (settings.keep_dead, limits::RETENTION_DEAD_MS_DEFAULT),
            JobState::Cancelled => (settings.keep_cancelled, limits::RETENTION_CANCELLED_MS_DEFAULT),
            _ => (settings.keep_expired, limits::RETENTION_EXPIRED_MS_DEFAULT),
        };
        let Retention { age_ms, count } = set.unwrap_or(Retention::for_ms(default));
        let later = queue.ended[slot(job.state)] - job.number;
        !job.gone && end + age_ms > self.now && count.is_none_or(|count| later < count)
    }

    /// What a reader sees.
    pub(crate) fn visible(&self, id: JobId) -> Option<&Job> {
        let job = &self.jobs[self.find(id)?];
        (!job.state.is_terminal() || (!job.deleted && self.is_kept(job))).then_some(job)
    }

    pub(crate) fn holder(&self, key: &UniqueKey) -> Option<JobId> {
        let holds = |held: &&(UniqueKey, JobId, Option<u64>)| held.0 == *key && held.2.is_none_or(|at| at > self.now);
        self.keys.iter().find(holds).map(|held| held.1)
    }

    fn claim(&mut self, key: &UniqueKey, id: JobId, until: Option<u64>) {
        self.keys.retain(|held| held.0 != *key);
        self.keys.push((key.clone(), id, until));
    }

    /// A job's hold on its key after its state changed.
    fn settle(&mut self, at: usize) {
        let job = self.jobs[at].clone();
        let Some(unique) = job.unique() else { return };
        let gives_up = match unique.scope {
            UniqueScope::Waiting | UniqueScope::UntilStarted => !job.waits(),
            UniqueScope::UntilDone => job.state.is_terminal(),
            UniqueScope::ForMs(_) => false,
        };
        if gives_up {
            self.keys.retain(|held| held.1 != job.id || held.2.is_some());
        } else if unique.scope == UniqueScope::Waiting && self.holder(&unique.key).is_none() {
            self.claim(&unique.key, job.id, None);
        }
    }

    pub(crate) fn end(&mut self, at: usize, state: JobState, reason: Option<EndReason>) {
        let name = self.jobs[at].queue.clone();
        let ended = &mut self.queue_made(&name).ended[slot(state)];
        *ended += 1;
        let number = *ended;
        let now = self.now;
        let job = &mut self.jobs[at];
        (job.state, job.reason, job.finished_at, job.number) = (state, reason, Some(now), number);
        job.lease = None;
        self.settle(at);
        self.tell(self.jobs[at].id, Some(state));
        self.turn(&name);
    }

    pub(crate) fn wait(&mut self, at: usize, state: JobState, run_at: u64) {
        let job = &mut self.jobs[at];
        (job.state, job.run_at, job.lease) = (state, run_at, None);
        let name = job.queue.clone();
        self.settle(at);
        self.turn(&name);
    }

    /// Time goes on; `present` says which workers the core still knows, where the documents leave it open.
    pub(crate) fn advance(&mut self, at: u64, leader_change: bool, present: &BTreeSet<u64>) {
        let before = self.now;
        self.now = before.max(at);
        // Whoever waited for a token.
        self.turn_all();
        if leader_change {
            for job in 0..self.jobs.len() {
                if let Some(lease) = self.jobs[job].lease.clone().filter(|lease| lease.expires_at > before) {
                    self.prolong(job, lease.length);
                }
            }
        }
        while let Some(job) = (0..self.jobs.len())
            .filter(|&job| self.jobs[job].due().is_some_and(|due| due <= self.now))
            .min_by_key(|&job| (self.jobs[job].due(), self.jobs[job].id))
        {
            self.fall_due(job);
        }
        self.settle_batches();
        self.forget_batches();
        let (now, jobs) = (self.now, &self.jobs);
        self.workers.retain(|worker| {
            let silent = now - worker.heard;
            let idle = jobs.iter().all(|job| job.lease.as_ref().is_none_or(|lease| lease.worker != worker.id));
            // Known to within so much: it may have been heard of that much later than the core remembers.
            if !idle || silent <= limits::WORKER_FORGOTTEN_MS - limits::WORKER_SEEN_MS {
                true
            } else if silent > limits::WORKER_FORGOTTEN_MS {
                false
            } else {
                present.contains(&worker.id)
            }
        });
    }

    fn fall_due(&mut self, at: usize) {
        let now = self.now;
        let job = &mut self.jobs[at];
        let Some(lease) = job.lease.clone() else {
            match job.expiry().filter(|(expiry, _)| *expiry <= now) {
                Some((_, reason)) => self.end(at, JobState::Expired, Some(reason)),
                None => {
                    let (run_at, is_blocked) = (job.run_at, job.state == JobState::Blocked);
                    match job.verdict() {
                        Verdict::Doomed if is_blocked => {
                            self.end(at, JobState::Cancelled, Some(EndReason::DependencyFailed));
                        }
                        _ if is_blocked && run_at > now => self.wait(at, JobState::Scheduled, run_at),
                        _ => self.wait(at, JobState::Ready, run_at),
                    }
                }
            }
            return;
        };
        if let Some(hard_at) = lease.hard_at {
            let over = lease.expires_at == hard_at;
            let reason = if over { EndReason::CancelGraceOver } else { EndReason::Cancelled };
            self.end(at, JobState::Cancelled, Some(reason));
        } else if lease.heard_at >= lease.granted_at + job.timeout() {
            self.attempt_failed(at, true);
        } else {
            job.errors = (job.errors + 1).min(limits::ATTEMPT_ERRORS_MAX);
            job.attempt -= 1;
            job.crashes.retain(|crash| now - crash < limits::CRASH_WINDOW_MS);
            job.crashes.push(now);
            if job.crashes.len() as u32 >= job.new.max_crashes.unwrap_or(limits::CRASHES_DEFAULT) {
                self.end(at, JobState::Dead, Some(EndReason::CrashBudget));
            } else {
                self.wait(at, JobState::Ready, now);
            }
        }
    }

    fn attempt_failed(&mut self, at: usize, retryable: bool) -> String {
        let job = &mut self.jobs[at];
        job.errors = (job.errors + 1).min(limits::ATTEMPT_ERRORS_MAX);
        let (state, reason) = if job.lease.as_ref().is_some_and(|lease| lease.hard_at.is_some()) {
            (JobState::Cancelled, EndReason::Cancelled)
        } else if !retryable {
            (JobState::Dead, EndReason::FinalFailure)
        } else if job.attempt == job.max_attempts {
            (JobState::Dead, EndReason::AttemptsExhausted)
        } else {
            let retry_at = self.now + crate::steps::backoff_ms(&job.new, job.attempt);
            self.wait(at, JobState::Scheduled, retry_at);
            return format!("scheduled {retry_at}");
        };
        self.end(at, state, Some(reason));
        state.to_string()
    }

    fn prolong(&mut self, at: usize, length: u64) -> u64 {
        let now = self.now;
        let timeout = self.jobs[at].timeout();
        let Some(lease) = &mut self.jobs[at].lease else { return now };
        let latest = lease.granted_at + timeout + limits::RUN_GRACE_MS;
        let latest = lease.hard_at.map_or(latest, |hard_at| hard_at.min(latest));
        lease.expires_at = lease.expires_at.max((now + length).min(latest));
        lease.length = length;
        lease.expires_at
    }

    fn held(&self, lease: LeaseRef) -> Refused<usize> {
        let is_held =
            |at: &usize| self.jobs[*at].lease.as_ref().is_some_and(|held| FencingToken(held.token) == lease.token);
        if let Some(at) = self.live(lease.job).filter(is_held) {
            return Ok(at);
        }
        let cancelled = self.remembered(lease.job).is_some_and(|at| self.jobs[at].state == JobState::Cancelled);
        Err(if cancelled { ErrorCode::Cancelled } else { ErrorCode::LeaseLost })
    }

    /// Applies one command; the answer as text. Rows that an entry carries come as the jobs that were read.
    pub(crate) fn run(&mut self, command: &Command, rows: &[Option<Job>]) -> String {
        let answer = self.answer(command, rows).unwrap_or_else(|code| format!("error {code}"));
        self.settle_batches();
        // What the command set in motion.
        while let Some(job) =
            (0..self.jobs.len()).filter(|&job| self.jobs[job].due() == Some(0)).min_by_key(|&job| self.jobs[job].id)
        {
            self.fall_due(job);
        }
        self.settle_batches();
        answer
    }

    fn answer(&mut self, command: &Command, rows: &[Option<Job>]) -> Refused<String> {
        let done = Ok("done".to_owned());
        match command {
            Command::Enqueue { jobs, all_or_none, known } => {
                let mut with = With { known: self.known(known, rows), ..With::now(self.now) };
                if *all_or_none {
                    return self.all_or_none(jobs, &mut with).map(|answers| answers.join(", "));
                }
                let answers: Vec<String> = jobs.iter().map(|new| self.enqueue(new, &with)).collect();
                Ok(answers.join(", "))
            }
            Command::CreateBatch { batch, known, .. } => self.create_batch(batch, self.known(known, rows)),
            Command::SealBatch { batch, cancel } => self.seal_batch(*batch, *cancel),
            Command::RunSchedule { name, job } => self.run_schedule(name, *job),
            Command::Tick { name, revision, ticks, passed_over, more } => {
                self.tick(name, *revision, ticks, *passed_over, *more)
            }
            Command::RegisterWorker { .. } => {
                self.registered += 1;
                let (id, heard) = (self.registered, self.now);
                self.workers.push(Worker { id, heard, order: WorkerOrder::Run });
                Ok(format!("w{id}"))
            }
            Command::WorkersSeen { workers } => {
                workers.iter().for_each(|worker| self.hear(worker.0));
                done
            }
            Command::OrderWorker { worker, order } => {
                self.known_worker(worker.0)?;
                self.workers.iter_mut().filter(|known| known.id == worker.0).for_each(|known| known.order = *order);
                done
            }
            Command::Lease { worker, queues, max, lease_ms, .. } => {
                self.known_worker(worker.0)?;
                self.hear(worker.0);
                let names: Vec<&str> = queues.iter().map(|queue| queue.as_str()).collect();
                Ok(self.lease(worker.0, &names, *max as usize, (*lease_ms).max(limits::LEASE_MS_MIN)))
            }
            Command::Extend { leases, lease_ms, .. } => {
                let answers: Vec<String> = leases.iter().map(|lease| self.extend(*lease, *lease_ms)).collect();
                Ok(answers.join(", "))
            }
            Command::Checkpoint { lease, data } => {
                let at = self.held(*lease)?;
                self.jobs[at].checkpoint = data.len();
                done
            }
            Command::Complete { lease, completion, known } => {
                let known = self.known(known, rows);
                self.complete(*lease, &completion.jobs, &completion.state, known)
            }
            Command::Fail { lease, failure } => self.fail(*lease, failure.retryable),
            Command::Release { lease, delay_ms } => {
                let at = self.held(*lease)?;
                self.give_back(at, *delay_ms);
                done
            }
            Command::Disconnect { worker } => {
                if !(1..=self.registered).contains(&worker.0) {
                    return Err(ErrorCode::NotFound);
                }
                let is_its = |job: &Job| job.lease.as_ref().is_some_and(|lease| lease.worker == worker.0);
                let mut held: Vec<usize> = (0..self.jobs.len()).filter(|&at| is_its(&self.jobs[at])).collect();
                held.sort_by_key(|&at| self.jobs[at].id);
                held.into_iter().for_each(|at| self.give_back(at, 0));
                self.workers.retain(|known| known.id != worker.0);
                done
            }
            Command::Act { targets, action, only_in, .. } => {
                let answers: Vec<String> = targets
                    .iter()
                    .zip(rows)
                    .map(|(target, row)| match self.act(target.job, row.as_ref(), action, only_in) {
                        Ok(()) => "done".to_owned(),
                        Err(code) => format!("error {code}"),
                    })
                    .collect();
                Ok(answers.join(", "))
            }
            Command::Configure { settings } => {
                self.check_settings(settings)?;
                for setting in settings {
                    self.mark_gone();
                    match setting {
                        Setting::Queue(queue, setting) => self.set(queue.as_str(), *setting),
                        Setting::CreateQueues(create) => self.no_new_queues = !create,
                        Setting::Group(queue, group, setting) => {
                            self.set_group(queue.as_str(), group.as_str(), *setting)
                        }
                        Setting::PutSchedule(schedule) => self.put_schedule(schedule),
                        Setting::PauseSchedule(name, paused) => self.pause_schedule(name, *paused),
                        Setting::RemoveSchedule(name) => self.schedules.retain(|one| one.put.name != *name),
                    }
                    self.mark_gone();
                }
                done
            }
            other => unreachable!("no step makes one: {other:?}"),
        }
    }

    fn mark_gone(&mut self) {
        for at in 0..self.jobs.len() {
            if self.jobs[at].state.is_terminal() && !self.is_retained(&self.jobs[at]) {
                self.jobs[at].gone = true;
            }
        }
    }

    fn known_worker(&self, id: u64) -> Refused<()> {
        self.workers.iter().any(|worker| worker.id == id).then_some(()).ok_or(ErrorCode::NotFound)
    }

    fn hear(&mut self, id: u64) {
        let now = self.now;
        self.workers.iter_mut().filter(|worker| worker.id == id).for_each(|worker| worker.heard = now);
    }

    pub(crate) fn is_known(&self, id: JobId) -> bool {
        self.live(id).is_some() || self.remembered(id).is_some()
    }

    fn enqueue(&mut self, new: &NewJob, with: &With) -> String {
        if self.is_known(new.id) {
            return "existing".to_owned();
        }
        self.admit(new, with).unwrap_or_else(|code| format!("refused {code}"))
    }

    pub(crate) fn is_dead(&self, id: JobId) -> bool {
        self.find(id).is_some_and(|at| {
            let job = &self.jobs[at];
            job.state == JobState::Dead && !job.deleted && self.is_kept(job)
        })
    }

    /// Takes an id that was made no longer than the window before a time.
    pub(crate) fn admit(&mut self, new: &NewJob, with: &With) -> Refused<String> {
        let (now, minted, since) = (self.now, new.id.minted_at().as_ms(), with.since);
        let is_dead = self.is_dead(new.id);
        if since < now && is_dead
            || minted + limits::IDEMPOTENCY_WINDOW_MS_DEFAULT < since
            || minted > now + limits::ID_AHEAD_MS_MAX
        {
            return Err(ErrorCode::IdOutsideWindow);
        }
        if new.priority.is_some_and(|priority| priority > limits::PRIORITY_MAX) {
            return Err(ErrorCode::InvalidArgument);
        }
        let run_at = match new.start {
            Start::Now => now,
            Start::AfterMs(ms) => now + ms,
            Start::At(at) => at.as_ms().max(now),
        };
        self.check_after(new, with)?;
        self.check_batch(new, with)?;
        let ttl_at = new.ttl_ms.map(|ms| now + ms);
        let scheduled_at = if let Start::At(at) = new.start { at.as_ms() } else { run_at };
        let start_by = new.start_deadline_ms.map(|ms| scheduled_at + ms);
        if let Some(unique) = &new.unique
            && let Some(holder) = self.holder(&unique.key)
        {
            let (payload, start) = match unique.on_conflict {
                OnConflict::Reject => return Err(ErrorCode::Conflict),
                OnConflict::ReturnExisting => return Ok(format!("duplicate {holder}")),
                OnConflict::Replace { payload, start } => (payload, start),
            };
            let at = self.live(holder).filter(|&at| self.jobs[at].waits()).ok_or(ErrorCode::Conflict)?;
            let job = &mut self.jobs[at];
            if job.queue != new.queue.as_str() {
                return Err(ErrorCode::Conflict);
            }
            if payload {
                job.payload = new.payload.len();
                job.checkpoint = 0;
            }
            if start {
                (job.ttl_at, job.start_by) = (ttl_at, start_by);
                if job.state == JobState::Blocked {
                    job.run_at = run_at;
                } else if run_at > now {
                    self.wait(at, JobState::Scheduled, run_at);
                } else if job.state == JobState::Scheduled {
                    self.wait(at, JobState::Ready, now);
                }
            }
            return Ok(format!("replaced {holder}"));
        }
        self.room(new.queue.as_str())?;
        self.create(new, run_at, with, None, None);
        Ok("created".to_owned())
    }

    pub(crate) fn create(
        &mut self,
        new: &NewJob,
        run_at: u64,
        with: &With,
        calls: Option<BatchId>,
        tick: Option<ScheduleTick>,
    ) {
        let now = self.now;
        let ttl_at = new.ttl_ms.map(|ms| now + ms);
        let scheduled_at = if let Start::At(at) = new.start { at.as_ms() } else { run_at };
        let start_by = new.start_deadline_ms.map(|ms| scheduled_at + ms);
        self.places += 1;
        let place = self.places;
        self.queue_made(new.queue.as_str());
        let named = new.after.iter().flat_map(|after| &after.jobs);
        let after = named.map(|&id| (id, self.how_ended(id, with).flatten())).collect();
        if let Some(at) = self.find(new.id) {
            self.former.push(self.jobs.remove(at));
        }
        self.jobs.push(Job {
            id: new.id,
            new: new.clone(),
            queue: new.queue.as_str().to_owned(),
            state: if run_at > now { JobState::Scheduled } else { JobState::Ready },
            priority: new.priority.unwrap_or(limits::PRIORITY_DEFAULT),
            attempt: 0,
            max_attempts: new.max_attempts.unwrap_or(limits::ATTEMPTS_DEFAULT),
            run_at,
            place,
            payload: new.payload.len(),
            ttl_at,
            start_by,
            crashes: Vec::new(),
            errors: 0,
            lease: None,
            reported: None,
            finished_at: None,
            number: 0,
            reason: None,
            checkpoint: 0,
            deleted: false,
            gone: false,
            after,
            lost: Vec::new(),
            calls,
            tick,
        });
        let job = self.jobs.last_mut().expect("it is there");
        if job.verdict() != Verdict::Free {
            job.state = JobState::Blocked;
        }
        if let Some(unique) = &new.unique {
            let until = if let UniqueScope::ForMs(ms) = unique.scope { Some(now + ms) } else { None };
            self.claim(&unique.key, new.id, until);
        }
        self.turn(new.queue.as_str());
    }

    fn room(&self, name: &str) -> Refused<()> {
        let Some(queue) = self.queue(name) else {
            return if self.no_new_queues { Err(ErrorCode::QueueUnknown) } else { Ok(()) };
        };
        if queue.settings.mode == QueueMode::Draining {
            return Err(ErrorCode::QueueDraining);
        }
        let waiting = self.jobs.iter().filter(|job| job.waits() && job.queue == name).count() as u64;
        if waiting >= queue.settings.depth_max() { Err(ErrorCode::QueueFull) } else { Ok(()) }
    }

    fn lease(&mut self, worker: u64, queues: &[&str], max: usize, length: u64) -> String {
        let mut leased = Vec::new();
        let runs = self.workers.iter().any(|known| known.id == worker && known.order == WorkerOrder::Run);
        for name in queues {
            let gives = self.queue(name).is_some_and(|queue| queue.settings.mode != QueueMode::Paused);
            while runs && gives && leased.len() < max {
                let Some(group) = self.whose_turn(name) else { break };
                let ready = |at: &usize| {
                    let job = &self.jobs[*at];
                    job.state == JobState::Ready && job.queue == *name && job.group() == group.as_deref()
                };
                let first = |at: &usize| (self.jobs[*at].priority, self.jobs[*at].place);
                let Some(at) = (0..self.jobs.len()).filter(ready).min_by_key(first) else { break };
                let now = self.now;
                if let Some((_, reason)) = self.jobs[at].expiry().filter(|(expiry, _)| *expiry <= now) {
                    self.end(at, JobState::Expired, Some(reason));
                    continue;
                }
                self.tokens += 1;
                let token = self.tokens;
                let job = &mut self.jobs[at];
                job.attempt += 1;
                job.state = JobState::Leased;
                job.reported = None;
                let expires_at = now + length.min(job.timeout() + limits::RUN_GRACE_MS);
                job.lease =
                    Some(Lease { worker, token, granted_at: now, expires_at, heard_at: now, length, hard_at: None });
                let (id, attempt, checkpoint) = (job.id, job.attempt, job.checkpoint);
                leased.push(format!("{id} {token} {attempt} {expires_at} {checkpoint}"));
                self.settle(at);
                self.charge(name, group.as_deref());
            }
        }
        leased.join(", ")
    }

    fn extend(&mut self, lease: LeaseRef, length: u64) -> String {
        match self.held(lease) {
            Err(code) => format!("error {code}"),
            Ok(at) => {
                let (until, now) = (self.prolong(at, length.max(limits::LEASE_MS_MIN)), self.now);
                if let Some(lease) = &mut self.jobs[at].lease {
                    lease.heard_at = now;
                }
                let held = self.jobs[at].lease.clone();
                self.hear(held.as_ref().map_or(0, |lease| lease.worker));
                format!("{until} {:?}", held.and_then(|lease| lease.hard_at))
            }
        }
    }

    fn complete(
        &mut self,
        lease: LeaseRef,
        children: &[NewJob],
        writes: &[StateWrite],
        known: Vec<(JobId, JobState)>,
    ) -> Refused<String> {
        let at = match self.held(lease) {
            Ok(at) => at,
            Err(_) if self.was_reported(lease, JobState::Completed) => return Ok("done".to_owned()),
            Err(code) => return Err(code),
        };
        let since = self.jobs[at].lease.as_ref().map_or(self.now, |lease| lease.granted_at);
        // All or none: on a copy first.
        let mut after = self.clone();
        after.jobs[at].reported = Some(lease.token.0);
        after.jobs[at].checkpoint = 0;
        after.end(at, JobState::Completed, None);
        let parents = self.jobs[at].new.batch;
        after.all_or_none(children, &mut With { since, known, parents, ..With::default() })?;
        for write in writes {
            let version = self.values.iter().find(|value| value.0 == write.key.as_str()).map_or(0, |value| value.2);
            if write.if_version.is_some_and(|wanted| wanted != version) {
                return Err(ErrorCode::Conflict);
            }
            after.version += 1;
            after.values.retain(|value| value.0 != write.key.as_str());
            if let Some(value) = &write.value {
                after.values.push((write.key.as_str().to_owned(), value.len(), after.version));
            }
        }
        after.values.sort();
        *self = after;
        Ok("done".to_owned())
    }

    fn was_reported(&self, lease: LeaseRef, state: JobState) -> bool {
        self.remembered(lease.job).is_some_and(|at| {
            let job = &self.jobs[at];
            job.state == state && job.reported == Some(lease.token.0)
        })
    }

    fn fail(&mut self, lease: LeaseRef, retryable: bool) -> Refused<String> {
        match self.held(lease) {
            Ok(at) => {
                self.jobs[at].reported = Some(lease.token.0);
                Ok(self.attempt_failed(at, retryable))
            }
            Err(code) => {
                for state in [JobState::Dead, JobState::Cancelled] {
                    if self.was_reported(lease, state) {
                        return Ok(state.to_string());
                    }
                }
                let live = self.live(lease.job).map(|at| &self.jobs[at]);
                let repeated = live.filter(|job| job.reported == Some(lease.token.0));
                repeated.map(|job| format!("scheduled {}", job.run_at)).ok_or(code)
            }
        }
    }

    fn give_back(&mut self, at: usize, delay_ms: u64) {
        self.jobs[at].attempt -= 1;
        if self.jobs[at].lease.as_ref().is_some_and(|lease| lease.hard_at.is_some()) {
            self.end(at, JobState::Cancelled, Some(EndReason::Cancelled));
        } else if delay_ms > 0 {
            self.wait(at, JobState::Scheduled, self.now + delay_ms);
        } else {
            self.wait(at, JobState::Ready, self.now);
        }
    }

    /// The ended job that an entry's row stands for, if it still does.
    pub(crate) fn ended(&self, id: JobId, row: Option<&Job>) -> Refused<usize> {
        let Some(row) = row else {
            let known = self.remembered(id).is_some_and(|at| !self.jobs[at].deleted);
            return Err(if known { ErrorCode::WrongState } else { ErrorCode::NotFound });
        };
        let at = self.find(id).ok_or(ErrorCode::NotFound)?;
        let job = &self.jobs[at];
        let same = job.state == row.state && job.number == row.number;
        let there = row.state != JobState::Dead || !job.deleted;
        if same && there && self.is_kept(job) { Ok(at) } else { Err(ErrorCode::NotFound) }
    }

    /// The state of a job, live or ended.
    fn state(&self, id: JobId, row: Option<&Job>) -> Refused<JobState> {
        let known = self.live(id).or_else(|| self.remembered(id));
        Ok(self.jobs[known.map_or_else(|| self.ended(id, row), Ok)?].state)
    }

    pub(crate) fn act(
        &mut self,
        id: JobId,
        row: Option<&Job>,
        action: &JobAction,
        only_in: &[JobState],
    ) -> Refused<()> {
        if !only_in.is_empty() && !only_in.contains(&self.state(id, row)?) {
            return Err(ErrorCode::WrongState);
        }
        let live = self.live(id);
        let now = self.now;
        match action {
            JobAction::Cancel { grace_ms, .. } => {
                let Some(at) = live else {
                    return match self.state(id, row)? {
                        JobState::Cancelled => Ok(()),
                        _ => Err(ErrorCode::WrongState),
                    };
                };
                match &mut self.jobs[at].lease {
                    Some(lease) if *grace_ms > 0 => {
                        let hard_at = lease.hard_at.unwrap_or(u64::MAX).min(now + grace_ms);
                        lease.hard_at = Some(hard_at);
                        lease.expires_at = lease.expires_at.min(hard_at);
                    }
                    _ => self.end(at, JobState::Cancelled, Some(EndReason::Cancelled)),
                }
            }
            JobAction::Delete => {
                let at = match live {
                    Some(at) if self.jobs[at].waits() => {
                        self.end(at, JobState::Cancelled, Some(EndReason::Deleted));
                        at
                    }
                    Some(_) => return Err(ErrorCode::WrongState),
                    None => {
                        let at = self.ended(id, row)?;
                        if self.is_waited_for(id) {
                            return Err(ErrorCode::WrongState);
                        }
                        at
                    }
                };
                self.jobs[at].deleted = true;
            }
            JobAction::Retry => {
                if live.is_some() {
                    return Err(ErrorCode::WrongState);
                }
                let at = self.ended(id, row)?;
                if self.jobs[at].state != JobState::Dead {
                    return Err(ErrorCode::WrongState);
                }
                self.room(&self.jobs[at].queue)?;
                let unique = self.jobs[at].unique().cloned();
                let claim = unique.filter(|unique| !matches!(unique.scope, UniqueScope::ForMs(_)));
                if let Some(unique) = claim {
                    if self.holder(&unique.key).is_some() {
                        return Err(ErrorCode::Conflict);
                    }
                    self.claim(&unique.key, id, None);
                }
                // What is surely there: it lives, ended lately, may be retried, or others hold it.
                let is_there = |id: &JobId| {
                    let lately = self.remembered(*id).is_some_and(|at| !self.jobs[at].deleted);
                    self.live(*id).is_some() || lately || self.is_pinned(*id) || self.is_dead(*id)
                };
                let after = self.jobs[at].after.iter().map(|one| one.0);
                let lost: Vec<JobId> = after.filter(|id| !is_there(id)).collect();
                self.jobs[at].lost.extend(lost);
                // What was over is its former end.
                self.jobs[at].gone = false;
                let alive: Vec<JobId> = self.jobs[at].after.iter().map(|one| one.0).collect();
                let alive: Vec<JobId> = alive.into_iter().filter(|id| self.live(*id).is_some()).collect();
                let job = &mut self.jobs[at];
                (job.state, job.run_at, job.attempt) = (JobState::Ready, now, 0);
                for one in job.after.iter_mut().filter(|one| alive.contains(&one.0) && !job.lost.contains(&one.0)) {
                    one.1 = None;
                    job.state = JobState::Blocked;
                }
                (job.ttl_at, job.start_by, job.reported, job.finished_at, job.reason) = (None, None, None, None, None);
                job.crashes.clear();
                let name = job.queue.clone();
                self.tell(id, None);
                self.turn(&name);
            }
            JobAction::Move { queue } => {
                let Some(at) = live else { return self.state(id, row).and(Err(ErrorCode::WrongState)) };
                if !self.jobs[at].waits() {
                    return Err(ErrorCode::WrongState);
                }
                if self.jobs[at].queue != queue.as_str() {
                    self.room(queue.as_str())?;
                    self.queue_made(queue.as_str());
                    let former = std::mem::replace(&mut self.jobs[at].queue, queue.as_str().to_owned());
                    self.turn(queue.as_str());
                    self.turn(&former);
                }
            }
            JobAction::Prioritize { priority } => {
                let Some(at) = live else { return self.state(id, row).and(Err(ErrorCode::WrongState)) };
                self.jobs[at].priority = *priority;
            }
        }
        Ok(())
    }
}
