//! The life of a job: its states and every legal step between them.
//!
//! ```text
//!               enqueue (delayed)                enqueue
//!                      │                            │
//!                      ▼           due              ▼         lease
//!                ┌───────────┐ ───────────────► ┌───────┐ ───────────────► ┌────────┐  complete  ┌───────────┐
//!                │ scheduled │                  │ ready │                  │ leased │ ─────────► │ completed │
//!                └───────────┘                  └───────┘ ◄─────────────── └────────┘            └───────────┘
//!                   ▲     │                         │   release, disconnect,  │  │  │
//!                   │     │                         │   lease ran out         │  │  │  final failure, or
//!                   │     │ cancel           cancel │                  cancel │  │  │  no attempt left       ┌──────┐
//!                   │     └──────────────┐          │          ┌──────────────┘  │  └──────────────────────► │ dead │
//!                   │                    ▼          ▼          ▼                 │                           └──────┘
//!                   │                  ┌──────────────────────────┐              │
//!                   │                  │        cancelled         │              │
//!                   │                  └──────────────────────────┘              │
//!                   └────────────────────────────────────────────────────────────┘
//!                                     retryable failure, attempts left
//! ```
//!
//! `completed`, `dead` and `cancelled` are absorbing. `blocked` and `expired` are names that the protocol reserves:
//! no command of this version leads there, so no step from or to them is legal.

use crate::job::{Job, Lease};
use jobraft_protocol::{JobState, LogTime};

/// Whether a job may go from one state to the other: the only table of it.
#[must_use]
pub const fn permitted(from: JobState, to: JobState) -> bool {
    use JobState::{Cancelled, Completed, Dead, Leased, Ready, Scheduled};
    matches!(
        (from, to),
        (Scheduled, Ready | Cancelled)
            | (Ready, Leased | Cancelled)
            | (Leased, Ready | Scheduled | Completed | Dead | Cancelled)
    )
}

/// Where a job goes, with what belongs to that state.
#[derive(Debug)]
pub(crate) enum Next {
    /// May run since the given time.
    Ready(LogTime),
    /// May run from the given time on.
    Scheduled(LogTime),
    /// A worker takes it.
    Leased(Lease),
    /// Its life is over.
    Ended {
        /// A terminal state.
        state: JobState,
        /// When.
        at: LogTime,
    },
}

impl Next {
    /// The state that this leads to.
    pub(crate) const fn state(&self) -> JobState {
        match self {
            Self::Ready(_) => JobState::Ready,
            Self::Scheduled(_) => JobState::Scheduled,
            Self::Leased(_) => JobState::Leased,
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
        Next::Ready(run_at) | Next::Scheduled(run_at) => job.run_at = run_at,
        Next::Leased(lease) => {
            job.lease = Some(Box::new(lease));
            if let Some(past) = &mut job.past {
                past.reported = None;
            }
        }
        Next::Ended { at, .. } => job.past_mut().finished_at = Some(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_states_are_absorbing() {
        for from in JobState::ALL.into_iter().filter(|state| state.is_terminal()) {
            assert!(JobState::ALL.into_iter().all(|to| !permitted(from, to)), "{from} can be left");
        }
    }

    #[test]
    fn only_ready_jobs_are_leased() {
        for from in JobState::ALL {
            assert_eq!(permitted(from, JobState::Leased), from == JobState::Ready);
        }
    }

    #[test]
    fn every_live_state_can_be_cancelled() {
        for from in [JobState::Scheduled, JobState::Ready, JobState::Leased] {
            assert!(permitted(from, JobState::Cancelled));
        }
    }
}
