//! Retention: for how long jobs that ended can still be read, and which dead ones can be retried.
//!
//! Log time and the queue's settings decide, alike on every node; when a row leaves a disk shows nowhere. What must be
//! known of an ended job without its row is known only of dead ones, since an entry may bring them back.

use crate::queue::{Queue, QueueIndex};
use crate::record::EndedRecord;
use crate::{Core, Horizon};
use jobraft_protocol::{JobId, JobState, LogTime, QueueName, QueueSettings, Retention, limits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;

/// Dead jobs that one checkpoint looks at to forget those that are kept no longer.
const PRUNED_PER_CHECKPOINT: usize = 10_000;

/// The states in which a life ends.
const TERMINAL: [JobState; 4] = [JobState::Completed, JobState::Dead, JobState::Cancelled, JobState::Expired];

/// What is kept of the ended jobs of one state: those that ended at `from` or later and are numbered above `above`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Floor {
    from: LogTime,
    above: u64,
}

/// For each state in which a life ends, how far its floor had come when the queue's settings last changed. What is below
/// may have left the disk: a longer retention does not bring it back.
pub(crate) type Floors = [Floor; TERMINAL.len()];

impl Queue {
    /// What is kept at `now`. Only rises.
    fn floor(&self, state: JobState, now: LogTime) -> Floor {
        let Retention { age_ms, count } = retention(&self.stats.settings, state);
        let past = self.floors[place(state)];
        Floor {
            from: past.from.max(LogTime::from_ms((now.as_ms() + 1).saturating_sub(age_ms))),
            above: past.above.max(count.map_or(0, |count| self.ended(state).saturating_sub(count))),
        }
    }

    /// Whether an ended job's retention is not over. Once it is, it is for good.
    fn retains(&self, state: JobState, finished_at: LogTime, seq: u64, now: LogTime) -> bool {
        let Floor { from, above } = self.floor(state, now);
        finished_at >= from && seq > above
    }

    /// Notes what is kept no longer, before the settings change.
    pub(crate) fn raise_floors(&mut self, now: LogTime) {
        self.floors = TERMINAL.map(|state| match self.floor(state, now) {
            // Nothing was kept: all that ended so far is gone, but not what ends later in this same millisecond.
            Floor { from, .. } if from > now => Floor { from: now, above: self.ended(state) },
            floor => floor,
        });
    }
}

/// A terminal state's place in [`TERMINAL`].
fn place(state: JobState) -> usize {
    match state {
        JobState::Dead => 1,
        JobState::Cancelled => 2,
        JobState::Expired => 3,
        _ => 0,
    }
}

/// A dead job that may be retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadJob {
    pub(crate) queue: QueueIndex,
    pub(crate) seq: u64,
    pub(crate) finished_at: LogTime,
    /// The jobs that it came after: they are kept for it, lest a retry find nothing of them.
    pub(crate) holds: Box<[JobId]>,
}

/// The dead jobs, those that are kept no longer perhaps among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeadJobs {
    by_id: HashMap<JobId, DeadJob>,
    by_queue: BTreeMap<(QueueIndex, u64), JobId>,
    /// By each of the jobs that some of them came after.
    holders: HashMap<JobId, BTreeSet<JobId>>,
    /// Where pruning goes on.
    pruned_to: Option<(QueueIndex, u64)>,
}

impl DeadJobs {
    pub(crate) fn insert(&mut self, id: JobId, dead: DeadJob) {
        self.by_queue.insert((dead.queue, dead.seq), id);
        for held in &dead.holds {
            self.holders.entry(*held).or_default().insert(id);
        }
        self.by_id.insert(id, dead);
    }

    pub(crate) fn remove(&mut self, id: JobId) {
        let Some(dead) = self.by_id.remove(&id) else { return };
        self.by_queue.remove(&(dead.queue, dead.seq));
        for held in &dead.holds {
            if let Some(holders) = self.holders.get_mut(held) {
                holders.remove(&id);
                if holders.is_empty() {
                    self.holders.remove(held);
                }
            }
        }
    }
}

impl Core {
    /// A dead job that is kept.
    pub(crate) fn dead_job(&self, id: JobId) -> Option<&DeadJob> {
        let dead = self.dead.by_id.get(&id)?;
        let queue = self.index.queues.get(dead.queue);
        self.is_kept(id, queue, JobState::Dead, dead.finished_at, dead.seq).then_some(dead)
    }

    /// All dead jobs that are kept, in the order of their ids.
    pub(crate) fn dead_jobs(&self) -> Vec<JobId> {
        let mut ids: Vec<JobId> = self.dead.by_id.keys().copied().filter(|&id| self.dead_job(id).is_some()).collect();
        ids.sort_unstable();
        ids
    }

    /// Frees the memory of dead jobs that are kept no longer: some of them at each call, all of them in time.
    pub(crate) fn prune_dead(&mut self) {
        let from = self.dead.pruned_to.map_or(Bound::Unbounded, Bound::Excluded);
        let looked_at: Vec<_> = self
            .dead
            .by_queue
            .range((from, Bound::Unbounded))
            .take(PRUNED_PER_CHECKPOINT)
            .map(|(k, v)| (*k, *v))
            .collect();
        self.dead.pruned_to =
            if looked_at.len() < PRUNED_PER_CHECKPOINT { None } else { looked_at.last().map(|(place, _)| *place) };
        for (_, id) in looked_at {
            // As long as its id is known, a job may come to be that comes after it, and then it is kept again.
            if self.dead_job(id).is_none() && self.ended.get(id, self.now).is_none() {
                self.dead.remove(id);
            }
        }
    }

    /// Whether an ended job can still be read: its retention is not over, or another needs it.
    pub(crate) fn is_kept(&self, id: JobId, queue: &Queue, state: JobState, finished_at: LogTime, seq: u64) -> bool {
        queue.retains(state, finished_at, seq, self.now) || self.is_pinned(id)
    }

    /// Whether another job needs what there is to read of this one, whatever its retention says: a live one, or a dead one
    /// that may be retried by its own retention, came after it.
    pub(crate) fn is_pinned(&self, id: JobId) -> bool {
        let is_retained = |dead: &DeadJob| {
            let queue = self.index.queues.get(dead.queue);
            queue.retains(JobState::Dead, dead.finished_at, dead.seq, self.now)
        };
        self.index.pinned.contains(&id)
            || self
                .dead
                .holders
                .get(&id)
                .is_some_and(|holders| holders.iter().filter_map(|holder| self.dead.by_id.get(holder)).any(is_retained))
    }

    /// Ended jobs whose rows must stay, whatever their retention says.
    #[must_use]
    pub fn pinned(&self) -> HashSet<JobId> {
        let by_dead = self.dead.holders.keys().filter(|id| !self.jobs.contains_key(id) && self.is_pinned(**id));
        self.index.pinned.iter().chain(by_dead).copied().collect()
    }

    /// The same for an ended job as its row has it. A live one's row is out of date at worst, and not kept by that rule.
    pub(crate) fn is_ended_kept(&self, record: &EndedRecord) -> bool {
        let EndedRecord { ended_seq, view, .. } = record;
        let queue = self.index.queues.index_of(&view.queue).map(|index| self.index.queues.get(index));
        match (queue, view.finished_at, ended_seq) {
            (Some(queue), Some(finished_at), Some(seq)) => self.is_kept(view.id, queue, view.state, finished_at, *seq),
            _ => false,
        }
    }

    /// Which ended jobs are kept: for up to `max` queues and states, those that follow `after` in order of queue and state,
    /// and only where there were some.
    #[must_use]
    pub fn horizons(&self, after: Option<(&QueueName, JobState)>, max: usize) -> Vec<Horizon> {
        let queues = self.index.queues.from(after.map(|(name, _)| name));
        let pairs = queues.flat_map(|queue| TERMINAL.map(|state| (queue, state)));
        let follow = pairs.filter(|(queue, state)| {
            after.is_none_or(|(name, last)| queue.stats.queue != *name || place(*state) > place(last))
        });
        follow
            .filter(|(queue, state)| queue.ended(*state) > 0)
            .take(max)
            .map(|(queue, state)| {
                let Floor { from, above } = queue.floor(state, self.now);
                Horizon { queue: queue.stats.queue.clone(), state, from, above }
            })
            .collect()
    }

    /// The rows of jobs that ended, or whose ids were made, at this time or later are needed still, kept or not: their ids
    /// are remembered.
    #[must_use]
    pub fn sweep_before(&self) -> LogTime {
        LogTime::from_ms(self.now.as_ms().saturating_sub(crate::ended::REMEMBERED_MS))
    }
}

fn retention(settings: &QueueSettings, state: JobState) -> Retention {
    let (set, default_ms) = match state {
        JobState::Dead => (settings.keep_dead, limits::RETENTION_DEAD_MS_DEFAULT),
        JobState::Cancelled => (settings.keep_cancelled, limits::RETENTION_CANCELLED_MS_DEFAULT),
        JobState::Expired => (settings.keep_expired, limits::RETENTION_EXPIRED_MS_DEFAULT),
        _ => (settings.keep_completed, limits::RETENTION_COMPLETED_MS_DEFAULT),
    };
    set.unwrap_or(Retention::for_ms(default_ms))
}
