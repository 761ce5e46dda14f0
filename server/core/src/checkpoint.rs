//! Checkpoints: what changed since the last one, as rows. A checkpoint costs what changed, not what exists.
//!
//! Taking changes must not show in the state: not in its hash, nor in any later answer.

use crate::record::{self, Header, QueueRecord};
use crate::{Changes, Core, JobRow, Row, Table};
use jobraft_protocol::{GroupKey, QueueName};

impl Core {
    /// How many jobs [`Self::take_changes`] would have to write or delete now.
    #[must_use]
    pub fn changed_jobs(&self) -> usize {
        self.dirty.len() + self.deleted.len()
    }

    /// Everything that changed since the last call, to be written in one transaction. Ended jobs leave memory; their
    /// ids stay known for as long as log time says.
    ///
    /// What is taken must be written, or the state dropped: it is not offered again.
    pub fn take_changes(&mut self) -> Changes {
        let mut dirty = std::mem::take(&mut self.dirty);
        // Rows that are new go to the end of the tree, and one that is looked for is found.
        dirty.sort_unstable();
        let mut jobs = Vec::with_capacity(dirty.len());
        let mut encoder = record::Encoder::new();
        for id in dirty {
            let departing = self.departing.remove(&id);
            let Some(job) = departing.as_ref().or_else(|| self.jobs.get(&id)) else { continue };
            let queue = self.index.queues.get(job.queue);
            let past = job.past.as_ref();
            jobs.push(JobRow {
                id,
                queue: queue.stats.queue.clone(),
                state: job.state,
                enqueued_at: job.enqueued_at,
                finished_at: past.and_then(|past| past.finished_at),
                ended_seq: past.and_then(|past| past.ended_seq),
                task: job.task.to_string(),
                key: job.unique().map(|unique| unique.key.clone()),
                batch: job.batch(),
                error: past.and_then(|past| past.errors.last()).map(|error| error.message.clone()),
                body: encoder.encode(&job.record(id, queue, self.holds_key(id, job))),
            });
            if let Some(job) = self.jobs.get_mut(&id) {
                job.dirty = false;
            }
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
        rows.extend(self.ended.take_tombstones().map(|(id, ended)| {
            let body = ended.map(|ended| record::encode(&ended));
            Row { table: Table::Tombstone, key: id.to_string(), body }
        }));
        self.prune_dead();
        let deleted = std::mem::take(&mut self.deleted).into_iter().collect();
        Changes { header: record::encode(&self.header()).into(), jobs, deleted, rows }
    }

    /// What there is once.
    pub(crate) fn header(&self) -> Header {
        Header {
            now: self.now,
            counters: self.counters,
            ended_digest: self.ended.digest,
            settings: self.settings.clone(),
        }
    }
}

/// Under what a group's row stands: neither a queue's name nor a group's key holds the line feed between them.
fn group_row_key(queue: &QueueName, group: &GroupKey) -> String {
    format!("{queue}\n{group}")
}

/// The reverse.
pub(crate) fn parse_group_row_key(key: &str) -> Option<(&str, &str)> {
    key.split_once('\n')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Command, Departed, Entry, Outcome, Target};
    use jobraft_protocol::{Completion, JobAction, JobId, LeasedJob, LogTime, NewJob, Task, WorkerId, WorkerInfo};

    fn apply(core: &mut Core, command: Command) -> Outcome {
        core.apply(&Entry { commands: vec![command], ..Entry::default() }).outcomes.remove(0).unwrap()
    }

    fn id(number: u8) -> JobId {
        JobId::new(LogTime::ZERO, [number; 10])
    }

    #[test]
    fn what_leaves_memory_is_found_in_the_changes_whatever_the_order_of_its_enqueue() {
        let mut core = Core::new();
        apply(&mut core, Command::RegisterWorker { info: WorkerInfo::default() });
        let job = |number| NewJob::new(id(number), "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
        apply(&mut core, Command::enqueue((1..=9).rev().map(job).collect()));
        let lease = Command::Lease {
            worker: WorkerId(1),
            queues: vec!["q".parse().unwrap()],
            shares: vec![],
            max: 6,
            lease_ms: 1_000,
        };
        let Outcome::Leased(leased) = apply(&mut core, lease) else { panic!("no lease") };
        let (done, held) = leased.split_at(5);
        for job in done {
            apply(&mut core, Command::complete(job.lease(), Completion::default()));
        }
        let targets = vec![Target { job: id(1), row: None }];
        apply(&mut core, Command::Act { targets, action: JobAction::Delete, only_in: vec![] });

        let changes = core.take_changes();
        let ids = |jobs: &[LeasedJob]| jobs.iter().map(|job| job.id).collect::<Vec<_>>();
        assert_eq!(ids(done), [9, 8, 7, 6, 5].map(id));
        for id in ids(done) {
            let row = changes.jobs.iter().find(|row| row.id == id).unwrap();
            assert_eq!(changes.departed(id), Some(Departed::Ended(&row.body)), "{id} was completed");
        }
        assert_eq!(changes.departed(id(1)), Some(Departed::Deleted));
        for id in ids(held).into_iter().chain([id(3), id(2), id(99)]) {
            assert_eq!(changes.departed(id), None, "{id} lives, or never was");
        }
    }
}
