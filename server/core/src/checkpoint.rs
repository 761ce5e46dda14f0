//! Checkpoints: what changed since the last one, as rows. A checkpoint costs what changed, not what exists.
//!
//! Taking changes must not show in the state: not in its hash, nor in any later answer.

use crate::record::{self, Header, QueueRecord};
use crate::{Changes, Core, JobRow, Row, Table};

impl Core {
    /// Everything that changed since the last call, to be written in one transaction. Ended jobs leave memory; their
    /// ids stay known for as long as log time says.
    ///
    /// What is taken must be written, or the state dropped: it is not offered again.
    pub fn take_changes(&mut self) -> Changes {
        let mut jobs = Vec::with_capacity(self.dirty.len());
        for id in std::mem::take(&mut self.dirty) {
            let departing = self.departing.remove(&id);
            let Some(job) = departing.as_ref().or_else(|| self.jobs.get(&id)) else { continue };
            let queue = &self.index.queues.get(job.queue).stats.queue;
            jobs.push(JobRow {
                id,
                queue: queue.clone(),
                state: job.state,
                enqueued_at: job.enqueued_at,
                finished_at: job.past.as_ref().and_then(|past| past.finished_at),
                body: record::encode(&job.record(id, queue)),
            });
            if let Some(job) = self.jobs.get_mut(&id) {
                job.dirty = false;
            }
        }
        let mut rows = Vec::new();
        for queue in self.index.queues.iter_mut().filter(|queue| queue.dirty) {
            queue.dirty = false;
            let body = record::encode(&QueueRecord::from(&queue.stats));
            rows.push(Row { table: Table::Queue, key: queue.stats.queue.as_str().to_owned(), body: Some(body) });
        }
        self.catalog.take_rows(&mut rows);
        Changes { header: record::encode(&self.header()).into(), jobs, rows }
    }

    /// What there is once.
    pub(crate) fn header(&self) -> Header {
        Header { now: self.now, counters: self.counters, ended_digest: self.ended.digest }
    }
}
