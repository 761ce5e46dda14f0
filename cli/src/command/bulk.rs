//! Something done to many jobs: found first, confirmed, then done in steps that can be interrupted.
//!
//! Each step is one request of at most [`ACTION_JOBS_MAX`] jobs and one entry of the log. Ctrl-C stops after the step that
//! is under way, and a second one without waiting for its answer; whatever was done stays done, and the same command goes on with the rest, since what was acted on does not match
//! any more.

use super::confirm::confirm;
use crate::connection::failed;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Progress, human};
use jobraft_protocol::limits::{ACTION_JOBS_MAX, LIST_JOBS_MAX};
use jobraft_protocol::{Error, ErrorCode, JobAction, JobFilter, JobId, JobState};
use jobraft_sdk::{Client, Listing};
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::signal::unix::{SignalKind, signal};

/// Live states: a job in one of them is not over.
const LIVE: [JobState; 4] = [JobState::Scheduled, JobState::Blocked, JobState::Ready, JobState::Leased];
/// States of jobs that can be deleted: all but `leased`.
const DELETABLE: [JobState; 7] = [
    JobState::Scheduled,
    JobState::Blocked,
    JobState::Ready,
    JobState::Completed,
    JobState::Dead,
    JobState::Cancelled,
    JobState::Expired,
];

/// An action, as it is spoken of and with what it can be done to.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    /// What is done.
    pub(super) action: JobAction,
    /// Whether to do it without asking.
    pub(super) yes: bool,
    /// Whether to print JSON.
    pub(super) json: bool,
}

/// What came of all steps.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    action: &'static str,
    /// Jobs that matched.
    matched: usize,
    /// Done.
    done: usize,
    /// Not done, because they were in another state by then, or gone.
    moved_on: usize,
    /// Not done for another reason, by error code.
    refused: BTreeMap<&'static str, usize>,
    /// One refusal of them.
    #[serde(skip)]
    first: Option<Error>,
    /// Sent to the cluster when the command was ended without waiting for the answer.
    under_way: usize,
    /// Whether it was interrupted before all were tried.
    interrupted: bool,
}

/// One job that was named.
#[derive(Debug, Serialize)]
struct DoneJson {
    id: String,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
}

impl Deed {
    /// In the infinitive, for sentences.
    fn verb(&self) -> &'static str {
        match self.action {
            JobAction::Cancel { .. } => "cancel",
            JobAction::Delete => "delete",
            JobAction::Retry => "retry",
            JobAction::Move { .. } => "move",
            JobAction::Prioritize { .. } => "prioritize",
        }
    }

    /// Of a job to which it was done.
    fn done(&self) -> String {
        match &self.action {
            // One that runs has a grace: it may go on for that long.
            JobAction::Cancel { .. } => "cancelled, or asked to stop if it runs".to_owned(),
            JobAction::Delete => "deleted".to_owned(),
            JobAction::Retry => "ready again".to_owned(),
            JobAction::Move { queue } => format!("moved to {queue}"),
            JobAction::Prioritize { priority } => format!("at priority {priority} now"),
        }
    }

    /// The states of jobs to which it can be done.
    fn natural_states(&self) -> &'static [JobState] {
        match self.action {
            JobAction::Cancel { .. } | JobAction::Prioritize { .. } => &LIVE,
            JobAction::Delete => &DELETABLE,
            JobAction::Retry => &[JobState::Dead],
            JobAction::Move { .. } => &[JobState::Scheduled, JobState::Ready],
        }
    }

    /// Refuses states in which it cannot be done.
    pub(super) fn check(&self, asked: &[JobState]) -> Result<(), Failure> {
        self.states(asked).map(drop)
    }

    /// The states to look in: those that were asked for, if it can be done there, else all where it can be.
    fn states(&self, asked: &[JobState]) -> Result<Vec<JobState>, Failure> {
        let natural = self.natural_states();
        if let Some(wrong) = asked.iter().find(|state| !natural.contains(state)) {
            let allowed: Vec<&str> = natural.iter().map(|state| state.as_str()).collect();
            let cause = format!("a job that is {wrong} cannot be; allowed with --state: {}", allowed.join(", "));
            let failure = Failure::usage(format!("{} jobs", self.verb()), cause);
            return Err(match (&self.action, wrong) {
                (JobAction::Delete, JobState::Leased) => failure.hint("cancel it first: `jobraft job cancel ID`"),
                _ => failure,
            });
        }
        Ok(if asked.is_empty() { natural.to_vec() } else { asked.to_vec() })
    }

    /// Does it to jobs that were named, each on its own.
    pub(super) async fn to_named(&self, client: &Client, ids: &[JobId]) -> Result<(), Failure> {
        let what = format!("{} {}", self.verb(), human::count(ids.len(), "job"));
        let (outcomes, broke) = in_parts(ids, async |part| {
            client.act(part, self.action.clone(), &[]).await.map_err(|error| failed(&what, &error))
        })
        .await;
        let output = Output::new();
        if self.json {
            let all = ids.iter().zip(&outcomes).map(|(id, outcome)| DoneJson {
                id: id.to_string(),
                done: outcome.is_ok(),
                error: outcome.clone().err(),
            });
            output.json(&all.collect::<Vec<_>>())?;
        }
        let tried = outcomes.len();
        let mut refusals = Vec::new();
        for (id, outcome) in ids.iter().zip(outcomes) {
            match outcome {
                Ok(()) if self.json => {}
                Ok(()) => output.line(format!("{id} {}", self.done()))?,
                Err(error) => refusals.push((id, error)),
            }
        }
        let broke = broke.map_err(|failure| match tried {
            0 => failure,
            _ => failure.hint(format!("{tried} of them were tried before, as told; the others may not have been")),
        });
        Failure::of_all([self.refused(&output, &what, &refusals), broke])
    }

    /// The failure of jobs that were named and refused.
    fn refused(&self, output: &Output, what: &str, refusals: &[(&JobId, Error)]) -> Result<(), Failure> {
        match refusals {
            [] => Ok(()),
            [(id, error)] => Err(Failure::refused(format!("{} job {id}", self.verb()), error)),
            several => {
                for (id, error) in several {
                    output.note(format!("{id}: {error}"))?;
                }
                let cause = format!("{} of them were refused", several.len());
                let absent = several.iter().all(|(_, error)| error.code == ErrorCode::NotFound);
                let failure = Failure::new(what, cause);
                Err(failure.exit(if absent { Exit::NotFound } else { Exit::Failed }))
            }
        }
    }

    /// Does it to all jobs that match, after asking.
    pub(super) async fn to_matching(&self, client: &Client, mut filter: JobFilter) -> Result<(), Failure> {
        filter.states = self.states(&filter.states)?;
        let states = filter.states.clone();
        let mut ids = matching(client, filter).await?;
        if matches!(self.action, JobAction::Cancel { .. } | JobAction::Delete) {
            // The newest first: no job is let loose by the end of one that it came after, nor kept by one that comes after it.
            ids.reverse();
        }
        let output = Output::new();
        let mut summary = Summary { action: self.verb(), matched: ids.len(), ..Summary::default() };
        if ids.is_empty() {
            return if self.json { output.json(&summary) } else { output.line("no job matches") };
        }
        let what = format!("{} {}", self.verb(), human::count(ids.len(), "job"));
        confirm(&what, self.yes)?;
        let progress = Progress::counting(self.verb(), ids.len() as u64);
        let mut signals = signal(SignalKind::interrupt()).ok();
        let interrupt = async || match &mut signals {
            Some(signals) => drop(signals.recv().await),
            // Without a handler for the signal it ends the process, which is as good.
            None => std::future::pending().await,
        };
        let stepped = summary.in_steps(&ids, interrupt, &progress, async |part| {
            client.act(part, self.action.clone(), &states).await.map_err(|error| failed(&what, &error))
        });
        let stepped = stepped.await;
        drop(progress);
        if self.json {
            output.json(&summary)?;
        } else {
            output.line(summary.told(&self.done()))?;
        }
        // What broke off comes after what was done, which stays done.
        stepped.map_err(|failure| failure.hint("what was done stays done; the same command goes on with the rest"))?;
        summary.verdict(&what)
    }
}

/// Does `step` to one part after the other, as long as none fails as a whole: the outcomes of those that did not, and why
/// one did.
async fn in_parts(
    ids: &[JobId],
    step: impl AsyncFn(&[JobId]) -> Result<Vec<Result<(), Error>>, Failure>,
) -> (Vec<Result<(), Error>>, Result<(), Failure>) {
    let mut all = Vec::with_capacity(ids.len());
    for part in ids.chunks(ACTION_JOBS_MAX) {
        match step(part).await {
            Ok(outcomes) => all.extend(outcomes),
            Err(failure) => return (all, Err(failure)),
        }
    }
    (all, Ok(()))
}

/// The ids of all jobs that match, oldest first.
async fn matching(client: &Client, filter: JobFilter) -> Result<Vec<JobId>, Failure> {
    let spinner = Progress::spinner("finding jobs");
    let mut listing = Listing { oldest_first: true, limit: LIST_JOBS_MAX, ..Listing::default() };
    let mut ids = Vec::new();
    loop {
        let page = client.list_jobs(filter.clone(), listing).await.map_err(|error| failed("find the jobs", &error))?;
        ids.extend(page.jobs.iter().map(|job| job.id));
        spinner.reach(ids.len() as u64);
        match page.next {
            Some(next) => listing.after = Some(next),
            None => return Ok(ids),
        }
    }
}

impl Summary {
    /// Calls `step` for one part after the other until all are done, one fails, or `interrupt` comes; then no further one
    /// is begun. A second `interrupt` does not wait for the one that is under way either.
    async fn in_steps(
        &mut self,
        ids: &[JobId],
        mut interrupt: impl AsyncFnMut(),
        progress: &Progress,
        step: impl AsyncFn(&[JobId]) -> Result<Vec<Result<(), Error>>, Failure>,
    ) -> Result<(), Failure> {
        for part in ids.chunks(ACTION_JOBS_MAX) {
            let mut acting = std::pin::pin!(step(part));
            let outcomes = tokio::select! {
                outcomes = &mut acting => outcomes?,
                () = interrupt() => {
                    self.interrupted = true;
                    progress.remark("stopping after this step; Ctrl-C again ends at once");
                    // What was sent is being done: its outcome belongs into the count.
                    tokio::select! {
                        outcomes = &mut acting => outcomes?,
                        () = interrupt() => {
                            self.under_way = part.len();
                            let what = format!("{} {}", self.action, human::count(self.matched, "job"));
                            let cause = format!("interrupted: whether the last {} were done is not known", part.len());
                            return Err(Failure::new(what, cause));
                        }
                    }
                }
            };
            self.count(outcomes);
            progress.advance(part.len() as u64);
            if self.interrupted {
                break;
            }
        }
        // The last step was the last anyway.
        self.interrupted &= self.tried() < ids.len();
        Ok(())
    }

    fn count(&mut self, outcomes: Vec<Result<(), Error>>) {
        for outcome in outcomes {
            match outcome {
                Ok(()) => self.done += 1,
                Err(error) if matches!(error.code, ErrorCode::WrongState | ErrorCode::NotFound) => self.moved_on += 1,
                Err(error) => {
                    *self.refused.entry(error.code.as_str()).or_default() += 1;
                    self.first.get_or_insert(error);
                }
            }
        }
    }

    fn tried(&self) -> usize {
        self.done + self.moved_on + self.refused.values().sum::<usize>()
    }

    fn told(&self, done: &str) -> String {
        let mut text = format!("{}: {done}", human::count(self.done, "job"));
        if self.moved_on > 0 {
            text.push_str(&format!("; {} had moved on meanwhile", self.moved_on));
        }
        for (code, count) in &self.refused {
            text.push_str(&format!("; {count} refused ({code})"));
        }
        if self.interrupted {
            if self.under_way > 0 {
                text.push_str(&format!("; {} under way", self.under_way));
            }
            text.push_str(&format!("; {} not tried", self.matched - self.tried() - self.under_way));
        }
        text
    }

    fn verdict(self, what: &str) -> Result<(), Failure> {
        if self.interrupted {
            let cause = format!("interrupted: {} of {} were tried", self.tried(), self.matched);
            return Err(Failure::new(what, cause).hint("the same command goes on with the rest"));
        }
        match &self.first {
            None => Ok(()),
            Some(error) => {
                let count: usize = self.refused.values().sum();
                let mut first = error.clone();
                first.message = format!("{} refused; one of them: {}", human::count(count, "job"), error.message);
                Err(Failure::refused(what, &first).exit(Exit::Failed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_protocol::LogTime;
    use std::cell::Cell;
    use std::future::pending;

    fn ids(count: usize) -> Vec<JobId> {
        (0..count).map(|n| JobId::new(LogTime::from_ms(n as u64 + 1), [0; 10])).collect()
    }

    fn deed(action: JobAction) -> Deed {
        Deed { action, yes: true, json: false }
    }

    fn summary(matched: usize) -> Summary {
        Summary { action: "delete", matched, ..Summary::default() }
    }

    /// So many interrupts come at once, and no further one.
    fn interrupts(count: usize) -> impl AsyncFnMut() {
        let mut left = count;
        async move || match left {
            0 => pending().await,
            _ => left -= 1,
        }
    }

    #[tokio::test]
    async fn every_job_is_in_one_step_and_no_step_is_too_large() {
        let (all, steps) = (ids(2 * ACTION_JOBS_MAX + 1), Cell::new(0));
        let mut summary = summary(all.len());
        let bar = Progress::counting("test", 0);
        let stepped = summary.in_steps(&all, pending, &bar, async |part| {
            steps.set(steps.get() + 1);
            assert!(part.len() <= ACTION_JOBS_MAX);
            Ok(vec![Ok(()); part.len()])
        });
        stepped.await.unwrap();
        assert_eq!((steps.get(), summary.done, summary.interrupted), (3, all.len(), false));
        summary.verdict("delete").unwrap();
    }

    #[tokio::test]
    async fn an_interrupt_ends_it_between_two_steps_and_says_how_far_it_came() {
        let all = ids(2 * ACTION_JOBS_MAX);
        let mut summary = summary(all.len());
        let bar = Progress::counting("test", 0);
        let stepped = summary.in_steps(&all, interrupts(1), &bar, async |part| {
            tokio::task::yield_now().await;
            Ok(vec![Ok(()); part.len()])
        });
        stepped.await.unwrap();
        assert_eq!((summary.done, summary.interrupted), (ACTION_JOBS_MAX, true));
        assert!(summary.told("deleted").contains("1000 not tried"), "{}", summary.told("deleted"));
        let failure = summary.verdict("delete 2000 jobs").unwrap_err();
        assert!(failure.to_string().contains("1000 of 2000"), "{failure}");
    }

    #[tokio::test]
    async fn a_second_interrupt_does_not_wait_for_the_step_that_is_under_way() {
        let all = ids(2 * ACTION_JOBS_MAX);
        let mut summary = summary(all.len());
        let bar = Progress::counting("test", 0);
        let failure = summary.in_steps(&all, interrupts(2), &bar, async |_| pending().await).await.unwrap_err();
        assert_eq!(failure.exit_code(), Exit::Failed);
        assert!(failure.to_string().contains("the last 1000"), "{failure}");
        assert_eq!(summary.told("deleted"), "0 jobs: deleted; 1000 under way; 1000 not tried");
    }

    #[tokio::test]
    async fn a_part_that_fails_does_not_hide_what_was_done_before() {
        let (all, steps) = (ids(2 * ACTION_JOBS_MAX + 1), Cell::new(0));
        let (outcomes, broke) = in_parts(&all, async |part| {
            steps.set(steps.get() + 1);
            if steps.get() == 2 { Err(Failure::new("delete", "no leader")) } else { Ok(vec![Ok(()); part.len()]) }
        })
        .await;
        assert_eq!((steps.get(), outcomes.len()), (2, ACTION_JOBS_MAX));
        assert!(broke.unwrap_err().to_string().contains("no leader"));
    }

    #[test]
    fn jobs_that_moved_on_are_no_failure_and_others_are() {
        let mut summary = summary(4);
        let refused = |code| Err(Error::new(code, "why"));
        summary.count(vec![Ok(()), refused(ErrorCode::WrongState), refused(ErrorCode::NotFound)]);
        assert_eq!((summary.done, summary.moved_on), (1, 2));
        assert!(summary.first.is_none());
        summary.count(vec![refused(ErrorCode::Conflict)]);
        assert_eq!(summary.told("ready again"), "1 job: ready again; 2 had moved on meanwhile; 1 refused (conflict)");
        let failure = summary.verdict("retry 4 jobs").unwrap_err();
        assert_eq!(failure.exit_code(), Exit::Failed);
        assert!(failure.to_string().contains("1 job refused"), "{failure}");
    }

    #[test]
    fn states_that_an_action_cannot_be_done_in_are_refused() {
        let failure = deed(JobAction::Retry).states(&[JobState::Completed]).unwrap_err();
        assert_eq!(failure.exit_code(), Exit::Usage);
        assert!(failure.to_string().contains("completed") && failure.to_string().contains("dead"), "{failure}");
        assert!(deed(JobAction::Delete).states(&[JobState::Leased]).is_err());
        assert_eq!(deed(JobAction::Retry).states(&[]).unwrap(), [JobState::Dead]);
        let cancel = deed(JobAction::Cancel { reason: String::new(), grace_ms: 0 });
        assert_eq!(cancel.states(&[]).unwrap().len(), 4);
        assert_eq!(cancel.states(&[JobState::Ready]).unwrap(), [JobState::Ready]);
    }
}
