//! The same of many jobs together: limits, turns, what comes after what, batches, schedules.

use crate::reference::{Job, Queue, Reference, Refused};
use jobraft_core::Target;
use jobraft_protocol::{
    After, BatchId, CatchUp, ErrorCode, GroupSetting, GroupSettings, JobAction, JobId, JobState, LogTime, NewBatch,
    NewJob, OnFailure, Overlap, QueueMode, QueueSetting, Rate, Schedule as Put, ScheduleName, ScheduleTick, Setting,
    limits,
};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// What a lease moves a group of weight 1 on by.
const STEP: u64 = 720_720;

/// What there is in a bucket at a time, in parts of a token, of which each has as many as its period has milliseconds;
/// `None`: it is full.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket(Option<(u64, u64)>);

impl Bucket {
    fn parts(self, rate: Rate, now: u64) -> u64 {
        let all = rate.burst() * rate.per_ms;
        self.0.map_or(all, |(parts, at)| all.min(parts + (now - at) * rate.count))
    }

    fn has_one(self, rate: Option<Rate>, now: u64) -> bool {
        rate.is_none_or(|rate| self.parts(rate, now) >= rate.per_ms)
    }

    /// When it holds a token.
    fn next(self, rate: Option<Rate>) -> u64 {
        match (rate, self.0) {
            (Some(rate), Some((parts, at))) => at + rate.per_ms.saturating_sub(parts).div_ceil(rate.count),
            _ => 0,
        }
    }

    fn take(&mut self, rate: Option<Rate>, now: u64) {
        if let Some(rate) = rate {
            self.0 = Some((self.parts(rate, now) - rate.per_ms, now));
        }
    }
}

/// Which of several groups that come to be open at one time stands first.
#[derive(Clone, Copy, Debug)]
enum By {
    /// For a setting: by their keys.
    Key,
    /// For time: by when their tokens came, then in the order in which they stood before.
    Token,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) key: Option<String>,
    pub(crate) settings: GroupSettings,
    pass: u64,
    /// When it last came to stand among the turns, in the order of all such moments.
    order: u64,
    bucket: Bucket,
    is_open: bool,
}

impl Group {
    fn rate(&self, queue: &Queue) -> Option<Rate> {
        self.settings.rate.or(queue.settings.group_rate.filter(|_| self.key.is_some()))
    }

    fn concurrency(&self, queue: &Queue) -> Option<u64> {
        self.settings.concurrency.or(queue.settings.group_concurrency.filter(|_| self.key.is_some()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Waits,
    Free,
    Doomed,
}

impl Job {
    pub(crate) fn verdict(&self) -> Verdict {
        let on_failure = self.new.after.as_ref().map(|after| after.on_failure).unwrap_or_default();
        let is_failure = |ended: JobState| ended != JobState::Completed;
        let dooms = |ended: JobState| match on_failure {
            OnFailure::Wait => is_failure(ended) && ended != JobState::Dead,
            OnFailure::Cancel => is_failure(ended),
            OnFailure::Run => false,
        };
        let keeps = |ended: Option<JobState>| match ended {
            None => true,
            Some(ended) => on_failure == OnFailure::Wait && ended == JobState::Dead,
        };
        if self.after.iter().any(|one| one.1.is_some_and(dooms)) {
            Verdict::Doomed
        } else if self.after.iter().any(|one| keeps(one.1)) {
            Verdict::Waits
        } else {
            Verdict::Free
        }
    }
}

/// What is known where jobs are enqueued.
#[derive(Clone, Debug, Default)]
pub(crate) struct With {
    /// Their ids may be as old as if they had been enqueued then.
    pub(crate) since: u64,
    pub(crate) siblings: Vec<JobId>,
    pub(crate) known: Vec<(JobId, JobState)>,
    pub(crate) new_batch: Option<BatchId>,
    /// The batch of their parent.
    pub(crate) parents: Option<BatchId>,
}

impl With {
    pub(crate) fn now(now: u64) -> Self {
        Self { since: now, ..Self::default() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) id: BatchId,
    pub(crate) sealed: bool,
    cancelled: bool,
    pub(crate) ended_at: Option<u64>,
    on_complete: Option<NewJob>,
    on_failure: Option<NewJob>,
    pub(crate) failure_called: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) put: Put,
    revision: u64,
    pub(crate) paused: bool,
    pub(crate) ticked_to: u64,
    pub(crate) last_job: Option<JobId>,
    pub(crate) counts: [u64; 3],
    pub(crate) is_stuck: bool,
}

/// Where a schedule's count of what became of ticks stands.
const FIRED: usize = 0;
const MISSED: usize = 1;
const SKIPPED: usize = 2;

// Limits and turns.
impl Reference {
    fn group(&mut self, queue: &str, key: Option<&str>) -> &mut Group {
        let groups = &mut self.queue_made(queue).groups;
        let at = groups.iter().position(|group| group.key.as_deref() == key).unwrap_or_else(|| {
            groups.push(Group { key: key.map(str::to_owned), ..Group::default() });
            groups.len() - 1
        });
        &mut groups[at]
    }

    fn count(&self, queue: &str, group: Option<Option<&str>>, state: JobState) -> u64 {
        let is_here = |job: &&Job| job.queue == queue && group.is_none_or(|group| job.group() == group);
        self.jobs.iter().filter(is_here).filter(|job| job.state == state).count() as u64
    }

    /// Which groups of the queue may have a job leased now. One that comes to be open begins where the others are.
    pub(crate) fn turn(&mut self, name: &str) {
        self.open(name, By::Key);
    }

    fn open(&mut self, name: &str, by: By) {
        let keys: BTreeSet<Option<String>> = self
            .jobs
            .iter()
            .filter(|job| job.queue == name && !job.state.is_terminal())
            .map(|job| job.group().map(str::to_owned))
            .collect();
        for key in keys {
            self.group(name, key.as_deref());
        }
        let Some(queue) = self.queue(name).cloned() else { return };
        let mut groups = queue.groups.clone();
        match by {
            By::Key => groups.sort_by_key(|group| group.key.clone()),
            By::Token => groups.sort_by_key(|group| (group.bucket.next(group.rate(&queue)), group.order)),
        }
        for group in &groups {
            let key = group.key.as_deref();
            let ready = self.count(name, Some(key), JobState::Ready);
            let leased = self.count(name, Some(key), JobState::Leased);
            let has_room = group.concurrency(&queue).is_none_or(|most| leased < most);
            let is_open = ready > 0 && has_room && group.bucket.has_one(group.rate(&queue), self.now);
            let opens = is_open && !group.is_open;
            let pass = group.pass;
            self.group(name, key).is_open = is_open;
            if opens {
                self.stand(name, key, pass.max(queue.virtual_time));
            }
        }
        if self.count(name, None, JobState::Ready) == 0 {
            let queue = self.queue_made(name);
            queue.virtual_time = queue.top;
        }
    }

    /// Time went on.
    pub(crate) fn turn_all(&mut self) {
        let names: Vec<String> = self.queues.iter().map(|queue| queue.name.clone()).collect();
        names.iter().for_each(|name| self.open(name, By::Token));
    }

    fn stand(&mut self, name: &str, key: Option<&str>, pass: u64) {
        let queue = self.queue_made(name);
        queue.orders += 1;
        let order = queue.orders;
        let group = self.group(name, key);
        (group.pass, group.order) = (pass, order);
    }

    /// The group that is next, if the queue may have a job leased now.
    pub(crate) fn whose_turn(&self, name: &str) -> Option<Option<String>> {
        let queue = self.queue(name).filter(|queue| queue.settings.mode != QueueMode::Paused)?;
        let leased = self.count(name, None, JobState::Leased);
        let has_room = queue.settings.concurrency.is_none_or(|most| leased < most);
        if !has_room || !queue.bucket.has_one(queue.settings.rate, self.now) {
            return None;
        }
        let open = queue.groups.iter().filter(|group| group.is_open);
        open.min_by_key(|group| (group.pass, group.order)).map(|group| group.key.clone())
    }

    pub(crate) fn charge(&mut self, name: &str, key: Option<&str>) {
        self.turn(name);
        let (now, queue) = (self.now, self.queue_made(name).clone());
        let group = self.group(name, key);
        let before = group.pass;
        let after = before + STEP / u64::from(group.settings.weight());
        let rate = group.rate(&queue);
        group.bucket.take(rate, now);
        if group.is_open {
            self.stand(name, key, after);
        } else {
            group.pass = after;
        }
        let queue = self.queue_made(name);
        queue.virtual_time = queue.virtual_time.max(before);
        queue.top = queue.top.max(after);
        let rate = queue.settings.rate;
        queue.bucket.take(rate, now);
        self.turn(name);
    }

    pub(crate) fn set(&mut self, name: &str, setting: QueueSetting) {
        let queue = self.queue_made(name);
        let former = queue.settings.clone();
        queue.settings.set(setting);
        if queue.settings.rate != former.rate {
            queue.bucket = Bucket::default();
        }
        if queue.settings.group_rate != former.group_rate {
            let common = queue.groups.iter_mut().filter(|group| group.settings.rate.is_none());
            common.for_each(|group| group.bucket = Bucket::default());
        }
        self.turn(name);
    }

    pub(crate) fn set_group(&mut self, name: &str, key: &str, setting: GroupSetting) {
        let queue = self.queue_made(name).clone();
        let group = self.group(name, Some(key));
        let former = group.rate(&queue);
        group.settings.set(setting);
        if group.rate(&queue) != former {
            group.bucket = Bucket::default();
        }
        self.turn(name);
    }

    pub(crate) fn check_settings(&self, settings: &[Setting]) -> Refused<()> {
        let mut names: Vec<ScheduleName> = self.schedules.iter().map(|one| one.put.name.clone()).collect();
        for setting in settings {
            let is_valid = match setting {
                Setting::Queue(_, setting) => setting.check().is_ok(),
                Setting::Group(_, _, setting) => setting.check().is_ok(),
                Setting::CreateQueues(_) => true,
                Setting::PutSchedule(put) => {
                    names.push(put.name.clone());
                    put.job.priority.is_none_or(|priority| priority <= limits::PRIORITY_MAX)
                }
                Setting::PauseSchedule(name, _) | Setting::RemoveSchedule(name) => {
                    if !names.contains(name) {
                        return Err(ErrorCode::NotFound);
                    }
                    if matches!(setting, Setting::RemoveSchedule(_)) {
                        names.retain(|known| known != name);
                    }
                    true
                }
            };
            if !is_valid {
                return Err(ErrorCode::InvalidArgument);
            }
        }
        Ok(())
    }
}

// What comes after what.
impl Reference {
    /// What the entry tells of ended jobs, as far as it is still true.
    pub(crate) fn known(&self, targets: &[Target], rows: &[Option<Job>]) -> Vec<(JobId, JobState)> {
        let told = targets.iter().zip(rows).filter_map(|(target, row)| {
            let at = self.ended(target.job, Some(row.as_ref()?)).ok()?;
            Some((target.job, self.jobs[at].state))
        });
        told.collect()
    }

    pub(crate) fn how_ended(&self, id: JobId, with: &With) -> Option<Option<JobState>> {
        if self.live(id).is_some() {
            return Some(None);
        }
        if let Some(at) = self.remembered(id) {
            return (!self.jobs[at].deleted).then_some(Some(self.jobs[at].state));
        }
        if with.siblings.contains(&id) {
            return Some(None);
        }
        with.known.iter().find(|known| known.0 == id).map(|known| Some(known.1))
    }

    pub(crate) fn check_after(&self, new: &NewJob, with: &With) -> Refused<()> {
        let ids: Vec<JobId> = new.after.iter().flat_map(|after| after.jobs.clone()).collect();
        for (place, &id) in ids.iter().enumerate() {
            if id == new.id || ids[..place].contains(&id) {
                return Err(ErrorCode::InvalidArgument);
            }
            self.how_ended(id, with).ok_or(ErrorCode::NotFound)?;
        }
        Ok(())
    }

    /// Lets those that wait for a job know.
    pub(crate) fn tell(&mut self, id: JobId, ended: Option<JobState>) {
        for job in self.jobs.iter_mut().filter(|job| job.state == JobState::Blocked) {
            job.after.iter_mut().filter(|one| one.0 == id).for_each(|one| one.1 = ended);
        }
    }

    /// Enqueues all, or changes nothing.
    pub(crate) fn all_or_none(&mut self, jobs: &[NewJob], with: &mut With) -> Refused<Vec<String>> {
        with.siblings = jobs.iter().map(|job| job.id).collect();
        let mut after = self.clone();
        let mut answers = Vec::new();
        let mut created = Vec::new();
        for new in jobs {
            answers.push(if after.is_known(new.id) { "existing".to_owned() } else { after.admit(new, with)? });
            if answers.last().is_some_and(|answer| answer == "created") {
                created.push(new.id);
            }
        }
        for new in jobs.iter().filter(|new| created.contains(&new.id)) {
            let before = new.after.iter().flat_map(|after| after.jobs.clone());
            if before.into_iter().any(|id| with.siblings.contains(&id) && !after.is_known(id)) {
                return Err(ErrorCode::Conflict);
            }
        }
        if jobs.iter().any(|job| reaches(jobs, job.id, job.id, jobs.len())) {
            return Err(ErrorCode::InvalidArgument);
        }
        *self = after;
        Ok(answers)
    }
}

/// Whether a way of so many steps leads back from a job of the request to another.
fn reaches(jobs: &[NewJob], from: JobId, to: JobId, steps: usize) -> bool {
    let Some(job) = jobs.iter().find(|job| job.id == from).filter(|_| steps > 0) else { return false };
    job.after.iter().flat_map(|after| &after.jobs).any(|&next| next == to || reaches(jobs, next, to, steps - 1))
}

// Batches.
impl Reference {
    /// Live, completed, dead, cancelled, expired.
    pub(crate) fn counts(&self, id: BatchId) -> [u64; 5] {
        let all = self.jobs.iter().chain(&self.former);
        let own: Vec<&Job> = all.filter(|job| job.new.batch == Some(id)).collect();
        let count = |state| own.iter().filter(|job| job.state == state).count() as u64;
        let live = own.iter().filter(|job| !job.state.is_terminal()).count() as u64;
        let [completed, dead] = [JobState::Completed, JobState::Dead].map(count);
        [live, completed, dead, count(JobState::Cancelled), count(JobState::Expired)]
    }

    pub(crate) fn batch_state(&self, batch: &Batch) -> &'static str {
        let [live, _, failed @ ..] = self.counts(batch.id);
        match (batch.sealed, live, failed.iter().sum::<u64>()) {
            (false, ..) => "open",
            (true, 1.., _) => "running",
            (true, 0, _) if batch.cancelled => "cancelled",
            (true, 0, 0) => "completed",
            _ => "failed",
        }
    }

    fn told(&self, id: BatchId) -> Refused<String> {
        let batch = self.batches.iter().find(|batch| batch.id == id).ok_or(ErrorCode::NotFound)?;
        Ok(format!("{} {}", self.batch_state(batch), self.counts(id)[0]))
    }

    pub(crate) fn check_batch(&self, new: &NewJob, with: &With) -> Refused<()> {
        let Some(id) = new.batch.filter(|id| with.new_batch != Some(*id)) else { return Ok(()) };
        let batch = self.batches.iter().find(|batch| batch.id == id).ok_or(ErrorCode::NotFound)?;
        let is_shut = batch.cancelled || batch.sealed && with.parents != Some(id);
        if is_shut { Err(ErrorCode::WrongState) } else { Ok(()) }
    }

    pub(crate) fn create_batch(&mut self, new: &NewBatch, known: Vec<(JobId, JobState)>) -> Refused<String> {
        let now = self.now;
        if self.batches.iter().any(|batch| batch.id == new.id) {
            return self.told(new.id);
        }
        let is_sound = |id: JobId| {
            let minted = id.minted_at().as_ms();
            minted + limits::IDEMPOTENCY_WINDOW_MS_DEFAULT >= now && minted <= now + limits::ID_AHEAD_MS_MAX
        };
        if !is_sound(new.id.0) {
            return Err(ErrorCode::IdOutsideWindow);
        }
        let mut ids: Vec<JobId> = new.jobs.iter().map(|job| job.id).collect();
        for job in new.on_complete.iter().chain(&new.on_failure) {
            if ids.contains(&job.id) {
                return Err(ErrorCode::InvalidArgument);
            }
            ids.push(job.id);
            if !is_sound(job.id) {
                return Err(ErrorCode::IdOutsideWindow);
            }
            if self.is_known(job.id) {
                return Err(ErrorCode::Conflict);
            }
            if self.queue(job.queue.as_str()).is_none() && self.no_new_queues {
                return Err(ErrorCode::QueueUnknown);
            }
        }
        let jobs: Vec<NewJob> = new.jobs.iter().map(|job| NewJob { batch: Some(new.id), ..job.clone() }).collect();
        let mut with = With { new_batch: Some(new.id), known, ..With::now(now) };
        let mut after = self.clone();
        for job in new.on_complete.iter().chain(&new.on_failure) {
            after.queue_made(job.queue.as_str());
        }
        // Whether queues may be made does not depend on those of the callbacks.
        self.clone().all_or_none(&jobs, &mut with)?;
        after.all_or_none(&jobs, &mut with)?;
        if jobs.iter().any(|job| self.is_known(job.id)) {
            return Err(ErrorCode::Conflict);
        }
        let callback = |job: &Option<Box<NewJob>>| job.as_ref().map(|job| (**job).clone());
        after.batches.push(Batch {
            id: new.id,
            sealed: !new.open,
            cancelled: false,
            ended_at: None,
            on_complete: callback(&new.on_complete),
            on_failure: callback(&new.on_failure),
            failure_called: false,
        });
        *self = after;
        self.settle_batches();
        self.told(new.id)
    }

    pub(crate) fn seal_batch(&mut self, id: BatchId, cancel: bool) -> Refused<String> {
        let at = self.batches.iter().position(|batch| batch.id == id).ok_or(ErrorCode::NotFound)?;
        let has_ended = self.batches[at].ended_at.is_some();
        let batch = &mut self.batches[at];
        batch.cancelled |= cancel && !has_ended;
        batch.sealed = true;
        self.settle_batches();
        self.told(id)
    }

    /// What follows from how many jobs of a batch are where.
    pub(crate) fn settle_batches(&mut self) {
        let mut ids: Vec<BatchId> = self.batches.iter().map(|batch| batch.id).collect();
        ids.sort();
        for id in ids {
            let at = self.batches.iter().position(|batch| batch.id == id).expect("it is there");
            let state = self.batch_state(&self.batches[at]);
            let has_failed = self.counts(id)[2..].iter().any(|count| *count > 0);
            let now = self.now;
            let batch = &mut self.batches[at];
            let called = match state {
                _ if batch.cancelled => None,
                "completed" => batch.on_complete.take(),
                _ if has_failed => {
                    batch.failure_called |= batch.on_failure.is_some();
                    batch.on_failure.take()
                }
                _ => None,
            };
            batch.ended_at = match state {
                "open" | "running" => None,
                _ => batch.ended_at.or(Some(now)),
            };
            if let Some(new) = called
                && !self.is_known(new.id)
                && !self.is_dead(new.id)
            {
                self.create(&new, now, &With::default(), Some(id), None);
            }
        }
    }

    pub(crate) fn forget_batches(&mut self) {
        let now = self.now;
        self.batches.retain(|batch| batch.ended_at.is_none_or(|at| now - at <= limits::BATCH_KEPT_MS));
    }
}

// Schedules.
impl Reference {
    pub(crate) fn put_schedule(&mut self, put: &Put) {
        self.revision += 1;
        let (now, revision) = (self.now, self.revision);
        if let Some(known) = self.schedules.iter_mut().find(|one| one.put.name == put.name) {
            if (&known.put.cron, &known.put.time_zone) != (&put.cron, &put.time_zone) {
                known.ticked_to = now;
            }
            (known.put, known.revision, known.is_stuck) = (put.clone(), revision, false);
            return;
        }
        self.schedules.push(Schedule {
            put: put.clone(),
            revision,
            paused: false,
            ticked_to: now,
            last_job: None,
            counts: [0; 3],
            is_stuck: false,
        });
    }

    pub(crate) fn pause_schedule(&mut self, name: &ScheduleName, paused: bool) {
        self.revision += 1;
        let (now, revision) = (self.now, self.revision);
        for one in self.schedules.iter_mut().filter(|one| one.put.name == *name) {
            if one.paused && !paused {
                (one.ticked_to, one.revision) = (now, revision);
            }
            one.paused = paused;
        }
    }

    /// What a leader would say of it.
    pub(crate) fn revision_of(&self, name: &ScheduleName) -> u64 {
        self.schedules.iter().find(|one| one.put.name == *name).map_or(0, |one| one.revision)
    }

    pub(crate) fn run_schedule(&mut self, name: &ScheduleName, id: JobId) -> Refused<String> {
        let at = self.schedules.iter().position(|one| one.put.name == *name).ok_or(ErrorCode::NotFound)?;
        if self.is_known(id) {
            return Ok("existing".to_owned());
        }
        let tick = LogTime::from_ms(self.now);
        let new = self.schedules[at].put.job.job(id, tick);
        let answer = self.admit(&new, &With::now(self.now)).unwrap_or_else(|code| format!("refused {code}"));
        if answer == "created" {
            self.note_tick(id, name, tick);
            let before = self.schedules[at].last_job.filter(|before| *before != id && self.live(*before).is_some());
            self.schedules[at].last_job = before.or(Some(id));
        }
        Ok(answer)
    }

    fn note_tick(&mut self, id: JobId, name: &ScheduleName, tick: LogTime) {
        let at = self.find(id).expect("it is there");
        self.jobs[at].tick = Some(ScheduleTick { schedule: name.clone(), tick });
    }

    pub(crate) fn tick(
        &mut self,
        name: &ScheduleName,
        revision: u64,
        ticks: &[LogTime],
        passed_over: u64,
        more: bool,
    ) -> Refused<String> {
        let done = Ok("done".to_owned());
        let now = self.now;
        let Some(at) = self.schedules.iter().position(|one| one.put.name == *name) else { return done };
        let (Some(first), schedule) = (ticks.first(), &mut self.schedules[at]) else { return done };
        if schedule.revision != revision || schedule.paused {
            return done;
        }
        let catch_up = schedule.put.catch_up;
        let before_first = first.as_ms().saturating_sub(1);
        let are_new = (schedule.ticked_to + 1..now).contains(&before_first);
        if are_new && passed_over > 0 && catch_up != CatchUp::All {
            schedule.counts[MISSED] += passed_over;
            schedule.ticked_to = before_first;
        }
        let is_late = |tick: &LogTime| now.saturating_sub(tick.as_ms()) >= limits::TICK_LATE_MS;
        let latest_late = ticks.iter().filter(|tick| is_late(tick)).max();
        for tick in ticks {
            let schedule = &mut self.schedules[at];
            if tick.as_ms() <= schedule.ticked_to || tick.as_ms() > now {
                continue;
            }
            let is_passed_over = match catch_up {
                CatchUp::All => false,
                CatchUp::One => more || latest_late != Some(tick),
                CatchUp::Skip => true,
            };
            if is_late(tick) && is_passed_over {
                schedule.counts[MISSED] += 1;
                schedule.ticked_to = tick.as_ms();
                continue;
            }
            let Some((what, job)) = self.fire(at, name, *tick) else {
                self.schedules[at].is_stuck = true;
                break;
            };
            let schedule = &mut self.schedules[at];
            schedule.counts[what] += 1;
            (schedule.ticked_to, schedule.is_stuck) = (tick.as_ms(), false);
            schedule.last_job = job.or(schedule.last_job);
        }
        done
    }

    /// What became of the tick; `None`: it is to be tried again.
    fn fire(&mut self, at: usize, name: &ScheduleName, tick: LogTime) -> Option<(usize, Option<JobId>)> {
        let now = self.now;
        let schedule = self.schedules[at].clone();
        let mut hash = Sha256::new();
        hash.update(name.as_str());
        hash.update(tick.as_ms().to_be_bytes());
        let mut random = [0; 10];
        random.copy_from_slice(&hash.finalize()[..10]);
        let id = JobId::new(LogTime::from_ms(now), random);
        let mut new = schedule.put.job.job(id, tick);
        let before = schedule.last_job.filter(|id| self.live(*id).is_some());
        match (schedule.put.overlap, before) {
            (Overlap::Allow, _) | (_, None) => {}
            (Overlap::Skip, Some(_)) => return Some((SKIPPED, None)),
            (overlap, Some(before)) => {
                // Who takes its place also waits for what it still waits for: that may be running.
                let job = &self.jobs[self.live(before).expect("it lives")];
                let is_blocked = overlap == Overlap::Replace && job.state == JobState::Blocked;
                let others = job.after.iter().filter(|one| is_blocked && one.1.is_none()).map(|one| one.0);
                let jobs = std::iter::once(before).chain(others).collect();
                new.after = Some(After { jobs, on_failure: OnFailure::Run });
            }
        }
        if self.is_known(id) {
            return Some((SKIPPED, None));
        }
        let answer = match self.admit(&new, &With::now(now)) {
            Ok(answer) => answer,
            Err(ErrorCode::Conflict) => return Some((SKIPPED, None)),
            Err(_) => return None,
        };
        match answer.split_once(' ') {
            Some(("replaced", holder)) => Some((FIRED, holder.parse().ok())),
            Some(_) => Some((SKIPPED, None)),
            None => {
                self.note_tick(id, name, tick);
                if let (Overlap::Replace, Some(before)) = (schedule.put.overlap, before) {
                    let grace_ms = limits::CANCEL_GRACE_MS_DEFAULT;
                    let _ = self.act(before, None, &JobAction::Cancel { reason: String::new(), grace_ms }, &[]);
                }
                Some((FIRED, Some(id)))
            }
        }
    }
}
