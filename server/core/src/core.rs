//! The state, and how an entry changes it: time first, then what fell due, then the commands.
//!
//! What must hold after every entry: log time did not go back; every live job stands in the indexes that its state
//! calls for and no other; no token, worker id or place in the order of enqueues was given twice. Nothing here may ask
//! what memory happens to hold of jobs that ended: only [`crate::ended::EndedJobs`] knows, by log time.

use crate::batch::Batches;
use crate::catalog::Catalog;
use crate::ended::{EndedJob, EndedJobs};
use crate::index::Index;
use crate::job::Job;
use crate::jobs::{Jobs, Slot};
use crate::keys::Keys;
use crate::planted::{Bug, is_planted};
use crate::record::Counters;
use crate::retention::{DeadJob, DeadJobs};
use crate::schedule::Schedules;
use crate::secrets::Secrets;
use crate::task::Tasks;
use crate::tokens::Tokens;
use crate::transition::{Next, transition};
use crate::values::Values;
use crate::waits::Waits;
use crate::workers::Workers;
use crate::{Applied, Command, Event, Outcome, UnwrittenJob};
use jobraft_protocol::{
    ClusterSettings, Error, JobId, JobState, JobView, LogTime, NewJob, QueueMode, QueueName, QueueSettings, QueueStats,
    Start, limits,
};
use std::collections::BTreeSet;

/// The timer of what does not wait for a time: it falls due in the entry that set it.
pub(crate) const AT_ONCE: LogTime = LogTime::ZERO;

/// The replicated state machine of one Raft group.
#[derive(Clone, Debug, Default)]
pub struct Core {
    pub(crate) now: LogTime,
    pub(crate) counters: Counters,
    /// Live jobs; and, no part of the state, those that ended and whose row is not written yet.
    pub(crate) jobs: Jobs,
    pub(crate) tasks: Tasks,
    /// Jobs whose rows are behind, in the order in which they first changed. No part of the state.
    pub(crate) dirty: Vec<(JobId, Slot)>,
    /// About how many bytes the jobs hold whose rows are behind. No part of the state.
    pub(crate) changed_bytes: u64,
    /// Jobs whose rows are to go. No part of the state.
    pub(crate) deleted: BTreeSet<JobId>,
    pub(crate) index: Index,
    pub(crate) keys: Keys,
    pub(crate) ended: EndedJobs,
    pub(crate) dead: DeadJobs,
    pub(crate) batches: Batches,
    pub(crate) schedules: Schedules,
    pub(crate) workers: Workers,
    pub(crate) values: Values,
    pub(crate) catalog: Catalog,
    pub(crate) tokens: Tokens,
    pub(crate) secrets: Secrets,
    pub(crate) settings: ClusterSettings,
    pub(crate) bounds: Bounds,
    /// Of the entry being applied.
    pub(crate) events: Vec<Event>,
    /// Whether somebody waits for the answers to the entry being applied. No part of the state.
    pub(crate) is_answered: bool,
}

/// How much the state may hold. Constants, but tests lower them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) queues: usize,
    pub(crate) groups: usize,
    pub(crate) batches: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { queues: limits::QUEUES_MAX, groups: limits::GROUPS_MAX, batches: limits::BATCHES_MAX }
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
        self.is_answered = true;
        let mut outcomes = Vec::with_capacity(entry.commands.len());
        let events = self.step(entry, |outcome| outcomes.push(outcome));
        Applied { outcomes, events }
    }

    /// The same where nobody waits for the answers: the leased jobs are not told.
    pub fn follow(&mut self, entry: &crate::Entry) -> Vec<Event> {
        self.is_answered = false;
        self.step(entry, drop)
    }

    fn step(&mut self, entry: &crate::Entry, mut answer: impl FnMut(Result<Outcome, Error>)) -> Vec<Event> {
        let before = self.now;
        self.now = before.max(entry.at);
        #[cfg(feature = "planted-bugs")]
        if is_planted(Bug::WallClockInApply) {
            let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            self.now = self.now.max(LogTime::from_ms(u64::try_from(wall.as_millis()).unwrap_or(0)));
        }
        if entry.leader_change && !is_planted(Bug::LeaseNotExtended) {
            self.renew_leases(before);
        }
        self.index.queues.wake(self.now);
        self.fire_timers(self.now);
        self.ended.forget(self.now);
        self.keys.clear(self.now);
        self.forget_workers();
        self.batches.forget(self.now);
        for command in &entry.commands {
            answer(self.run(command));
            self.settle_batches();
        }
        self.fire_timers(AT_ONCE);
        let mut events = std::mem::take(&mut self.events);
        events.extend(self.index.queues.take_announced());
        events
    }

    fn run(&mut self, command: &Command) -> Result<Outcome, Error> {
        match command {
            Command::Enqueue { jobs, all_or_none, known } => self.enqueue(jobs, *all_or_none, known),
            Command::CreateBatch { batch, known, namespace } => self.create_batch(batch, known, namespace),
            Command::SealBatch { batch, cancel } => self.seal_batch(*batch, *cancel),
            Command::RunSchedule { name, job } => self.run_schedule(name, *job),
            Command::Tick { name, revision, ticks, passed_over, more } => {
                self.tick(name, *revision, ticks, *passed_over, *more)
            }
            Command::RegisterWorker { info } => self.register_worker(info),
            Command::WorkersSeen { workers } => Ok(self.workers_seen(workers)),
            Command::OrderWorker { worker, order } => self.order_worker(*worker, *order),
            Command::Lease { worker, queues, shares, max, lease_ms } => {
                self.lease(*worker, queues, shares, *max, *lease_ms)
            }
            Command::Extend { leases, lease_ms, progress } => self.extend(leases, *lease_ms, progress),
            Command::Checkpoint { lease, data } => self.checkpoint(*lease, data),
            Command::Complete { lease, completion, known } => self.complete(*lease, completion, known),
            Command::Fail { lease, failure } => self.fail(*lease, failure),
            Command::Release { lease, delay_ms } => self.release(*lease, *delay_ms),
            Command::Disconnect { worker } => self.disconnect(*worker),
            Command::Act { targets, action, only_in, by } => self.act(targets, action, only_in, by),
            Command::Configure { settings } => self.configure(settings),
            Command::ChangeToken { change, by } => self.change_token(change, by),
            Command::TokensUsed { tokens } => Ok(self.tokens_used(tokens)),
            Command::PutModule { manifest, name, namespace, only_own } => {
                self.put_module(manifest, name.as_ref(), namespace, *only_own)
            }
            Command::ChangeSecret { change, by } => self.change_secret(change, by),
            Command::ChangeNamespace { change, by } => self.change_namespace(change, by),
        }
    }

    /// Does what fell due until then, oldest first, a bounded number; the rest falls to the entries that follow. Until then a
    /// lease that ran out is lost all the same, and a job that expired is not leased: both look at the time.
    fn fire_timers(&mut self, until: LogTime) {
        for _ in 0..limits::TIMERS_PER_ENTRY_MAX {
            let Some(&(at, id)) = self.index.timers.first() else { break };
            if at > until {
                break;
            }
            let job = self.job(id);
            match job.expired(self.now) {
                _ if job.state == JobState::Leased => self.expire(id),
                Some(reason) => self.end_expired(id, reason),
                None if job.state == JobState::Blocked => self.unblock(id),
                None => self.transition(id, Next::Ready(at)),
            }
        }
        self.settle_batches();
    }

    /// A job begins to live, and its row is behind.
    ///
    /// # Panics
    /// If it does already: a defect of the caller.
    pub(crate) fn begin(&mut self, id: JobId, job: Job) {
        self.index.link(id, &job, |id| self.jobs.contains_key(&id));
        let job = self.jobs.insert(id, job).expect("callers have checked that it does not live");
        self.index.enter(id, job, self.now);
        note_change(id, job, &mut self.dirty, &mut self.changed_bytes);
    }

    /// Takes a live job to another state, and the indexes with it.
    ///
    /// # Panics
    /// If the job is not live or the step not legal: a defect of the caller.
    pub(crate) fn transition(&mut self, id: JobId, next: Next) {
        let job = self.jobs.get_mut(&id).expect("callers name a live job");
        if next.state().is_terminal() {
            job.past_mut().group = self.index.queues.get(job.queue).groups.key(job.group).cloned();
        }
        self.index.leave(id, job);
        let is_over = next.state().is_terminal();
        transition(job, next);
        self.index.enter(id, job, self.now);
        note_change(id, job, &mut self.dirty, &mut self.changed_bytes);
        self.keys.settle(id, job, self.now);
        if is_over {
            self.retire(id);
        }
    }

    /// Takes a job that has come to its end out of the live ones; it stays known for a while.
    ///
    /// # Panics
    /// If it is not there or has not ended: a defect of the caller.
    fn retire(&mut self, id: JobId) {
        let job = self.jobs.end(id).expect("callers name a job that has just ended");
        let (state, queue) = (job.state, job.queue);
        let past = job.past.as_mut().expect("a job that ended has a past");
        let finished_at = past.finished_at.expect("a job that ended did so at some time");
        let seq = self.index.queues.get(queue).ended(state);
        past.ended_seq = Some(seq);
        let namespace = self.index.queues.get(queue).namespace;
        let ended = EndedJob { state, token: past.reported, finished_at, namespace };
        if state == JobState::Dead {
            let holds = job.waits().into_iter().flat_map(Waits::held).map(|(_, before)| before).collect();
            self.dead.insert(id, DeadJob { queue, seq, finished_at, holds });
        }
        self.ended.add(id, ended, job);
        self.index.unlink(id, job);
        self.batches.job_ended(job);
        self.changed_bytes += job.past.as_ref().map_or(0, |past| past.result.len() + past.log.len()) as u64;
        self.events.push(Event::Ended(id));
        self.tell_dependents(id, Some(state));
    }

    /// Notes that the job's row is behind.
    pub(crate) fn touch(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            note_change(id, job, &mut self.dirty, &mut self.changed_bytes);
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

    /// Log time as of the last entry.
    #[must_use]
    pub fn now(&self) -> LogTime {
        self.now
    }

    /// When the next thing falls due: a scheduled job, the end of a lease, a token that a ready job waits for. May be past, if
    /// an entry had more timers to fire than it may: then another entry is due at once.
    #[must_use]
    pub fn next_timer(&self) -> Option<LogTime> {
        let timer = self.index.timers.first().map(|&(at, _)| at);
        timer.into_iter().chain(self.index.queues.next_wake()).min()
    }

    /// How many jobs of the queue can be leased now, within its limits and those of their groups. At least one if any; where
    /// rates are limited, there may be more by the time that these are leased.
    #[must_use]
    pub fn ready_count(&self, queue: &QueueName) -> usize {
        let queue = self.index.queues.index_of(queue).map(|index| self.index.queues.get(index));
        queue.map_or(0, |queue| usize::try_from(queue.open(self.now)).unwrap_or(usize::MAX))
    }

    /// Whether the job, enqueued now, is likely to be there and to be leased at once by who asks: its id is new, its queue takes and
    /// gives jobs, and no limit is set on its attempts.
    #[must_use]
    pub fn can_be_leased_at_once(&self, job: &NewJob) -> bool {
        let queue = self.index.queues.index_of(&job.queue).map(|index| self.index.queues.get(index));
        let is_free = queue.is_none_or(|queue| {
            let QueueSettings { mode, concurrency, rate, group_concurrency, group_rate, .. } = &queue.stats.settings;
            *mode == QueueMode::Open
                && concurrency.is_none()
                && rate.is_none()
                && group_concurrency.is_none()
                && group_rate.is_none()
                && job.group.as_ref().is_none_or(|group| !queue.groups.is_limited(group))
        });
        is_free
            && job.start == Start::Now
            && job.after.as_ref().is_none_or(|after| after.jobs.is_empty())
            && !self.remembers(job.id)
    }

    /// Whether the job is in a state that is not terminal.
    #[must_use]
    pub fn is_live(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id)
    }

    /// A live job, or one that ended, is kept, and was not yet taken by [`Self::take_changes`]. Others are in their rows. Without
    /// a payload that [rests](Self::payload_rests).
    #[must_use]
    pub fn view(&self, id: JobId) -> Option<JobView> {
        let job = self.jobs.get(&id).or_else(|| self.departing(id))?;
        Some(job.view(id, self.index.queues.get(job.queue)))
    }

    /// The row of a job that ended, is kept, and was not yet taken by [`Self::take_changes`].
    #[must_use]
    pub fn row(&self, id: JobId) -> Option<UnwrittenJob> {
        let job = self.departing(id)?;
        Some(UnwrittenJob::new(job.record(id, self.index.queues.get(job.queue), false), job))
    }

    /// A job that ended and is kept, while memory has it.
    fn departing(&self, id: JobId) -> Option<&Job> {
        let job = self.jobs.ended(id)?;
        let past = job.past.as_ref()?;
        let (finished_at, seq) = past.finished_at.zip(past.ended_seq)?;
        self.is_kept(id, self.index.queues.get(job.queue), job.state, finished_at, seq).then_some(job)
    }

    /// Whether memory knows that nothing is left to read of the job, whatever its row still says: it was deleted, or ended
    /// and is kept no longer.
    #[must_use]
    pub fn is_gone(&self, id: JobId) -> bool {
        self.deleted.contains(&id) || self.jobs.ended(id).is_some() && self.departing(id).is_none()
    }

    /// Whether an enqueue under this id would be taken for a retry: the job is live, or ended not long ago.
    #[must_use]
    pub fn remembers(&self, id: JobId) -> bool {
        let is_forgotten = is_planted(Bug::RetryEnqueuesTwice);
        self.jobs.contains_key(&id) || !is_forgotten && self.ended.get(id, self.now).is_some()
    }

    /// All queues, by name.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueStats> {
        self.index.queues.sorted().map(|queue| queue.stats.clone()).collect()
    }
}

/// Notes that the row of a live job is behind.
fn note_change(id: JobId, job: &mut Job, dirty: &mut Vec<(JobId, Slot)>, changed_bytes: &mut u64) {
    if !std::mem::replace(&mut job.dirty, true) {
        dirty.push((id, job.slot));
        *changed_bytes += job.waiting_bytes();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use jobraft_protocol::{After, GroupSetting, QueueSetting, Rate, Setting, Task};

    #[test]
    fn a_job_can_be_leased_at_once_unless_it_waits_or_is_there_or_something_is_limited() {
        let mut core = Core::new();
        let queue: QueueName = "q".parse().unwrap();
        let job = |seed| {
            let task = Task::Handler("t".parse().unwrap());
            NewJob::new(JobId::new(LogTime::ZERO, [seed; 10]), queue.clone(), task, "")
        };
        let group = "g".parse().unwrap();
        let grouped = NewJob { group: Some(group), ..job(1) };
        assert!(core.can_be_leased_at_once(&job(1)), "of a queue that is not known yet");
        core.apply(&crate::Entry { commands: vec![Command::enqueue(vec![job(2)])], ..crate::Entry::default() });
        assert!(core.can_be_leased_at_once(&job(1)) && core.can_be_leased_at_once(&grouped));
        assert!(!core.can_be_leased_at_once(&job(2)), "it is there");
        assert!(!core.can_be_leased_at_once(&NewJob { start: Start::AfterMs(1), ..job(1) }));
        let after = After { jobs: vec![job(2).id], ..After::default() };
        assert!(!core.can_be_leased_at_once(&NewJob { after: Some(after), ..job(1) }));

        let rate = Rate { count: 1, per_ms: 1_000, burst: None };
        for (limit, none) in [
            (QueueSetting::Mode(QueueMode::Paused), QueueSetting::Mode(QueueMode::Open)),
            (QueueSetting::Mode(QueueMode::Draining), QueueSetting::Mode(QueueMode::Open)),
            (QueueSetting::Concurrency(Some(1)), QueueSetting::Concurrency(None)),
            (QueueSetting::Rate(Some(rate)), QueueSetting::Rate(None)),
            (QueueSetting::GroupConcurrency(Some(1)), QueueSetting::GroupConcurrency(None)),
            (QueueSetting::GroupRate(Some(rate)), QueueSetting::GroupRate(None)),
        ] {
            core.configure(&[Setting::Queue(queue.clone(), limit)]).unwrap();
            assert!(!core.can_be_leased_at_once(&job(1)));
            core.configure(&[Setting::Queue(queue.clone(), none)]).unwrap();
            assert!(core.can_be_leased_at_once(&job(1)));
        }
        for limit in [GroupSetting::Concurrency(Some(1)), GroupSetting::Rate(Some(rate))] {
            core.configure(&[Setting::Group(queue.clone(), "g".parse().unwrap(), limit)]).unwrap();
            assert!(!core.can_be_leased_at_once(&grouped));
            assert!(core.can_be_leased_at_once(&job(1)), "others of the queue are not limited");
            let none = match limit {
                GroupSetting::Rate(_) => GroupSetting::Rate(None),
                _ => GroupSetting::Concurrency(None),
            };
            core.configure(&[Setting::Group(queue.clone(), "g".parse().unwrap(), none)]).unwrap();
            assert!(core.can_be_leased_at_once(&grouped));
        }
    }
}
