//! The specification of one job, continued: what is done to it by name.

use super::life::{Ended, Facts, Lease, Life, Phase};
use super::operation::{Call, Outcome};
use jobraft_protocol::{ErrorCode, JobState};

impl Life {
    /// What follows an action; see [`Life::apply`].
    pub(super) fn act(&self, facts: &Facts, call: &Call, outcome: Option<&Outcome>, until: u64) -> Option<Self> {
        let (Call::Cancel { only_in, .. }
        | Call::Retry { only_in }
        | Call::Delete { only_in }
        | Call::Amend { only_in, .. }) = call
        else {
            return None;
        };
        let is_meant = only_in.is_empty() || self.may_be_in(only_in);
        match outcome {
            None | Some(Outcome::Done) => {
                let next = is_meant.then(|| self.done(call)).flatten()?;
                (outcome.is_some() || next != *self).then_some(next)
            }
            Some(Outcome::Refused(ErrorCode::NotFound)) => self.is_nowhere(facts, until).then(|| self.clone()),
            Some(Outcome::Refused(ErrorCode::WrongState)) => {
                (!self.is_always_in(only_in) || self.may_be_refused(call)).then(|| self.clone())
            }
            _ => None,
        }
    }

    /// Whether it may be in one of these states: how a job waits is not known for sure.
    fn may_be_in(&self, states: &[JobState]) -> bool {
        let waiting = [JobState::Scheduled, JobState::Ready, JobState::Blocked];
        match &self.phase {
            Phase::Absent => false,
            Phase::Waiting => states.iter().any(|state| waiting.contains(state)),
            Phase::Leased(_) => states.contains(&JobState::Leased),
            Phase::Ended(ended) => states.contains(&ended.state),
        }
    }

    /// Whether none of these states, if any is asked for, can be the reason of a refusal.
    fn is_always_in(&self, states: &[JobState]) -> bool {
        let waiting = [JobState::Scheduled, JobState::Ready, JobState::Blocked];
        match &self.phase {
            Phase::Waiting => states.is_empty() || waiting.iter().all(|state| states.contains(state)),
            _ => states.is_empty() || self.may_be_in(states),
        }
    }

    /// Whether the action may be refused for the state in which the job is.
    fn may_be_refused(&self, call: &Call) -> bool {
        match (&self.phase, call) {
            (Phase::Absent, _) => false,
            (Phase::Waiting, Call::Retry { .. }) => true,
            (Phase::Waiting, _) => false,
            (Phase::Leased(_), Call::Cancel { .. }) => false,
            (Phase::Leased(_), Call::Amend { waiting_only, .. }) => *waiting_only,
            (Phase::Leased(_), _) => true,
            (Phase::Ended(ended), Call::Cancel { .. }) => ended.state != JobState::Cancelled,
            // One that has only just become dead is refused too, and one that others come after.
            (Phase::Ended(_), _) => true,
        }
    }

    /// What becomes of it, if the action is possible.
    fn done(&self, call: &Call) -> Option<Self> {
        match (&self.phase, call) {
            (Phase::Leased(lease), Call::Cancel { grace_ms, .. }) if *grace_ms > 0 => {
                let hard_at = self.now.saturating_add(*grace_ms);
                let cancel = Some(lease.cancel.map_or(hard_at, |former| former.min(hard_at)));
                let expires = lease.expires.min(hard_at);
                Some(Self { phase: Phase::Leased(Lease { cancel, expires, ..lease.clone() }), ..self.clone() })
            }
            (Phase::Waiting | Phase::Leased(_), Call::Cancel { .. }) => Some(self.ended(JobState::Cancelled, None)),
            (Phase::Ended(ended), Call::Cancel { .. }) => (ended.state == JobState::Cancelled).then(|| self.clone()),
            (Phase::Ended(ended), Call::Retry { .. }) if ended.state == JobState::Dead && !ended.deleted => {
                Some(Self {
                    phase: Phase::Waiting,
                    attempt: 0,
                    crashes: 0,
                    reported: None,
                    run_at: self.now,
                    started: false,
                    retried: true,
                    ..self.clone()
                })
            }
            (Phase::Waiting, Call::Delete { .. }) => {
                let mut next = self.ended(JobState::Cancelled, None);
                if let Phase::Ended(ended) = &mut next.phase {
                    ended.deleted = true;
                }
                Some(next)
            }
            (Phase::Ended(ended), Call::Delete { .. }) if !ended.deleted => {
                let ended = Ended { deleted: true, ..ended.clone() };
                Some(Self { phase: Phase::Ended(ended), ..self.clone() })
            }
            (Phase::Waiting, Call::Amend { .. }) => Some(self.clone()),
            (Phase::Leased(_), Call::Amend { waiting_only: false, .. }) => Some(self.clone()),
            _ => None,
        }
    }
}
