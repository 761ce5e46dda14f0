//! A job in memory. A waiting one must stay small: names are interned, and what only some jobs have is boxed.

use crate::core::AT_ONCE;
use crate::group::GroupIndex;
use crate::jobs::Slot;
use crate::payload::Payload;
use crate::queue::{Queue, QueueIndex};
use crate::record::JobRecord;
use crate::task::Tasks;
use crate::waits::{Verdict, Waits};
use bytes::Bytes;
use jobraft_protocol::{
    AttemptError, Backoff, BatchId, CancelNotice, EndReason, FailureKind, FencingToken, GroupKey, JobId, JobState,
    JobSummary, JobView, Label, LeaseView, LogTime, Progress, QueueName, ScheduleTick, Task, Unique, Withheld,
    WorkerId, limits,
};
use std::sync::Arc;

/// A job; its id is the key under which it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) queue: QueueIndex,
    /// Within its queue.
    pub(crate) group: GroupIndex,
    /// Where it is among the live ones.
    pub(crate) slot: Slot,
    pub(crate) task: Arc<Task>,
    pub(crate) payload: Payload,
    /// Written by [`crate::transition::transition`] alone.
    pub(crate) state: JobState,
    pub(crate) priority: u8,
    /// Whether its row on disk is behind.
    pub(crate) dirty: bool,
    /// Whether there may be a row of it, or of another life under its id: if not, there is none.
    pub(crate) rests: bool,
    pub(crate) attempt: u16,
    pub(crate) max_attempts: u16,
    pub(crate) run_timeout_ms: u32,
    pub(crate) enqueued_at: LogTime,
    pub(crate) run_at: LogTime,
    /// Its place in the order of all enqueues; kept for life, so that a job given back goes before later ones.
    pub(crate) seq: u64,
    /// There exactly when the state is `leased`.
    pub(crate) lease: Option<Box<Lease>>,
    /// There only if one of them is not the default.
    pub(crate) options: Option<Box<Options>>,
    pub(crate) past: Option<Box<Past>>,
}

/// What only some jobs ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) ttl_ends_at: Option<LogTime>,
    pub(crate) start_by: Option<LogTime>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) max_crashes: u32,
    pub(crate) unique: Option<Unique>,
    pub(crate) waits: Option<Waits>,
    pub(crate) batch: Option<Membership>,
    pub(crate) label: Option<Label>,
    pub(crate) tick: Option<ScheduleTick>,
}

/// What a job is to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) batch: BatchId,
    /// No part of it, but enqueued for what became of it.
    pub(crate) is_callback: bool,
}

impl Default for Options {
    fn default() -> Self {
        let max_crashes = limits::CRASHES_DEFAULT;
        Self {
            ttl_ends_at: None,
            start_by: None,
            backoff: None,
            max_crashes,
            unique: None,
            waits: None,
            batch: None,
            label: None,
            tick: None,
        }
    }
}

impl Options {
    /// For [`Job::options`].
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// Who holds a job, and until when.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) worker: WorkerId,
    pub(crate) token: FencingToken,
    pub(crate) granted_at: LogTime,
    pub(crate) expires_at: LogTime,
    /// When the worker last took or extended it.
    pub(crate) heard_at: LogTime,
    /// What was last asked for: the full lease that a new leader grants again.
    pub(crate) lease_ms: u64,
    /// There while the job is asked to stop.
    pub(crate) cancel: Option<CancelNotice>,
}

impl Lease {
    /// When the job will have run longer than it may, and the time to stop it is over too.
    pub(crate) fn runs_until(&self, run_timeout_ms: u32) -> LogTime {
        self.granted_at.plus_ms(run_timeout_ms.into()).plus_ms(limits::RUN_GRACE_MS)
    }

    /// When it ends, however often it is extended.
    pub(crate) fn latest(&self, run_timeout_ms: u32) -> LogTime {
        let runs_until = self.runs_until(run_timeout_ms);
        self.cancel.as_ref().map_or(runs_until, |cancel| runs_until.min(cancel.hard_at))
    }
}

/// What only a job with a history has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Past {
    /// The token under which the last attempt was reported failed or completed, until the job is leased again.
    pub(crate) reported: Option<FencingToken>,
    pub(crate) finished_at: Option<LogTime>,
    /// See [`crate::JobRow::ended_seq`].
    pub(crate) ended_seq: Option<u64>,
    pub(crate) end_reason: Option<EndReason>,
    pub(crate) result: Bytes,
    pub(crate) log: Bytes,
    pub(crate) errors: Vec<AttemptError>,
    /// When it crashed, within the window that counts.
    pub(crate) crashed_at: Vec<LogTime>,
    pub(crate) cancel_reason: Option<String>,
    pub(crate) cancelled_by: Option<String>,
    pub(crate) checkpoint: Bytes,
    pub(crate) progress: Option<Progress>,
    /// Its group, once it ended: nobody else may need the group any more.
    pub(crate) group: Option<GroupKey>,
}

impl Job {
    /// The job's history, begun if there is none.
    pub(crate) fn past_mut(&mut self) -> &mut Past {
        self.past.get_or_insert_default()
    }

    pub(crate) fn unique(&self) -> Option<&Unique> {
        self.options.as_ref()?.unique.as_ref()
    }

    /// What it waits or waited for.
    pub(crate) fn waits(&self) -> Option<&Waits> {
        self.options.as_ref()?.waits.as_ref()
    }

    pub(crate) fn waits_mut(&mut self) -> Option<&mut Waits> {
        self.options.as_mut()?.waits.as_mut()
    }

    /// The batch of which it is a part.
    pub(crate) fn batch(&self) -> Option<BatchId> {
        let membership = self.options.as_ref()?.batch?;
        (!membership.is_callback).then_some(membership.batch)
    }

    /// Whether no worker has it yet, and its life is not over.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.state, JobState::Scheduled | JobState::Blocked | JobState::Ready)
    }

    /// The bytes that it holds while it waits: its payload, what it names of other jobs, and what earlier attempts left.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        let past = self.past.as_ref().map_or(0, |past| {
            let errors = past.errors.iter().map(|error| error.message.len()).sum::<usize>();
            past.checkpoint.len() + past.log.len() + errors
        });
        let after = self.waits().map_or(0, |waits| waits.jobs().len() * limits::PREDECESSOR_BYTES);
        (self.payload.len() + after + past) as u64
    }

    /// The bytes that it holds of its namespace's quota. A running job comes by more, but not by another payload.
    pub(crate) fn held_bytes(&self) -> u64 {
        match self.state {
            JobState::Leased => self.payload.len() as u64,
            state if state.is_terminal() => 0,
            _ => self.waiting_bytes(),
        }
    }

    /// Notes how the current attempt went wrong. The oldest notes go first; of the former ones little text is kept.
    pub(crate) fn record_error(&mut self, at: LogTime, kind: FailureKind, message: String) {
        let attempt = self.attempt.into();
        let errors = &mut self.past_mut().errors;
        if errors.len() >= limits::ATTEMPT_ERRORS_MAX {
            errors.remove(0);
        }
        if let Some(former) = errors.last_mut() {
            former.message = cut(&former.message, limits::FORMER_ERROR_BYTES_MAX);
        }
        errors.push(AttemptError { attempt, at, kind, message });
    }

    /// Notes a crash; says whether it was one too many.
    pub(crate) fn record_crash(&mut self, at: LogTime) -> bool {
        let max = self.options.as_ref().map_or(limits::CRASHES_DEFAULT, |options| options.max_crashes);
        let crashes = &mut self.past_mut().crashed_at;
        crashes.retain(|crash| at.ms_since(*crash) < limits::CRASH_WINDOW_MS);
        crashes.push(at);
        crashes.len() >= max as usize
    }

    /// When it expires if it still waits then, and why.
    pub(crate) fn expiry(&self) -> Option<(LogTime, EndReason)> {
        let options = self.options.as_ref()?;
        let ttl = options.ttl_ends_at.filter(|_| self.attempt == 0).map(|at| (at, EndReason::TtlOver));
        let deadline = options.start_by.map(|at| (at, EndReason::StartDeadline));
        ttl.into_iter().chain(deadline).min_by_key(|(at, _)| *at)
    }

    /// Why it must not run any more at `now`, if so.
    pub(crate) fn expired(&self, now: LogTime) -> Option<EndReason> {
        self.expiry().filter(|(at, _)| *at <= now).map(|(_, reason)| reason)
    }

    /// The time at which something becomes due for it, if anything ever will.
    pub(crate) fn timer(&self) -> Option<LogTime> {
        let expiry = || self.expiry().map(|(at, _)| at);
        match (&self.lease, self.state) {
            (Some(lease), _) => Some(lease.expires_at),
            (None, JobState::Scheduled) => Some(expiry().map_or(self.run_at, |at| at.min(self.run_at))),
            (None, JobState::Ready) => expiry(),
            (None, JobState::Blocked) => match self.waits().map_or(Verdict::Free, Waits::verdict) {
                Verdict::Waits => expiry(),
                Verdict::Free | Verdict::Doomed => Some(AT_ONCE),
            },
            (None, _) => None,
        }
    }

    /// The job as a reader sees it, without a payload that rests.
    pub(crate) fn view(&self, id: JobId, queue: &Queue) -> JobView {
        self.view_of(id, queue.stats.queue.clone(), queue.groups.key(self.group).cloned())
    }

    /// The same for one who knows the names of its queue and of the group in which it waits.
    fn view_of(&self, id: JobId, queue: QueueName, group: Option<GroupKey>) -> JobView {
        let (no_past, no_options) = (Past::default(), Options::default());
        let past = self.past.as_deref().unwrap_or(&no_past);
        let options = self.options.as_deref().unwrap_or(&no_options);
        let lease = self.lease.as_deref().map(|lease| LeaseView {
            worker: lease.worker,
            token: lease.token,
            granted_at: lease.granted_at,
            expires_at: lease.expires_at,
        });
        JobView {
            id,
            queue,
            task: (*self.task).clone(),
            payload: self.payload.here(),
            state: self.state,
            priority: self.priority,
            attempt: self.attempt.into(),
            max_attempts: self.max_attempts.into(),
            run_timeout_ms: self.run_timeout_ms.into(),
            enqueued_at: self.enqueued_at,
            run_at: self.run_at,
            finished_at: past.finished_at,
            lease,
            result: past.result.clone(),
            log: past.log.clone(),
            errors: past.errors.clone(),
            cancel_reason: past.cancel_reason.clone(),
            cancelled_by: past.cancelled_by.clone(),
            end_reason: past.end_reason,
            ttl_ends_at: options.ttl_ends_at,
            start_by: options.start_by,
            backoff: options.backoff.clone(),
            max_crashes: options.max_crashes,
            crashed_at: past.crashed_at.clone(),
            unique: options.unique.clone(),
            progress: past.progress.clone(),
            checkpoint_bytes: past.checkpoint.len() as u64,
            cancel: self.lease.as_ref().and_then(|lease| lease.cancel.clone()),
            group: past.group.clone().or(group),
            on_failure: options.waits.as_ref().map(Waits::on_failure).unwrap_or_default(),
            after: options.waits.as_ref().map(|waits| waits.jobs().to_vec()).unwrap_or_default(),
            batch: options.batch.map(|membership| membership.batch),
            is_callback: options.batch.is_some_and(|membership| membership.is_callback),
            label: options.label.clone(),
            tick: options.tick.clone(),
            withheld: Withheld::Nothing,
        }
    }

    /// The job as it rests on disk, but for a payload that rests already. Whether it holds its key is not for the job to know.
    pub(crate) fn record(&self, id: JobId, queue: &Queue, holds_key: bool) -> JobRecord {
        self.record_of(id, queue.stats.queue.clone(), queue.groups.key(self.group).cloned(), holds_key)
    }

    /// The same for one who knows the names of its queue and of the group in which it waits.
    pub(crate) fn record_of(&self, id: JobId, queue: QueueName, group: Option<GroupKey>, holds_key: bool) -> JobRecord {
        let past = self.past.as_deref();
        JobRecord {
            seq: self.seq,
            lease_ms: self.lease.as_ref().map(|lease| lease.lease_ms),
            heard_at: self.lease.as_ref().map(|lease| lease.heard_at),
            reported: past.and_then(|past| past.reported),
            ended_seq: past.and_then(|past| past.ended_seq),
            holds_key,
            checkpoint: past.map(|past| past.checkpoint.clone()).unwrap_or_default(),
            lost: self.waits().map(|waits| waits.lost().clone()).unwrap_or_default(),
            view: self.view_of(id, queue, group),
        }
    }

    /// The job from its record, in a queue and group that the caller has interned. The caller has checked the record.
    pub(crate) fn from_record(record: JobRecord, queue: QueueIndex, group: GroupIndex, tasks: &mut Tasks) -> Self {
        let JobRecord { seq, lease_ms, heard_at, reported, ended_seq, checkpoint, lost, view, .. } = record;
        let cancel = view.cancel;
        let lease = view.lease.zip(lease_ms).map(|(lease, lease_ms)| {
            let LeaseView { worker, token, granted_at, expires_at } = lease;
            let heard_at = heard_at.unwrap_or(granted_at);
            Box::new(Lease { worker, token, granted_at, expires_at, heard_at, lease_ms, cancel })
        });
        let options = Options {
            ttl_ends_at: view.ttl_ends_at,
            start_by: view.start_by,
            backoff: view.backoff,
            max_crashes: view.max_crashes,
            unique: view.unique,
            waits: (!view.after.is_empty()).then(|| Waits::new(view.on_failure, view.after).without(lost)),
            batch: view.batch.map(|batch| Membership { batch, is_callback: view.is_callback }),
            label: view.label,
            tick: view.tick,
        };
        let past = Past {
            reported,
            finished_at: view.finished_at,
            ended_seq,
            end_reason: view.end_reason,
            result: view.result,
            log: view.log,
            errors: view.errors,
            crashed_at: view.crashed_at,
            cancel_reason: view.cancel_reason,
            cancelled_by: view.cancelled_by,
            checkpoint,
            progress: view.progress,
            group: None,
        };
        Self {
            queue,
            group,
            slot: Slot::default(),
            task: tasks.intern(&view.task),
            payload: Payload::from(&view.payload),
            state: view.state,
            priority: view.priority,
            dirty: false,
            rests: true,
            attempt: count(view.attempt),
            max_attempts: count(view.max_attempts),
            run_timeout_ms: duration(view.run_timeout_ms),
            enqueued_at: view.enqueued_at,
            run_at: view.run_at,
            seq,
            lease,
            options: options.boxed(),
            past: (past != Past::default()).then(|| Box::new(past)),
        }
    }
}

/// A number of attempts as a job keeps it. Those beyond [`limits::ATTEMPTS_MAX`] are refused before.
pub(crate) fn count(attempts: u32) -> u16 {
    u16::try_from(attempts).unwrap_or(u16::MAX)
}

/// How long a job may run, as it keeps it. What is beyond [`limits::RUN_TIMEOUT_MS_MAX`] is refused before.
pub(crate) fn duration(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}

/// A job as it stands in a list.
pub(crate) fn summary(view: JobView) -> JobSummary {
    let error = view.errors.last().map(|error| cut(&error.message, limits::SUMMARY_ERROR_BYTES_MAX));
    JobSummary {
        id: view.id,
        queue: view.queue,
        task: view.task,
        state: view.state,
        end_reason: view.end_reason,
        priority: view.priority,
        attempt: view.attempt,
        max_attempts: view.max_attempts,
        enqueued_at: view.enqueued_at,
        run_at: view.run_at,
        finished_at: view.finished_at,
        worker: view.lease.map(|lease| lease.worker),
        key: view.unique.map(|unique| unique.key),
        progress: view.progress,
        error,
        group: view.group,
        batch: view.batch,
        is_callback: view.is_callback,
        label: view.label,
        after_count: u32::try_from(view.after.len()).unwrap_or(u32::MAX),
        after: view.after.iter().take(limits::SUMMARY_AFTER_MAX).map(|one| one.job).collect(),
    }
}

/// Cuts `text` to at most `bytes_max` bytes, at the end of a character.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_the_end_of_a_character() {
        assert_eq!(cut("aöb", 2), "a");
        assert_eq!(cut("aöb", 3), "aö");
        assert_eq!(cut("aöb", 99), "aöb");
    }

    #[test]
    fn a_job_is_small() {
        assert!(size_of::<Job>() <= 96, "a job takes {} bytes", size_of::<Job>());
    }
}
