//! Batches: jobs that are looked at together, and what is enqueued when they have ended.
//!
//! A batch counts its jobs. What follows from the counts is settled after each command and after timers have fired, so that a
//! job which completes together with its children does not end its batch in between. A callback is never refused: it was
//! checked when the batch came to be.

use crate::admission::{Circumstances, Claimed, invalid};
use crate::enqueue::Origin;
use crate::job::{Job, Membership};
use crate::namespaces::Taken;
use crate::record::{BatchRecord, Callback, encode};
use crate::{Core, Event, Outcome, Row, Table, Target};
use jobraft_protocol::{
    BatchId, BatchState, BatchView, Error, ErrorCode, JobId, JobState, LogTime, Namespace, NewBatch, NewJob, QueueName,
    limits,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Batches that one entry forgets at most.
const FORGOTTEN_PER_ENTRY_MAX: usize = 100;

/// All batches that are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches {
    by_id: BTreeMap<BatchId, BatchRecord>,
    /// Those that have ended, by when.
    ended: BTreeSet<(LogTime, BatchId)>,
    /// Those whose counts changed since they were last settled.
    unsettled: BTreeSet<BatchId>,
    /// Of the payloads of callbacks that are not enqueued yet.
    callback_bytes: usize,
    /// What those that have not ended take of their namespace's quota: each as a job, and so each of its callbacks.
    to_come: BTreeMap<Namespace, Taken>,
    dirty: BTreeSet<BatchId>,
}

/// Which place a state in which a life ends has in [`BatchRecord::ended`].
const fn place(state: JobState) -> usize {
    match state {
        JobState::Completed => 0,
        JobState::Dead => 1,
        JobState::Cancelled => 2,
        _ => 3,
    }
}

impl BatchRecord {
    fn state(&self) -> BatchState {
        match (self.sealed, self.live) {
            (false, _) => BatchState::Open,
            (true, 1..) => BatchState::Running,
            (true, 0) if self.cancelled => BatchState::Cancelled,
            (true, 0) if self.has_failed() => BatchState::Failed,
            (true, 0) => BatchState::Completed,
        }
    }

    fn has_failed(&self) -> bool {
        self.ended[1..].iter().any(|&count| count > 0)
    }

    /// What it takes of its namespace's quota, besides its jobs.
    fn to_come(&self) -> Taken {
        if self.ended_at.is_some() {
            return Taken::default();
        }
        let callbacks = self.on_complete.iter().chain(&self.on_failure).filter(|callback| callback.job.is_some());
        Taken { jobs: 1 + callbacks.count() as u64, bytes: self.callback_bytes() as u64, ..Taken::default() }
    }

    fn callback_bytes(&self) -> usize {
        let callbacks = self.on_complete.iter().chain(&self.on_failure);
        callbacks.filter_map(|callback| callback.job.as_ref()).map(|job| job.payload.len()).sum()
    }

    /// Whether a job that names it is one of its own: it may have been forgotten and created again since.
    const fn counts(&self, job: &Job) -> bool {
        job.seq > self.since
    }

    fn jobs(&self) -> u64 {
        self.live + self.ended.iter().sum::<u64>()
    }

    fn view(&self, id: BatchId) -> BatchView {
        let [completed, dead, cancelled, expired] = self.ended;
        BatchView {
            id,
            label: self.label.clone(),
            state: self.state(),
            created_at: self.created_at,
            ended_at: self.ended_at,
            live: self.live,
            completed,
            dead,
            cancelled,
            expired,
            on_complete: self.on_complete.as_ref().map(|callback| callback.id),
            on_failure: self.on_failure.as_ref().map(|callback| callback.id),
            failure_called: self.on_failure.as_ref().is_some_and(|callback| callback.job.is_none()),
        }
    }
}

impl Batches {
    /// Refuses one more job of this queue, besides `claimed` others, unless the batch takes it.
    pub(crate) fn check(&self, id: BatchId, queue: &QueueName, is_of_own_job: bool, claimed: u64) -> Result<(), Error> {
        let is_here = |batch: &&BatchRecord| batch.namespace.local(queue.as_str()).is_some();
        let Some(batch) = self.by_id.get(&id).filter(is_here) else { return Err(not_found(id)) };
        if batch.cancelled || batch.sealed && !is_of_own_job {
            let state = if batch.cancelled { "cancelled" } else { "sealed" };
            let text = format!("batch {id} is {state} and takes no more jobs");
            return Err(Error::new(ErrorCode::WrongState, text));
        }
        if batch.jobs() + claimed >= limits::BATCH_JOBS_MAX {
            let text = format!("batch {id} has {} jobs, the most it takes", limits::BATCH_JOBS_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        Ok(())
    }

    fn change(&mut self, id: BatchId, change: impl FnOnce(&mut BatchRecord)) {
        if let Some(batch) = self.by_id.get_mut(&id) {
            change(batch);
            self.dirty.insert(id);
            self.unsettled.insert(id);
        }
    }

    /// A job of the batch came to be.
    pub(crate) fn job_began(&mut self, job: &Job) {
        self.change_of(job, |batch| batch.live += 1);
    }

    /// One ended.
    pub(crate) fn job_ended(&mut self, job: &Job) {
        self.change_of(job, |batch| {
            batch.live -= 1;
            batch.ended[place(job.state)] += 1;
        });
    }

    /// A dead one lives again.
    pub(crate) fn job_revived(&mut self, job: &Job) {
        self.change_of(job, |batch| {
            batch.live += 1;
            let dead = &mut batch.ended[place(JobState::Dead)];
            // The row of the job came from a disk.
            *dead = dead.saturating_sub(1);
        });
    }

    /// The batch in which the job counts, if any.
    fn batch_of(&self, job: &Job) -> Option<BatchId> {
        job.batch().filter(|id| self.by_id.get(id).is_some_and(|batch| batch.counts(job)))
    }

    /// Changes the batch in which the job counts, if any.
    fn change_of(&mut self, job: &Job, change: impl FnOnce(&mut BatchRecord)) {
        if let Some(id) = self.batch_of(job) {
            self.change(id, change);
        }
    }

    /// Forgets those that ended long ago, a bounded number.
    pub(crate) fn forget(&mut self, now: LogTime) {
        for _ in 0..FORGOTTEN_PER_ENTRY_MAX {
            match self.ended.first() {
                Some((ended_at, _)) if now.ms_since(*ended_at) > limits::BATCH_KEPT_MS => self.forget_first(),
                _ => break,
            }
        }
    }

    /// What those of a namespace that have not ended take of its quota.
    pub(crate) fn to_come(&self, namespace: &Namespace) -> Taken {
        self.to_come.get(namespace).copied().unwrap_or_default()
    }

    /// A batch takes other things of its namespace's quota than it did.
    fn note_to_come(&mut self, namespace: &Namespace, before: Taken, now: Taken) {
        if before == now {
            return;
        }
        let sum = self.to_come.entry(namespace.clone()).or_default();
        (sum.jobs, sum.bytes) = (sum.jobs + now.jobs - before.jobs, sum.bytes + now.bytes - before.bytes);
        if *sum == Taken::default() {
            self.to_come.remove(namespace);
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, id)) = self.ended.pop_first()
            && let Some(batch) = self.by_id.remove(&id)
        {
            self.note_to_come(&batch.namespace, batch.to_come(), Taken::default());
            self.callback_bytes -= batch.callback_bytes();
            self.dirty.insert(id);
        }
    }

    /// Forgets those of a namespace, whatever they wait for.
    pub(crate) fn remove_of(&mut self, namespace: &Namespace) {
        let those = self.by_id.iter().filter(|(_, batch)| batch.namespace == *namespace);
        for id in those.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(batch) = self.by_id.remove(&id) {
                self.note_to_come(&batch.namespace, batch.to_come(), Taken::default());
                self.callback_bytes -= batch.callback_bytes();
                if let Some(at) = batch.ended_at {
                    self.ended.remove(&(at, id));
                }
                self.unsettled.remove(&id);
                self.dirty.insert(id);
            }
        }
    }

    fn insert(&mut self, id: BatchId, batch: BatchRecord) {
        self.note_to_come(&batch.namespace, Taken::default(), batch.to_come());
        self.callback_bytes += batch.callback_bytes();
        self.by_id.insert(id, batch);
    }

    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for id in std::mem::take(&mut self.dirty) {
            rows.push(Row { table: Table::Batch, key: id.to_string(), body: self.by_id.get(&id).map(encode) });
        }
    }

    pub(crate) const fn records(&self) -> &BTreeMap<BatchId, BatchRecord> {
        &self.by_id
    }

    pub(crate) fn restore(&mut self, id: BatchId, record: BatchRecord) {
        self.ended.extend(record.ended_at.map(|at| (at, id)));
        self.insert(id, record);
    }
}

impl Core {
    pub(crate) fn create_batch(
        &mut self,
        new: &NewBatch,
        known: &[Target],
        namespace: &Namespace,
    ) -> Result<Outcome, Error> {
        let id = new.id;
        match self.batches.by_id.get(&id) {
            Some(batch) if batch.namespace == *namespace => return self.batch_outcome(id),
            Some(_) => return Err(Error::new(ErrorCode::Conflict, format!("there is another batch {id}"))),
            None => {}
        }
        self.check_id(id.0, None)?;
        let mut ids: BTreeSet<JobId> = new.jobs.iter().map(|job| job.id).collect();
        for (what, job) in [("on_complete", &new.on_complete), ("on_failure", &new.on_failure)] {
            let Some(job) = job else { continue };
            let is_of_its_own = ids.insert(job.id);
            let checked = if is_of_its_own {
                Self::check_inside(namespace.as_str(), "queue", job.queue.as_str())
                    .and_then(|()| self.check_callback(job))
            } else {
                Err(invalid(format!("another job of the batch has the id {}: give each its own", job.id)))
            };
            checked.map_err(|mut error| {
                error.message.insert_str(0, &format!("{what}: "));
                error
            })?;
        }
        let made = self.check_queues_of(new)?;
        let callbacks = new.on_complete.iter().chain(&new.on_failure).map(AsRef::as_ref);
        let mut taken = Taken { jobs: 1, queues: made, ..Taken::default() };
        for job in callbacks {
            taken += Taken { jobs: 1, bytes: job.payload.len() as u64, starts: 1, ..Taken::default() };
        }
        self.check_quota(&namespace.full(""), taken)?;
        let jobs: Vec<NewJob> = new.jobs.iter().map(|job| NewJob { batch: Some(id), ..job.clone() }).collect();
        // The queues of its jobs were counted among those that it makes.
        let mut circumstances =
            Circumstances { new_batch: Some(id), taken: Taken { queues: 0, ..taken }, ..self.circumstances(known) };
        self.check_all(&mut circumstances, "job", &jobs)?;
        if let Some(job) = jobs.iter().find(|job| self.remembers(job.id)) {
            let text = format!("job {} is there already: a new batch begins with new jobs", job.id);
            return Err(Error::new(ErrorCode::Conflict, text));
        }
        let is_full = self.batches.by_id.len() >= self.bounds.batches;
        if is_full && self.batches.ended.is_empty() {
            let text = format!("the cluster has {} batches that have not ended, the most", self.bounds.batches);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        let callback = |job: &Option<Box<NewJob>>| job.clone().map(|job| Callback { id: job.id, job: Some(job) });
        let record = BatchRecord {
            label: new.label.clone(),
            namespace: namespace.clone(),
            created_at: self.now,
            since: self.counters.seq,
            ended_at: None,
            sealed: !new.open,
            cancelled: false,
            live: 0,
            ended: [0; 4],
            on_complete: callback(&new.on_complete),
            on_failure: callback(&new.on_failure),
        };
        let bytes = self.batches.callback_bytes + record.callback_bytes();
        if bytes > limits::CALLBACK_BYTES_MAX {
            let max = limits::CALLBACK_BYTES_MAX;
            let text = format!("the callbacks of all batches would have {bytes} bytes of payload, the limit is {max}");
            return Err(Error::new(ErrorCode::TooLarge, text));
        }
        if is_full {
            self.batches.forget_first();
        }
        self.batches.insert(id, record);
        self.batches.change(id, |_| {});
        for job in new.on_complete.iter().chain(&new.on_failure) {
            // Now, as long as there may be one more.
            self.index.queues.intern(&job.queue);
        }
        self.enqueue_checked(&jobs, circumstances);
        self.settle_batches();
        self.batch_outcome(id)
    }

    /// What would keep a callback from being enqueued is found when its batch comes to be.
    fn check_callback(&self, job: &NewJob) -> Result<(), Error> {
        self.check_id(job.id, None)?;
        self.check_values(job)?;
        self.check_task(&job.queue, &job.task)?;
        if self.remembers(job.id) {
            return Err(Error::new(ErrorCode::Conflict, format!("job {} is there already", job.id)));
        }
        if job.unique.is_some() || job.after.is_some() || job.batch.is_some() {
            let text = "a callback has no unique key, comes after no other jobs and belongs to no batch";
            return Err(invalid(text.to_owned()));
        }
        if self.index.queues.index_of(&job.queue).is_none() {
            self.check_room(&job.queue, 0, 0)?;
        }
        self.check_group(job, 1)
    }

    /// There may be as many queues as a new batch makes. Says how many that are.
    fn check_queues_of(&self, new: &NewBatch) -> Result<u64, Error> {
        let callbacks = new.on_complete.iter().chain(&new.on_failure).map(AsRef::as_ref);
        let named: BTreeSet<&QueueName> = new.jobs.iter().chain(callbacks).map(|job| &job.queue).collect();
        let queues = &self.index.queues;
        let made = named.into_iter().filter(|name| queues.index_of(name).is_none()).count();
        if made == 0 || queues.len() + made <= self.bounds.queues {
            Ok(made as u64)
        } else {
            Err(self.too_many_queues())
        }
    }

    /// Whether a callback that comes from a disk could have been accepted.
    pub(crate) fn is_sound_callback(&self, callback: &Callback) -> bool {
        callback.job.as_ref().is_none_or(|job| {
            let is_alone = job.unique.is_none() && job.after.is_none() && job.batch.is_none();
            job.id == callback.id && is_alone && self.check_values(job).is_ok()
        })
    }

    pub(crate) fn seal_batch(&mut self, id: BatchId, cancel: bool) -> Result<Outcome, Error> {
        if !self.batches.by_id.contains_key(&id) {
            return Err(not_found(id));
        }
        self.batches.change(id, |batch| {
            batch.cancelled |= cancel && !batch.state().has_ended();
            batch.sealed = true;
        });
        self.settle_batches();
        self.batch_outcome(id)
    }

    fn batch_outcome(&self, id: BatchId) -> Result<Outcome, Error> {
        self.batch(id).map(|view| Outcome::Batch(Box::new(view))).ok_or_else(|| not_found(id))
    }

    /// Does what follows from the counts that changed.
    pub(crate) fn settle_batches(&mut self) {
        while let Some(id) = self.batches.unsettled.pop_first() {
            let Some(batch) = self.batches.by_id.get_mut(&id) else { continue };
            let (namespace, before) = (batch.namespace.clone(), batch.to_come());
            let state = batch.state();
            let called = if batch.cancelled {
                None
            } else if state == BatchState::Completed {
                batch.on_complete.as_mut().and_then(|callback| callback.job.take())
            } else if batch.has_failed() {
                batch.on_failure.as_mut().and_then(|callback| callback.job.take())
            } else {
                None
            };
            match (batch.ended_at, state.has_ended()) {
                (None, true) => {
                    batch.ended_at = Some(self.now);
                    self.batches.ended.insert((self.now, id));
                    self.events.push(Event::BatchEnded(id));
                }
                (Some(at), false) => {
                    batch.ended_at = None;
                    self.batches.ended.remove(&(at, id));
                }
                _ => {}
            }
            let now = batch.to_come();
            self.batches.note_to_come(&namespace, before, now);
            if let Some(job) = called {
                self.batches.callback_bytes -= job.payload.len();
                self.call(id, &job);
            }
        }
    }

    /// Enqueues a callback, whether or not its queue has room. Another job of its id stands for it, as long as it is known.
    fn call(&mut self, batch: BatchId, job: &NewJob) {
        if self.remembers(job.id) || self.dead_job(job.id).is_some() {
            return;
        }
        let run_at = self.check_values(job).unwrap_or(self.now);
        let callback = Some(Membership { batch, is_callback: true });
        self.create(job, run_at, &Claimed::default().circumstances, Origin { callback, tick: None });
    }

    /// A batch that is known.
    #[must_use]
    pub fn batch(&self, id: BatchId) -> Option<BatchView> {
        self.batches.by_id.get(&id).map(|batch| batch.view(id))
    }

    /// Batches of a namespace with ids less than `before`, from the newest back, at most `max`.
    #[must_use]
    pub fn batches(&self, namespace: &Namespace, before: Option<BatchId>, max: usize) -> Vec<BatchView> {
        let to = before.map_or(Bound::Unbounded, Bound::Excluded);
        let batches = self.batches.by_id.range((Bound::Unbounded, to)).rev();
        let batches = batches.filter(|(_, batch)| batch.namespace == *namespace);
        batches.take(max).map(|(&id, batch)| batch.view(id)).collect()
    }

    /// What was restored of batches agrees with their jobs.
    pub(crate) fn check_batches(&self) -> Result<(), String> {
        let mut live: BTreeMap<BatchId, u64> = BTreeMap::new();
        for id in self.jobs.iter().filter_map(|(_, job)| self.batches.batch_of(job)) {
            *live.entry(id).or_default() += 1;
        }
        for (id, batch) in &self.batches.by_id {
            if live.get(id).copied().unwrap_or(0) != batch.live {
                return Err(format!("batch {id} is said to have {} live jobs", batch.live));
            }
            if batch.ended_at.is_some() != batch.state().has_ended() {
                return Err(format!("batch {id} is {} and does not know when it ended", batch.state()));
            }
        }
        Ok(())
    }
}

fn not_found(id: BatchId) -> Error {
    Error::new(ErrorCode::NotFound, format!("no batch {id}: it never was, or it ended long ago"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Command, Entry, JobRow};
    use jobraft_protocol::{Failure, JobAction, LeasedJob, Task, WorkerId, WorkerInfo};

    fn id(seed: u8) -> JobId {
        JobId::new(LogTime::ZERO, [seed; 10])
    }

    fn job(seed: u8, queue: &str) -> NewJob {
        NewJob::new(id(seed), queue.parse().unwrap(), Task::Handler("t".parse().unwrap()), "")
    }

    fn batch(seed: u8, jobs: Vec<NewJob>) -> Command {
        Command::CreateBatch {
            batch: Box::new(NewBatch::new(BatchId(id(seed)), jobs)),
            known: Vec::new(),
            namespace: Namespace::default(),
        }
    }

    fn run(core: &mut Core, command: Command) -> Result<Outcome, Error> {
        core.apply(&Entry { commands: vec![command], ..Entry::default() }).outcomes.remove(0)
    }

    fn lease(core: &mut Core) -> LeasedJob {
        let queues = vec!["q".parse().unwrap()];
        let lease = Command::Lease { worker: WorkerId(1), queues, shares: vec![], max: 1, lease_ms: 1_000 };
        match run(core, lease).unwrap() {
            Outcome::Leased(mut leased) => leased.jobs.remove(0),
            other => panic!("{other:?}"),
        }
    }

    fn core() -> Core {
        let mut core = Core::new();
        run(&mut core, Command::RegisterWorker { info: WorkerInfo::default() }).unwrap();
        core
    }

    /// What comes back of its rows.
    fn restored(core: &Core) -> Core {
        let mut all = core.clone();
        let header = all.take_changes().encode(Err).unwrap().header;
        let mut restore = Core::restore(&header).unwrap();
        // As if nothing had ever been written before.
        for (id, job) in core.jobs.iter() {
            let record = job.record(id, core.index.queues.get(job.queue), false);
            restore.job(crate::LiveRecord::decode(&encode(&record)).unwrap()).unwrap();
        }
        for (id, record) in core.batches.records() {
            restore.row(Table::Batch, &id.to_string(), &encode(record)).unwrap();
        }
        restore.finish().unwrap()
    }

    #[test]
    fn a_batch_that_is_created_again_does_not_count_the_jobs_of_the_former() {
        let mut core = core();
        core.bounds.batches = 1;
        run(&mut core, batch(1, vec![job(10, "q"), job(11, "q")])).unwrap();
        for _ in 0..2 {
            let lease = lease(&mut core).lease();
            run(&mut core, Command::Fail { lease, failure: Failure::final_error("broken") }).unwrap();
        }
        let rows: Vec<JobRow> = core.take_changes().encode(Err).unwrap().jobs;
        run(&mut core, batch(2, Vec::new())).unwrap();
        let again = NewBatch { open: true, ..NewBatch::new(BatchId(id(1)), Vec::new()) };
        run(
            &mut core,
            Command::CreateBatch { batch: Box::new(again), known: Vec::new(), namespace: Namespace::default() },
        )
        .unwrap();
        assert_eq!(core.batches(&Namespace::default(), None, 9).len(), 1, "one made room for the other");
        let target = |row: &JobRow| Target { job: row.id, row: Some(row.body.clone()) };
        let (targets, action) = (rows.iter().map(target).collect(), JobAction::Retry);
        run(&mut core, Command::Act { targets, action, only_in: Vec::new(), by: String::new() }).unwrap();
        assert_eq!(core.batch(BatchId(id(1))).unwrap().jobs(), 0);
        restored(&core);
        let lease = lease(&mut core).lease();
        run(&mut core, Command::complete(lease, jobraft_protocol::Completion::default())).unwrap();
        let targets = vec![Target { job: id(11), row: None }];
        let action = JobAction::Cancel { reason: String::new(), grace_ms: 0 };
        run(&mut core, Command::Act { targets, action, only_in: Vec::new(), by: String::new() }).unwrap();
        assert_eq!(core.batch(BatchId(id(1))).unwrap().jobs(), 0);
        restored(&core);
    }

    #[test]
    fn one_batch_too_many_is_refused_unless_one_has_ended() {
        let mut core = core();
        core.bounds.batches = 1;
        run(&mut core, batch(1, vec![job(10, "q")])).unwrap();
        assert_eq!(run(&mut core, batch(2, vec![job(11, "q")])).unwrap_err().code, ErrorCode::TooMany);
        assert!(!core.remembers(id(11)));
        run(&mut core, batch(1, vec![job(10, "q")])).unwrap();
    }

    #[test]
    fn the_queues_of_callbacks_are_within_the_bound() {
        let mut core = core();
        core.bounds.queues = 2;
        let calling = |seed: u8, queue: &str, other: &str| {
            let on_complete = Some(Box::new(job(seed + 1, queue)));
            let on_failure = Some(Box::new(job(seed + 2, other)));
            let new =
                NewBatch { on_complete, on_failure, ..NewBatch::new(BatchId(id(seed)), vec![job(seed + 3, "q")]) };
            Command::CreateBatch { batch: Box::new(new), known: Vec::new(), namespace: Namespace::default() }
        };
        assert_eq!(run(&mut core, calling(10, "r", "s")).unwrap_err().code, ErrorCode::TooMany);
        assert_eq!(core.queues().len(), 0, "a refused batch makes no queue");
        run(&mut core, calling(20, "r", "r")).unwrap();
        assert_eq!(run(&mut core, calling(30, "s", "r")).unwrap_err().code, ErrorCode::TooMany);
        assert_eq!(core.queues().len(), 2);
    }

    #[test]
    fn a_batch_takes_so_many_jobs_and_no_more() {
        let mut core = core();
        let new = NewBatch { open: true, ..NewBatch::new(BatchId(id(1)), vec![job(10, "q")]) };
        run(
            &mut core,
            Command::CreateBatch { batch: Box::new(new), known: Vec::new(), namespace: Namespace::default() },
        )
        .unwrap();
        core.batches.change(BatchId(id(1)), |batch| batch.ended[0] = limits::BATCH_JOBS_MAX - 2);
        let of_it = |seed| NewJob { batch: Some(BatchId(id(1))), ..job(seed, "q") };
        let two = vec![of_it(11), of_it(12)];
        let all = Command::Enqueue { jobs: two.clone(), all_or_none: true, known: Vec::new() };
        assert_eq!(run(&mut core, all).unwrap_err().code, ErrorCode::TooMany);
        match run(&mut core, Command::enqueue(two)).unwrap() {
            Outcome::Enqueued(outcomes) => {
                let codes = outcomes.into_iter().map(|outcome| match outcome {
                    jobraft_protocol::EnqueueOutcome::Refused(error) => Some(error.code),
                    _ => None,
                });
                assert_eq!(codes.collect::<Vec<_>>(), [None, Some(ErrorCode::TooMany)]);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[cfg(test)]
mod group_tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{Command, Entry};
    use jobraft_protocol::{Completion, JobId, LeasedJob, Task, WorkerId, WorkerInfo};

    fn id(seed: u8) -> JobId {
        JobId::new(LogTime::from_ms(1), [seed; 10])
    }

    fn job(seed: u8, queue: &str) -> NewJob {
        NewJob::new(id(seed), queue.parse().unwrap(), Task::Handler("t".parse().unwrap()), "")
    }

    fn batch(seed: u8) -> NewBatch {
        NewBatch { open: true, ..NewBatch::new(BatchId(id(seed)), Vec::new()) }
    }

    fn apply(core: &mut Core, command: Command) -> Result<Outcome, Error> {
        let entry = Entry { at: LogTime::from_ms(1), leader_change: false, commands: vec![command] };
        core.apply(&entry).outcomes.remove(0)
    }

    fn create(core: &mut Core, batch: NewBatch) -> Result<Outcome, Error> {
        apply(core, Command::CreateBatch { batch: Box::new(batch), known: Vec::new(), namespace: Namespace::default() })
    }

    fn seal(core: &mut Core, seed: u8) {
        apply(core, Command::SealBatch { batch: BatchId(id(seed)), cancel: false }).unwrap();
    }

    fn lease(core: &mut Core, queue: &str) -> Vec<LeasedJob> {
        apply(core, Command::RegisterWorker { info: WorkerInfo::default() }).unwrap();
        let (queues, lease_ms) = (vec![queue.parse().unwrap()], 30_000);
        let worker = WorkerId(core.counters.worker);
        match apply(core, Command::Lease { worker, queues, shares: Vec::new(), max: 9, lease_ms }) {
            Ok(Outcome::Leased(leased)) => leased.jobs,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_child_finds_its_parents_group_though_callbacks_made_more_than_there_may_be() {
        let mut core = Core::new();
        core.bounds.groups = 2;
        for (seed, group) in [(1, "a"), (2, "b"), (3, "c")] {
            let callback = NewJob { group: Some(group.parse().unwrap()), ..job(10 + seed, "q") };
            create(&mut core, NewBatch { on_complete: Some(Box::new(callback)), ..batch(seed) }).unwrap();
        }
        (1..=3).for_each(|seed| seal(&mut core, seed));
        let leased = lease(&mut core, "q");
        assert_eq!((leased.len(), core.index.queues.group_count()), (3, 3));
        let child = NewJob { group: leased[0].group.clone(), ..job(20, "q") };
        let completion = Completion { jobs: vec![child], ..Completion::default() };
        apply(&mut core, Command::complete(leased[0].lease(), completion)).unwrap();
        assert!(core.is_live(id(20)));
    }
}
