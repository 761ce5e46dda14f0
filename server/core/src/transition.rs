//! The life of a job: its states and every legal step between them.
//!
//! [`STEPS`] is the only table of it; the diagram in the book is drawn from it. `completed`, `cancelled` and `expired`
//! are absorbing; `dead` is left by an explicit retry alone.

use crate::job::{Job, Lease};
use jobraft_protocol::JobState::{self, Blocked, Cancelled, Completed, Dead, Expired, Leased, Ready, Scheduled};
use jobraft_protocol::{EndReason, LogTime};

/// One legal step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where the job stands; `None`: it does not exist yet.
    pub from: Option<JobState>,
    /// Where it goes.
    pub to: JobState,
    /// What takes it there, for people.
    pub cause: &'static str,
}

const fn step(from: JobState, to: JobState, cause: &'static str) -> Step {
    Step { from: Some(from), to, cause }
}

/// Every legal step.
pub const STEPS: &[Step] = &[
    Step { from: None, to: Scheduled, cause: "enqueue with a delay" },
    Step { from: None, to: Ready, cause: "enqueue" },
    Step { from: None, to: Blocked, cause: "enqueue after other jobs" },
    step(Blocked, Ready, "those have ended"),
    step(Blocked, Scheduled, "those have ended, before its time"),
    step(Blocked, Cancelled, "cancel, delete, one of those failed"),
    step(Blocked, Expired, "time-to-live or start deadline over"),
    step(Scheduled, Ready, "due"),
    step(Scheduled, Scheduled, "rescheduled by a job of the same key"),
    step(Scheduled, Cancelled, "cancel, delete"),
    step(Scheduled, Expired, "time-to-live or start deadline over"),
    step(Ready, Leased, "lease"),
    step(Ready, Scheduled, "rescheduled by a job of the same key"),
    step(Ready, Cancelled, "cancel, delete"),
    step(Ready, Expired, "time-to-live or start deadline over"),
    step(Leased, Completed, "complete"),
    step(Leased, Ready, "release, disconnect, crash"),
    step(Leased, Scheduled, "failure with attempts left, snooze"),
    step(Leased, Dead, "final failure, no attempt left, crash budget spent"),
    step(Leased, Cancelled, "cancel"),
    step(Dead, Ready, "retry"),
    step(Dead, Blocked, "retry, after jobs that live again"),
];

/// Whether a job may go from one state to the other.
#[must_use]
pub fn permitted(from: JobState, to: JobState) -> bool {
    STEPS.iter().any(|step| step.from == Some(from) && step.to == to)
}

/// Where a job goes, with what belongs to that state.
#[derive(Debug)]
pub(crate) enum Next {
    /// May run since the given time.
    Ready(LogTime),
    /// May run from the given time on.
    Scheduled(LogTime),
    /// Waits for other jobs, then from the given time on.
    Blocked(LogTime),
    /// A worker takes it.
    Leased(Lease),
    /// Its life is over.
    Ended {
        /// A terminal state.
        state: JobState,
        /// When.
        at: LogTime,
        /// Why; a completed job needs no reason.
        reason: Option<EndReason>,
    },
}

impl Next {
    /// The state that this leads to.
    pub(crate) const fn state(&self) -> JobState {
        match self {
            Self::Ready(_) => Ready,
            Self::Scheduled(_) => Scheduled,
            Self::Blocked(_) => Blocked,
            Self::Leased(_) => Leased,
            Self::Ended { state, .. } => *state,
        }
    }
}

/// Changes the job's state: the only place that does. Indexes are the caller's affair (`Core::transition`).
///
/// # Panics
/// If the step is not legal. Callers check first and refuse; to go on would split or lose a job.
pub(crate) fn transition(job: &mut Job, next: Next) {
    let (from, to) = (job.state, next.state());
    assert!(permitted(from, to), "defect: a job cannot go from {from} to {to}");
    job.state = to;
    job.lease = None;
    match next {
        Next::Ready(run_at) | Next::Scheduled(run_at) | Next::Blocked(run_at) => job.run_at = run_at,
        Next::Leased(lease) => {
            job.lease = Some(Box::new(lease));
            if let Some(past) = &mut job.past {
                past.reported = None;
            }
        }
        Next::Ended { at, reason, .. } => {
            let past = job.past_mut();
            past.finished_at = Some(at);
            past.end_reason = reason;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_states_are_absorbing_but_for_the_retry_of_a_dead_job() {
        for from in JobState::ALL.into_iter().filter(|state| state.is_terminal()) {
            let left_for: Vec<_> = JobState::ALL.into_iter().filter(|&to| permitted(from, to)).collect();
            assert_eq!(left_for, if from == Dead { vec![Blocked, Ready] } else { vec![] }, "from {from}");
        }
    }

    #[test]
    fn only_ready_jobs_are_leased() {
        for from in JobState::ALL {
            assert_eq!(permitted(from, Leased), from == Ready);
        }
    }

    #[test]
    fn every_live_state_can_be_cancelled() {
        for from in [Scheduled, Blocked, Ready, Leased] {
            assert!(permitted(from, Cancelled));
        }
    }

    #[test]
    fn only_waiting_jobs_expire() {
        for from in JobState::ALL {
            assert_eq!(permitted(from, Expired), matches!(from, Scheduled | Blocked | Ready));
        }
    }
}
