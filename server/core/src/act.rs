//! Actions on jobs that are named: cancel, delete, retry, move, prioritize. Each job on its own; one refusal stops no other.
//!
//! A job that ended is on disk only. What an action needs of it the leader has read and put into the entry; it is believed
//! only as far as the state still agrees: a dead job can be brought back once, however many entries carry its row.

use crate::admission::invalid;
use crate::group::GroupIndex;
use crate::job::{Job, cut};
use crate::namespaces::Taken;
use crate::record::{EndedRecord, JobRecord, decode};
use crate::retention::DeadJob;
use crate::transition::{self, Next};
use crate::waits::Waits;
use crate::{Core, Event, Outcome, Target};
use jobraft_protocol::{
    CancelNotice, EndReason, Error, ErrorCode, JobAction, JobId, JobState, LeaseRef, Namespace, QueueName, UniqueKey,
    UniqueScope, limits,
};

impl Core {
    /// Acts on each target. A command beyond its limits is refused as a whole.
    pub(crate) fn act(
        &mut self,
        targets: &[Target],
        action: &JobAction,
        only_in: &[JobState],
        by: &str,
    ) -> Result<Outcome, Error> {
        if targets.len() > limits::ACTION_JOBS_MAX {
            let text = format!("{} jobs, at most {} at once; split them", targets.len(), limits::ACTION_JOBS_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        match action {
            JobAction::Cancel { grace_ms, .. } if *grace_ms > limits::CANCEL_GRACE_MS_MAX => {
                let max = limits::CANCEL_GRACE_MS_MAX;
                return Err(invalid(format!("grace_ms {grace_ms} exceeds the limit of {max} ms")));
            }
            JobAction::Prioritize { priority } if *priority > limits::PRIORITY_MAX => {
                return Err(invalid(format!("priority {priority} is not in 0..={}", limits::PRIORITY_MAX)));
            }
            _ => {}
        }
        let done = targets.iter().map(|target| {
            self.check_state(target, only_in)?;
            let id = target.job;
            match action {
                JobAction::Cancel { reason, grace_ms } => self.cancel(target, reason, *grace_ms, by),
                JobAction::Delete if self.jobs.contains_key(&id) => self.delete_waiting(id),
                JobAction::Delete => self.delete_ended(target),
                JobAction::Retry => self.retry(target),
                JobAction::Move { queue } => self.move_to(target, queue),
                JobAction::Prioritize { priority } => self.prioritize(target, *priority),
            }
        });
        Ok(Outcome::Acted(done.collect()))
    }

    /// Refuses a job that is in none of the states that were asked for.
    fn check_state(&self, target: &Target, only_in: &[JobState]) -> Result<(), Error> {
        if only_in.is_empty() {
            return Ok(());
        }
        let state = match self.jobs.get(&target.job) {
            Some(job) => job.state,
            None => self.ended_state(target)?,
        };
        if only_in.contains(&state) { Ok(()) } else { Err(wrong_state(target.job, state)) }
    }

    /// The state of a job that is not live.
    fn ended_state(&self, target: &Target) -> Result<JobState, Error> {
        if let Some(ended) = self.ended.get(target.job, self.now) {
            return Ok(ended.state);
        }
        self.ended_record(target).map(|record| record.view.state)
    }

    /// What the entry carries of a job that is not live, if it is kept.
    pub(crate) fn ended_record(&self, target: &Target) -> Result<EndedRecord, Error> {
        let id = target.job;
        let Some(row) = &target.row else {
            return match self.ended.get(id, self.now) {
                Some(ended) if !self.ended.is_deleted(id) => {
                    let text = format!("job {id} has just become {}: try again", ended.state);
                    Err(Error::new(ErrorCode::WrongState, text))
                }
                _ => Err(not_found(id)),
            };
        };
        let record: EndedRecord = decode("job", row).map_err(unreadable)?;
        if record.view.id != id {
            return Err(unreadable("it is another job's"));
        }
        let is_current = match record.view.state {
            // Deleted or retried meanwhile, or dead once more: then the row is out of date.
            JobState::Dead => self.dead_job(id).is_some_and(|dead| record.ended_seq == Some(dead.seq)),
            state => state.is_terminal(),
        };
        if is_current && self.is_ended_kept(&record) { Ok(record) } else { Err(not_found(id)) }
    }

    /// Cancels a live job. One that a worker has keeps its lease for the grace.
    fn cancel(&mut self, target: &Target, reason: &str, grace_ms: u64, by: &str) -> Result<(), Error> {
        let (id, now) = (target.job, self.now);
        let Some(job) = self.jobs.get_mut(&id) else {
            return match self.ended_state(target)? {
                JobState::Cancelled => Ok(()),
                state => Err(wrong_state(id, state)),
            };
        };
        let reason = cut(reason, limits::REASON_BYTES_MAX);
        let by = (!by.is_empty()).then(|| by.to_owned());
        let hard_at = now.plus_ms(grace_ms);
        let Some(lease) = job.lease.as_mut().filter(|lease| grace_ms > 0 && lease.expires_at > now) else {
            let past = job.past_mut();
            (past.cancel_reason, past.cancelled_by) = (Some(reason), by);
            self.end_cancelled(id, EndReason::Cancelled);
            return Ok(());
        };
        if lease.cancel.as_ref().is_some_and(|former| former.hard_at <= hard_at) {
            return Ok(());
        }
        let notice = CancelNotice { reason: reason.clone(), hard_at };
        let (worker, lease_ref) = (lease.worker, LeaseRef { job: id, token: lease.token });
        lease.cancel = Some(notice.clone());
        let former = lease.expires_at;
        lease.expires_at = former.min(hard_at);
        let expires_at = lease.expires_at;
        let past = job.past_mut();
        (past.cancel_reason, past.cancelled_by) = (Some(reason), by);
        self.index.postpone(id, former, expires_at);
        self.touch(id);
        self.events.push(Event::CancelRequested { worker, lease: lease_ref, notice });
        Ok(())
    }

    /// Ends a live job as cancelled; whoever holds it is told that it does no longer.
    pub(crate) fn end_cancelled(&mut self, id: JobId, reason: EndReason) {
        if let Some(lease) = &self.job(id).lease {
            let (worker, token) = (lease.worker, lease.token);
            self.events.push(Event::Revoked { worker, lease: LeaseRef { job: id, token } });
        }
        let next = Next::Ended { state: JobState::Cancelled, at: self.now, reason: Some(reason) };
        self.transition(id, next);
    }

    fn delete_waiting(&mut self, id: JobId) -> Result<(), Error> {
        let job = self.job(id);
        if !job.is_waiting() {
            let text = format!("job {id} is {}: cancel it first", job.state);
            return Err(Error::new(ErrorCode::WrongState, text));
        }
        self.end_cancelled(id, EndReason::Deleted);
        self.drop_row(id);
        Ok(())
    }

    fn delete_ended(&mut self, target: &Target) -> Result<(), Error> {
        self.ended_record(target)?;
        if let Some(dependents) = self.index.dependents.get(&target.job) {
            let text = format!(
                "jobs that live come after job {}, {} of them: cancel them first",
                target.job,
                dependents.len()
            );
            return Err(Error::new(ErrorCode::WrongState, text));
        }
        self.drop_row(target.job);
        Ok(())
    }

    /// Nothing is left to read of an ended job; its id stays known for as long as it would have been.
    fn drop_row(&mut self, id: JobId) {
        self.dead.remove(id);
        self.jobs.remove_ended(id);
        self.deleted.insert(id);
        self.ended.delete(id, self.now);
    }

    fn retry(&mut self, target: &Target) -> Result<(), Error> {
        let id = target.job;
        if let Some(job) = self.jobs.get(&id) {
            return Err(wrong_state(id, job.state));
        }
        let state = self.ended_record(target)?.view.state;
        let (Some(&DeadJob { queue, .. }), Some(row)) = (self.dead_job(id), &target.row) else {
            return Err(wrong_state(id, state));
        };
        let record: JobRecord = decode("job", row).map_err(unreadable)?;
        let is_sound = (1..=limits::ATTEMPTS_MAX).contains(&record.view.max_attempts)
            && (1..=self.counters.seq).contains(&record.seq)
            && record.view.run_timeout_ms <= limits::RUN_TIMEOUT_MS_MAX
            && record.view.priority <= limits::PRIORITY_MAX;
        if !is_sound {
            return Err(unreadable("its values are out of range"));
        }
        let group = record.view.group.clone();
        let is_new = group.as_ref().is_some_and(|key| self.index.queues.get(queue).groups.index_of(key).is_none());
        self.check_groups(usize::from(is_new))?;
        // Its group is found once nothing can be refused any more.
        let mut job = Job::from_record(record, queue, GroupIndex::PLAIN, &mut self.tasks);
        let name = self.index.queues.get(queue).stats.queue.clone();
        self.check_room(&name, 1, job.waiting_bytes())?;
        self.check_quota(name.as_str(), Taken { jobs: 1, bytes: job.waiting_bytes(), ..Taken::default() })?;
        let claim = job.unique().filter(|unique| !matches!(unique.scope, UniqueScope::ForMs(_))).cloned();
        if let Some(unique) = &claim
            && let Some(holder) = self.keys.holder(&unique.key, self.now)
        {
            return Err(conflict(&unique.key, holder));
        }
        let waits = job.options.as_mut().and_then(|options| options.waits.as_mut());
        let is_blocked = waits.is_some_and(|waits| waits.note_alive(|id| self.jobs.contains_key(&id)));
        let next = if is_blocked { Next::Blocked(self.now) } else { Next::Ready(self.now) };
        transition::transition(&mut job, next);
        job.attempt = 0;
        if let Some(past) = &mut job.past {
            past.reported = None;
            past.finished_at = None;
            past.ended_seq = None;
            past.end_reason = None;
            past.crashed_at.clear();
            past.cancel_reason = None;
            past.cancelled_by = None;
            past.progress = None;
        }
        if let Some(mut options) = job.options.take() {
            options.ttl_ends_at = None;
            options.start_by = None;
            options.waits = options.waits.take().map(|waits| self.hold_again(waits));
            job.options = options.boxed();
        }
        job.group = self.index.queues.intern_group(queue, group.as_ref());
        self.dead.remove(id);
        self.jobs.remove_ended(id);
        self.ended.revive(id);
        if let Some(unique) = claim {
            self.keys.claim(&unique.key, id, None);
        }
        self.batches.job_revived(&job);
        self.begin(id, job);
        self.tell_dependents(id, None);
        Ok(())
    }

    /// What a job that is about to live again came after, without what may be lost meanwhile.
    fn hold_again(&self, waits: Waits) -> Waits {
        let gone = waits.held().map(|(_, before)| before).filter(|&before| !self.is_there(before));
        let lost: Vec<JobId> = gone.chain(waits.lost().iter().copied()).collect();
        waits.without(lost)
    }

    fn move_to(&mut self, target: &Target, to: &QueueName) -> Result<(), Error> {
        let id = target.job;
        let Some(job) = self.jobs.get(&id) else {
            return Err(wrong_state(id, self.ended_state(target)?));
        };
        if !job.is_waiting() {
            return Err(wrong_state(id, job.state));
        }
        if self.index.queues.index_of(to) == Some(job.queue) {
            return Ok(());
        }
        let from = &self.index.queues.get(job.queue).stats.queue;
        if Namespace::name_of(from.as_str()) != Namespace::name_of(to.as_str()) {
            return Err(invalid(format!("job {id} may not leave its namespace")));
        }
        self.check_room(to, 1, job.waiting_bytes())?;
        let makes_queue = self.index.queues.index_of(to).is_none();
        self.check_quota(to.as_str(), Taken { queues: u64::from(makes_queue), ..Taken::default() })?;
        let key = self.index.queues.get(job.queue).groups.key(job.group).cloned();
        let is_new = key.as_ref().is_some_and(|key| !self.index.queues.has_group(to, key));
        self.check_groups(usize::from(is_new))?;
        let (former_queue, former_group) = (job.queue, job.group);
        let index = self.index.queues.intern(to);
        let group = self.index.queues.intern_group(index, key.as_ref());
        self.amend(id, |job| (job.queue, job.group) = (index, group));
        self.index.queues.changed(former_queue, former_group, self.now);
        Ok(())
    }

    fn prioritize(&mut self, target: &Target, priority: u8) -> Result<(), Error> {
        let id = target.job;
        if !self.jobs.contains_key(&id) {
            return Err(wrong_state(id, self.ended_state(target)?));
        }
        self.amend(id, |job| job.priority = priority);
        Ok(())
    }

    /// Changes a live job within its state, and the indexes with it.
    pub(crate) fn amend(&mut self, id: JobId, change: impl FnOnce(&mut Job)) {
        let job = self.jobs.get_mut(&id).expect("callers name a live job");
        self.index.leave(id, job);
        change(job);
        self.index.enter(id, job, self.now);
        self.touch(id);
    }
}

pub(crate) fn conflict(key: &UniqueKey, holder: JobId) -> Error {
    Error::new(ErrorCode::Conflict, format!("job {holder} holds the unique key {key}"))
}

fn wrong_state(id: JobId, state: JobState) -> Error {
    Error::new(ErrorCode::WrongState, format!("job {id} is {state}"))
}

fn not_found(id: JobId) -> Error {
    Error::new(ErrorCode::NotFound, format!("no job {id}: it never was, was deleted, or is kept no longer"))
}

fn unreadable(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::Internal, format!("the row that the leader read is not usable: {why}"))
}
