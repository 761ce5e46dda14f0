//! Checkpoints: what changed since the last one, as rows. A checkpoint costs what changed, not what exists.
//!
//! Taking changes must not show in the state: not in its hash, nor in any later answer.

use crate::job::Job;
use crate::record::{self, Encoder, Header, JobRecord, QueueRecord};
use crate::{Changes, Core, Departed, JobRow, Row, Table, UnwrittenJob};
use bytes::Bytes;
use jobraft_protocol::{GroupKey, JobId, QueueName};

/// What [`Core::take_changes`] took, as it was then: to be encoded while entries are applied again.
#[derive(Debug, Default)]
pub struct TakenChanges {
    header: Bytes,
    jobs: Vec<TakenJob>,
    deleted: Vec<JobId>,
    rows: Vec<Row>,
}

/// A job, and what its record needs besides.
#[derive(Debug)]
struct TakenJob {
    id: JobId,
    job: Job,
    queue: QueueName,
    group: Option<GroupKey>,
    holds_key: bool,
}

impl TakenJob {
    fn record(&self) -> JobRecord {
        self.job.record_of(self.id, self.queue.clone(), self.group.clone(), self.holds_key)
    }

    fn row<E>(&self, encoder: &mut Encoder, read: &mut impl FnMut(JobId) -> Result<Bytes, E>) -> Result<JobRow, E> {
        let Self { id, job, queue, .. } = self;
        let past = job.past.as_ref();
        let mut record = self.record();
        if job.payload.is_at_rest() {
            record.view.payload = read(*id)?;
        }
        Ok(JobRow {
            id: *id,
            queue: queue.clone(),
            state: job.state,
            enqueued_at: job.enqueued_at,
            finished_at: past.and_then(|past| past.finished_at),
            ended_seq: past.and_then(|past| past.ended_seq),
            task: job.task.to_string(),
            key: job.unique().map(|unique| unique.key.clone()),
            batch: job.batch(),
            error: past.and_then(|past| past.errors.last()).map(|error| error.message.clone()),
            rests: job.rests,
            body: encoder.encode(&record),
        })
    }
}

impl TakenChanges {
    /// The same as rows. `read` gives the payload in the row that a job has so far.
    ///
    /// # Errors
    /// The first of `read`.
    pub fn encode<E>(&self, mut read: impl FnMut(JobId) -> Result<Bytes, E>) -> Result<Changes, E> {
        let mut encoder = Encoder::new();
        let mut jobs = Vec::with_capacity(self.jobs.len());
        for job in &self.jobs {
            jobs.push(job.row(&mut encoder, &mut read)?);
        }
        Ok(Changes { header: self.header.clone(), jobs, deleted: self.deleted.clone(), rows: self.rows.clone() })
    }

    /// The jobs that waited for a worker or for something else, by id.
    #[must_use]
    pub fn waiting(&self) -> Vec<JobId> {
        self.jobs.iter().filter(|job| job.job.is_waiting()).map(|job| job.id).collect()
    }

    /// What these say of a job that has left memory: that it ended, or that its row goes.
    #[must_use]
    pub fn departed(&self, id: JobId) -> Option<Departed> {
        if self.deleted.binary_search(&id).is_ok() {
            return Some(Departed::Deleted);
        }
        let first = self.jobs.partition_point(|job| job.id < id);
        let mut jobs = self.jobs[first..].iter().take_while(|job| job.id == id);
        let ended = jobs.find(|job| job.job.state.is_terminal())?;
        Some(Departed::Ended(Box::new(UnwrittenJob::new(ended.record(), &ended.job))))
    }
}

impl Core {
    /// How many jobs [`Self::take_changes`] would have to write or delete now.
    #[must_use]
    pub fn changed_jobs(&self) -> usize {
        self.dirty.len() + self.deleted.len()
    }

    /// About how many bytes these jobs hold: payloads, what attempts left, results.
    #[must_use]
    pub fn changed_bytes(&self) -> u64 {
        self.changed_bytes
    }

    /// Everything that changed since the last call, to be written in one transaction. Ended jobs leave memory; their
    /// ids stay known for as long as log time says.
    ///
    /// What is taken must be written, or the state dropped: it is not offered again.
    pub fn take_changes(&mut self) -> TakenChanges {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.changed_bytes = 0;
        // Rows that are new go to the end of the tree, and one that is looked for is found.
        dirty.sort_unstable();
        let mut jobs = Vec::with_capacity(dirty.len());
        for (id, slot) in dirty {
            // One that was deleted has left its slot to others, which have their own places among the dirty.
            let Some(job) = self.jobs.changed(id, slot) else { continue };
            job.dirty = false;
            let job = if job.state.is_terminal() {
                let Some(ended) = self.jobs.remove_ended(id) else { continue };
                ended
            } else {
                let taken = job.clone();
                job.rests = true;
                taken
            };
            let queue = self.index.queues.get(job.queue);
            let (group, holds_key) = (queue.groups.key(job.group).cloned(), self.holds_key(id, &job));
            jobs.push(TakenJob { id, queue: queue.stats.queue.clone(), group, holds_key, job });
        }
        let mut rows = Vec::new();
        for queue in self.index.queues.iter_mut() {
            if std::mem::take(&mut queue.dirty) | queue.groups.take_row_is_dirty() {
                let body = record::encode(&QueueRecord::from(&*queue));
                rows.push(Row { table: Table::Queue, key: queue.stats.queue.as_str().to_owned(), body: Some(body) });
            }
            let name = &queue.stats.queue;
            rows.extend(queue.groups.take_changes().into_iter().map(|(key, record)| {
                let body = record.map(|record| record::encode(&record));
                Row { table: Table::Group, key: group_row_key(name, &key), body }
            }));
        }
        self.batches.take_rows(&mut rows);
        self.schedules.take_rows(&mut rows);
        self.catalog.take_rows(&mut rows);
        self.keys.take_rows(&mut rows);
        self.workers.take_rows(&mut rows);
        self.values.take_rows(&mut rows);
        self.tokens.take_rows(&mut rows);
        self.index.queues.namespaces.take_rows(&mut rows);
        self.secrets.take_rows(&mut rows);
        rows.extend(self.ended.take_tombstones().map(|(id, ended)| {
            let body = ended.map(|ended| record::encode(&ended));
            Row { table: Table::Tombstone, key: id.to_string(), body }
        }));
        self.prune_dead();
        let deleted = std::mem::take(&mut self.deleted).into_iter().collect();
        TakenChanges { header: record::encode(&self.header()).into(), jobs, deleted, rows }
    }

    /// What there is once.
    pub(crate) fn header(&self) -> Header {
        Header {
            now: self.now,
            counters: self.counters,
            ended_digest: self.ended.digest,
            settings: self.settings.clone(),
            live: Some(self.jobs.len() as u64),
        }
    }
}

/// Under what a group's row stands: neither a queue's name nor a group's key holds the line feed between them.
fn group_row_key(queue: &QueueName, group: &GroupKey) -> String {
    format!("{}\n{}", queue.as_str(), group.as_str())
}

/// The reverse.
pub(crate) fn parse_group_row_key(key: &str) -> Option<(&str, &str)> {
    key.split_once('\n')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Command, Entry, Outcome, Target};
    use jobraft_protocol::{
        Completion, JobAction, JobState, LeasedJob, LogTime, NewJob, Task, WorkerId, WorkerInfo, limits,
    };

    fn apply(core: &mut Core, command: Command) -> Outcome {
        core.apply(&Entry { commands: vec![command], ..Entry::default() }).outcomes.remove(0).unwrap()
    }

    fn id(number: u8) -> JobId {
        JobId::new(LogTime::ZERO, [number; 10])
    }

    fn lease(max: u32) -> Command {
        let queues = vec!["q".parse().unwrap()];
        Command::Lease { worker: WorkerId(1), queues, shares: vec![], max, lease_ms: 1_000 }
    }

    #[test]
    fn the_bytes_of_what_changed_are_payloads_checkpoints_results_and_logs() {
        let mut core = Core::new();
        apply(&mut core, Command::RegisterWorker { info: WorkerInfo::default() });
        let task = Task::Handler("t".parse().unwrap());
        let job = NewJob::new(id(1), "q".parse().unwrap(), task, vec![7; 1_000]);
        apply(&mut core, Command::enqueue(vec![job]));
        assert_eq!(core.changed_bytes(), 1_000);
        drop(core.take_changes());
        assert_eq!(core.changed_bytes(), 0);
        let lease = lease(1);
        let Outcome::Leased(leased) = apply(&mut core, lease) else { panic!("no lease") };
        assert_eq!(core.changed_bytes(), 1_000);
        let lease = leased.jobs[0].lease();
        apply(&mut core, Command::Checkpoint { lease, data: vec![7; 500].into() });
        assert_eq!(core.changed_bytes(), 1_500);
        let completion = Completion { result: vec![7; 300].into(), log: vec![7; 20].into(), ..Completion::default() };
        apply(&mut core, Command::complete(lease, completion));
        assert_eq!(core.changed_bytes(), 1_820);
    }

    #[test]
    fn a_row_says_whether_there_is_one_before_it() {
        let mut core = Core::new();
        apply(&mut core, Command::RegisterWorker { info: WorkerInfo::default() });
        let job = |number| NewJob::new(id(number), "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
        let lease = lease(1);
        let rows = |changes: &Changes| changes.jobs.iter().map(|row| (row.state, row.rests)).collect::<Vec<_>>();
        apply(&mut core, Command::enqueue(vec![job(1)]));
        let first = core.take_changes().encode(Err).unwrap();
        assert_eq!(rows(&first), [(JobState::Ready, false)]);
        let Outcome::Leased(leased) = apply(&mut core, lease.clone()) else { panic!("no lease") };
        apply(&mut core, Command::complete(leased.jobs[0].lease(), Completion::default()));
        assert_eq!(rows(&core.take_changes().encode(Err).unwrap()), [(JobState::Completed, true)]);
        // One that was over before a checkpoint came never had a row.
        apply(&mut core, Command::enqueue(vec![job(2)]));
        let Outcome::Leased(leased) = apply(&mut core, lease) else { panic!("no lease") };
        apply(&mut core, Command::complete(leased.jobs[0].lease(), Completion::default()));
        assert_eq!(rows(&core.take_changes().encode(Err).unwrap()), [(JobState::Completed, false)]);
        // What is restored has one.
        let mut restore = Core::restore(&first.header).unwrap();
        restore.job(crate::LiveRecord::decode(&first.jobs[0].body).unwrap()).unwrap();
        let mut core = restore.finish().unwrap();
        let targets = vec![Target { job: id(1), row: None }];
        let action = JobAction::Cancel { reason: String::new(), grace_ms: 0 };
        apply(&mut core, Command::Act { targets, action, only_in: vec![], by: String::new() });
        assert_eq!(rows(&core.take_changes().encode(Err).unwrap()), [(JobState::Cancelled, true)]);
    }

    #[test]
    fn a_job_whose_id_may_have_lived_before_says_that_there_may_be_a_row_of_it() {
        let mut core = Core::new();
        let task = || Task::Handler("t".parse().unwrap());
        apply(&mut core, Command::RegisterWorker { info: WorkerInfo::default() });
        apply(&mut core, Command::enqueue(vec![NewJob::new(id(1), "q".parse().unwrap(), task(), "")]));
        let after_window = limits::IDEMPOTENCY_WINDOW_MS_DEFAULT + 1;
        let queues = vec!["q".parse().unwrap()];
        let lease = Command::Lease { worker: WorkerId(1), queues, shares: vec![], max: 1, lease_ms: after_window + 1 };
        let Outcome::Leased(leased) = apply(&mut core, lease) else { panic!("no lease") };
        // What a job enqueues may be as old as its lease.
        core.apply(&Entry { at: LogTime::from_ms(after_window), ..Entry::default() });
        let child =
            |minted: u64| NewJob::new(JobId::new(LogTime::from_ms(minted), [2; 10]), "q".parse().unwrap(), task(), "");
        let completion = Completion { jobs: vec![child(0), child(1)], ..Completion::default() };
        apply(&mut core, Command::complete(leased.jobs[0].lease(), completion));
        let changes = core.take_changes().encode(Err).unwrap();
        let rows: Vec<_> = changes.jobs.iter().map(|row| (row.state, row.rests)).collect();
        assert_eq!(rows, [(JobState::Completed, false), (JobState::Ready, true), (JobState::Ready, false)]);
    }

    #[test]
    fn what_leaves_memory_is_found_in_the_changes_whatever_the_order_of_its_enqueue() {
        let mut core = Core::new();
        apply(&mut core, Command::RegisterWorker { info: WorkerInfo::default() });
        let job = |number| NewJob::new(id(number), "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
        apply(&mut core, Command::enqueue((1..=9).rev().map(job).collect()));
        let lease = lease(6);
        let Outcome::Leased(leased) = apply(&mut core, lease) else { panic!("no lease") };
        let (done, held) = leased.jobs.split_at(5);
        for job in done {
            apply(&mut core, Command::complete(job.lease(), Completion::default()));
        }
        let targets = vec![Target { job: id(1), row: None }];
        apply(&mut core, Command::Act { targets, action: JobAction::Delete, only_in: vec![], by: String::new() });

        let taken = core.take_changes();
        let changes = taken.encode(Err).unwrap();
        let ids = |jobs: &[LeasedJob]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
        assert_eq!(ids(done), [9, 8, 7, 6, 5].map(id));
        for id in ids(done) {
            let row = changes.jobs.iter().find(|row| row.id == id).unwrap();
            let Some(Departed::Ended(job)) = taken.departed(id) else { panic!("{id} was completed") };
            assert_eq!(job.body::<()>(|| Ok(None)), Ok(Some(row.body.to_vec())));
        }
        assert!(matches!(taken.departed(id(1)), Some(Departed::Deleted)));
        for id in ids(held).into_iter().chain([id(3), id(2), id(99)]) {
            assert!(taken.departed(id).is_none(), "{id} lives, or never was");
        }
    }
}
