//! What a job waits for: other jobs, and what becomes of it when they end.
//!
//! A job notes of each job that it comes after how that one ended. Once what it noted says that it may run, or that it never
//! will, it falls due like any timer, in the same entry: so what one end sets in motion is bounded as timers are.

use crate::Core;
use crate::transition::Next;
use jobraft_protocol::{EndReason, JobId, JobState, OnFailure, Predecessor};
use std::collections::HashSet;

/// The jobs that a job comes after, as it named them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) on_failure: OnFailure,
    pub(crate) jobs: Vec<Predecessor>,
}

/// What follows from what a job noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on waiting.
    Waits,
    /// It may run.
    Free,
    /// It will never run.
    Doomed,
}

impl Waits {
    /// Notes which of them live again; says whether any does.
    pub(crate) fn note_alive(&mut self, is_live: impl Fn(JobId) -> bool) -> bool {
        let alive = self.jobs.iter_mut().filter(|one| is_live(one.job));
        alive.map(|one| one.ended = None).count() > 0
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::Free;
        for one in &self.jobs {
            match (one.ended, self.on_failure) {
                (Some(JobState::Completed), _) | (Some(_), OnFailure::Run) => {}
                (None, _) | (Some(JobState::Dead), OnFailure::Wait) => verdict = Verdict::Waits,
                (Some(_), OnFailure::Wait | OnFailure::Cancel) => return Verdict::Doomed,
            }
        }
        verdict
    }
}

impl Core {
    /// Lets the jobs that wait for this one know that it ended, or that it lives again.
    pub(crate) fn tell_dependents(&mut self, id: JobId, ended: Option<JobState>) {
        let dependents: Vec<JobId> = self.index.dependents.get(&id).into_iter().flatten().copied().collect();
        for dependent in dependents {
            if self.jobs.get(&dependent).is_some_and(|job| job.state == JobState::Blocked) {
                self.amend(dependent, |job| {
                    let waits = job.options.as_mut().and_then(|options| options.waits.as_mut());
                    for one in waits.into_iter().flat_map(|waits| &mut waits.jobs).filter(|one| one.job == id) {
                        one.ended = ended;
                    }
                });
            }
        }
    }

    /// Whether a live job named this one as one that it comes after: then what there is to read of it stays.
    pub(crate) fn is_pinned(&self, id: JobId) -> bool {
        self.index.pinned.contains(&id)
    }

    /// Ended jobs whose rows must stay, whatever their retention says.
    #[must_use]
    pub fn pinned(&self) -> HashSet<JobId> {
        self.index.pinned.clone()
    }

    /// A blocked job fell due: it may run, or never will.
    pub(crate) fn unblock(&mut self, id: JobId) {
        let job = self.job(id);
        let run_at = job.run_at;
        match job.waits().map_or(Verdict::Free, Waits::verdict) {
            Verdict::Free if run_at > self.now => self.transition(id, Next::Scheduled(run_at)),
            Verdict::Free => self.transition(id, Next::Ready(run_at)),
            Verdict::Doomed => self.end_cancelled(id, EndReason::DependencyFailed),
            Verdict::Waits => unreachable!("a job that goes on waiting has no such timer"),
        }
    }
}
