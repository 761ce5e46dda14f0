//! The specification of one job: what each operation does to it, and when an answer is right.
//!
//! It is told more loosely than the state machine in one respect alone: where a client cannot know (when exactly an
//! entry was stamped, how long a failed job waits, whether a new leader has renewed a lease), everything that may be is let
//! pass. What it is strict about: that a job is there, its attempts, its tokens, who may report, and how it ended.

use super::drift::Meanwhile;
use super::operation::{Call, Outcome, Seen};
use super::window::Window;
use jobraft_protocol::{ErrorCode, JobState, NewJob, OnConflict, QueueName, Start, Unique, limits};

/// How long the id of a job that ended is known.
pub(super) const REMEMBERED_MS: u64 = limits::IDEMPOTENCY_WINDOW_MS_DEFAULT;

/// What was asked of a job when it was enqueued.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) max_attempts: u32,
    pub(super) max_crashes: u32,
    pub(super) start: Start,
    pub(super) ttl_ms: Option<u64>,
    pub(super) start_deadline_ms: Option<u64>,
    pub(super) run_timeout_ms: u64,
    pub(super) comes_after: bool,
    pub(super) unique: Option<Unique>,
    /// Where it is put; it may be moved later. Absent: nobody knows.
    pub(super) queue: Option<QueueName>,
    /// Whether another job may take its place while it waits.
    pub(super) replaceable: bool,
    /// For how long it is kept at least once it ended.
    pub(super) kept_ms: u64,
}

impl Facts {
    pub(super) fn of(new: &NewJob, kept_ms: u64) -> Self {
        let unique = new.unique.clone();
        let replaceable =
            unique.as_ref().is_some_and(|unique| matches!(unique.on_conflict, OnConflict::Replace { .. }));
        Self {
            max_attempts: new.max_attempts.unwrap_or(limits::ATTEMPTS_DEFAULT),
            max_crashes: new.max_crashes.unwrap_or(limits::CRASHES_DEFAULT),
            start: new.start,
            ttl_ms: new.ttl_ms,
            start_deadline_ms: new.start_deadline_ms,
            run_timeout_ms: new.run_timeout_ms.unwrap_or(limits::RUN_TIMEOUT_MS_DEFAULT),
            comes_after: new.after.as_ref().is_some_and(|after| !after.jobs.is_empty()),
            unique,
            queue: Some(new.queue.clone()),
            replaceable,
            kept_ms,
        }
    }
}

/// Who holds a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lease {
    /// Whether a client was answered with it. If not, its node may have given it back for a session that was gone.
    pub(super) heard: bool,
    /// Absent: nobody knows of it.
    pub(super) token: Option<u64>,
    pub(super) worker: Option<u64>,
    /// At the earliest.
    pub(super) granted: u64,
    /// At the earliest: a new leader renews leases.
    pub(super) expires: u64,
    /// Whether it was ever extended.
    pub(super) extended: bool,
    /// When it is taken away at the earliest, once it is asked to stop.
    pub(super) cancel: Option<u64>,
}

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ended {
    pub(super) state: JobState,
    /// Under which token that was reported.
    pub(super) token: Option<u64>,
    /// At the earliest.
    pub(super) since: u64,
    /// Exactly, once it was seen.
    pub(super) finished: Option<u64>,
    pub(super) result: u64,
    pub(super) deleted: bool,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Absent,
    Waiting,
    Leased(Lease),
    Ended(Ended),
}

/// A job and log time, as little of it as must have passed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Life {
    pub(super) now: u64,
    pub(super) phase: Phase,
    pub(super) attempt: u32,
    pub(super) crashes: u32,
    /// The latest token.
    pub(super) floor: u64,
    /// Under which token its last attempt failed, until it is leased again.
    pub(super) reported: Option<u64>,
    /// When it may run at the earliest.
    pub(super) run_at: u64,
    /// What that was when it was enqueued.
    pub(super) first_run_at: u64,
    /// When it was enqueued: no earlier, no later.
    pub(super) enqueued: (u64, u64),
    pub(super) checkpoint: u64,
    /// Whether it was ever leased in this life.
    pub(super) started: bool,
    /// Whether it was retried, which frees it of what counts from its enqueue.
    pub(super) retried: bool,
}

impl Life {
    pub(super) const fn absent() -> Self {
        Self {
            now: 0,
            phase: Phase::Absent,
            attempt: 0,
            crashes: 0,
            floor: 0,
            reported: None,
            run_at: 0,
            first_run_at: 0,
            enqueued: (0, u64::MAX),
            checkpoint: 0,
            started: false,
            retried: false,
        }
    }

    /// What may follow an operation that happened in that window, whatever happened by itself before.
    pub(super) fn step(&self, facts: &Facts, call: &Call, outcome: Option<&Outcome>, window: Window) -> Vec<Self> {
        let meanwhile = Meanwhile { until: window.until, unseen: window.unseen };
        let apply = |life: &Self| {
            let life = life.at(window.from);
            if life.now <= window.until { life.apply(facts, call, outcome, window.until) } else { None }
        };
        // What changes nothing leaves open what happens by itself, and when.
        if apply(self).is_some_and(|next| next.is_but_later(self)) {
            return vec![self.clone()];
        }
        let mut next: Vec<Self> = self.drifted(facts, meanwhile).iter().filter_map(apply).collect();
        // As part of something else, where another may have stood for it.
        let is_part = matches!((call, outcome), (Call::Enqueue(_), Some(Outcome::Done)));
        if is_part && facts.unique.is_some() && self.phase == Phase::Absent {
            next.push(self.clone());
        }
        next.dedup();
        next
    }

    /// When it may be leased at the earliest, if nobody else can have set that.
    pub(super) const fn runs_from(&self, facts: &Facts) -> u64 {
        if facts.replaceable { 0 } else { self.run_at }
    }

    /// Whether nothing but time sets it apart from what was before.
    pub(super) fn is_but_later(&self, before: &Self) -> bool {
        *self == Self { now: self.now, ..before.clone() }
    }

    /// What follows an operation; nothing if its answer is wrong, or if it changes nothing and nobody knows its outcome.
    pub(super) fn apply(&self, facts: &Facts, call: &Call, outcome: Option<&Outcome>, until: u64) -> Option<Self> {
        match (call, outcome) {
            (Call::Enqueue(_) | Call::Spawn, outcome) => self.enqueue(facts, outcome, until),
            (
                Call::Lease { worker, lease_ms },
                Some(Outcome::Leased { token, attempt, expires_at, enqueued_at, checkpoint }),
            ) => {
                let enqueued = self.knows_enqueued(enqueued_at.as_ms())?;
                let granted = expires_at.as_ms().saturating_sub((*lease_ms).max(limits::LEASE_MS_MIN));
                let mut next = enqueued.at(granted).at(self.runs_from(facts));
                let is_right = self.phase == Phase::Waiting
                    && next.now <= until
                    && next.now <= expires_at.as_ms()
                    && *attempt == self.attempt + 1
                    && *attempt <= facts.max_attempts
                    && token.0 > self.floor
                    && (*checkpoint == self.checkpoint || facts.replaceable);
                next.attempt = *attempt;
                next.floor = token.0;
                next.started = true;
                next.reported = None;
                next.phase = Phase::Leased(Lease {
                    heard: true,
                    token: Some(token.0),
                    worker: Some(worker.0),
                    granted: next.now,
                    expires: expires_at.as_ms(),
                    extended: false,
                    cancel: None,
                });
                is_right.then_some(next)
            }
            (Call::Extend { token, lease_ms }, outcome) => self.extend(facts, token.0, *lease_ms, outcome, until),
            (Call::Checkpoint { token, data }, None | Some(Outcome::Done)) => {
                self.held(token.0)?;
                Some(Self { checkpoint: *data, ..self.clone() })
            }
            (Call::Complete { token, result }, None | Some(Outcome::Done)) => match (&self.phase, outcome) {
                (Phase::Ended(ended), Some(_)) => {
                    (ended.state == JobState::Completed && ended.token == Some(token.0)).then(|| self.clone())
                }
                _ => {
                    self.held(token.0)?;
                    let mut next = self.ended(JobState::Completed, Some(token.0));
                    if let Phase::Ended(ended) = &mut next.phase {
                        ended.result = *result;
                    }
                    next.checkpoint = 0;
                    Some(next)
                }
            },
            (Call::Fail { token, retryable }, None | Some(Outcome::Failed { .. })) => {
                let state = outcome
                    .and_then(|outcome| if let Outcome::Failed { state } = outcome { Some(*state) } else { None });
                self.fail(facts, token.0, *retryable, state)
            }
            (Call::Release { token, delay_ms }, None | Some(Outcome::Done)) => {
                self.held(token.0)?;
                Some(self.given_back(*delay_ms))
            }
            (
                Call::Checkpoint { token, .. }
                | Call::Complete { token, .. }
                | Call::Fail { token, .. }
                | Call::Release { token, .. },
                Some(Outcome::Refused(code)),
            ) => {
                let is_repetition = match call {
                    Call::Complete { .. } => self.ended_by(token.0, JobState::Completed),
                    Call::Fail { .. } => {
                        (self.phase == Phase::Waiting && self.reported == Some(token.0))
                            || self.ended_by(token.0, JobState::Dead)
                            || self.ended_by(token.0, JobState::Cancelled)
                    }
                    _ => false,
                };
                (self.is_lost(token.0, *code, until) && (!is_repetition || self.may_be_forgotten(until)))
                    .then(|| self.clone())
            }
            (Call::Disconnect { worker }, None | Some(Outcome::Done)) => match &self.phase {
                Phase::Leased(lease) if lease.worker == Some(worker.0) => Some(self.given_back(0)),
                _ => outcome.map(|_| self.clone()),
            },
            (Call::Cancel { .. } | Call::Retry { .. } | Call::Delete { .. } | Call::Amend { .. }, outcome) => {
                self.act(facts, call, outcome, until)
            }
            (Call::Get, Some(Outcome::View(seen))) => self.view(facts, seen, until),
            (Call::Get, Some(Outcome::Refused(ErrorCode::NotFound))) => {
                self.is_nowhere(facts, until).then(|| self.clone())
            }
            _ => None,
        }
    }

    fn enqueue(&self, facts: &Facts, outcome: Option<&Outcome>, until: u64) -> Option<Self> {
        let is_absent = self.phase == Phase::Absent || self.may_be_forgotten(until);
        match outcome {
            None | Some(Outcome::Created) => {
                let run_at = match facts.start {
                    Start::Now => self.now,
                    Start::AfterMs(ms) => self.now.saturating_add(ms),
                    Start::At(time) => time.as_ms().max(self.now),
                };
                // A deadline is reckoned from the time that was asked for, even if that is past.
                let first_run_at = if let Start::At(time) = facts.start { time.as_ms() } else { run_at };
                let born = Self { now: self.now, floor: self.floor, ..Self::absent() };
                let enqueued = (self.now, until);
                is_absent.then_some(Self { phase: Phase::Waiting, run_at, first_run_at, enqueued, ..born })
            }
            Some(Outcome::Done) if self.phase == Phase::Absent => self.enqueue(facts, None, until),
            Some(Outcome::Existing | Outcome::Done) => (self.phase != Phase::Absent).then(|| self.clone()),
            Some(Outcome::Duplicate(_) | Outcome::Replaced(_) | Outcome::Refused(_)) => is_absent.then(|| self.clone()),
            _ => None,
        }
    }

    /// The same once it is told when it was enqueued.
    fn knows_enqueued(&self, at: u64) -> Option<Self> {
        let (from, until) = self.enqueued;
        let mut next = self.clone();
        next.enqueued = (at, at);
        (from..=until).contains(&at).then_some(next)
    }

    fn held(&self, token: u64) -> Option<&Lease> {
        match &self.phase {
            Phase::Leased(lease) if lease.token == Some(token) => Some(lease),
            _ => None,
        }
    }

    fn ended_by(&self, token: u64, state: JobState) -> bool {
        matches!(&self.phase, Phase::Ended(ended) if ended.state == state && ended.token == Some(token))
    }

    /// Whether it is right to say that the token holds it no longer.
    fn is_lost(&self, token: u64, code: ErrorCode, until: u64) -> bool {
        let is_cancelled = matches!(&self.phase, Phase::Ended(ended) if ended.state == JobState::Cancelled);
        match code {
            ErrorCode::Cancelled => is_cancelled,
            ErrorCode::LeaseLost => self.held(token).is_none() && (!is_cancelled || self.may_be_forgotten(until)),
            _ => false,
        }
    }

    fn extend(&self, facts: &Facts, token: u64, lease_ms: u64, outcome: Option<&Outcome>, until: u64) -> Option<Self> {
        if let Some(Outcome::Refused(code)) = outcome {
            return self.is_lost(token, *code, until).then(|| self.clone());
        }
        let mut lease = self.held(token)?.clone();
        lease.extended = true;
        if let Some(Outcome::Extended { expires_at, to_stop }) = outcome {
            let expires = expires_at.as_ms();
            let lease_ms = lease_ms.max(limits::LEASE_MS_MIN);
            let latest = lease.granted.saturating_add(facts.run_timeout_ms).saturating_add(limits::RUN_GRACE_MS);
            // Unless the job's end or a cancellation cut it, it is a whole lease from then on.
            let is_cut = lease.cancel.is_some() || expires >= latest;
            let is_right = expires >= lease.expires
                && *to_stop == lease.cancel.is_some()
                && self.now <= expires
                && (is_cut || self.now.saturating_add(lease_ms) <= expires);
            if !is_right {
                return None;
            }
            lease.expires = expires;
        }
        Some(Self { phase: Phase::Leased(lease), ..self.clone() })
    }

    fn fail(&self, facts: &Facts, token: u64, retryable: bool, state: Option<JobState>) -> Option<Self> {
        let next = if self.held(token).is_none() {
            // Repeated: answered as the first was.
            let state = state?;
            let is_waiting = self.phase == Phase::Waiting && self.reported == Some(token);
            let is_right = self.ended_by(token, state) || (is_waiting && state == JobState::Scheduled);
            return (is_right && state != JobState::Completed).then(|| self.clone());
        } else if retryable || self.is_to_stop() {
            self.failed(facts, Some(token))
        } else {
            self.ended(JobState::Dead, Some(token))
        };
        let becomes = if let Phase::Ended(ended) = &next.phase { ended.state } else { JobState::Scheduled };
        state.is_none_or(|state| state == becomes).then_some(next)
    }

    fn is_to_stop(&self) -> bool {
        matches!(&self.phase, Phase::Leased(Lease { cancel: Some(_), .. }))
    }

    /// Whether it is right to say that there is no such job.
    pub(super) fn is_nowhere(&self, facts: &Facts, until: u64) -> bool {
        match &self.phase {
            Phase::Absent => true,
            Phase::Ended(ended) => ended.deleted || ended.since.saturating_add(facts.kept_ms) <= until,
            _ => false,
        }
    }

    fn view(&self, facts: &Facts, seen: &Seen, until: u64) -> Option<Self> {
        let mut next = self.knows_enqueued(seen.enqueued_at.as_ms())?;
        if seen.attempt != self.attempt {
            return None;
        }
        match &mut next.phase {
            Phase::Absent => return None,
            Phase::Waiting => {
                let is_right = match seen.state {
                    JobState::Scheduled | JobState::Ready => true,
                    JobState::Blocked => facts.comes_after,
                    _ => false,
                };
                if !is_right || (seen.run_at.as_ms() < self.run_at && !facts.replaceable) {
                    return None;
                }
                next.run_at = seen.run_at.as_ms();
            }
            Phase::Leased(lease) => {
                let (worker, token, granted, expires) = seen.lease?;
                let is_right = seen.state == JobState::Leased
                    && lease.token.is_none_or(|known| known == token.0)
                    && lease.worker.is_none_or(|known| known == worker.0)
                    && lease.granted <= granted.as_ms()
                    && granted.as_ms() <= until
                    && seen.to_stop == lease.cancel.is_some()
                    && (lease.expires <= expires.as_ms())
                    && (lease.token.is_some() || token.0 > self.floor);
                if !is_right {
                    return None;
                }
                next.floor = next.floor.max(token.0);
                *lease = Lease {
                    token: Some(token.0),
                    worker: Some(worker.0),
                    granted: granted.as_ms(),
                    expires: expires.as_ms(),
                    ..lease.clone()
                };
            }
            Phase::Ended(ended) => {
                let finished = seen.finished_at?.as_ms();
                let is_right = seen.state == ended.state
                    && !ended.deleted
                    && (ended.state != JobState::Completed || seen.result == ended.result)
                    && ended.finished.is_none_or(|known| known == finished)
                    && (ended.since..=until).contains(&finished);
                if !is_right {
                    return None;
                }
                ended.finished = Some(finished);
                ended.since = finished;
            }
        }
        next.now = next.now.max(seen.finished_at.map_or(0, jobraft_protocol::LogTime::as_ms));
        Some(next)
    }
}
