//! What finds a job by something else than its id: its queue, its timer, its holder.
//!
//! Everything here follows from the jobs: a restored state builds it anew by entering each of them.

use crate::job::Job;
use crate::queue::Queues;
use jobraft_protocol::{JobId, LogTime, WorkerId};
use std::collections::{BTreeMap, BTreeSet};

/// The indexes. [`Index::leave`] before a job changes and [`Index::enter`] after keep them true.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(crate) queues: Queues,
    /// At most one timer per job: its due time if scheduled, the end of its lease if leased.
    pub(crate) timers: BTreeSet<(LogTime, JobId)>,
    /// What each worker holds; a worker that holds nothing has no entry.
    pub(crate) held: BTreeMap<WorkerId, BTreeSet<JobId>>,
}

impl Index {
    pub(crate) fn enter(&mut self, id: JobId, job: &Job) {
        self.queues.enter(id, job);
        if let Some(at) = job.timer() {
            self.timers.insert((at, id));
        }
        if let Some(lease) = &job.lease {
            self.held.entry(lease.worker).or_default().insert(id);
        }
    }

    pub(crate) fn leave(&mut self, id: JobId, job: &Job) {
        self.queues.leave(job);
        if let Some(at) = job.timer() {
            self.timers.remove(&(at, id));
        }
        if let Some(lease) = &job.lease
            && let Some(jobs) = self.held.get_mut(&lease.worker)
        {
            jobs.remove(&id);
            if jobs.is_empty() {
                self.held.remove(&lease.worker);
            }
        }
    }

    /// Moves a leased job's timer along with the end of its lease.
    pub(crate) fn postpone(&mut self, id: JobId, from: LogTime, to: LogTime) {
        self.timers.remove(&(from, id));
        self.timers.insert((to, id));
    }
}
