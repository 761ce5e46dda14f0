//! What finds a job by something else than its id: its queue, its timer, its holder, what it comes after.
//!
//! Everything here follows from the jobs: a restored state builds it anew by entering each of them.

use crate::id_table::KeyedHasher;
use crate::job::Job;
use crate::queue::Queues;
use crate::waits::Waits;
use jobraft_protocol::{JobId, LogTime, WorkerId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// The jobs that a worker holds, in an order that no other node has: who walks over them sorts them where it shows.
type HeldJobs = HashSet<JobId, KeyedHasher>;

/// The indexes. [`Index::leave`] before a job changes and [`Index::enter`] after keep them true.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(crate) queues: Queues,
    /// At most one timer per job: its due time if scheduled, the end of its lease if leased.
    pub(crate) timers: BTreeSet<(LogTime, JobId)>,
    /// What each worker holds; a worker that holds nothing has no entry.
    pub(crate) held: BTreeMap<WorkerId, HeldJobs>,
    /// The live jobs that named a job as one that they come after, whether or not they still wait for it, and in which place
    /// they did.
    pub(crate) dependents: HashMap<JobId, BTreeMap<JobId, usize>>,
    /// Those of them that do not live: what there is to read of them stays.
    pub(crate) pinned: HashSet<JobId>,
}

impl Index {
    pub(crate) fn enter(&mut self, id: JobId, job: &Job, now: LogTime) {
        self.queues.enter(job, now);
        self.find(id, job);
    }

    /// The same for a state that is being restored; see [`Queues::restored`].
    pub(crate) fn restore(&mut self, id: JobId, job: &Job) {
        self.queues.count(job);
        self.find(id, job);
    }

    fn find(&mut self, id: JobId, job: &Job) {
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

    /// A job begins to live.
    pub(crate) fn link(&mut self, id: JobId, job: &Job, is_live: impl Fn(JobId) -> bool) {
        if !self.pinned.is_empty() {
            self.pinned.remove(&id);
        }
        for (place, before) in job.waits().into_iter().flat_map(Waits::held) {
            self.dependents.entry(before).or_default().insert(id, place);
            if !is_live(before) {
                self.pinned.insert(before);
            }
        }
    }

    /// Its life is over.
    pub(crate) fn unlink(&mut self, id: JobId, job: &Job) {
        if self.dependents.contains_key(&id) {
            self.pinned.insert(id);
        }
        for (_, before) in job.waits().into_iter().flat_map(Waits::held) {
            if let Some(dependents) = self.dependents.get_mut(&before) {
                dependents.remove(&id);
                if dependents.is_empty() {
                    self.dependents.remove(&before);
                    self.pinned.remove(&before);
                }
            }
        }
    }

    /// What a worker holds, in no order.
    pub(crate) fn held_by(&self, worker: WorkerId) -> Vec<JobId> {
        self.held.get(&worker).into_iter().flatten().copied().collect()
    }

    /// Moves a leased job's timer along with the end of its lease.
    pub(crate) fn postpone(&mut self, id: JobId, from: LogTime, to: LogTime) {
        self.timers.remove(&(from, id));
        self.timers.insert((to, id));
    }
}
