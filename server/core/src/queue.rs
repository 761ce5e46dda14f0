//! Queues: which jobs are ready, how many may be leased, and how many are in which state.
//!
//! A queue comes to be with its first job and stays: its counters go on. Names are interned here, so that a job
//! carries an index of 4 bytes. Indexes differ between nodes and never leave memory.

use crate::Event;
use crate::bucket::Bucket;
use crate::group::{GroupIndex, Groups};
use crate::job::Job;
use crate::jobs::Slot;
use crate::namespaces::{NamespaceIndex, Namespaces};
use crate::record::GroupRecord;
use crate::retention::Floors;
use jobraft_protocol::{
    GroupKey, GroupSetting, JobState, LogTime, QueueMode, QueueName, QueueSetting, QueueSettings, QueueStats,
};
use std::collections::{BTreeMap, BTreeSet};

/// A queue's place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueIndex(u32);

/// One queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// Its name, counters and settings, as readers see them.
    pub(crate) stats: QueueStats,
    /// The one that its name says.
    pub(crate) namespace: NamespaceIndex,
    /// Its jobs by group, the ready ones in their order.
    pub(crate) groups: Groups,
    /// Of its rate.
    pub(crate) bucket: Bucket,
    /// When something opens that now waits for a token.
    wake: Option<LogTime>,
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

    /// How many jobs may be leased from it now. At least one if any; more once some of them were.
    pub(crate) fn open(&self, now: LogTime) -> u64 {
        let settings = &self.stats.settings;
        if settings.mode == QueueMode::Paused {
            return 0;
        }
        let room = settings.concurrency.map_or(u64::MAX, |most| most.saturating_sub(self.stats.leased));
        let tokens = settings.rate.map_or(u64::MAX, |rate| self.bucket.tokens(&rate, now));
        self.groups.open().min(room).min(tokens)
    }

    /// When something opens that now waits for a token.
    fn next_wake(&self, now: LogTime) -> Option<LogTime> {
        let own = || {
            let rate = self.stats.settings.rate.filter(|_| self.groups.open() > 0)?;
            Some(self.bucket.next_token(&rate)).filter(|&at| at > now)
        };
        self.groups.next_wake().into_iter().chain(own()).min()
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
    pub(crate) namespaces: Namespaces,
    by_index: Vec<Queue>,
    by_name: BTreeMap<QueueName, QueueIndex>,
    announced: Vec<QueueIndex>,
    /// Of all queues together.
    group_count: usize,
    /// Those whose groups are to be looked at again.
    unsettled: BTreeSet<QueueIndex>,
    /// Of each queue in which something waits for a token, when the first of it has one.
    wakes: BTreeSet<(LogTime, QueueIndex)>,
}

impl Queues {
    pub(crate) fn len(&self) -> usize {
        self.by_index.len()
    }

    pub(crate) fn index_of(&self, name: &QueueName) -> Option<QueueIndex> {
        self.by_name.get(name).copied()
    }

    /// Whether there is a queue of that name that has the group.
    pub(crate) fn has_group(&self, name: &QueueName, group: &GroupKey) -> bool {
        self.index_of(name).is_some_and(|index| self.get(index).groups.index_of(group).is_some())
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
        let namespace = self.namespaces.intern_of(name.as_str());
        self.namespaces.get_mut(namespace).queues += 1;
        self.by_index.push(Queue {
            namespace,
            stats: QueueStats::empty(name.clone(), QueueSettings::default()),
            groups: Groups::default(),
            bucket: Bucket::default(),
            wake: None,
            floors: Floors::default(),
            dirty: true,
            announced: false,
        });
        self.by_name.insert(name.clone(), index);
        index
    }

    /// Counts the job in its state; a ready one can be leased from now on.
    pub(crate) fn enter(&mut self, job: &Job, now: LogTime) {
        self.count(job);
        self.changed(job.queue, job.group, now);
        let Queue { stats, groups, .. } = self.get(job.queue);
        // Never by how much is open: that is as old as the last look, which a restore takes anew.
        let opens = match job.state {
            JobState::Leased => false,
            // The end of a lease opens it for any group.
            _ if stats.settings.concurrency.is_some() => true,
            JobState::Ready => groups.is_open(job.group),
            _ => groups.is_open(job.group) && groups.has_concurrency(job.group, &stats.settings),
        };
        if opens {
            self.announce(job.queue, now);
        }
    }

    /// Jobs of the group came, went or changed their state.
    pub(crate) fn changed(&mut self, index: QueueIndex, group: GroupIndex, now: LogTime) {
        self.counting(index, |queue| {
            queue.groups.refresh(group, &queue.stats.settings, now);
            queue.groups.clear();
        });
        self.rewake(index, now);
    }

    /// The same for a state that is being restored: [`Self::restored`] is to follow.
    pub(crate) fn count(&mut self, job: &Job) {
        let queue = &mut self.by_index[job.queue.0 as usize];
        *queue.counter(job.state) += 1;
        // Live jobs are counted anew at restore; only what ended for good is kept in the row.
        queue.dirty |= job.state.is_terminal();
        let space = self.namespaces.get_mut(queue.namespace);
        space.jobs += u64::from(!job.state.is_terminal());
        space.job_bytes += job.held_bytes();
        if job.is_waiting() {
            queue.stats.waiting_bytes += job.waiting_bytes();
        }
        match job.state {
            JobState::Ready => queue.groups.add_ready(job),
            JobState::Leased => *queue.groups.leased(job.group) += 1,
            JobState::Scheduled | JobState::Blocked => *queue.groups.waiting(job.group) += 1,
            _ => {}
        }
    }

    /// The reverse of [`Self::enter`], before the job changes. Unless it enters the same group again,
    /// [`Self::changed`] is to follow.
    pub(crate) fn leave(&mut self, job: &Job) {
        let queue = &mut self.by_index[job.queue.0 as usize];
        *queue.counter(job.state) -= 1;
        let space = self.namespaces.get_mut(queue.namespace);
        space.jobs -= u64::from(!job.state.is_terminal());
        space.job_bytes -= job.held_bytes();
        if job.is_waiting() {
            queue.stats.waiting_bytes -= job.waiting_bytes();
        }
        match job.state {
            JobState::Ready => queue.groups.remove_ready(job),
            JobState::Leased => *queue.groups.leased(job.group) -= 1,
            JobState::Scheduled | JobState::Blocked => *queue.groups.waiting(job.group) -= 1,
            _ => {}
        }
    }

    /// A job came to be in a queue.
    pub(crate) fn charge_namespace(&mut self, index: QueueIndex, now: LogTime) {
        let namespace = self.get(index).namespace;
        self.namespaces.charge(namespace, now);
    }

    /// Whose turn it is in a queue, and its first job, if one may be leased now.
    pub(crate) fn next(&self, index: QueueIndex, now: LogTime) -> Option<(GroupIndex, Slot)> {
        let queue = self.get(index);
        if queue.open(now) == 0 { None } else { queue.groups.next() }
    }

    /// The group whose turn it was had a job leased.
    pub(crate) fn charge(&mut self, index: QueueIndex, group: GroupIndex, now: LogTime) {
        self.counting(index, |queue| {
            queue.groups.charge(group, &queue.stats.settings, now);
            queue.groups.clear();
            if let Some(rate) = queue.stats.settings.rate {
                queue.bucket.take(&rate, now);
            }
            queue.dirty = true;
        });
        self.rewake(index, now);
    }

    /// Opens all that has waited for a token until now. Each is here because a lease took one: there are no more of them
    /// than leases, and no more than [`jobraft_protocol::limits::GROUPS_MAX`].
    pub(crate) fn wake(&mut self, now: LogTime) {
        let mut woken = Vec::new();
        while let Some(&(at, index)) = self.wakes.first()
            && at <= now
        {
            self.counting(index, |queue| {
                queue.groups.wake(&queue.stats.settings, now);
                queue.groups.clear();
            });
            self.rewake(index, now);
            woken.push(index);
        }
        self.announce_all(woken, now);
    }

    /// When the next of it has its token.
    pub(crate) fn next_wake(&self) -> Option<LogTime> {
        self.wakes.first().map(|&(at, _)| at)
    }

    fn rewake(&mut self, index: QueueIndex, now: LogTime) {
        let queue = &mut self.by_index[index.0 as usize];
        let wake = queue.next_wake(now);
        if wake != queue.wake {
            self.wakes.extend(wake.map(|at| (at, index)));
            if let Some(at) = std::mem::replace(&mut queue.wake, wake) {
                self.wakes.remove(&(at, index));
            }
        }
    }

    /// Lets it be known that there is something to lease, if there is.
    fn announce(&mut self, index: QueueIndex, now: LogTime) {
        let queue = &mut self.by_index[index.0 as usize];
        if queue.open(now) > 0 && !std::mem::replace(&mut queue.announced, true) {
            self.announced.push(index);
        }
    }

    /// The same of several, in an order that is the same on every node.
    fn announce_all(&mut self, mut indexes: Vec<QueueIndex>, now: LogTime) {
        indexes.sort_unstable_by(|one, other| self.get(*one).stats.queue.cmp(&self.get(*other).stats.queue));
        indexes.into_iter().for_each(|index| self.announce(index, now));
    }

    /// Changes a setting of a queue; [`Self::settle`] is to follow.
    pub(crate) fn set(&mut self, index: QueueIndex, setting: QueueSetting, now: LogTime) {
        let queue = self.get_mut(index);
        queue.raise_floors(now);
        let former = queue.stats.settings.clone();
        queue.stats.settings.set(setting);
        let settings = &queue.stats.settings;
        if settings.rate != former.rate {
            queue.bucket = Bucket::default();
        }
        if settings.group_rate != former.group_rate {
            queue.groups.common_rate_changed();
        }
        let is_common =
            settings.group_rate != former.group_rate || settings.group_concurrency != former.group_concurrency;
        queue.dirty = true;
        if is_common {
            self.unsettled.insert(index);
        }
        self.rewake(index, now);
        self.announce(index, now);
    }

    /// Works out what follows for groups from what [`Self::set`] changed: once, however many settings one step makes.
    pub(crate) fn settle(&mut self, now: LogTime) {
        let unsettled: Vec<QueueIndex> = std::mem::take(&mut self.unsettled).into_iter().collect();
        for &index in &unsettled {
            let queue = self.get_mut(index);
            queue.groups.refresh_all(&queue.stats.settings, now);
            self.rewake(index, now);
        }
        self.announce_all(unsettled, now);
    }

    /// Changes a setting of a group; the caller has checked that there may be one more.
    pub(crate) fn set_group(&mut self, index: QueueIndex, key: &GroupKey, setting: GroupSetting, now: LogTime) {
        let group = self.intern_group(index, Some(key));
        let queue = self.get_mut(index);
        queue.groups.set(group, setting, &queue.stats.settings, now);
        self.rewake(index, now);
        self.announce(index, now);
    }

    /// How many groups there are in all queues.
    pub(crate) const fn group_count(&self) -> usize {
        self.group_count
    }

    /// The group of that key, made if there is none; the caller has checked that there may be one more.
    pub(crate) fn intern_group(&mut self, index: QueueIndex, key: Option<&GroupKey>) -> GroupIndex {
        self.counting(index, |queue| queue.groups.intern(key))
    }

    /// Does what makes groups come or go.
    fn counting<T>(&mut self, index: QueueIndex, change: impl FnOnce(&mut Queue) -> T) -> T {
        let queue = &mut self.by_index[index.0 as usize];
        let before = queue.groups.len();
        let done = change(queue);
        self.group_count = self.group_count + queue.groups.len() - before;
        done
    }

    /// Takes back a group; [`Self::restored`] is to follow.
    pub(crate) fn restore_group(&mut self, index: QueueIndex, key: &GroupKey, record: GroupRecord) {
        self.counting(index, |queue| queue.groups.restore(key, record));
    }

    /// All jobs and rows are there: what follows from them is worked out, and nothing is to be written or told.
    pub(crate) fn restored(&mut self, now: LogTime) {
        for place in 0..self.by_index.len() {
            let queue = &mut self.by_index[place];
            queue.groups.restored(&queue.stats.settings, now);
            queue.dirty = false;
            self.rewake(QueueIndex(u32::try_from(place).expect("queues are limited to far fewer")), now);
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
