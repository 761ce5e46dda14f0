//! Admission: whether a job may come to be, checked before anything is changed.
//!
//! Several jobs that are enqueued all or none are checked one after the other, each with what those before it will take:
//! see [`Claimed`]. What was admitted so is never refused when it is enqueued.

use crate::act::conflict;
use crate::keys::period_end;
use crate::namespaces::Taken;
use crate::{Core, Target};
use jobraft_protocol::{
    BatchId, Error, ErrorCode, JobId, JobState, LogTime, Namespace, NewJob, OnConflict, QueueMode, QueueName, Start,
    Task, Unique, UniqueKey, limits,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a producer is told to wait when a queue is full.
const QUEUE_FULL_RETRY_MS: u64 = 1_000;
/// Jobs of a circle that are named.
const CIRCLE_SHOWN_MAX: usize = 8;

/// What becomes of a job that is not refused.
pub(crate) enum Admission {
    /// A new job, to run from then on.
    Create(LogTime),
    /// None: the holder of its key stands for it.
    Duplicate(JobId),
    /// None: the holder of its key takes over what its policy says, with this start.
    Replace(JobId, LogTime),
    /// None: an earlier job of the same step will hold its key then, and stand for it.
    Sibling,
}

/// What is known where jobs are enqueued, and what earlier ones of the same step will take.
#[derive(Default)]
pub(crate) struct Claimed<'a> {
    pub(crate) circumstances: Circumstances,
    ids: BTreeSet<JobId>,
    /// With the queues of the jobs that will hold them.
    keys: BTreeMap<&'a UniqueKey, &'a QueueName>,
    /// Jobs and bytes by queue.
    room: BTreeMap<&'a QueueName, (u64, u64)>,
    /// All of it, of the namespace's quota: what is claimed in one step is of one namespace.
    taken: Taken,
    /// How many queues these will make.
    queues: usize,
    /// How many groups these will make, at most.
    groups: usize,
    /// How many of them come after a job that is there.
    dependents: BTreeMap<JobId, usize>,
    /// How many of them belong to a batch.
    batches: BTreeMap<BatchId, u64>,
}

/// What is known where jobs are enqueued.
#[derive(Clone, Default)]
pub(crate) struct Circumstances {
    /// There for the children of a job.
    pub(crate) parent: Option<Parent>,
    /// There for the first jobs of a batch that is about to be.
    pub(crate) new_batch: Option<BatchId>,
    /// What else the step takes of the namespace's quota.
    pub(crate) taken: Taken,
    /// All that are enqueued in the same step, all or none: they may come after each other.
    pub(crate) siblings: BTreeSet<JobId>,
    /// Ended jobs that the entry tells of, and their namespaces.
    pub(crate) known: BTreeMap<JobId, (JobState, Namespace)>,
    /// Whether they were checked together, all or none: a group that was there then may be gone by now, and what they take of
    /// a quota is found one by one to be more than it was together, where some give back what others take.
    pub(crate) is_checked: bool,
}

/// The job whose life ends in the step in which its children are enqueued, and with it its hold on its key.
#[derive(Clone, Copy)]
pub(crate) struct Parent {
    pub(crate) job: JobId,
    /// Its lease began then: its children's ids may have been made at any time since.
    pub(crate) leased_at: LogTime,
    /// They may join it, sealed or not.
    pub(crate) batch: Option<BatchId>,
    /// What it gives back of its namespace's quota when it ends.
    pub(crate) held_bytes: u64,
}

impl Claimed<'_> {
    /// What is taken of the namespace's quota in all, if this is as well. The job that ends in the step gives back what it holds.
    fn and(&self, taken: Taken) -> Taken {
        let mut all = self.taken;
        all += taken;
        if let Some(parent) = self.circumstances.parent {
            (all.jobs, all.bytes) = (all.jobs.saturating_sub(1), all.bytes.saturating_sub(parent.held_bytes));
        }
        all
    }

    fn room(&self, queue: &QueueName) -> (u64, u64) {
        self.room.get(queue).copied().unwrap_or_default()
    }
}

impl<'a> Claimed<'a> {
    /// With these circumstances, and nothing taken yet.
    pub(crate) fn nothing(circumstances: Circumstances) -> Self {
        Self { taken: circumstances.taken, circumstances, ..Self::default() }
    }

    /// Says whether it is the first in this queue.
    fn claim_room(&mut self, queue: &'a QueueName, jobs: u64, bytes: u64) -> bool {
        let is_first = !self.room.contains_key(queue);
        let claimed = self.room.entry(queue).or_default();
        claimed.0 += jobs;
        claimed.1 += bytes;
        self.taken += Taken { jobs, bytes, starts: jobs, ..Taken::default() };
        is_first
    }

    /// Takes what a new job will take.
    fn claim(&mut self, new: &'a NewJob, makes_queue: bool) {
        self.ids.insert(new.id);
        let is_first = self.claim_room(&new.queue, 1, new_bytes(new));
        self.queues += usize::from(is_first && makes_queue);
        self.taken.queues += u64::from(is_first && makes_queue);
        self.groups += usize::from(new.group.is_some());
        self.keys.extend(new.unique.as_ref().map(|unique| (&unique.key, &new.queue)));
        for before in new.after.iter().flat_map(|after| &after.jobs) {
            *self.dependents.entry(*before).or_default() += 1;
        }
        if let Some(batch) = new.batch {
            *self.batches.entry(batch).or_default() += 1;
        }
    }
}

impl Core {
    /// What holds for jobs that are enqueued with what the leader read of those that they come after.
    pub(crate) fn circumstances(&self, known: &[Target]) -> Circumstances {
        let known = known.iter().filter_map(|target| {
            let record = self.ended_record(target).ok()?;
            Some((target.job, (record.view.state, Namespace::of(record.view.queue.as_str()))))
        });
        Circumstances { known: known.collect(), ..Circumstances::default() }
    }

    /// Checks that all of these jobs can be enqueued in one step, and says what they take. `what` names one of them in errors.
    pub(crate) fn check_all<'a>(
        &'a self,
        circumstances: &mut Circumstances,
        what: &str,
        jobs: &'a [NewJob],
    ) -> Result<Taken, Error> {
        if jobs.is_empty() {
            return Ok(circumstances.taken);
        }
        check_bulk(jobs)?;
        circumstances.siblings = jobs.iter().map(|job| job.id).collect();
        let mut claimed = Claimed::nothing(circumstances.clone());
        let named = |place: usize, job: &NewJob| format!("{what} {place} ({}): ", job.id);
        for (place, job) in jobs.iter().enumerate() {
            if self.remembers(job.id) || claimed.ids.contains(&job.id) {
                continue;
            }
            let admission = self.admit(job, &claimed).map_err(|mut error| {
                error.message.insert_str(0, &named(place, job));
                error
            })?;
            match admission {
                Admission::Create(_) => claimed.claim(job, self.index.queues.index_of(&job.queue).is_none()),
                // More than it takes, where a payload makes room for another: better than to overfill the queue.
                Admission::Replace(holder, _) => {
                    let queue = self.job(holder).queue;
                    claimed.claim_room(&self.index.queues.get(queue).stats.queue, 0, job.payload.len() as u64);
                }
                Admission::Sibling => {
                    let replaces = job
                        .unique
                        .as_ref()
                        .filter(|unique| matches!(unique.on_conflict, OnConflict::Replace { payload: true, .. }));
                    if let Some(&queue) = replaces.and_then(|unique| claimed.keys.get(&unique.key)) {
                        claimed.claim_room(queue, 0, job.payload.len() as u64);
                    }
                }
                Admission::Duplicate(_) => {}
            }
        }
        let is_there = |id: &JobId| claimed.ids.contains(id) || self.remembers(*id);
        for (place, job) in jobs.iter().enumerate().filter(|(_, job)| claimed.ids.contains(&job.id)) {
            let gone = |id: &&JobId| claimed.circumstances.siblings.contains(*id) && !is_there(id);
            if let Some(before) = job.after.iter().flat_map(|after| &after.jobs).find(gone) {
                let text = format!("it comes after job {before}, for which another stands that holds its unique key");
                return Err(Error::new(ErrorCode::Conflict, named(place, job) + &text));
            }
        }
        circumstances.is_checked = true;
        let taken = claimed.taken;
        match circle(jobs) {
            None => Ok(taken),
            Some(places) => Err(invalid(told(what, jobs, &places))),
        }
    }

    /// Checks everything before anything is changed.
    pub(crate) fn admit(&self, new: &NewJob, claimed: &Claimed<'_>) -> Result<Admission, Error> {
        let parent = claimed.circumstances.parent;
        self.check_id(new.id, parent.map(|parent| parent.leased_at))?;
        let run_at = self.check_values(new)?;
        self.check_task(&new.queue, &new.task)?;
        self.check_after(new, claimed)?;
        self.check_batch(new, claimed)?;
        if let Some(unique) = &new.unique {
            if let Some(&queue) = claimed.keys.get(&unique.key) {
                if unique.on_conflict == OnConflict::Reject {
                    let text = format!("an earlier job of the same step holds the unique key {}", unique.key);
                    return Err(Error::new(ErrorCode::Conflict, text));
                }
                if let OnConflict::Replace { payload, .. } = unique.on_conflict {
                    check_replaced_queue(unique, queue, &new.queue)?;
                    if !payload {
                        return Ok(Admission::Sibling);
                    }
                    let (jobs, bytes) = claimed.room(queue);
                    let bytes_more = new.payload.len() as u64;
                    self.check_room(queue, jobs, bytes + bytes_more)?;
                    self.check_claimed(queue, claimed, Taken { bytes: bytes_more, ..Taken::default() })?;
                }
                return Ok(Admission::Sibling);
            } else if let Some(holder) = self.holder(&unique.key, parent.map(|parent| parent.job)) {
                return self.admit_duplicate(new, unique, holder, run_at, claimed);
            } else if period_end(unique, self.now).is_some() && !self.keys.has_room(claimed.keys.len()) {
                let text = format!("{} unique keys are held for a period, the most", limits::UNIQUE_PERIODS_MAX);
                return Err(Error::new(ErrorCode::TooMany, text));
            }
        }
        let (jobs, bytes) = claimed.room(&new.queue);
        if self.index.queues.index_of(&new.queue).is_none()
            && !claimed.room.contains_key(&new.queue)
            && self.index.queues.len() + claimed.queues >= self.bounds.queues
        {
            return Err(self.too_many_queues());
        }
        self.check_room(&new.queue, jobs + 1, bytes + new_bytes(new))?;
        self.check_claimed(&new.queue, claimed, self.takes(new, claimed))?;
        if !claimed.circumstances.is_checked {
            self.check_group(new, claimed.groups)?;
        }
        Ok(Admission::Create(run_at))
    }

    /// Refuses what is more, with all that is claimed, than the quota of a queue's namespace permits.
    fn check_claimed(&self, queue: &QueueName, claimed: &Claimed<'_>, taken: Taken) -> Result<(), Error> {
        if claimed.circumstances.is_checked {
            return Ok(());
        }
        self.check_quota(queue.as_str(), claimed.and(taken))
    }

    /// What a new job takes of its namespace's quota.
    fn takes(&self, new: &NewJob, claimed: &Claimed<'_>) -> Taken {
        let makes_queue = self.index.queues.index_of(&new.queue).is_none() && !claimed.room.contains_key(&new.queue);
        Taken { jobs: 1, bytes: new_bytes(new), queues: u64::from(makes_queue), modules: 0, starts: 1 }
    }

    pub(crate) fn check_task(&self, queue: &QueueName, task: &Task) -> Result<(), Error> {
        match task {
            Task::Module(digest) => self.check_module(queue, digest),
            Task::Handler(_) => Ok(()),
        }
    }

    /// Each job that it comes after is known, and named once.
    fn check_after(&self, new: &NewJob, claimed: &Claimed<'_>) -> Result<(), Error> {
        let Some(after) = &new.after else { return Ok(()) };
        if after.jobs.len() > limits::AFTER_JOBS_MAX {
            let text = format!("it comes after {} jobs, at most {}", after.jobs.len(), limits::AFTER_JOBS_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        let mut named = BTreeSet::new();
        for &before in &after.jobs {
            if before == new.id {
                return Err(invalid("it comes after itself".to_owned()));
            }
            if !named.insert(before) {
                return Err(invalid(format!("it comes after job {before} twice: name it once")));
            }
            let circumstances = &claimed.circumstances;
            if self.how_ended(before, circumstances).is_none() || self.is_elsewhere(before, &new.queue, circumstances) {
                let text = format!("it comes after job {before}, which never was, was deleted, or is kept no longer");
                return Err(Error::new(ErrorCode::NotFound, text));
            }
            let others = self.index.dependents.get(&before).map_or(0, BTreeMap::len);
            if others + claimed.dependents.get(&before).copied().unwrap_or(0) >= limits::DEPENDENTS_MAX {
                let text = format!("{} jobs come after job {before}, the most", limits::DEPENDENTS_MAX);
                return Err(Error::new(ErrorCode::TooMany, text));
            }
        }
        Ok(())
    }

    /// How a job that another comes after ended, or that it has not; `None` if it is not known.
    pub(crate) fn how_ended(&self, id: JobId, circumstances: &Circumstances) -> Option<Option<JobState>> {
        if self.jobs.contains_key(&id) {
            let is_parent = circumstances.parent.is_some_and(|parent| parent.job == id);
            return Some(is_parent.then_some(JobState::Completed));
        }
        match self.ended.get(id, self.now) {
            Some(_) if self.ended.is_deleted(id) => None,
            Some(ended) => Some(Some(ended.state)),
            None if circumstances.siblings.contains(&id) => Some(None),
            None => circumstances.known.get(&id).map(|(state, _)| Some(*state)),
        }
    }

    /// Whether a job that is there is in another namespace than a queue. A sibling that is none yet is in that of its step.
    fn is_elsewhere(&self, id: JobId, queue: &QueueName, circumstances: &Circumstances) -> bool {
        let here = Namespace::name_of(queue.as_str());
        if let Some(other) = self.queue_of(id) {
            return Namespace::name_of(other.as_str()) != here;
        }
        match (self.ended.get(id, self.now), circumstances.known.get(&id)) {
            (Some(ended), _) => self.index.queues.namespaces.index_of(queue.as_str()) != Some(ended.namespace),
            (None, Some((_, namespace))) => namespace.as_str() != here,
            (None, None) => false,
        }
    }

    /// The batch to which it is to belong takes it.
    fn check_batch(&self, new: &NewJob, claimed: &Claimed<'_>) -> Result<(), Error> {
        let Some(id) = new.batch else { return Ok(()) };
        let circumstances = &claimed.circumstances;
        if circumstances.new_batch == Some(id) {
            return Ok(());
        }
        let is_of_parent = circumstances.parent.is_some_and(|parent| parent.batch == Some(id));
        self.batches.check(id, &new.queue, is_of_parent, claimed.batches.get(&id).copied().unwrap_or(0))
    }

    /// There may be one more group, if it makes one.
    pub(crate) fn check_group(&self, new: &NewJob, claimed: usize) -> Result<(), Error> {
        let Some(group) = &new.group else { return Ok(()) };
        if self.index.queues.has_group(&new.queue, group) { Ok(()) } else { self.check_groups(claimed + 1) }
    }

    /// There may be so many more groups.
    pub(crate) fn check_groups(&self, more: usize) -> Result<(), Error> {
        if self.index.queues.group_count() + more <= self.bounds.groups {
            return Ok(());
        }
        let text = format!("the cluster's queues have {} groups, the most they take: try later", self.bounds.groups);
        Err(Error::new(ErrorCode::TooMany, text).retry_after_ms(QUEUE_FULL_RETRY_MS))
    }

    /// Who holds a key, once the parent's life is over.
    fn holder(&self, key: &UniqueKey, parent: Option<JobId>) -> Option<JobId> {
        let holder = self.keys.holder(key, self.now)?;
        (parent != Some(holder) || !self.keys.is_held_by(key, holder)).then_some(holder)
    }

    fn admit_duplicate(
        &self,
        new: &NewJob,
        unique: &Unique,
        holder: JobId,
        run_at: LogTime,
        claimed: &Claimed<'_>,
    ) -> Result<Admission, Error> {
        let key = &unique.key;
        let OnConflict::Replace { payload, .. } = unique.on_conflict else {
            return match unique.on_conflict {
                OnConflict::ReturnExisting => Ok(Admission::Duplicate(holder)),
                _ => Err(conflict(key, holder)),
            };
        };
        let Some(job) = self.jobs.get(&holder).filter(|job| job.is_waiting()) else {
            let mut error = conflict(key, holder);
            error.message.push_str(" and does not wait any more: it cannot take over what is new");
            return Err(error);
        };
        let queue = self.index.queues.get(job.queue);
        check_replaced_queue(unique, &queue.stats.queue, &new.queue)?;
        let replaced = job.payload.len() + job.past.as_ref().map_or(0, |past| past.checkpoint.len());
        let others = queue.stats.waiting_bytes - replaced as u64 + claimed.room(&queue.stats.queue).1;
        if payload && others + new.payload.len() as u64 > queue.stats.settings.bytes_max() {
            return Err(queue_full(&queue.stats.queue, "bytes of waiting jobs", queue.stats.settings.bytes_max()));
        }
        let bytes = (new.payload.len() as u64).saturating_sub(replaced as u64);
        if payload && bytes > 0 {
            self.check_claimed(&new.queue, claimed, Taken { bytes, ..Taken::default() })?;
        }
        Ok(Admission::Replace(holder, run_at))
    }

    /// Whether the queue takes so many more jobs with so many bytes.
    pub(crate) fn check_room(&self, name: &QueueName, jobs: u64, bytes: u64) -> Result<(), Error> {
        let queues = &self.index.queues;
        let Some(index) = queues.index_of(name) else {
            if !self.settings.create_queues {
                let text = format!("no queue {name}, and an enqueue may not make one here: set it up first");
                return Err(Error::new(ErrorCode::QueueUnknown, text));
            }
            if queues.len() >= self.bounds.queues {
                return Err(self.too_many_queues());
            }
            return if jobs <= limits::QUEUE_DEPTH_DEFAULT as u64 && bytes <= limits::QUEUE_BYTES_DEFAULT {
                Ok(())
            } else {
                Err(queue_full(name, "waiting jobs", limits::QUEUE_DEPTH_DEFAULT as u64))
            };
        };
        let queue = queues.get(index);
        let settings = &queue.stats.settings;
        if settings.mode == QueueMode::Draining {
            let text = format!("queue {name} is draining and takes no new jobs until it is resumed");
            return Err(Error::new(ErrorCode::QueueDraining, text));
        }
        if queue.waiting() + jobs > settings.depth_max() {
            return Err(queue_full(name, "waiting jobs", settings.depth_max()));
        }
        if queue.stats.waiting_bytes + bytes > settings.bytes_max() {
            return Err(queue_full(name, "bytes of waiting jobs", settings.bytes_max()));
        }
        Ok(())
    }

    /// An id must be so young that memory would know it, had it been used before. One that was made `since` a lease began is
    /// young enough: the completion that brings it is taken once.
    pub(crate) fn check_id(&self, id: JobId, since: Option<LogTime>) -> Result<(), Error> {
        if !id.is_version_7() {
            return Err(invalid(format!("job id {id} is not a UUID of version 7")));
        }
        let minted_at = id.minted_at();
        let since = since.map_or(self.now, |since| since.min(self.now));
        if since < self.now && self.dead_job(id).is_some()
            || minted_at.plus_ms(limits::IDEMPOTENCY_WINDOW_MS_DEFAULT) < since
            || minted_at > self.now.plus_ms(limits::ID_AHEAD_MS_MAX)
        {
            let text = format!(
                "job id {id} was made at {minted_at}, log time is {}: make ids by the cluster's time, and retry sooner",
                self.now
            );
            return Err(Error::new(ErrorCode::IdOutsideWindow, text));
        }
        Ok(())
    }

    pub(crate) fn check_values(&self, new: &NewJob) -> Result<LogTime, Error> {
        if new.payload.len() > limits::PAYLOAD_BYTES_DEFAULT {
            let (bytes, max) = (new.payload.len(), limits::PAYLOAD_BYTES_DEFAULT);
            return Err(Error::new(ErrorCode::TooLarge, format!("the payload has {bytes} bytes, the limit is {max}")));
        }
        let within = |field: &str, value: Option<u64>, low: u64, high: u64| match value {
            Some(value) if !(low..=high).contains(&value) => {
                Err(invalid(format!("{field} {value} is not in {low}..={high}")))
            }
            _ => Ok(()),
        };
        within("priority", new.priority.map(u64::from), 0, limits::PRIORITY_MAX.into())?;
        within("max_attempts", new.max_attempts.map(u64::from), 1, limits::ATTEMPTS_MAX.into())?;
        within("max_crashes", new.max_crashes.map(u64::from), 1, limits::CRASHES_MAX.into())?;
        within("run_timeout_ms", new.run_timeout_ms, 1, limits::RUN_TIMEOUT_MS_MAX)?;
        within("ttl_ms", new.ttl_ms, 1, limits::DELAY_MS_MAX)?;
        within("start_deadline_ms", new.start_deadline_ms, 1, limits::DELAY_MS_MAX)?;
        new.backoff.as_ref().map_or(Ok(()), |backoff| backoff.check()).map_err(invalid)?;
        new.unique.as_ref().map_or(Ok(()), |unique| unique.check()).map_err(invalid)?;
        let run_at = match new.start {
            Start::Now => self.now,
            Start::AfterMs(ms) => self.now.plus_ms(ms),
            Start::At(at) => at.max(self.now),
        };
        let delay_ms = run_at.ms_since(self.now);
        if delay_ms > limits::DELAY_MS_MAX {
            let max = limits::DELAY_MS_MAX;
            return Err(invalid(format!("start {run_at} is {delay_ms} ms from now, the limit is {max} ms")));
        }
        Ok(run_at)
    }

    /// When it expires unless it is running by then: reckoned from the time that was asked for, even if that is past.
    pub(crate) fn start_by(&self, new: &NewJob, run_at: LogTime) -> Option<LogTime> {
        let scheduled_at = if let Start::At(at) = new.start { at } else { run_at };
        new.start_deadline_ms.map(|ms| scheduled_at.plus_ms(ms))
    }
}

/// Jobs that come after each other in a circle, if any do: their places, each after the one behind it and the last after
/// the first.
fn circle(jobs: &[NewJob]) -> Option<Vec<usize>> {
    let mut places: BTreeMap<JobId, usize> = BTreeMap::new();
    for (place, job) in jobs.iter().enumerate() {
        // Of two with one id the first becomes the job.
        places.entry(job.id).or_insert(place);
    }
    let before = |place: usize| {
        let ids = jobs[place].after.iter().flat_map(|after| &after.jobs);
        ids.filter_map(|id| places.get(id).copied())
    };
    let mut followers = vec![Vec::new(); jobs.len()];
    let mut open = vec![0_usize; jobs.len()];
    for (place, open) in open.iter_mut().enumerate() {
        for earlier in before(place) {
            followers[earlier].push(place);
            *open += 1;
        }
    }
    let mut free: Vec<usize> = (0..jobs.len()).filter(|&place| open[place] == 0).collect();
    while let Some(place) = free.pop() {
        for &follower in &followers[place] {
            open[follower] -= 1;
            if open[follower] == 0 {
                free.push(follower);
            }
        }
    }
    // Whoever is not free has one before it that is not either: going back leads into the circle.
    let mut way = vec![open.iter().position(|&count| count > 0)?];
    loop {
        let next = before(*way.last()?).find(|&place| open[place] > 0)?;
        if let Some(start) = way.iter().position(|&place| place == next) {
            return Some(way.split_off(start));
        }
        way.push(next);
    }
}

/// What a new job will hold while it waits.
fn new_bytes(new: &NewJob) -> u64 {
    let after = new.after.as_ref().map_or(0, |after| after.jobs.len() * limits::PREDECESSOR_BYTES);
    (new.payload.len() + after) as u64
}

fn told(what: &str, jobs: &[NewJob], places: &[usize]) -> String {
    let name = |&place: &usize| match &jobs[place].label {
        Some(label) => format!("{what} {place} ({label})"),
        None => format!("{what} {place} ({})", jobs[place].id),
    };
    let mut shown: Vec<String> = places.iter().take(CIRCLE_SHOWN_MAX).map(name).collect();
    if places.len() > CIRCLE_SHOWN_MAX {
        shown.push(format!("{} more", places.len() - CIRCLE_SHOWN_MAX));
    }
    shown.extend(places.first().map(name));
    format!("jobs come after each other in a circle: {}", shown.join(" after "))
}

pub(crate) fn check_bulk(jobs: &[NewJob]) -> Result<(), Error> {
    let bytes: usize = jobs.iter().map(|job| job.payload.len()).sum();
    let after: usize = jobs.iter().flat_map(|job| &job.after).map(|after| after.jobs.len()).sum();
    if after > limits::BULK_AFTER_MAX {
        let text =
            format!("the jobs come after {after} others, at most {} at once; split them", limits::BULK_AFTER_MAX);
        return Err(Error::new(ErrorCode::TooLarge, text));
    }
    if jobs.len() <= limits::BULK_JOBS_MAX && bytes <= limits::BULK_BYTES_MAX {
        return Ok(());
    }
    let text = format!(
        "{} jobs with {bytes} bytes of payload: at most {} jobs and {} bytes at once; split them",
        jobs.len(),
        limits::BULK_JOBS_MAX,
        limits::BULK_BYTES_MAX
    );
    Err(Error::new(ErrorCode::TooLarge, text))
}

/// A job takes nothing over into another queue: who may enqueue there need not be who may enqueue here.
fn check_replaced_queue(unique: &Unique, holder: &QueueName, new: &QueueName) -> Result<(), Error> {
    if holder == new {
        return Ok(());
    }
    let text =
        format!("a job of another queue holds the unique key {}: a job replaces one of its own queue", unique.key);
    Err(Error::new(ErrorCode::Conflict, text))
}

fn queue_full(name: &QueueName, what: &str, max: u64) -> Error {
    let text = format!("queue {name} is full: its limit is {max} {what}; try later");
    Error::new(ErrorCode::QueueFull, text).retry_after_ms(QUEUE_FULL_RETRY_MS)
}

pub(crate) fn invalid(text: String) -> Error {
    Error::new(ErrorCode::InvalidArgument, text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use jobraft_protocol::After;

    fn job(seed: u8, after: &[u8]) -> NewJob {
        let id = |seed| JobId::new(LogTime::ZERO, [seed; 10]);
        let after = After { jobs: after.iter().map(|&seed| id(seed)).collect(), ..After::default() };
        let task = Task::Handler("t".parse().unwrap());
        NewJob { after: Some(after), ..NewJob::new(id(seed), "q".parse().unwrap(), task, "") }
    }

    #[test]
    fn a_repetition_neither_hides_a_circle_nor_makes_one() {
        assert_eq!(circle(&[job(1, &[2]), job(2, &[1]), job(1, &[])]).unwrap().len(), 2);
        assert_eq!(circle(&[job(1, &[]), job(2, &[1]), job(1, &[2])]), None);
    }

    #[test]
    fn a_circle_is_told_without_what_leads_to_it() {
        let jobs = [job(0, &[]), job(1, &[3, 0]), job(2, &[1]), job(3, &[2]), job(4, &[3])];
        let mut places = circle(&jobs).unwrap();
        places.sort_unstable();
        assert_eq!(places, [1, 2, 3]);
    }
}
