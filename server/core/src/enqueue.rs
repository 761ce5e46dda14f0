//! Enqueue: how a job comes to be, at most once per id.

use crate::job::Job;
use crate::{Core, Outcome};
use jobraft_protocol::{EnqueueOutcome, Error, ErrorCode, JobState, LogTime, NewJob, Start, Task, limits};

/// What a producer is told to wait when a queue is full.
const QUEUE_FULL_RETRY_MS: u64 = 1_000;

impl Core {
    /// Enqueues each job on its own. A command beyond its limits is refused as a whole.
    pub(crate) fn enqueue(&mut self, jobs: &[NewJob]) -> Result<Outcome, Error> {
        let bytes: usize = jobs.iter().map(|job| job.payload.len()).sum();
        if jobs.len() > limits::BULK_JOBS_MAX || bytes > limits::BULK_BYTES_MAX {
            let text = format!(
                "{} jobs with {bytes} bytes of payload: at most {} jobs and {} bytes at once; split them",
                jobs.len(),
                limits::BULK_JOBS_MAX,
                limits::BULK_BYTES_MAX
            );
            return Err(Error::new(ErrorCode::TooLarge, text));
        }
        Ok(Outcome::Enqueued(jobs.iter().map(|job| self.enqueue_one(job)).collect()))
    }

    fn enqueue_one(&mut self, new: &NewJob) -> EnqueueOutcome {
        // A retry is recognised before anything else: it must be answered as the first was, however late it comes.
        if self.remembers(new.id) {
            return EnqueueOutcome::Existing;
        }
        match self.admit(new) {
            Ok(run_at) => {
                self.create(new, run_at);
                EnqueueOutcome::Created
            }
            Err(error) => EnqueueOutcome::Refused(error),
        }
    }

    /// Checks everything before anything is changed; gives the time from which the job may run.
    fn admit(&self, new: &NewJob) -> Result<LogTime, Error> {
        self.check_id(new)?;
        let run_at = self.check_values(new)?;
        if let Task::Module(digest) = &new.task
            && !self.catalog.contains(digest)
        {
            let text = format!("no module sha256:{digest} in this cluster: push it first");
            return Err(Error::new(ErrorCode::ModuleUnknown, text));
        }
        let queues = &self.index.queues;
        match queues.index_of(&new.queue) {
            None if queues.len() >= self.bounds.queues => {
                let text = format!("the cluster has {} queues, the most it takes: use one of them", self.bounds.queues);
                Err(Error::new(ErrorCode::TooMany, text))
            }
            Some(index) if queues.get(index).waiting() >= self.bounds.queue_depth as u64 => {
                let text = format!("queue {} holds {} waiting jobs: try later", new.queue, self.bounds.queue_depth);
                Err(Error::new(ErrorCode::QueueFull, text).retry_after_ms(QUEUE_FULL_RETRY_MS))
            }
            _ => Ok(run_at),
        }
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
        if let Some(priority) = new.priority
            && priority > limits::PRIORITY_MAX
        {
            return Err(invalid(format!("priority {priority} is not in 0..={}", limits::PRIORITY_MAX)));
        }
        if let Some(attempts) = new.max_attempts
            && !(1..=limits::ATTEMPTS_MAX).contains(&attempts)
        {
            return Err(invalid(format!("max_attempts {attempts} is not in 1..={}", limits::ATTEMPTS_MAX)));
        }
        if let Some(ms) = new.run_timeout_ms
            && !(1..=limits::RUN_TIMEOUT_MS_MAX).contains(&ms)
        {
            return Err(invalid(format!("run_timeout_ms {ms} is not in 1..={}", limits::RUN_TIMEOUT_MS_MAX)));
        }
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
            past: None,
        });
        self.index.enter(new.id, &job);
        self.jobs.insert(new.id, job);
        self.touch(new.id);
    }
}

pub(crate) fn invalid(text: String) -> Error {
    Error::new(ErrorCode::InvalidArgument, text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Command, Entry};
    use jobraft_protocol::JobId;

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
        core.bounds.queue_depth = 2;
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
