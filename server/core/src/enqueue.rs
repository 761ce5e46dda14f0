//! Enqueue: how a job comes to be, at most once per id.

use crate::act::conflict;
use crate::job::{Job, Options};
use crate::keys::period_end;
use crate::transition::Next;
use crate::{Core, Outcome};
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
    /// The job whose life ends in that step, and with it its hold on its key.
    parent: Option<JobId>,
}

impl<'a> Claimed<'a> {
    fn room(&self, queue: &QueueName) -> (u64, u64) {
        self.room.get(queue).copied().unwrap_or_default()
    }

    fn claim_room(&mut self, queue: &'a QueueName, jobs: u64, bytes: u64) {
        let claimed = self.room.entry(queue).or_default();
        claimed.0 += jobs;
        claimed.1 += bytes;
    }
}

impl Core {
    /// Enqueues each job on its own. A command beyond its limits is refused as a whole.
    pub(crate) fn enqueue(&mut self, jobs: &[NewJob]) -> Result<Outcome, Error> {
        check_bulk(jobs)?;
        Ok(Outcome::Enqueued(jobs.iter().map(|job| self.enqueue_one(job)).collect()))
    }

    fn enqueue_one(&mut self, new: &NewJob) -> EnqueueOutcome {
        // A retry is recognised before anything else: it must be answered as the first was, however late it comes.
        if self.remembers(new.id) {
            return EnqueueOutcome::Existing;
        }
        match self.admit(new, &Claimed::default()) {
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
    pub(crate) fn check_children<'a>(&'a self, parent: JobId, children: &'a [NewJob]) -> Result<(), Error> {
        check_bulk(children)?;
        let mut claimed = Claimed { parent: Some(parent), ..Claimed::default() };
        for (place, child) in children.iter().enumerate() {
            if self.remembers(child.id) || !claimed.ids.insert(child.id) {
                continue;
            }
            let admission = self.admit(child, &claimed).map_err(|mut error| {
                error.message = format!("child job {place} ({}): {}", child.id, error.message);
                error
            })?;
            let (key, bytes) = (child.unique.as_ref().map(|unique| &unique.key), child.payload.len() as u64);
            match admission {
                Admission::Create(_) => {
                    claimed.claim_room(&child.queue, 1, bytes);
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
    pub(crate) fn enqueue_children(&mut self, children: &[NewJob]) {
        for child in children {
            let outcome = self.enqueue_one(child);
            assert!(!matches!(outcome, EnqueueOutcome::Refused(_)), "defect: a checked child was refused: {outcome:?}");
        }
    }

    /// Checks everything before anything is changed.
    fn admit(&self, new: &NewJob, claimed: &Claimed<'_>) -> Result<Admission, Error> {
        self.check_id(new)?;
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
            } else if let Some(holder) = self.holder(&unique.key, claimed.parent) {
                return self.admit_duplicate(new, unique, holder, run_at, claimed);
            } else if period_end(unique, self.now).is_some() && !self.keys.has_room(claimed.keys.len()) {
                let text = format!("{} unique keys are held for a period, the most", limits::UNIQUE_PERIODS_MAX);
                return Err(Error::new(ErrorCode::TooMany, text));
            }
        }
        let (jobs, bytes) = claimed.room(&new.queue);
        let made = claimed.room.keys().filter(|queue| self.index.queues.index_of(queue).is_none());
        if self.index.queues.index_of(&new.queue).is_none()
            && !claimed.room.contains_key(&new.queue)
            && self.index.queues.len() + made.count() >= self.bounds.queues
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
        let others = queue.stats.waiting_bytes - job.payload.len() as u64 + claimed.room(&queue.stats.queue).1;
        if payload && others + new.payload.len() as u64 > queue.stats.settings.bytes_max() {
            return Err(queue_full(&queue.stats.queue, "bytes of waiting payload", queue.stats.settings.bytes_max()));
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
            return Err(queue_full(name, "bytes of waiting payload", settings.bytes_max()));
        }
        Ok(())
    }

    fn check_id(&self, new: &NewJob) -> Result<(), Error> {
        if !new.id.is_version_7() {
            return Err(invalid(format!("job id {} is not a UUID of version 7", new.id)));
        }
        let minted_at = new.id.minted_at();
        if minted_at.plus_ms(limits::IDEMPOTENCY_WINDOW_MS_DEFAULT) < self.now
            || minted_at > self.now.plus_ms(limits::ID_AHEAD_MS_MAX)
        {
            let text = format!(
                "job id {} was made at {minted_at}, log time is {}: make ids by the cluster's time, and retry sooner",
                new.id, self.now
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
            return Err(invalid(format!("a delay of {delay_ms} ms exceeds the limit of {} ms", limits::DELAY_MS_MAX)));
        }
        Ok(run_at)
    }

    fn create(&mut self, new: &NewJob, run_at: LogTime) {
        self.counters.seq += 1;
        let options = Options {
            ttl_ends_at: new.ttl_ms.map(|ms| self.now.plus_ms(ms)),
            start_by: new.start_deadline_ms.map(|ms| run_at.plus_ms(ms)),
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
        let now = self.now;
        self.amend(holder, |job| {
            if payload {
                job.payload = new.payload.clone();
            }
            if start {
                let mut options = job.options.take().map(|options| *options).unwrap_or_default();
                options.ttl_ends_at = new.ttl_ms.map(|ms| now.plus_ms(ms));
                options.start_by = new.start_deadline_ms.map(|ms| run_at.plus_ms(ms));
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
    let text = format!("queue {name} may hold at most {max} {what}: try later");
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
    use jobraft_protocol::{QueueSetting, Setting};

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
    fn one_queue_too_many_is_refused() {
        let mut core = Core::new();
        core.bounds.queues = 1;
        assert_eq!(enqueue(&mut core, "q", 0..1), ["Created"]);
        assert_eq!(enqueue(&mut core, "r", 1..2), ["too_many None"]);
        assert_eq!(core.queues().len(), 1, "a refused job makes no queue");
    }
}
