//! Enqueue: how a job comes to be, at most once per id.

use crate::act::conflict;
use crate::job::{Job, Options};
use crate::keys::period_end;
use crate::transition::Next;
use crate::{Core, Outcome};
use bytes::Bytes;
use jobraft_protocol::{
    EnqueueOutcome, Error, ErrorCode, JobId, JobState, LogTime, NewJob, OnConflict, QueueMode, QueueName, Start, Task,
    Unique, UniqueKey, limits,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a producer is told to wait when a queue is full.
const QUEUE_FULL_RETRY_MS: u64 = 1_000;

/// What becomes of a job that is not refused.
enum Admission {
    /// A new job, to run from then on.
    Create(LogTime),
    /// None: the holder of its key stands for it.
    Duplicate(JobId),
    /// None: the holder of its key takes over what its policy says, with this start.
    Replace(JobId, LogTime),
    /// None: an earlier job of the same step will hold its key then, and stand for it.
    Sibling,
}

/// What earlier jobs of the same step will take, when all are checked before any is enqueued.
#[derive(Default)]
struct Claimed<'a> {
    ids: BTreeSet<JobId>,
    /// With the queues of the jobs that will hold them.
    keys: BTreeMap<&'a UniqueKey, &'a QueueName>,
    /// Jobs and bytes by queue.
    room: BTreeMap<&'a QueueName, (u64, u64)>,
    /// How many queues these will make.
    queues: usize,
    /// There for the children of a job.
    parent: Option<Parent>,
}

/// The job whose life ends in the step in which its children are enqueued, and with it its hold on its key.
#[derive(Clone, Copy)]
pub(crate) struct Parent {
    pub(crate) job: JobId,
    /// Its lease began then: its children's ids may have been made at any time since.
    pub(crate) leased_at: LogTime,
}

impl<'a> Claimed<'a> {
    fn room(&self, queue: &QueueName) -> (u64, u64) {
        self.room.get(queue).copied().unwrap_or_default()
    }

    /// Says whether it is the first in this queue.
    fn claim_room(&mut self, queue: &'a QueueName, jobs: u64, bytes: u64) -> bool {
        let is_first = !self.room.contains_key(queue);
        let claimed = self.room.entry(queue).or_default();
        claimed.0 += jobs;
        claimed.1 += bytes;
        is_first
    }
}

impl Core {
    /// Enqueues each job on its own. A command beyond its limits is refused as a whole.
    pub(crate) fn enqueue(&mut self, jobs: &[NewJob]) -> Result<Outcome, Error> {
        check_bulk(jobs)?;
        Ok(Outcome::Enqueued(jobs.iter().map(|job| self.enqueue_one(job, None)).collect()))
    }

    fn enqueue_one(&mut self, new: &NewJob, parent: Option<Parent>) -> EnqueueOutcome {
        // A retry is recognised before anything else: it must be answered as the first was, however late it comes.
        if self.remembers(new.id) {
            return EnqueueOutcome::Existing;
        }
        match self.admit(new, &Claimed { parent, ..Claimed::default() }) {
            Ok(Admission::Create(run_at)) => {
                self.create(new, run_at);
                EnqueueOutcome::Created
            }
            Ok(Admission::Duplicate(holder)) => EnqueueOutcome::Duplicate(holder),
            Ok(Admission::Replace(holder, run_at)) => {
                self.replace(holder, new, run_at);
                EnqueueOutcome::Replaced(holder)
            }
            Ok(Admission::Sibling) => unreachable!("a job that is enqueued on its own has no siblings"),
            Err(error) => EnqueueOutcome::Refused(error),
        }
    }

    /// Checks that all children of a job can be enqueued in the step in which it completes.
    pub(crate) fn check_children<'a>(&'a self, parent: Parent, children: &'a [NewJob]) -> Result<(), Error> {
        check_bulk(children)?;
        let mut claimed = Claimed { parent: Some(parent), ..Claimed::default() };
        for (place, child) in children.iter().enumerate() {
            if self.remembers(child.id) || claimed.ids.contains(&child.id) {
                continue;
            }
            let admission = self.admit(child, &claimed).map_err(|mut error| {
                error.message = format!("child job {place} ({}): {}", child.id, error.message);
                error
            })?;
            let (key, bytes) = (child.unique.as_ref().map(|unique| &unique.key), child.payload.len() as u64);
            match admission {
                Admission::Create(_) => {
                    claimed.ids.insert(child.id);
                    let is_first = claimed.claim_room(&child.queue, 1, bytes);
                    claimed.queues += usize::from(is_first && self.index.queues.index_of(&child.queue).is_none());
                    claimed.keys.extend(key.map(|key| (key, &child.queue)));
                }
                // More than it takes, where a payload makes room for another: better than to overfill the queue.
                Admission::Replace(holder, _) => {
                    let queue = self.job(holder).queue;
                    claimed.claim_room(&self.index.queues.get(queue).stats.queue, 0, bytes);
                }
                Admission::Sibling => {
                    let replaces = child
                        .unique
                        .as_ref()
                        .filter(|unique| matches!(unique.on_conflict, OnConflict::Replace { payload: true, .. }));
                    if let Some(&queue) = replaces.and_then(|unique| claimed.keys.get(&unique.key)) {
                        claimed.claim_room(queue, 0, bytes);
                    }
                }
                Admission::Duplicate(_) => {}
            }
        }
        Ok(())
    }

    /// Enqueues children that were checked, after their parent's end.
    pub(crate) fn enqueue_children(&mut self, parent: Parent, children: &[NewJob]) {
        for child in children {
            let outcome = self.enqueue_one(child, Some(parent));
            assert!(!matches!(outcome, EnqueueOutcome::Refused(_)), "defect: a checked child was refused: {outcome:?}");
        }
    }

    /// Checks everything before anything is changed.
    fn admit(&self, new: &NewJob, claimed: &Claimed<'_>) -> Result<Admission, Error> {
        self.check_id(new.id, claimed.parent.map(|parent| parent.leased_at))?;
        let run_at = self.check_values(new)?;
        if let Task::Module(digest) = &new.task
            && !self.catalog.contains(digest)
        {
            let text = format!("no module sha256:{digest} in this cluster: push it first");
            return Err(Error::new(ErrorCode::ModuleUnknown, text));
        }
        if let Some(unique) = &new.unique {
            if let Some(&queue) = claimed.keys.get(&unique.key) {
                if unique.on_conflict == OnConflict::Reject {
                    let text = format!("an earlier child holds the unique key {}", unique.key);
                    return Err(Error::new(ErrorCode::Conflict, text));
                }
                if let OnConflict::Replace { payload: true, .. } = unique.on_conflict {
                    let (jobs, bytes) = claimed.room(queue);
                    self.check_room(queue, jobs, bytes + new.payload.len() as u64)?;
                }
                return Ok(Admission::Sibling);
            } else if let Some(holder) = self.holder(&unique.key, claimed.parent.map(|parent| parent.job)) {
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
        self.check_room(&new.queue, jobs + 1, bytes + new.payload.len() as u64)?;
        Ok(Admission::Create(run_at))
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
        let replaced = job.payload.len() + job.past.as_ref().map_or(0, |past| past.checkpoint.len());
        let others = queue.stats.waiting_bytes - replaced as u64 + claimed.room(&queue.stats.queue).1;
        if payload && others + new.payload.len() as u64 > queue.stats.settings.bytes_max() {
            return Err(queue_full(&queue.stats.queue, "bytes of waiting jobs", queue.stats.settings.bytes_max()));
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
    fn check_id(&self, id: JobId, since: Option<LogTime>) -> Result<(), Error> {
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

    fn check_values(&self, new: &NewJob) -> Result<LogTime, Error> {
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
    fn start_by(&self, new: &NewJob, run_at: LogTime) -> Option<LogTime> {
        let scheduled_at = if let Start::At(at) = new.start { at } else { run_at };
        new.start_deadline_ms.map(|ms| scheduled_at.plus_ms(ms))
    }

    fn create(&mut self, new: &NewJob, run_at: LogTime) {
        self.counters.seq += 1;
        let options = Options {
            ttl_ends_at: new.ttl_ms.map(|ms| self.now.plus_ms(ms)),
            start_by: self.start_by(new, run_at),
            backoff: new.backoff.clone(),
            max_crashes: new.max_crashes.unwrap_or(limits::CRASHES_DEFAULT),
            unique: new.unique.clone(),
        };
        let job = Box::new(Job {
            queue: self.index.queues.intern(&new.queue),
            task: new.task.clone(),
            payload: new.payload.clone(),
            state: if run_at > self.now { JobState::Scheduled } else { JobState::Ready },
            priority: new.priority.unwrap_or(limits::PRIORITY_DEFAULT),
            dirty: false,
            attempt: 0,
            max_attempts: new.max_attempts.unwrap_or(limits::ATTEMPTS_DEFAULT),
            run_timeout_ms: new.run_timeout_ms.unwrap_or(limits::RUN_TIMEOUT_MS_DEFAULT),
            enqueued_at: self.now,
            run_at,
            seq: self.counters.seq,
            lease: None,
            options: options.boxed(),
            past: None,
        });
        if let Some(unique) = &new.unique {
            self.keys.claim(&unique.key, new.id, period_end(unique, self.now));
        }
        self.index.enter(new.id, &job);
        self.jobs.insert(new.id, job);
        self.touch(new.id);
    }

    /// Lets the waiting holder of a key take over the payload, or the start with all that counts from it, or both.
    fn replace(&mut self, holder: JobId, new: &NewJob, run_at: LogTime) {
        let Some(OnConflict::Replace { payload, start }) = new.unique.as_ref().map(|unique| unique.on_conflict) else {
            return;
        };
        let (now, start_by) = (self.now, self.start_by(new, run_at));
        self.amend(holder, |job| {
            if payload {
                job.payload = new.payload.clone();
                // They speak of the payload that is gone.
                if let Some(past) = &mut job.past {
                    past.checkpoint = Bytes::new();
                    past.progress = None;
                }
            }
            if start {
                let mut options = job.options.take().map(|options| *options).unwrap_or_default();
                options.ttl_ends_at = new.ttl_ms.map(|ms| now.plus_ms(ms));
                options.start_by = start_by;
                job.options = options.boxed();
            }
        });
        if start {
            match (self.job(holder).state, run_at > now) {
                (_, true) => self.transition(holder, Next::Scheduled(run_at)),
                (JobState::Scheduled, false) => self.transition(holder, Next::Ready(now)),
                (_, false) => {}
            }
        }
    }
}

fn check_bulk(jobs: &[NewJob]) -> Result<(), Error> {
    let bytes: usize = jobs.iter().map(|job| job.payload.len()).sum();
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
    use crate::{Command, Entry};
    use jobraft_protocol::{Completion, QueueSetting, Setting, UniqueScope, WorkerId, WorkerInfo};

    fn enqueue(core: &mut Core, queue: &str, seeds: std::ops::Range<u8>) -> Vec<String> {
        let jobs = seeds.map(|seed| {
            let id = JobId::new(core.now(), [seed; 10]);
            NewJob::new(id, queue.parse().unwrap(), Task::Handler("t".parse().unwrap()), "")
        });
        let entry = Entry { commands: vec![Command::Enqueue { jobs: jobs.collect() }], ..Entry::default() };
        match core.apply(&entry).outcomes.remove(0).unwrap() {
            Outcome::Enqueued(outcomes) => outcomes
                .into_iter()
                .map(|outcome| match outcome {
                    EnqueueOutcome::Refused(error) => format!("{} {:?}", error.code, error.retry_after_ms),
                    other => format!("{other:?}"),
                })
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_full_queue_refuses_and_says_when_to_come_back() {
        let mut core = Core::new();
        let depth = Setting::Queue("q".parse().unwrap(), QueueSetting::DepthMax(Some(2)));
        core.configure(&[depth]).unwrap();
        let outcomes = enqueue(&mut core, "q", 0..3);
        assert_eq!(outcomes, ["Created", "Created", "queue_full Some(1000)"]);
        assert_eq!(enqueue(&mut core, "q", 0..1), ["Existing"], "a retry is no new job");
        assert_eq!(enqueue(&mut core, "other", 3..4), ["Created"], "each queue has its own depth");
    }

    #[test]
    fn two_children_of_one_id_are_checked_both_unless_the_first_becomes_a_job() {
        let mut core = Core::new();
        core.apply(&Entry {
            commands: vec![Command::RegisterWorker { info: WorkerInfo::default() }],
            ..Entry::default()
        });
        let job = |seed: u8, key: Option<&str>| {
            let id = JobId::new(LogTime::ZERO, [seed; 10]);
            let unique = key.map(|key| Unique {
                key: key.parse().unwrap(),
                scope: UniqueScope::UntilDone,
                on_conflict: OnConflict::ReturnExisting,
            });
            NewJob { unique, ..NewJob::new(id, "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "") }
        };
        core.enqueue(&[job(1, None), job(2, Some("k"))]).unwrap();
        let Outcome::Leased(leased) = core.lease(WorkerId(1), &["q".parse().unwrap()], &[], 1, 1_000).unwrap() else {
            panic!()
        };
        let mut complete = |jobs| core.complete(leased[0].lease(), &Completion { jobs, ..Completion::default() });
        let bad = NewJob { priority: Some(10), ..job(3, None) };
        // The first stands for no new job, since another one holds its key: so the second is one.
        let refused = complete(vec![job(3, Some("k")), bad.clone()]).unwrap_err();
        assert!(refused.message.starts_with("child job 1") && refused.message.contains("priority 10"), "{refused}");
        // The first is a new job, and the second a repetition of it.
        complete(vec![job(3, None), bad]).unwrap();
    }

    #[test]
    fn one_queue_too_many_is_refused() {
        let mut core = Core::new();
        core.bounds.queues = 1;
        assert_eq!(enqueue(&mut core, "q", 0..1), ["Created"]);
        assert_eq!(enqueue(&mut core, "r", 1..2), ["too_many None"]);
        assert_eq!(core.queues().len(), 1, "a refused job makes no queue");
    }
}
