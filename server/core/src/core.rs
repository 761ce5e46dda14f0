//! The state, and how an entry changes it: time first, then what fell due, then the commands.
//!
//! What must hold after every entry: log time did not go back; every live job stands in the indexes that its state
//! calls for and no other; no token, worker id or place in the order of enqueues was given twice. Nothing here may ask
//! what memory happens to hold of jobs that ended: only [`crate::ended::EndedJobs`] knows, by log time.

use crate::catalog::Catalog;
use crate::ended::{EndedJob, EndedJobs};
use crate::index::Index;
use crate::job::Job;
use crate::record::{self, Counters, JobRecord};
use crate::transition::{Next, transition};
use crate::{Applied, Command, Event, Outcome, RestoreError};
use jobraft_protocol::{
    Error, ErrorCode, JobId, JobState, JobView, LogTime, ModuleManifest, ModuleRef, QueueName, QueueStats, WorkerId,
    limits,
};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The replicated state machine of one Raft group.
#[derive(Clone, Debug, Default)]
pub struct Core {
    pub(crate) now: LogTime,
    pub(crate) counters: Counters,
    /// Live jobs: none of them in a terminal state. Boxed: the table doubles, the jobs do not.
    pub(crate) jobs: HashMap<JobId, Box<Job>>,
    /// Jobs that ended and whose row is not written yet. No part of the state.
    pub(crate) departing: HashMap<JobId, Box<Job>>,
    /// Jobs whose rows are behind, in the order in which they first changed. No part of the state.
    pub(crate) dirty: Vec<JobId>,
    pub(crate) index: Index,
    pub(crate) ended: EndedJobs,
    pub(crate) catalog: Catalog,
    pub(crate) bounds: Bounds,
    /// Of the entry being applied.
    pub(crate) events: Vec<Event>,
}

/// How much the state may hold. Constants, but tests lower them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) queues: usize,
    pub(crate) queue_depth: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { queues: limits::QUEUES_MAX, queue_depth: limits::QUEUE_DEPTH_DEFAULT }
    }
}

impl Core {
    /// The empty state, at log time 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one entry and answers its commands. Never fails: a command that cannot be done is refused on its own.
    pub fn apply(&mut self, entry: &crate::Entry) -> Applied {
        let before = self.now;
        self.now = before.max(entry.at);
        if entry.leader_change {
            self.renew_leases(before);
        }
        self.fire_timers();
        self.ended.forget(self.now);
        let outcomes = entry.commands.iter().map(|command| self.run(command)).collect();
        let mut events = std::mem::take(&mut self.events);
        events.extend(self.index.queues.take_announced());
        Applied { outcomes, events }
    }

    fn run(&mut self, command: &Command) -> Result<Outcome, Error> {
        match command {
            Command::Enqueue { jobs } => self.enqueue(jobs),
            Command::RegisterWorker { .. } => {
                self.counters.worker += 1;
                Ok(Outcome::Registered(WorkerId(self.counters.worker)))
            }
            Command::Lease { worker, queues, max, lease_ms } => self.lease(*worker, queues, *max, *lease_ms),
            Command::Extend { leases, lease_ms } => self.extend(leases, *lease_ms),
            Command::Complete { lease, completion } => self.complete(*lease, completion),
            Command::Fail { lease, failure } => self.fail(*lease, failure),
            Command::Release { lease } => self.release(*lease),
            Command::Disconnect { worker } => self.disconnect(*worker),
            Command::Cancel { job, reason } => self.cancel(*job, reason),
            Command::PutModule { manifest, name } => {
                if self.catalog.put(manifest, name.as_ref())? {
                    self.events.push(Event::ModuleReady(manifest.digest));
                }
                Ok(Outcome::Done)
            }
        }
    }

    /// Does what fell due, oldest first, a bounded number; the rest falls to the entries that follow. Until then a
    /// lease that ran out is lost all the same: [`Self::held`] looks at the time.
    fn fire_timers(&mut self) {
        for _ in 0..limits::TIMERS_PER_ENTRY_MAX {
            let Some(&(at, id)) = self.index.timers.first() else { break };
            if at > self.now {
                break;
            }
            match self.job(id).state {
                JobState::Leased => self.expire(id),
                _ => self.transition(id, Next::Ready(at)),
            }
        }
    }

    /// Takes a live job to another state, and the indexes with it.
    ///
    /// # Panics
    /// If the job is not live or the step not legal: a defect of the caller.
    pub(crate) fn transition(&mut self, id: JobId, next: Next) {
        let job = self.jobs.get_mut(&id).expect("callers name a live job");
        self.index.leave(id, job);
        transition(job, next);
        self.index.enter(id, job);
        self.touch(id);
        self.retire(id);
    }

    /// Takes a job that ended out of the live ones; it stays known for a while.
    fn retire(&mut self, id: JobId) {
        let Entry::Occupied(entry) = self.jobs.entry(id) else { return };
        let Some(past) = entry.get().past.as_ref() else { return };
        let Some(finished_at) = past.finished_at else { return };
        let ended = EndedJob { state: entry.get().state, token: past.reported, finished_at };
        let job = entry.remove();
        self.ended.add(id, ended, &job);
        self.departing.insert(id, job);
        self.events.push(Event::Ended(id));
    }

    /// Notes that the job's row is behind.
    pub(crate) fn touch(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id)
            && !std::mem::replace(&mut job.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    /// A live job that the caller knows to be there.
    pub(crate) fn job(&self, id: JobId) -> &Job {
        self.jobs.get(&id).expect("callers name a live job")
    }

    /// The same, to be changed by a caller that also calls [`Self::touch`] or [`Self::transition`].
    pub(crate) fn job_mut(&mut self, id: JobId) -> &mut Job {
        self.jobs.get_mut(&id).expect("callers name a live job")
    }

    /// Refuses a worker id that this cluster never gave.
    pub(crate) fn check_worker(&self, worker: WorkerId) -> Result<(), Error> {
        if (1..=self.counters.worker).contains(&worker.0) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::NotFound, format!("no worker {worker} in this cluster: register first")))
    }

    /// Log time as of the last entry.
    #[must_use]
    pub fn now(&self) -> LogTime {
        self.now
    }

    /// When the next thing falls due: a scheduled job or the end of a lease. May be past, if an entry had more timers
    /// to fire than it may: then another entry is due at once.
    #[must_use]
    pub fn next_timer(&self) -> Option<LogTime> {
        self.index.timers.first().map(|&(at, _)| at)
    }

    /// How many jobs of the queue can be leased now.
    #[must_use]
    pub fn ready_count(&self, queue: &QueueName) -> usize {
        self.index.queues.index_of(queue).map_or(0, |index| self.index.queues.get(index).ready.len())
    }

    /// A live job, or one that ended and was not yet taken by [`Self::take_changes`]. Others are in their rows.
    #[must_use]
    pub fn view(&self, id: JobId) -> Option<JobView> {
        let job = self.jobs.get(&id).or_else(|| self.departing.get(&id))?;
        Some(job.view(id, &self.index.queues.get(job.queue).stats.queue))
    }

    /// The job in the body of a [`crate::JobRow`] that was read from disk.
    ///
    /// # Errors
    /// If the bytes are not such a body, or one of a newer version.
    pub fn view_row(body: &[u8]) -> Result<JobView, RestoreError> {
        record::decode::<JobRecord>("job", body).map(|record| record.view)
    }

    /// Whether an enqueue under this id would be taken for a retry: the job is live, or ended not long ago.
    #[must_use]
    pub fn remembers(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id) || self.ended.get(id, self.now).is_some()
    }

    /// All queues, by name.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueStats> {
        self.index.queues.sorted().map(|queue| queue.stats.clone()).collect()
    }

    /// All modules, by digest, each with the names that point to it.
    #[must_use]
    pub fn modules(&self) -> Vec<ModuleManifest> {
        self.catalog.modules().cloned().collect()
    }

    /// The module that a reference means, if it is known.
    #[must_use]
    pub fn resolve(&self, module: &ModuleRef) -> Option<ModuleManifest> {
        self.catalog.resolve(module).cloned()
    }
}
