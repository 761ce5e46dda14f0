//! How a job whose key is held while it waits takes that key again: when its lease ends, or when its time comes after that,
//! if nobody holds the key then.
//!
//! When that was is seldom known: what happens by itself is looked at when it first matters, at the earliest time at which
//! it can have been, and may have been at any time from then on. So it matters who held the key at any of them.

use super::claim::{Claim, Claims, Holder};
use super::life::{Life, Phase};
use jobraft_protocol::UniqueScope;

/// What is left open of a job that does not hold its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Chance {
    /// Until when, at the latest, another held the key since this job was leased: if the lease ended by itself before, the
    /// job found the key taken.
    missed: Option<u64>,
    /// Whether it waits for its time, and takes the key when that comes.
    pub(super) ripens: bool,
}

/// Whether a life changed by itself, or by the operation that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// At any time up to now.
    Itself,
    /// Now.
    Operation,
}

impl Claim<'_> {
    /// Whether the job may take its key again by itself.
    pub(super) fn may_claim(&self, state: &Claims, place: usize) -> bool {
        self.holds_while_waiting(place)
            && match state.lives[place].phase {
                Phase::Leased(_) => true,
                Phase::Waiting => state.chances[place].ripens,
                Phase::Absent | Phase::Ended(_) => false,
            }
    }

    fn holds_while_waiting(&self, place: usize) -> bool {
        self.scope(place) == Some(UniqueScope::Waiting)
    }

    /// What may be once that life is another one, no later than `until`: the key goes as its scope says.
    pub(super) fn with(&self, state: &Claims, place: usize, life: Life, cause: Cause, until: u64) -> Vec<Claims> {
        let (before, chance) = (&state.lives[place], &state.chances[place]);
        let waits = life.phase == Phase::Waiting;
        let mut next = state.clone();
        if waits && before.phase == Phase::Waiting {
            next.lives[place] = life;
            return vec![next];
        }
        next.chances[place] = Chance::default();
        if waits && matches!(before.phase, Phase::Leased(_)) && self.holds_while_waiting(place) {
            // After a failure it waits for its time; given back or lost, the attempt does not count.
            let ripens = life.attempt == before.attempt || life.run_at > life.now;
            let missed = chance.missed.filter(|_| cause == Cause::Itself);
            next.lives[place] = life;
            return self.back(next, place, missed, ripens, until);
        }
        let gives_up = match self.scope(place) {
            Some(UniqueScope::Waiting) => !waits,
            Some(UniqueScope::UntilStarted) => !waits || life.started,
            Some(UniqueScope::UntilDone) => matches!(life.phase, Phase::Ended(_)),
            Some(UniqueScope::ForMs(_)) | None => false,
        };
        next.lives[place] = life;
        if gives_up && next.holder.as_ref().is_some_and(|holder| holder.job == place && holder.until.is_none()) {
            next.holder = None;
            for other in (0..next.lives.len()).filter(|&other| other != place && self.holds_while_waiting(other)) {
                if matches!(next.lives[other].phase, Phase::Leased(_)) {
                    next.chances[other].missed = Some(until);
                }
            }
        }
        vec![next]
    }

    /// A job that was leased waits: with its key if that was free, without if it was held.
    fn back(&self, state: Claims, place: usize, missed: Option<u64>, ripens: bool, until: u64) -> Vec<Claims> {
        let now = state.lives[place].now;
        let was_held = missed.is_some_and(|latest| now <= latest)
            || match &state.holder {
                None => false,
                Some(Holder { until: Some((_, latest)), .. }) => now < *latest,
                Some(Holder { until: None, .. }) => true,
            };
        let mut next: Vec<Claims> = claimed(&state, place, now, until).into_iter().collect();
        if was_held {
            let mut without = state;
            without.chances[place].ripens = ripens;
            next.push(without);
        }
        next
    }

    /// A job that waits without its key takes it when its time comes.
    pub(super) fn ripened(&self, state: &Claims, place: usize, until: u64) -> Option<Claims> {
        let life = &state.lives[place];
        let is_ripening = life.phase == Phase::Waiting && self.may_claim(state, place);
        let time = life.now.max(life.runs_from(&self.facts[place]));
        let mut next = claimed(state, place, time, until).filter(|_| is_ripening)?;
        next.chances[place].ripens = false;
        Some(next)
    }
}

/// The job takes the key, no earlier than `time` and no later than `until`, if it can be free by then.
fn claimed(state: &Claims, place: usize, time: u64, until: u64) -> Option<Claims> {
    let free = match &state.holder {
        None => time,
        Some(Holder { until: Some((earliest, _)), .. }) => time.max(*earliest),
        Some(Holder { until: None, .. }) => return None,
    };
    let mut next = state.clone();
    next.lives[place] = next.lives[place].at(free);
    next.holder = Some(Holder { job: place, until: None });
    (free <= until).then_some(next)
}
