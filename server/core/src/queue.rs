//! Queues: which jobs are ready, in which order, and how many are in which state.
//!
//! A queue comes to be with its first job and stays: its counters go on. Names are interned here, so that a job
//! carries an index of 4 bytes. Indexes differ between nodes and never leave memory.

use crate::Event;
use crate::job::Job;
use jobraft_protocol::{JobId, JobState, QueueName, QueueStats};
use std::collections::BTreeMap;

/// A queue's place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueIndex(u32);

/// One queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// Its name and counters, as readers see them.
    pub(crate) stats: QueueStats,
    /// Ready jobs by priority, then by the order of their enqueues.
    pub(crate) ready: BTreeMap<(u8, u64), JobId>,
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
            stats: QueueStats {
                queue: name.clone(),
                scheduled: 0,
                blocked: 0,
                ready: 0,
                leased: 0,
                completed: 0,
                dead: 0,
                cancelled: 0,
                expired: 0,
            },
            ready: BTreeMap::new(),
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
        if job.state == JobState::Ready {
            let displaced = queue.ready.insert((job.priority, job.seq), id);
            assert!(displaced.is_none(), "defect: two jobs of one place in a queue");
            if !std::mem::replace(&mut queue.announced, true) {
                self.announced.push(job.queue);
            }
        }
    }

    /// The reverse of [`Self::enter`], before the job changes.
    pub(crate) fn leave(&mut self, job: &Job) {
        let queue = self.get_mut(job.queue);
        *queue.counter(job.state) -= 1;
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

    /// All of them, to be changed, in no order that matters.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.by_index.iter_mut()
    }
}
