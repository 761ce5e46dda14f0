//! The specification of one unique key together with all jobs that want it: at most one holds it, for as long as its scope
//! says, and what becomes of a second one is decided by who holds it then.

use super::drift::Meanwhile;
use super::life::{Facts, Life, Phase};
use super::operation::{Call, Outcome};
use super::search::Specification;
use super::window::Window;
use jobraft_protocol::{ErrorCode, JobId, OnConflict, UniqueScope};
use std::collections::HashMap;

/// Who holds the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    job: usize,
    /// If for a period: when it is over, at the earliest and at the latest.
    until: Option<(u64, u64)>,
}

/// The key and its jobs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claims {
    lives: Vec<Life>,
    holder: Option<Holder>,
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

impl Specification for Claim<'_> {
    type State = Claims;

    fn initial(&self) -> Claims {
        Claims { lives: vec![Life::absent(); self.facts.len()], holder: None }
    }

    fn step(&self, state: &Claims, operation: usize) -> Vec<Claims> {
        let step = &self.steps[operation];
        if !self.has_key {
            let life = state.lives[0].step(&self.facts[0], step.call, step.outcome, step.window);
            return life.into_iter().map(|life| Claims { lives: vec![life], holder: None }).collect();
        }
        let unmoved = self.apply(state.clone(), step);
        let is_but_later = |next: &Claims| {
            let mut lives = next.lives.iter().zip(&state.lives);
            next.holder == state.holder && lives.all(|(life, before)| life.is_but_later(before))
        };
        // Unless the answer leaves it open what was done.
        let is_told = !matches!(step.outcome, None | Some(Outcome::Done)) || !matches!(step.call, Call::Enqueue(_));
        if is_told && unmoved.iter().any(is_but_later) {
            return vec![state.clone()];
        }
        let drifted = self.drifted(state.clone(), &self.concerned(step), step.window);
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
    fn concerned(&self, step: &Step<'_>) -> Concerned {
        let contends = matches!(step.call, Call::Enqueue(_) | Call::Retry { .. });
        let named = match step.outcome {
            Some(Outcome::Duplicate(holder) | Outcome::Replaced(holder)) => self.places.get(holder).copied(),
            _ => None,
        };
        let any = contends && matches!(step.outcome, None | Some(Outcome::Refused(_) | Outcome::Untold(_)));
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
                let may_claim = || {
                    let scope = self.scope(place);
                    scope == Some(UniqueScope::Waiting) && matches!(state.lives[place].phase, Phase::Leased(_))
                };
                let is_concerned = place == concerned.job
                    || concerned.named == Some(place)
                    || (concerned.contends && is_holder)
                    || (concerned.any && may_claim());
                if !is_concerned {
                    continue;
                }
                for life in state.lives[place].drift(&self.facts[place], meanwhile) {
                    let next = self.with(&state, place, life);
                    if !all.contains(&next) {
                        all.push(next);
                    }
                }
            }
        }
        all
    }

    fn scope(&self, place: usize) -> Option<UniqueScope> {
        self.facts[place].unique.as_ref().map(|unique| unique.scope)
    }

    /// The state once that life is another one: the key goes as its scope says.
    fn with(&self, state: &Claims, place: usize, life: Life) -> Claims {
        let mut next = state.clone();
        next.lives[place] = life;
        let phase = &next.lives[place].phase;
        let is_waiting = *phase == Phase::Waiting;
        let gives_up = match self.scope(place) {
            Some(UniqueScope::Waiting) => !is_waiting,
            Some(UniqueScope::UntilStarted) => !is_waiting || next.lives[place].started,
            Some(UniqueScope::UntilDone) => matches!(phase, Phase::Ended(_)),
            Some(UniqueScope::ForMs(_)) | None => false,
        };
        let holds = next.holder.as_ref().is_some_and(|holder| holder.job == place && holder.until.is_none());
        if gives_up && holds {
            next.holder = None;
        } else if is_waiting && next.holder.is_none() && self.scope(place) == Some(UniqueScope::Waiting) {
            next.holder = Some(Holder { job: place, until: None });
        }
        next
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
        if !lives_again {
            return vec![self.with(&state, step.job, after)];
        }
        if matches!(self.scope(step.job), Some(UniqueScope::ForMs(_))) {
            return vec![self.with(&state, step.job, after)];
        }
        // Retried: it takes its key again.
        self.freed(state, step)
            .into_iter()
            .map(|free| {
                let mut next = self.with(&free, step.job, Life { now: free.lives[step.job].now, ..after.clone() });
                next.holder = Some(Holder { job: step.job, until: None });
                next
            })
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
        match (step.outcome, on_conflict) {
            (Some(Outcome::Duplicate(named)), Some(OnConflict::ReturnExisting))
                if self.places.get(named) == Some(&holder) =>
            {
                next.push(state);
            }
            (Some(Outcome::Refused(ErrorCode::Conflict)), Some(OnConflict::Reject)) => next.push(state),
            (Some(Outcome::Refused(ErrorCode::Conflict)), Some(OnConflict::Replace { .. })) if !waits => {
                next.push(state)
            }
            (Some(Outcome::Refused(code)), _) if *code != ErrorCode::Conflict => next.push(state),
            (Some(Outcome::Done), Some(OnConflict::ReturnExisting)) => next.push(state),
            (None | Some(Outcome::Done), Some(OnConflict::Replace { .. })) if waits => {
                next.push(replaced(state, holder, on_conflict))
            }
            (Some(Outcome::Replaced(named)), Some(OnConflict::Replace { .. }))
                if waits && self.places.get(named) == Some(&holder) =>
            {
                next.push(replaced(state, holder, on_conflict));
            }
            _ => {}
        }
        next
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
