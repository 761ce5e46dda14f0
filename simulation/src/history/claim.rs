//! The specification of one unique key together with all jobs that want it: at most one holds it, for as long as its scope
//! says, and what becomes of a second one is decided by who holds it then.

use super::drift::Meanwhile;
use super::life::{Facts, Life, Phase};
use super::operation::{Call, Outcome};
use super::reclaim::{Cause, Chance};
use super::search::Specification;
use super::window::Window;
use jobraft_protocol::{ErrorCode, JobId, JobState, OnConflict, UniqueScope};
use std::collections::HashMap;

/// Who holds the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    pub(super) job: usize,
    /// If for a period: when it is over, at the earliest and at the latest.
    pub(super) until: Option<(u64, u64)>,
}

/// The key and its jobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claims {
    pub(super) lives: Vec<Life>,
    pub(super) holder: Option<Holder>,
    /// Of each job.
    pub(super) chances: Vec<Chance>,
}

/// One operation on one of the jobs.
pub(super) struct Step<'a> {
    pub(super) job: usize,
    pub(super) call: &'a Call,
    pub(super) outcome: Option<&'a Outcome>,
    pub(super) window: Window,
}

/// A key, or one job without any: then there is only one life.
pub(super) struct Claim<'a> {
    pub(super) facts: Vec<Facts>,
    pub(super) places: HashMap<JobId, usize>,
    pub(super) steps: Vec<Step<'a>>,
    /// Whether the jobs contend for a key.
    pub(super) has_key: bool,
}

impl Step<'_> {
    /// Whether it tells that the job waits for nothing any more.
    fn sees_it_ready(&self) -> bool {
        matches!(self.outcome, Some(Outcome::View(seen)) if seen.state == JobState::Ready)
    }
}

impl Specification for Claim<'_> {
    type State = Claims;

    fn initial(&self) -> Claims {
        let jobs = self.facts.len();
        Claims { lives: vec![Life::absent(); jobs], holder: None, chances: vec![Chance::default(); jobs] }
    }

    fn step(&self, state: &Claims, operation: usize) -> Vec<Claims> {
        let step = &self.steps[operation];
        if !self.has_key {
            let life = state.lives[0].step(&self.facts[0], step.call, step.outcome, step.window);
            return life.into_iter().map(|life| Claims { lives: vec![life], ..state.clone() }).collect();
        }
        let unmoved = self.apply(state.clone(), step);
        let is_but_later = |next: &Claims| {
            let mut lives = next.lives.iter().zip(&state.lives);
            next.holder == state.holder && lives.all(|(life, before)| life.is_but_later(before))
        };
        // Unless the answer leaves it open what was done.
        let is_told = !matches!(step.outcome, None | Some(Outcome::Done)) || !matches!(step.call, Call::Enqueue(_));
        let is_settled = !(state.chances[step.job].ripens && step.sees_it_ready());
        if is_told && is_settled && unmoved.iter().any(is_but_later) {
            return vec![state.clone()];
        }
        let drifted = self.drifted(state.clone(), &self.concerned(state, step), step.window);
        let mut next: Vec<Claims> = Vec::new();
        for state in drifted.into_iter().flat_map(|state| self.apply(state, step)) {
            if !next.contains(&state) {
                next.push(state);
            }
        }
        next
    }
}

impl Claim<'_> {
    /// The jobs for which it matters what happened to them before this operation.
    fn concerned(&self, state: &Claims, step: &Step<'_>) -> Concerned {
        // Whether it has its key again depends on who else had it by then.
        let claims = self.may_claim(state, step.job);
        let contends = claims || matches!(step.call, Call::Enqueue(_) | Call::Retry { .. });
        let named = match step.outcome {
            Some(Outcome::Duplicate(holder) | Outcome::Replaced(holder)) => self.places.get(holder).copied(),
            _ => None,
        };
        let is_open = match step.outcome {
            None | Some(Outcome::Refused(_) | Outcome::Untold(_)) => true,
            Some(Outcome::Done) => matches!(step.call, Call::Enqueue(_)),
            _ => false,
        };
        let any = claims || (contends && is_open);
        Concerned { job: step.job, named, contends, any }
    }

    /// All that may have become by itself of those that are concerned.
    fn drifted(&self, state: Claims, concerned: &Concerned, window: Window) -> Vec<Claims> {
        let meanwhile = Meanwhile { until: window.until, unseen: window.unseen };
        let mut all = vec![state];
        let mut looked_at = 0;
        while let Some(state) = all.get(looked_at).cloned() {
            looked_at += 1;
            for place in 0..state.lives.len() {
                let is_holder = state.holder.as_ref().is_some_and(|holder| holder.job == place);
                let is_concerned =
                    place == concerned.job || concerned.named == Some(place) || (concerned.contends && is_holder);
                // Of any other it matters only that it has the key by then; the rest can be told later.
                let may_take = concerned.any && self.may_claim(&state, place);
                if !is_concerned && !may_take {
                    continue;
                }
                let takes = |next: &Claims| next.holder.as_ref().is_some_and(|holder| holder.job == place);
                let drift = state.lives[place].drift(&self.facts[place], meanwhile);
                let with = |life| self.with(&state, place, life, Cause::Itself, window.until);
                for next in drift.into_iter().flat_map(with).chain(self.ripened(&state, place, window.until)) {
                    if (is_concerned || takes(&next)) && !all.contains(&next) {
                        all.push(next);
                    }
                }
            }
        }
        all
    }

    pub(super) fn scope(&self, place: usize) -> Option<UniqueScope> {
        self.facts[place].unique.as_ref().map(|unique| unique.scope)
    }

    fn apply(&self, mut state: Claims, step: &Step<'_>) -> Vec<Claims> {
        let until = step.window.until;
        // It comes after all that happened to any of them.
        let now = state.lives.iter().map(|life| life.now).max().unwrap_or(0).max(step.window.from);
        if now > until {
            return Vec::new();
        }
        state.lives[step.job].now = now;
        let life = &state.lives[step.job];
        let facts = &self.facts[step.job];
        if matches!(step.call, Call::Enqueue(_)) && matches!(life.phase, Phase::Absent) {
            return self.enqueue(state, step);
        }
        let Some(after) = life.apply(facts, step.call, step.outcome, until) else { return Vec::new() };
        let lives_again = matches!((&life.phase, &after.phase), (Phase::Ended(_), Phase::Waiting));
        let with = |state: &Claims, after| self.with(state, step.job, after, Cause::Operation, until);
        if !lives_again || matches!(self.scope(step.job), Some(UniqueScope::ForMs(_))) {
            let mut next = with(&state, after);
            if step.sees_it_ready() {
                next.iter_mut().for_each(|next| next.chances[step.job].ripens = false);
            }
            return next;
        }
        // Retried: it takes its key again.
        self.freed(state, step)
            .into_iter()
            .flat_map(|free| with(&free, Life { now: free.lives[step.job].now, ..after.clone() }))
            .map(|next| Claims { holder: Some(Holder { job: step.job, until: None }), ..next })
            .collect()
    }

    /// A job that is not there wants to be.
    fn enqueue(&self, state: Claims, step: &Step<'_>) -> Vec<Claims> {
        let facts = &self.facts[step.job];
        let on_conflict = facts.unique.as_ref().map(|unique| unique.on_conflict);
        let until = step.window.until;
        let held_by = |state: &Claims| {
            let holder = state.holder.as_ref()?;
            let is_held = holder.until.is_none_or(|(_, latest)| state.lives[step.job].now < latest);
            is_held.then_some(holder.job)
        };
        let mut next = Vec::new();
        if matches!(step.outcome, None | Some(Outcome::Created | Outcome::Done))
            && let Some(mut created) = self.freed(state.clone(), step)
            && let Some(born) = created.lives[step.job].apply(facts, step.call, step.outcome, until)
        {
            let period = match self.scope(step.job) {
                Some(UniqueScope::ForMs(ms)) => Some((born.now.saturating_add(ms), until.saturating_add(ms))),
                _ => None,
            };
            created.lives[step.job] = born;
            created.holder = Some(Holder { job: step.job, until: period });
            next.push(created);
        }
        let Some(holder) = held_by(&state) else {
            if matches!(step.outcome, Some(Outcome::Refused(code)) if *code != ErrorCode::Conflict) {
                next.push(state);
            }
            return next;
        };
        let waits = state.lives[holder].phase == Phase::Waiting;
        let (same, other) = self.queues(holder, step.job);
        match (step.outcome, on_conflict) {
            (Some(Outcome::Duplicate(named)), Some(OnConflict::ReturnExisting))
                if self.places.get(named) == Some(&holder) =>
            {
                next.push(state);
            }
            (Some(Outcome::Refused(ErrorCode::Conflict)), Some(OnConflict::Reject)) => next.push(state),
            (Some(Outcome::Refused(ErrorCode::Conflict)), Some(OnConflict::Replace { .. })) if !waits || other => {
                next.push(state)
            }
            (Some(Outcome::Refused(code)), _) if *code != ErrorCode::Conflict => next.push(state),
            (Some(Outcome::Done), Some(OnConflict::ReturnExisting)) => next.push(state),
            (None | Some(Outcome::Done), Some(OnConflict::Replace { .. })) if waits && same => {
                next.push(replaced(state, holder, on_conflict))
            }
            (Some(Outcome::Replaced(named)), Some(OnConflict::Replace { .. }))
                if waits && same && self.places.get(named) == Some(&holder) =>
            {
                next.push(replaced(state, holder, on_conflict));
            }
            _ => {}
        }
        next
    }

    /// Whether the holder may be in the queue of another job, and whether in another one: a job takes the place of one in its
    /// own queue alone. Where moves went is not followed.
    fn queues(&self, holder: usize, job: usize) -> (bool, bool) {
        let moves = |step: &Step<'_>| step.job == holder && matches!(step.call, Call::Amend { waiting_only: true, .. });
        match (&self.facts[holder].queue, &self.facts[job].queue) {
            (Some(held), Some(wanted)) if !self.steps.iter().any(moves) => (held == wanted, held != wanted),
            _ => (true, true),
        }
    }

    /// The state with nobody holding the key, if that may be by then.
    fn freed(&self, mut state: Claims, step: &Step<'_>) -> Option<Claims> {
        let over = match &state.holder {
            None => 0,
            Some(Holder { until: Some((earliest, _)), .. }) => *earliest,
            Some(Holder { until: None, .. }) => return None,
        };
        state.holder = None;
        state.lives[step.job] = state.lives[step.job].at(over);
        (over <= step.window.until).then_some(state)
    }
}

/// The holder takes over what another job was to be. When it runs then is not followed: see [`Facts::replaceable`].
fn replaced(mut state: Claims, holder: usize, on_conflict: Option<OnConflict>) -> Claims {
    if let Some(OnConflict::Replace { payload: true, .. }) = on_conflict {
        state.lives[holder].checkpoint = 0;
    }
    if let Some(OnConflict::Replace { start: true, .. }) = on_conflict {
        state.lives[holder].run_at = 0;
    }
    state
}

/// See [`Claim::concerned`].
struct Concerned {
    job: usize,
    named: Option<usize>,
    contends: bool,
    any: bool,
}
