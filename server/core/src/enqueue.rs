//! Enqueue: how a job comes to be, at most once per id.

use crate::admission::{Admission, Circumstances, Claimed, Parent, check_bulk};
use crate::job::{Job, Membership, Options, count, duration};
use crate::jobs::Slot;
use crate::keys::period_end;
use crate::payload::Payload;
use crate::planted::{Bug, is_planted};
use crate::transition::Next;
use crate::waits::{Verdict, Waits};
use crate::{Core, Outcome, Target};
use bytes::Bytes;
use jobraft_protocol::{
    EnqueueOutcome, Error, JobId, JobState, LogTime, NewJob, OnConflict, Predecessor, ScheduleTick, limits,
};

/// What a job is that nobody could ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    pub(crate) tick: Option<ScheduleTick>,
    pub(crate) callback: Option<Membership>,
}

impl Core {
    /// Enqueues each job on its own, or all or none. A command beyond its limits is refused as a whole.
    pub(crate) fn enqueue(&mut self, jobs: &[NewJob], all_or_none: bool, known: &[Target]) -> Result<Outcome, Error> {
        let mut circumstances = self.circumstances(known);
        if all_or_none {
            self.check_all(&mut circumstances, "job", jobs)?;
            return Ok(Outcome::Enqueued(self.enqueue_checked(jobs, circumstances)));
        }
        check_bulk(jobs)?;
        let claimed = Claimed::nothing(circumstances);
        #[cfg(feature = "planted-bugs")]
        if is_planted(Bug::HashOrder) {
            let disordered: std::collections::HashMap<_, _> = jobs.iter().map(|job| (job.id, job)).collect();
            let mut outcomes: std::collections::HashMap<_, _> = disordered
                .into_iter()
                .map(|(id, job)| (id, self.enqueue_one(job, &claimed, Origin::default())))
                .collect();
            let outcome = |job: &NewJob| outcomes.remove(&job.id).unwrap_or(EnqueueOutcome::Existing);
            return Ok(Outcome::Enqueued(jobs.iter().map(outcome).collect()));
        }
        Ok(Outcome::Enqueued(jobs.iter().map(|job| self.enqueue_one(job, &claimed, Origin::default())).collect()))
    }

    /// `claimed` has nothing claimed.
    pub(crate) fn enqueue_one(&mut self, new: &NewJob, claimed: &Claimed<'_>, origin: Origin) -> EnqueueOutcome {
        // A retry is recognised before anything else: it must be answered as the first was, however late it comes.
        if self.remembers(new.id) {
            return EnqueueOutcome::Existing;
        }
        match self.admit(new, claimed) {
            Ok(Admission::Create(run_at)) => {
                self.create(new, run_at, &claimed.circumstances, origin);
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

    /// Enqueues jobs that [`Core::check_all`] let pass, under the circumstances that it left; children after their
    /// parent's end.
    pub(crate) fn enqueue_checked(&mut self, jobs: &[NewJob], circumstances: Circumstances) -> Vec<EnqueueOutcome> {
        if jobs.is_empty() {
            return Vec::new();
        }
        // Of one that is kept no longer nothing must come back because a sibling names its id.
        for job in jobs {
            if !self.remembers(job.id) && self.dead_job(job.id).is_none() {
                self.dead.remove(job.id);
            }
        }
        let claimed = Claimed::nothing(circumstances);
        let outcomes = jobs.iter().map(|job| {
            let outcome = self.enqueue_one(job, &claimed, Origin::default());
            assert!(!matches!(outcome, EnqueueOutcome::Refused(_)), "defect: a checked job was refused: {outcome:?}");
            outcome
        });
        outcomes.collect()
    }

    /// The circumstances of a job's children.
    pub(crate) fn circumstances_of_children(&self, parent: Parent, known: &[Target]) -> Circumstances {
        Circumstances { parent: Some(parent), ..self.circumstances(known) }
    }

    pub(crate) fn create(&mut self, new: &NewJob, run_at: LogTime, circumstances: &Circumstances, origin: Origin) {
        let had_another_life = self.drop_former(new.id);
        self.counters.seq += 1;
        let waits = new.after.as_ref().filter(|after| !after.jobs.is_empty()).map(|after| {
            let noted = |&job: &JobId| Predecessor { job, ended: self.how_ended(job, circumstances).flatten() };
            Waits::new(after.on_failure, after.jobs.iter().map(noted).collect())
        });
        let state = match waits.as_ref().map_or(Verdict::Free, Waits::verdict) {
            Verdict::Free if run_at > self.now => JobState::Scheduled,
            Verdict::Free => JobState::Ready,
            Verdict::Waits | Verdict::Doomed => JobState::Blocked,
        };
        let part_of = new.batch.map(|batch| Membership { batch, is_callback: false });
        let options = Options {
            ttl_ends_at: new.ttl_ms.map(|ms| self.now.plus_ms(ms)),
            start_by: self.start_by(new, run_at),
            backoff: new.backoff.clone(),
            max_crashes: new.max_crashes.unwrap_or(limits::CRASHES_DEFAULT),
            unique: new.unique.clone(),
            waits,
            batch: origin.callback.or(part_of),
            label: new.label.clone(),
            tick: origin.tick,
        };
        let queue = self.index.queues.intern(&new.queue);
        self.index.queues.charge_namespace(queue, self.now);
        let job = Job {
            queue,
            group: self.index.queues.intern_group(queue, new.group.as_ref()),
            slot: Slot::default(),
            task: self.tasks.intern(&new.task),
            payload: Payload::from(&new.payload),
            state,
            priority: new.priority.unwrap_or(limits::PRIORITY_DEFAULT),
            dirty: false,
            rests: had_another_life,
            attempt: 0,
            max_attempts: count(new.max_attempts.unwrap_or(limits::ATTEMPTS_DEFAULT)),
            run_timeout_ms: duration(new.run_timeout_ms.unwrap_or(limits::RUN_TIMEOUT_MS_DEFAULT)),
            enqueued_at: self.now,
            run_at,
            seq: self.counters.seq,
            lease: None,
            options: options.boxed(),
            past: None,
        };
        if let Some(unique) = &new.unique {
            self.keys.claim(&unique.key, new.id, period_end(unique, self.now));
        }
        self.batches.job_began(&job);
        self.begin(new.id, job);
    }

    /// What is left of an ended job that is known no longer makes room for a new one of its id. Only an id that is older than
    /// the window, such as that of a child or a callback, can have had such a life; says whether it can.
    fn drop_former(&mut self, id: JobId) -> bool {
        let is_young = id.minted_at().plus_ms(limits::IDEMPOTENCY_WINDOW_MS_DEFAULT) >= self.now;
        if is_young && !is_planted(Bug::RetryEnqueuesTwice) {
            return false;
        }
        self.dead.remove(id);
        self.jobs.remove_ended(id);
        self.deleted.remove(&id);
        self.ended.revive(id);
        true
    }

    /// Lets the waiting holder of a key take over the payload, or the start with all that counts from it, or both.
    pub(crate) fn replace(&mut self, holder: JobId, new: &NewJob, run_at: LogTime) {
        let Some(OnConflict::Replace { payload, start }) = new.unique.as_ref().map(|unique| unique.on_conflict) else {
            return;
        };
        let (now, start_by) = (self.now, self.start_by(new, run_at));
        self.amend(holder, |job| {
            if payload {
                job.payload = Payload::from(&new.payload);
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
                (JobState::Blocked, _) => self.amend(holder, |job| job.run_at = run_at),
                (_, true) => self.transition(holder, Next::Scheduled(run_at)),
                (JobState::Scheduled, false) => self.transition(holder, Next::Ready(now)),
                (_, false) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Command, Entry};
    use jobraft_protocol::{Completion, QueueSetting, Setting, Task, Unique, UniqueScope, WorkerId, WorkerInfo};

    fn enqueue(core: &mut Core, queue: &str, seeds: std::ops::Range<u8>) -> Vec<String> {
        let jobs = seeds.map(|seed| {
            let id = JobId::new(core.now(), [seed; 10]);
            NewJob::new(id, queue.parse().unwrap(), Task::Handler("t".parse().unwrap()), "")
        });
        let entry = Entry { commands: vec![Command::enqueue(jobs.collect())], ..Entry::default() };
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
        core.enqueue(&[job(1, None), job(2, Some("k"))], false, &[]).unwrap();
        let Outcome::Leased(leased) = core.lease(WorkerId(1), &["q".parse().unwrap()], &[], 1, 1_000).unwrap() else {
            panic!()
        };
        let mut complete =
            |jobs| core.complete(leased.jobs[0].lease(), &Completion { jobs, ..Completion::default() }, &[]);
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
