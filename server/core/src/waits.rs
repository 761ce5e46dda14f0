//! What a job waits for: other jobs, and what becomes of it when they end.
//!
//! A job notes of each job that it comes after how that one ended. Once what it noted says that it may run, or that it never
//! will, it falls due like any timer, in the same entry: so what one end sets in motion is bounded as timers are.

use crate::Core;
use crate::transition::Next;
use jobraft_protocol::{EndReason, JobId, JobState, OnFailure, Predecessor};
use std::collections::BTreeSet;

/// The jobs that a job comes after, as it named them. What follows is counted along: a job may come after a thousand others,
/// and ten thousand after one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waits {
    on_failure: OnFailure,
    jobs: Vec<Predecessor>,
    counts: Counts,
    /// Those of which nothing may be left to read: they were kept no longer when this one, dead by then, was retried.
    lost: BTreeSet<JobId>,
}

/// How many of the jobs have which verdict; those that let it run are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    waits: u32,
    doomed: u32,
}

impl Counts {
    const fn verdict(self) -> Verdict {
        match (self.waits, self.doomed) {
            (0, 0) => Verdict::Free,
            (_, 0) => Verdict::Waits,
            _ => Verdict::Doomed,
        }
    }

    fn count(mut self, verdict: Verdict) -> Self {
        match verdict {
            Verdict::Waits => self.waits += 1,
            Verdict::Doomed => self.doomed += 1,
            Verdict::Free => {}
        }
        self
    }

    fn discount(mut self, verdict: Verdict) -> Self {
        match verdict {
            Verdict::Waits => self.waits -= 1,
            Verdict::Doomed => self.doomed -= 1,
            Verdict::Free => {}
        }
        self
    }
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

/// What follows from the end of one of them.
const fn verdict(on_failure: OnFailure, ended: Option<JobState>) -> Verdict {
    match (ended, on_failure) {
        (Some(JobState::Completed), _) | (Some(_), OnFailure::Run) => Verdict::Free,
        (None, _) | (Some(JobState::Dead), OnFailure::Wait) => Verdict::Waits,
        (Some(_), OnFailure::Wait | OnFailure::Cancel) => Verdict::Doomed,
    }
}

impl Waits {
    /// Notes which of them live again; says whether any does.
    pub(crate) fn note_alive(&mut self, is_live: impl Fn(JobId) -> bool) -> bool {
        let alive: Vec<usize> = self.held().filter(|&(_, id)| is_live(id)).map(|(place, _)| place).collect();
        alive.iter().for_each(|&place| self.note(place, None));
        !alive.is_empty()
    }

    pub(crate) fn new(on_failure: OnFailure, jobs: Vec<Predecessor>) -> Self {
        let counts = jobs.iter().fold(Counts::default(), |counts, one| counts.count(verdict(on_failure, one.ended)));
        Self { on_failure, jobs, counts, lost: BTreeSet::new() }
    }

    /// The same without a hold on some of them.
    pub(crate) fn without(self, lost: impl IntoIterator<Item = JobId>) -> Self {
        Self { lost: lost.into_iter().collect(), ..self }
    }

    pub(crate) const fn lost(&self) -> &BTreeSet<JobId> {
        &self.lost
    }

    /// Those that are kept for it, each with its place.
    pub(crate) fn held(&self) -> impl Iterator<Item = (usize, JobId)> {
        let places = self.jobs.iter().map(|one| one.job).enumerate();
        places.filter(|(_, id)| !self.lost.contains(id))
    }

    pub(crate) const fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    pub(crate) fn jobs(&self) -> &[Predecessor] {
        &self.jobs
    }

    pub(crate) const fn verdict(&self) -> Verdict {
        self.counts.verdict()
    }

    /// The counts once the job at that place has ended so, or lives again.
    fn counts_with(&self, place: usize, ended: Option<JobState>) -> Counts {
        let former = verdict(self.on_failure, self.jobs[place].ended);
        self.counts.discount(former).count(verdict(self.on_failure, ended))
    }

    fn note(&mut self, place: usize, ended: Option<JobState>) {
        self.counts = self.counts_with(place, ended);
        self.jobs[place].ended = ended;
    }
}

impl Core {
    /// Lets the jobs that wait for this one know that it ended, or that it lives again.
    pub(crate) fn tell_dependents(&mut self, id: JobId, ended: Option<JobState>) {
        let dependents: Vec<(JobId, usize)> =
            self.index.dependents.get(&id).into_iter().flatten().map(|(id, place)| (*id, *place)).collect();
        for (dependent, place) in dependents {
            let Some(job) = self.jobs.get_mut(&dependent).filter(|job| job.state == JobState::Blocked) else {
                continue;
            };
            let Some(waits) = job.waits_mut() else { continue };
            if waits.counts_with(place, ended).verdict() == waits.verdict() {
                waits.note(place, ended);
                self.touch(dependent);
            } else {
                self.amend(dependent, |job| {
                    if let Some(waits) = job.waits_mut() {
                        waits.note(place, ended);
                    }
                });
            }
        }
    }

    /// Whether what there is to read of a job is there for sure, wherever it rests.
    pub(crate) fn is_there(&self, id: JobId) -> bool {
        let is_remembered = || self.ended.get(id, self.now).is_some() && !self.ended.is_deleted(id);
        self.jobs.contains_key(&id) || is_remembered() || self.is_pinned(id) || self.dead_job(id).is_some()
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Command, Entry, Outcome};
    use jobraft_protocol::{After, EnqueueOutcome, ErrorCode, JobAction, LogTime, NewJob, Task, limits};

    fn id(number: u64) -> JobId {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        JobId::new(LogTime::ZERO, random)
    }

    fn job(number: u64, after: std::ops::Range<u64>) -> NewJob {
        let after = (!after.is_empty()).then(|| After { jobs: after.map(id).collect(), ..After::default() });
        NewJob { after, ..NewJob::new(id(number), "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "") }
    }

    fn apply(core: &mut Core, commands: Vec<Command>) -> Vec<Result<Outcome, jobraft_protocol::Error>> {
        core.apply(&Entry { commands, ..Entry::default() }).outcomes
    }

    fn enqueue(core: &mut Core, jobs: Vec<NewJob>) -> Vec<EnqueueOutcome> {
        match apply(core, vec![Command::enqueue(jobs)]).remove(0).unwrap() {
            Outcome::Enqueued(outcomes) => outcomes,
            other => panic!("{other:?}"),
        }
    }

    fn refused(outcome: &EnqueueOutcome) -> Option<ErrorCode> {
        if let EnqueueOutcome::Refused(error) = outcome { Some(error.code) } else { None }
    }

    #[test]
    fn so_many_may_come_after_one_and_no_more() {
        let (mut core, most) = (Core::new(), limits::DEPENDENTS_MAX as u64);
        enqueue(&mut core, vec![job(0, 0..0)]);
        for first in (1..most).step_by(1_000) {
            let jobs = (first..first + 1_000).filter(|number| *number < most).map(|number| job(number, 0..1));
            assert!(enqueue(&mut core, jobs.collect()).iter().all(|outcome| *outcome == EnqueueOutcome::Created));
        }
        let two = || vec![job(most, 0..1), job(most + 1, 0..1)];
        let all = Command::Enqueue { jobs: two(), all_or_none: true, known: Vec::new() };
        assert_eq!(apply(&mut core, vec![all]).remove(0).unwrap_err().code, ErrorCode::TooMany);
        let outcomes = enqueue(&mut core, two());
        assert_eq!(outcomes.iter().map(refused).collect::<Vec<_>>(), [None, Some(ErrorCode::TooMany)]);
        // Its end sets all of them in motion, an entry's worth at a time.
        let target = crate::Target { job: id(0), row: None };
        let action = JobAction::Cancel { reason: String::new(), grace_ms: 0 };
        apply(&mut core, vec![Command::Act { targets: vec![target], action, only_in: Vec::new(), by: String::new() }]);
        let mut entries = 1;
        while core.next_timer().is_some() {
            apply(&mut core, Vec::new());
            entries += 1;
        }
        assert_eq!(core.queues()[0].cancelled, most + 1);
        assert!(entries >= most.div_ceil(2 * limits::TIMERS_PER_ENTRY_MAX as u64), "{entries} entries");
    }

    #[test]
    fn one_may_come_after_so_many_and_no_more() {
        let (mut core, most) = (Core::new(), limits::AFTER_JOBS_MAX as u64);
        enqueue(&mut core, (0..most).map(|number| job(number, 0..0)).collect());
        enqueue(&mut core, vec![job(most, 0..0)]);
        let outcomes = enqueue(&mut core, vec![job(5_000, 0..most), job(5_001, 0..most + 1)]);
        assert_eq!(outcomes.iter().map(refused).collect::<Vec<_>>(), [None, Some(ErrorCode::TooMany)]);
    }

    #[test]
    fn what_follows_is_counted_along() {
        let ends = [None, Some(JobState::Completed), Some(JobState::Dead), Some(JobState::Cancelled)];
        for on_failure in OnFailure::ALL {
            let jobs = |ends: [usize; 3]| ends.map(|end| Predecessor { job: id(end as u64), ended: None }).to_vec();
            let mut waits = Waits::new(on_failure, jobs([0, 1, 2]));
            for step in 0..200_usize {
                waits.note(step % 3, ends[(step * 7 / 3) % ends.len()]);
                assert_eq!(waits, Waits::new(on_failure, waits.jobs.clone()), "after step {step}");
            }
        }
    }
}
