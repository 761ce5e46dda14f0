//! Workers: who there is, when it was last heard of, and what it has been told to do.

use crate::record::{WorkerRecord, encode};
use crate::{Core, Event, Outcome, Row, Table};
use jobraft_protocol::{
    Error, ErrorCode, LogTime, Namespace, WorkerId, WorkerInfo, WorkerOrder, WorkerView, limits, name::NAME_BYTES_MAX,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Finer than this, nobody asks when a worker was last heard of; each step is a row to be written.
const SEEN_STEP_MS: u64 = limits::WORKER_SEEN_MS / 2;
/// Workers that one entry looks at to forget them.
const FORGOTTEN_PER_ENTRY_MAX: usize = 100;

/// All workers that are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Workers {
    by_id: BTreeMap<WorkerId, WorkerRecord>,
    by_seen: BTreeSet<(LogTime, WorkerId)>,
    dirty: BTreeSet<WorkerId>,
}

impl Workers {
    pub(crate) fn get(&self, id: WorkerId) -> Option<&WorkerRecord> {
        self.by_id.get(&id)
    }

    /// Those that follow `after`, by id.
    fn from(&self, after: Option<WorkerId>) -> impl Iterator<Item = (WorkerId, &WorkerRecord)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((from, Bound::Unbounded)).map(|(&id, worker)| (id, worker))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &WorkerRecord)> {
        self.by_id.iter().map(|(&id, worker)| (id, worker))
    }

    /// Notes that a worker was heard of; nothing if it is not known.
    pub(crate) fn seen(&mut self, id: WorkerId, now: LogTime) {
        let Some(worker) = self.by_id.get_mut(&id) else { return };
        if now.ms_since(worker.last_seen) < SEEN_STEP_MS {
            return;
        }
        self.by_seen.remove(&(worker.last_seen, id));
        self.by_seen.insert((now, id));
        worker.last_seen = now;
        self.dirty.insert(id);
    }

    /// Takes a worker in, or back.
    pub(crate) fn insert(&mut self, id: WorkerId, worker: WorkerRecord) {
        self.by_seen.insert((worker.last_seen, id));
        self.by_id.insert(id, worker);
    }

    fn remove(&mut self, id: WorkerId) {
        if let Some(worker) = self.by_id.remove(&id) {
            self.by_seen.remove(&(worker.last_seen, id));
            self.dirty.insert(id);
        }
    }

    /// Removes those of a namespace.
    pub(crate) fn remove_of(&mut self, namespace: &Namespace) {
        let those = self.by_id.iter().filter(|(_, worker)| worker.info.namespace == *namespace);
        for id in those.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.remove(id);
        }
    }

    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for id in std::mem::take(&mut self.dirty) {
            let body = self.by_id.get(&id).map(encode);
            rows.push(Row { table: Table::Worker, key: id.to_string(), body });
        }
    }
}

impl Core {
    pub(crate) fn register_worker(&mut self, info: &WorkerInfo) -> Result<Outcome, Error> {
        if info.queues.len() > limits::WORKER_QUEUES_MAX {
            let text = format!("{} queues, a worker may name at most {}", info.queues.len(), limits::WORKER_QUEUES_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        for (what, text) in [("name", &info.name), ("agent", &info.agent), ("owner", &info.owner)] {
            if text.len() > NAME_BYTES_MAX {
                let text = format!("the worker's {what} has {} bytes, the limit is {NAME_BYTES_MAX}", text.len());
                return Err(Error::new(ErrorCode::TooLarge, text));
            }
        }
        if self.workers.by_id.len() >= limits::WORKERS_MAX {
            let text = format!("the cluster knows {} workers, the most it takes", limits::WORKERS_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        self.counters.worker += 1;
        let id = WorkerId(self.counters.worker);
        let order = WorkerOrder::Run;
        let worker = WorkerRecord { info: info.clone(), registered_at: self.now, last_seen: self.now, order };
        self.workers.insert(id, worker);
        self.workers.dirty.insert(id);
        Ok(Outcome::Registered(id))
    }

    pub(crate) fn workers_seen(&mut self, workers: &[WorkerId]) -> Outcome {
        for &id in workers {
            self.workers.seen(id, self.now);
        }
        Outcome::Done
    }

    pub(crate) fn order_worker(&mut self, id: WorkerId, order: WorkerOrder) -> Result<Outcome, Error> {
        self.check_worker(id)?;
        if let Some(worker) = self.workers.by_id.get_mut(&id)
            && worker.order != order
        {
            worker.order = order;
            self.workers.dirty.insert(id);
            self.events.push(Event::Ordered { worker: id, order });
        }
        Ok(Outcome::Done)
    }

    /// Refuses a worker that is not known: it never registered, has disconnected, or was forgotten.
    pub(crate) fn check_worker(&self, worker: WorkerId) -> Result<(), Error> {
        if self.workers.by_id.contains_key(&worker) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::NotFound, format!("no worker {worker} in this cluster: register first")))
    }

    /// Releases all that the worker still holds and forgets it. A lease that ran out is left to its timer: it is a crash.
    pub(crate) fn disconnect(&mut self, worker: WorkerId) -> Result<Outcome, Error> {
        if !(1..=self.counters.worker).contains(&worker.0) {
            self.check_worker(worker)?;
        }
        let mut held = self.index.held_by(worker);
        held.sort_unstable();
        for id in held {
            if self.job(id).lease.as_ref().is_some_and(|lease| lease.expires_at > self.now) {
                self.give_back(id, 0);
            }
        }
        self.workers.remove(worker);
        Ok(Outcome::Done)
    }

    /// Forgets workers that were not heard of for long and hold nothing.
    pub(crate) fn forget_workers(&mut self) {
        let now = self.now;
        let silent = self.workers.by_seen.iter().take(FORGOTTEN_PER_ENTRY_MAX);
        let silent = silent.take_while(|(seen, _)| now.ms_since(*seen) > limits::WORKER_FORGOTTEN_MS);
        let gone: Vec<WorkerId> = silent.map(|&(_, id)| id).filter(|id| !self.index.held.contains_key(id)).collect();
        for id in gone {
            self.workers.remove(id);
        }
    }

    /// The workers that follow `after`, by id. They are looked at as they are taken.
    pub fn workers(&self, after: Option<WorkerId>) -> impl Iterator<Item = WorkerView> {
        self.workers.from(after).map(|(id, worker)| {
            let mut jobs = self.index.held_by(id);
            let held = jobs.len() as u64;
            if jobs.len() > limits::WORKER_JOBS_SHOWN_MAX {
                jobs.select_nth_unstable(limits::WORKER_JOBS_SHOWN_MAX);
                jobs.truncate(limits::WORKER_JOBS_SHOWN_MAX);
            }
            jobs.sort_unstable();
            WorkerView {
                id,
                info: worker.info.clone(),
                registered_at: worker.registered_at,
                last_seen: worker.last_seen,
                order: worker.order,
                held,
                jobs,
            }
        })
    }

    /// What a worker has been told to do, if it is known.
    #[must_use]
    pub fn worker_order(&self, worker: WorkerId) -> Option<WorkerOrder> {
        self.workers.get(worker).map(|worker| worker.order)
    }
}
