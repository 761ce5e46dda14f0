//! Queues: which jobs are ready, in which order, and how many are in which state.
//!
//! A queue comes to be with its first job and stays: its counters go on. Names are interned here, so that a job
//! carries an index of 4 bytes. Indexes differ between nodes and never leave memory.

use crate::Event;
use crate::job::Job;
use crate::retention::Floors;
use jobraft_protocol::{JobId, JobState, LogTime, QueueMode, QueueName, QueueSetting, QueueSettings, QueueStats};
use std::collections::BTreeMap;

/// A queue's place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueIndex(u32);

/// One queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// Its name, counters and settings, as readers see them.
    pub(crate) stats: QueueStats,
    /// Ready jobs by priority, then by the order of their enqueues.
    pub(crate) ready: BTreeMap<(u8, u64), JobId>,
    /// What is kept no longer, whatever it is set to by now.
    pub(crate) floors: Floors,
    /// Whether its row on disk is behind.
    pub(crate) dirty: bool,
    /// Whether this entry made a job of it ready.
    announced: bool,
}

impl Queue {
    /// Jobs that no worker has yet.
    pub(crate) const fn waiting(&self) -> u64 {
        self.stats.scheduled + self.stats.blocked + self.stats.ready
    }

    /// Whether jobs may be leased from it.
    pub(crate) fn gives(&self) -> bool {
        self.stats.settings.mode != QueueMode::Paused
    }

    /// How many jobs ended in the given state since the queue exists.
    pub(crate) fn ended(&self, state: JobState) -> u64 {
        match state {
            JobState::Completed => self.stats.completed,
            JobState::Dead => self.stats.dead,
            JobState::Cancelled => self.stats.cancelled,
            JobState::Expired => self.stats.expired,
            _ => 0,
        }
    }

    fn counter(&mut self, state: JobState) -> &mut u64 {
        match state {
            JobState::Scheduled => &mut self.stats.scheduled,
            JobState::Blocked => &mut self.stats.blocked,
            JobState::Ready => &mut self.stats.ready,
            JobState::Leased => &mut self.stats.leased,
            JobState::Completed => &mut self.stats.completed,
            JobState::Dead => &mut self.stats.dead,
            JobState::Cancelled => &mut self.stats.cancelled,
            JobState::Expired => &mut self.stats.expired,
        }
    }
}

/// All queues.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues {
    by_index: Vec<Queue>,
    by_name: BTreeMap<QueueName, QueueIndex>,
    announced: Vec<QueueIndex>,
}

impl Queues {
    pub(crate) fn len(&self) -> usize {
        self.by_index.len()
    }

    pub(crate) fn index_of(&self, name: &QueueName) -> Option<QueueIndex> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn get(&self, index: QueueIndex) -> &Queue {
        &self.by_index[index.0 as usize]
    }

    pub(crate) fn get_mut(&mut self, index: QueueIndex) -> &mut Queue {
        &mut self.by_index[index.0 as usize]
    }

    /// The queue of that name, made if there is none. The caller has checked that there may be one more.
    pub(crate) fn intern(&mut self, name: &QueueName) -> QueueIndex {
        if let Some(index) = self.index_of(name) {
            return index;
        }
        let index = QueueIndex(u32::try_from(self.by_index.len()).expect("queues are limited to far fewer"));
        self.by_index.push(Queue {
            stats: QueueStats::empty(name.clone(), QueueSettings::default()),
            ready: BTreeMap::new(),
            floors: Floors::default(),
            dirty: true,
            announced: false,
        });
        self.by_name.insert(name.clone(), index);
        index
    }

    /// Counts the job in its state; a ready one can be leased from now on.
    pub(crate) fn enter(&mut self, id: JobId, job: &Job) {
        let queue = &mut self.by_index[job.queue.0 as usize];
        *queue.counter(job.state) += 1;
        // Live jobs are counted anew at restore; only what ended for good is kept in the row.
        queue.dirty |= job.state.is_terminal();
        if job.is_waiting() {
            queue.stats.waiting_bytes += job.waiting_bytes();
        }
        if job.state == JobState::Ready {
            let displaced = queue.ready.insert((job.priority, job.seq), id);
            assert!(displaced.is_none(), "defect: two jobs of one place in a queue");
            self.announce(job.queue);
        }
    }

    /// Lets it be known that there is something to lease, if there is.
    fn announce(&mut self, index: QueueIndex) {
        let queue = &mut self.by_index[index.0 as usize];
        if queue.gives() && !queue.ready.is_empty() && !std::mem::replace(&mut queue.announced, true) {
            self.announced.push(index);
        }
    }

    /// Changes a setting of a queue.
    pub(crate) fn set(&mut self, index: QueueIndex, setting: QueueSetting, now: LogTime) {
        let queue = self.get_mut(index);
        queue.raise_floors(now);
        queue.stats.settings.set(setting);
        queue.dirty = true;
        self.announce(index);
    }

    /// The reverse of [`Self::enter`], before the job changes.
    pub(crate) fn leave(&mut self, job: &Job) {
        let queue = self.get_mut(job.queue);
        *queue.counter(job.state) -= 1;
        if job.is_waiting() {
            queue.stats.waiting_bytes -= job.waiting_bytes();
        }
        if job.state == JobState::Ready {
            queue.ready.remove(&(job.priority, job.seq));
        }
    }

    /// The queues that got ready jobs since the last call.
    pub(crate) fn take_announced(&mut self) -> impl Iterator<Item = Event> {
        std::mem::take(&mut self.announced).into_iter().map(|index| {
            let queue = self.get_mut(index);
            queue.announced = false;
            Event::Ready(queue.stats.queue.clone())
        })
    }

    /// All of them, by name.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = &Queue> {
        self.by_name.values().map(|&index| self.get(index))
    }

    /// Those from the given name on, by name.
    pub(crate) fn from(&self, name: Option<&QueueName>) -> impl Iterator<Item = &Queue> {
        let from = name.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Included);
        self.by_name.range::<QueueName, _>((from, std::ops::Bound::Unbounded)).map(|(_, &index)| self.get(index))
    }

    /// All of them, to be changed, in no order that matters.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.by_index.iter_mut()
    }
}
