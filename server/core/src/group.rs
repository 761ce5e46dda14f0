//! Groups of one queue: which jobs have one, and whose turn it is.
//!
//! Groups take turns by *virtual time* (start-time fair queueing, Goyal, Vin and Cheng, 1996): each lease moves its group's
//! pass on by a step that is the smaller the greater the group's weight, and the group with the least pass is next. A group
//! that comes to have something to give begins where the others are: it neither makes up for the past nor waits for it.
//! Among groups of one pass the one that has stood there longest is next.
//!
//! A group is *open* if its own limits let a job of it be leased. Only open groups have turns. What closes for want of a
//! token opens by a wake-up; all that are due have been heard before anything is leased.

use crate::Core;
use crate::bucket::Bucket;
use crate::job::Job;
use crate::jobs::Slot;
use crate::record::GroupRecord;
use jobraft_protocol::{GroupKey, GroupSetting, GroupSettings, GroupView, LogTime, QueueName, QueueSettings, Rate};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The step of a group of weight 1: divided by most weights without a rest.
const STEP: u64 = 720_720;
/// Groups without jobs that one change of a job, one lease or one new group clears away at most.
const CLEARED_MAX: usize = 2;

/// A group's place in memory, within its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupIndex(u32);

impl GroupIndex {
    /// The jobs that name no group.
    pub(crate) const PLAIN: Self = Self(0);

    fn place(self) -> usize {
        self.0 as usize
    }
}

/// A ready job among others: its priority, its place in the order of all enqueues, and its slot. There are as many of these as
/// jobs wait, so they are packed. Two of one place, which their slots keep apart, can come from a disk only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ReadyJob([u8; 12]);

impl ReadyJob {
    const fn of(job: &Job) -> Self {
        let [_, a, b, c, d, e, f, g] = job.seq.to_be_bytes();
        let [w, x, y, z] = job.slot.to_be_bytes();
        Self([job.priority, a, b, c, d, e, f, g, w, x, y, z])
    }

    const fn slot(self) -> Slot {
        let [.., w, x, y, z] = self.0;
        Slot::from_be_bytes([w, x, y, z])
    }
}

/// One group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    /// `None`: the jobs without a group.
    key: Option<GroupKey>,
    settings: GroupSettings,
    ready: BTreeSet<ReadyJob>,
    leased: u64,
    /// Jobs that wait for something else than a worker.
    waiting: u64,
    pass: u64,
    /// When it last came to stand among the turns, in the order of all such moments.
    order: u64,
    bucket: Bucket,
    /// How many of its ready jobs could be leased when it was last looked at; at least one if any. A restore looks anew:
    /// only whether there is one may decide anything.
    open: u64,
    /// Where it stands among those that wait for a token.
    wake: Option<(LogTime, u64)>,
    /// Whether it stands among those that have no jobs and are kept for a while.
    /// By this pass.
    rests: Option<u64>,
    /// Whether its row on disk is behind.
    dirty: bool,
}

impl Group {
    fn concurrency(&self, queue: &QueueSettings) -> Option<u64> {
        let common = || queue.group_concurrency.filter(|_| self.key.is_some());
        self.settings.concurrency.or_else(common)
    }

    fn rate(&self, queue: &QueueSettings) -> Option<Rate> {
        let common = || queue.group_rate.filter(|_| self.key.is_some());
        self.settings.rate.or_else(common)
    }

    /// How many more of its jobs could be leased at once.
    fn room(&self, queue: &QueueSettings) -> u64 {
        self.concurrency(queue).map_or(u64::MAX, |most| most.saturating_sub(self.leased))
    }

    fn tokens(&self, queue: &QueueSettings, now: LogTime) -> u64 {
        self.rate(queue).map_or(u64::MAX, |rate| self.bucket.tokens(&rate, now))
    }

    /// How many of its ready jobs could be leased now.
    fn could_give(&self, queue: &QueueSettings, now: LogTime) -> u64 {
        self.room(queue).min(self.tokens(queue, now)).min(self.ready.len() as u64)
    }

    fn has_jobs(&self) -> bool {
        !self.ready.is_empty() || self.leased > 0 || self.waiting > 0
    }
}

/// All groups of a queue.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    slots: Vec<Group>,
    free: Vec<GroupIndex>,
    by_key: HashMap<GroupKey, GroupIndex>,
    /// The same in order.
    sorted: BTreeMap<GroupKey, GroupIndex>,
    /// The open ones, by pass and order: numbers alone, for many of them are looked at to find one place.
    turns: BTreeSet<(u64, u64, GroupIndex)>,
    /// Those that wait for a token, by when it comes, then by the order in which they last stood among the turns.
    wakes: BTreeSet<(LogTime, u64, GroupIndex)>,
    /// Those without jobs and settings, whose buckets are full: to be cleared away once the others have come as far.
    resting: BTreeSet<(u64, GroupKey)>,
    /// The pass of the last lease.
    pub(crate) virtual_time: u64,
    /// The greatest pass of any group so far.
    pub(crate) top: u64,
    /// The order that was given last.
    pub(crate) orders: u64,
    /// Of all groups.
    open: u64,
    ready: usize,
    /// Those whose rows are behind; one that is gone may stand here still.
    dirty: Vec<GroupIndex>,
    /// Those whose rows are to go.
    gone: BTreeSet<GroupKey>,
    /// Whether what rests of them in their queue's row changed.
    row_is_dirty: bool,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            slots: vec![Group::default()],
            free: Vec::new(),
            by_key: HashMap::new(),
            sorted: BTreeMap::new(),
            turns: BTreeSet::new(),
            wakes: BTreeSet::new(),
            resting: BTreeSet::new(),
            virtual_time: 0,
            top: 0,
            orders: 0,
            open: 0,
            ready: 0,
            dirty: Vec::new(),
            gone: BTreeSet::new(),
            row_is_dirty: false,
        }
    }
}

impl Groups {
    /// How many of the ready jobs the limits of their groups let run.
    pub(crate) const fn open(&self) -> u64 {
        self.open
    }

    /// Whether the limits of a group let one of its ready jobs run.
    pub(crate) fn is_open(&self, index: GroupIndex) -> bool {
        self.slots[index.place()].open > 0
    }

    /// Whether the group has a limit of its own.
    pub(crate) fn is_limited(&self, key: &GroupKey) -> bool {
        let settings = self.index_of(key).map(|index| self.slots[index.place()].settings);
        settings.is_some_and(|settings| settings.concurrency.is_some() || settings.rate.is_some())
    }

    /// Whether the end of a lease may open it.
    pub(crate) fn has_concurrency(&self, index: GroupIndex, queue: &QueueSettings) -> bool {
        self.slots[index.place()].concurrency(queue).is_some()
    }

    /// How many have a key.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn index_of(&self, key: &GroupKey) -> Option<GroupIndex> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn key(&self, index: GroupIndex) -> Option<&GroupKey> {
        self.slots[index.place()].key.as_ref()
    }

    /// The pass and order of the jobs without a group.
    pub(crate) fn plain_place(&self) -> (u64, u64) {
        (self.slots[0].pass, self.slots[0].order)
    }

    /// Takes them back.
    pub(crate) fn set_plain_place(&mut self, pass: u64, order: u64) {
        (self.slots[0].pass, self.slots[0].order) = (pass, order);
    }

    /// Notes that what rests on disk of a group is behind.
    fn touch(&mut self, index: GroupIndex) {
        if index == GroupIndex::PLAIN {
            self.row_is_dirty = true;
        } else if !std::mem::replace(&mut self.slots[index.place()].dirty, true) {
            self.dirty.push(index);
        }
    }

    /// Lets a group stand among the turns, at this pass, behind all others of it.
    fn stand(&mut self, index: GroupIndex, pass: u64) {
        self.orders += 1;
        self.row_is_dirty = true;
        let group = &mut self.slots[index.place()];
        (group.pass, group.order) = (pass, self.orders);
        self.turns.insert((group.pass, group.order, index));
        self.touch(index);
    }

    /// The group of that key, made if there is none; the caller has checked that there may be one more.
    pub(crate) fn intern(&mut self, key: Option<&GroupKey>) -> GroupIndex {
        let Some(key) = key else { return GroupIndex::PLAIN };
        if let Some(index) = self.index_of(key) {
            return index;
        }
        self.clear();
        let group = Group { key: Some(key.clone()), ..Group::default() };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index.place()] = group;
                index
            }
            None => {
                self.slots.push(group);
                GroupIndex(u32::try_from(self.slots.len() - 1).expect("groups are limited to far fewer"))
            }
        };
        self.by_key.insert(key.clone(), index);
        self.sorted.insert(key.clone(), index);
        self.gone.remove(key);
        self.touch(index);
        index
    }

    /// Counts a job that became ready.
    pub(crate) fn add_ready(&mut self, job: &Job) {
        let is_new = self.slots[job.group.place()].ready.insert(ReadyJob::of(job));
        self.ready += usize::from(is_new);
    }

    pub(crate) fn remove_ready(&mut self, job: &Job) {
        let was_there = self.slots[job.group.place()].ready.remove(&ReadyJob::of(job));
        self.ready -= usize::from(was_there);
    }

    pub(crate) fn leased(&mut self, index: GroupIndex) -> &mut u64 {
        &mut self.slots[index.place()].leased
    }

    pub(crate) fn waiting(&mut self, index: GroupIndex) -> &mut u64 {
        &mut self.slots[index.place()].waiting
    }

    /// After a group's jobs, bucket or limits changed: whether it is open, when it will be, whether it is still needed.
    pub(crate) fn refresh(&mut self, index: GroupIndex, queue: &QueueSettings, now: LogTime) {
        let group = &mut self.slots[index.place()];
        let (pass, former) = (group.pass, group.open);
        group.open = group.could_give(queue, now);
        let open = group.open;
        self.open = self.open - former + open;
        if former > 0 && open == 0 {
            self.turns.remove(&(pass, group.order, index));
        } else if former == 0 && open > 0 {
            self.stand(index, pass.max(self.virtual_time));
        }
        self.settle(index, queue, now);
    }

    /// The same for a group that is restored: where it stands is known.
    fn refresh_restored(&mut self, index: GroupIndex, queue: &QueueSettings, now: LogTime) {
        let group = &mut self.slots[index.place()];
        group.open = group.could_give(queue, now);
        self.open += group.open;
        if group.open > 0 {
            self.turns.insert((group.pass, group.order, index));
        }
        self.settle(index, queue, now);
    }

    /// When a group will be open, and whether it is still needed.
    fn settle(&mut self, index: GroupIndex, queue: &QueueSettings, now: LogTime) {
        let group = &mut self.slots[index.place()];
        if self.ready == 0 && self.virtual_time < self.top {
            // Nobody is left to be fair to: all begin anew.
            self.virtual_time = self.top;
            self.row_is_dirty = true;
        }
        let is_needed = group.has_jobs() || group.key.is_none() || group.settings != GroupSettings::default();
        let wake = match group.rate(queue) {
            Some(rate)
                if is_needed && !group.ready.is_empty() && group.tokens(queue, now) == 0 && group.room(queue) > 0 =>
            {
                Some(group.bucket.next_token(&rate))
            }
            Some(rate) if !is_needed => Some(group.bucket.full(&rate)).filter(|&full| full > now),
            _ => None,
        };
        let wake = wake.map(|at| (at, group.order));
        if wake != group.wake {
            if let Some((at, order)) = std::mem::replace(&mut group.wake, wake) {
                self.wakes.remove(&(at, order, index));
            }
            self.wakes.extend(wake.map(|(at, order)| (at, order, index)));
        }
        let rests = (!is_needed && wake.is_none()).then_some(group.pass);
        if let Some(key) = &group.key
            && rests != group.rests
        {
            self.resting.extend(rests.map(|pass| (pass, key.clone())));
            if let Some(pass) = std::mem::replace(&mut group.rests, rests) {
                self.resting.remove(&(pass, key.clone()));
            }
        }
    }

    /// Looks again at every group, as after a change of what the queue sets for them.
    pub(crate) fn refresh_all(&mut self, queue: &QueueSettings, now: LogTime) {
        for index in self.all() {
            self.refresh(index, queue, now);
        }
    }

    /// By key.
    fn all(&self) -> Vec<GroupIndex> {
        std::iter::once(GroupIndex::PLAIN).chain(self.sorted.values().copied()).collect()
    }

    /// Opens what has waited for a token until now.
    pub(crate) fn wake(&mut self, queue: &QueueSettings, now: LogTime) {
        while let Some(&(at, _, index)) = self.wakes.first()
            && at <= now
        {
            self.refresh(index, queue, now);
        }
    }

    /// When the next of them has its token.
    pub(crate) fn next_wake(&self) -> Option<LogTime> {
        self.wakes.first().map(|&(at, ..)| at)
    }

    /// Whose turn it is, and its first job.
    pub(crate) fn next(&self) -> Option<(GroupIndex, Slot)> {
        let &(_, _, index) = self.turns.first()?;
        let first = self.slots[index.place()].ready.first()?;
        Some((index, first.slot()))
    }

    /// A job of the group, whose turn it was, has been leased.
    pub(crate) fn charge(&mut self, index: GroupIndex, queue: &QueueSettings, now: LogTime) {
        let group = &mut self.slots[index.place()];
        let former = group.pass;
        let pass = former.saturating_add(STEP / u64::from(group.settings.weight()));
        if let Some(rate) = group.rate(queue) {
            group.bucket.take(&rate, now);
        }
        self.virtual_time = former.max(self.virtual_time);
        self.top = self.top.max(pass);
        if group.open > 0 {
            self.turns.remove(&(former, group.order, index));
            self.stand(index, pass);
        } else {
            group.pass = pass;
            self.touch(index);
        }
        self.row_is_dirty = true;
        self.refresh(index, queue, now);
    }

    /// Clears away some of the groups that nobody needs.
    pub(crate) fn clear(&mut self) {
        for _ in 0..CLEARED_MAX {
            match self.resting.first() {
                Some((pass, _)) if *pass <= self.virtual_time => {}
                _ => break,
            }
            let Some((_, key)) = self.resting.pop_first() else { break };
            if let Some(index) = self.by_key.remove(&key) {
                self.sorted.remove(&key);
                self.slots[index.place()] = Group::default();
                self.free.push(index);
                self.gone.insert(key);
            }
        }
    }

    /// Changes what a group is set to.
    pub(crate) fn set(&mut self, index: GroupIndex, setting: GroupSetting, queue: &QueueSettings, now: LogTime) {
        let group = &mut self.slots[index.place()];
        let former = group.rate(queue);
        group.settings.set(setting);
        if group.rate(queue) != former {
            group.bucket = Bucket::default();
        }
        self.touch(index);
        self.refresh(index, queue, now);
    }

    /// The rate that the queue sets for every group is another one: those that go by it begin with a full bucket.
    pub(crate) fn common_rate_changed(&mut self) {
        for index in self.all() {
            let group = &mut self.slots[index.place()];
            if group.settings.rate.is_none() && group.bucket != Bucket::default() {
                group.bucket = Bucket::default();
                self.touch(index);
            }
        }
    }

    /// What rests on disk of a group, by key.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&GroupKey, GroupRecord)> {
        self.sorted.iter().map(|(key, index)| (key, self.record(*index)))
    }

    fn record(&self, index: GroupIndex) -> GroupRecord {
        let Group { settings, pass, order, bucket, .. } = &self.slots[index.place()];
        GroupRecord { settings: *settings, pass: *pass, order: *order, bucket: *bucket }
    }

    /// What changed since the last call: with what rests on disk of it, or without if it is gone.
    pub(crate) fn take_changes(&mut self) -> Vec<(GroupKey, Option<GroupRecord>)> {
        let mut changes: Vec<_> = std::mem::take(&mut self.gone).into_iter().map(|key| (key, None)).collect();
        for index in std::mem::take(&mut self.dirty) {
            // Not if it was cleared away, or stands here for a former group of its place, too.
            if std::mem::take(&mut self.slots[index.place()].dirty)
                && let Some(key) = self.key(index)
            {
                changes.push((key.clone(), Some(self.record(index))));
            }
        }
        changes
    }

    /// The same of what rests in their queue's row.
    pub(crate) fn take_row_is_dirty(&mut self) -> bool {
        std::mem::take(&mut self.row_is_dirty)
    }

    /// Takes back a group; [`Self::restored`] is to follow.
    pub(crate) fn restore(&mut self, key: &GroupKey, record: GroupRecord) {
        let index = self.intern(Some(key));
        let group = &mut self.slots[index.place()];
        (group.settings, group.pass, group.order, group.bucket) =
            (record.settings, record.pass, record.order, record.bucket);
    }

    /// All jobs and rows are there: what follows from them is worked out. A restored state is as its rows: nothing is to be
    /// written.
    pub(crate) fn restored(&mut self, queue: &QueueSettings, now: LogTime) {
        for index in self.all() {
            self.refresh_restored(index, queue, now);
            self.slots[index.place()].dirty = false;
        }
        self.dirty.clear();
        self.row_is_dirty = false;
    }

    /// The groups whose keys are greater than `after`, by key, as readers see them.
    pub(crate) fn views(
        &self,
        after: Option<&GroupKey>,
        queue: &QueueSettings,
        now: LogTime,
    ) -> impl Iterator<Item = GroupView> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.sorted.range::<GroupKey, _>((from, std::ops::Bound::Unbounded)).map(move |(key, index)| {
            let group = &self.slots[index.place()];
            let Group { settings, leased, waiting, .. } = group;
            let open = group.could_give(queue, now);
            GroupView {
                group: key.clone(),
                ready: group.ready.len() as u64,
                leased: *leased,
                waiting: *waiting,
                open,
                settings: *settings,
            }
        })
    }
}

impl Core {
    /// The groups of a queue whose keys are greater than `after`, by key, at most `max`; `None` if there is no such queue.
    #[must_use]
    pub fn groups(&self, queue: &QueueName, after: Option<&GroupKey>, max: usize) -> Option<Vec<GroupView>> {
        let queue = self.index.queues.get(self.index.queues.index_of(queue)?);
        Some(queue.groups.views(after, &queue.stats.settings, self.now).take(max).collect())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Command, Entry, Outcome};
    use jobraft_protocol::{
        Completion, EnqueueOutcome, ErrorCode, JobId, LeasedJob, NewJob, Task, WorkerId, WorkerInfo,
    };

    fn apply(core: &mut Core, command: Command) -> Outcome {
        core.apply(&Entry { commands: vec![command], ..Entry::default() }).outcomes.remove(0).unwrap()
    }

    fn enqueue(core: &mut Core, queue: &str, group: u8) -> Option<ErrorCode> {
        let job = NewJob {
            group: Some(format!("g{group}").parse().unwrap()),
            ..NewJob::new(
                JobId::new(LogTime::ZERO, [group; 10]),
                queue.parse().unwrap(),
                Task::Handler("t".parse().unwrap()),
                "",
            )
        };
        match apply(core, Command::enqueue(vec![job])) {
            Outcome::Enqueued(outcomes) => match &outcomes[0] {
                EnqueueOutcome::Created => None,
                EnqueueOutcome::Refused(error) => Some(error.code),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn lease(core: &mut Core, max: u32) -> Vec<LeasedJob> {
        let (worker, queues) = (WorkerId(1), vec!["q".parse().unwrap()]);
        match apply(core, Command::Lease { worker, queues, shares: vec![], max, lease_ms: 1_000 }) {
            Outcome::Leased(leased) => leased.jobs,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_group_too_many_is_refused_until_another_has_no_jobs_any_more() {
        let mut core = Core::new();
        apply(&mut core, Command::RegisterWorker { info: WorkerInfo::default() });
        core.bounds.groups = 3;
        for group in 0..3 {
            assert_eq!(enqueue(&mut core, "q", group), None);
        }
        assert_eq!(enqueue(&mut core, "r", 3), Some(ErrorCode::TooMany), "of all queues together");
        let leased = lease(&mut core, 9);
        assert_eq!(enqueue(&mut core, "q", 3), Some(ErrorCode::TooMany), "they have jobs still");
        for job in leased {
            apply(&mut core, Command::complete(job.lease(), Completion::default()));
        }
        assert_eq!(core.index.queues.group_count(), 0, "nothing happens in the queue any more, and they are gone");
        for group in 3..6 {
            assert_eq!(enqueue(&mut core, "r", group), None);
        }
    }
}
