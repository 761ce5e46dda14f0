//! Whose things are, and what belongs to which queue: asked by a node before it proposes what a client may not be
//! permitted to do. Nothing here changes anything, and nothing that `apply` does depends on it.

use crate::Core;
use jobraft_protocol::{
    BatchId, JobId, LeaseRef, ModuleName, Namespace, QueueName, ScheduleName, WorkerId, WorkerInfo,
};

/// Whose a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseOwner<'a> {
    /// It is held, by a worker that this owner registered.
    Held(&'a str),
    /// It is over, for good: a report under it changes nothing that somebody holds.
    Past,
    /// No such lease was granted as far as is known here. It may be yet.
    Unknown,
}

/// Whose a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerOwner<'a> {
    /// It is known, and was registered by this owner.
    Of(&'a str),
    /// It is gone, for good: numbers are not given twice.
    Past,
    /// No such worker registered as far as is known here. It may yet.
    Unknown,
}

/// What somebody who works has to do with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkOn {
    /// A worker of theirs has leased it.
    Leased,
    /// A job that a worker of theirs has leased came after it.
    Predecessor,
}

impl Core {
    /// Who registered a worker.
    #[must_use]
    pub fn worker_owner(&self, worker: WorkerId) -> WorkerOwner<'_> {
        match self.workers.get(worker) {
            Some(worker) => WorkerOwner::Of(&worker.info.owner),
            None if (1..=self.counters.worker).contains(&worker.0) => WorkerOwner::Past,
            None => WorkerOwner::Unknown,
        }
    }

    /// What a worker says of itself; `None` if it is not known.
    #[must_use]
    pub fn worker_info(&self, worker: WorkerId) -> Option<&WorkerInfo> {
        self.workers.get(worker).map(|worker| &worker.info)
    }

    /// The namespace of a batch; `None` if it is not known.
    #[must_use]
    pub fn batch_namespace(&self, batch: BatchId) -> Option<&Namespace> {
        self.batches.records().get(&batch).map(|batch| &batch.namespace)
    }

    /// Whose a lease is.
    #[must_use]
    pub fn lease_owner(&self, lease: LeaseRef) -> LeaseOwner<'_> {
        let held = self.jobs.get(&lease.job).and_then(|job| job.lease.as_deref());
        match held.filter(|held| held.token == lease.token) {
            Some(held) => match self.worker_owner(held.worker) {
                WorkerOwner::Of(owner) => LeaseOwner::Held(owner),
                // It disconnected after the lease had run out: nobody's report counts any more.
                WorkerOwner::Past | WorkerOwner::Unknown => LeaseOwner::Past,
            },
            // Tokens only increase: one that was granted and is not held will never be held again.
            None if lease.token.0 <= self.counters.token => LeaseOwner::Past,
            None => LeaseOwner::Unknown,
        }
    }

    /// What the workers that `owner` registered have to do with a job; `None` if nothing.
    #[must_use]
    pub fn work_on(&self, owner: &str, job: JobId) -> Option<WorkOn> {
        let is_theirs = |job: &JobId| {
            let lease = self.jobs.get(job).and_then(|job| job.lease.as_deref());
            lease.is_some_and(|lease| self.worker_owner(lease.worker) == WorkerOwner::Of(owner))
        };
        if is_theirs(&job) {
            return Some(WorkOn::Leased);
        }
        let dependents = self.index.dependents.get(&job).into_iter().flat_map(|dependents| dependents.keys());
        dependents.into_iter().any(is_theirs).then_some(WorkOn::Predecessor)
    }

    /// The queue of a live job.
    #[must_use]
    pub fn queue_of(&self, job: JobId) -> Option<&QueueName> {
        self.jobs.get(&job).map(|job| &self.index.queues.get(job.queue).stats.queue)
    }

    /// Who may move a module's name besides those who run the cluster: who first gave something this name. `None` if it is
    /// free.
    #[must_use]
    pub fn module_name_owner(&self, name: &ModuleName) -> Option<&str> {
        self.catalog.name_owner(name)
    }

    /// The queue into which a schedule puts its jobs; `None` if there is no such schedule.
    #[must_use]
    pub fn schedule_queue(&self, name: &ScheduleName) -> Option<&QueueName> {
        self.schedules.records().get(name).map(|record| &record.schedule.job.queue)
    }
}
