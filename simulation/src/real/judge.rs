//! Whether what clients were told, and what the cluster says in the end, can both be true: the plain rules, each in one pass.
//!
//! They cover every job of the largest run; [`crate::history`] looks at each job much more closely.

use crate::history::{Call, History, Outcome};
use futures_util::TryStreamExt;
use jobraft_sdk::protocol::{Consistency, FencingToken, JobFilter, JobId, JobState, JobSummary, QueueName};
use jobraft_sdk::{Client, Listing, SdkError};
use std::collections::{BTreeMap, HashMap};

/// What the cluster says in the end.
#[derive(Debug, Default)]
pub struct Judge {
    /// Every job that it lists, as often as it lists it.
    pub listed: Vec<(JobId, JobState)>,
    /// How many jobs it says were ever completed.
    pub completed_total: u64,
}

#[derive(Default)]
struct Life {
    asked_for: bool,
    acknowledged: bool,
    /// Under which token a completion was acknowledged, when it was asked for and when answered.
    completed: Option<(FencingToken, u64, u64)>,
    /// When it was leased, asked for and answered, and under which token.
    leases: Vec<(u64, u64, FencingToken)>,
}

impl Judge {
    /// Asks the cluster.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn ask(client: &Client, queue: &QueueName) -> Result<Self, SdkError> {
        let filter = JobFilter { queues: vec![queue.clone()], ..JobFilter::default() };
        let (oldest_first, consistency) = (true, Consistency::Linearizable);
        let listing = Listing { after: None, oldest_first, limit: 1_000, consistency };
        let jobs = client.jobs(filter, listing).map_ok(|job: JobSummary| (job.id, job.state));
        let listed = jobs.try_collect().await?;
        let completed_total = super::load::stats(client, queue).await?.completed;
        Ok(Self { listed, completed_total })
    }

    /// What cannot be, in words.
    #[must_use]
    pub fn violations(&self, history: &History) -> Vec<String> {
        let mut found = Vec::new();
        let lives = lives(history, &mut found);
        let mut states = HashMap::with_capacity(self.listed.len());
        let mut completed = 0;
        for (job, state) in &self.listed {
            if states.insert(*job, *state).is_some() {
                found.push(format!("job {job} is there twice"));
            }
            if !lives.get(job).is_some_and(|life| life.asked_for) {
                found.push(format!("job {job} is there, and nobody asked for it"));
            }
            completed += u64::from(*state == JobState::Completed);
        }
        if completed != self.completed_total {
            found.push(format!(
                "{} jobs were completed, and {completed} completed ones are there",
                self.completed_total
            ));
        }
        for (job, life) in &lives {
            match (states.get(job), life.acknowledged, life.completed) {
                (None, true, _) => found.push(format!("job {job} was acknowledged, and is lost")),
                (None, _, Some(_)) => found.push(format!("job {job} was completed, and is lost")),
                (Some(state), _, Some(_)) if *state != JobState::Completed => {
                    found.push(format!("the completion of job {job} was acknowledged, and it is {state}"));
                }
                _ => {}
            }
            life.check(*job, &mut found);
        }
        check_tokens(&lives, &mut found);
        found
    }
}

fn lives(history: &History, found: &mut Vec<String>) -> BTreeMap<JobId, Life> {
    let mut lives: BTreeMap<JobId, Life> = BTreeMap::new();
    for operation in &history.operations {
        let life = lives.entry(operation.job).or_default();
        life.asked_for |= matches!(operation.call, Call::Enqueue(_));
        let (Some(returned), Some(outcome)) = (operation.returned, &operation.outcome) else { continue };
        match (&operation.call, outcome) {
            (Call::Enqueue(_), Outcome::Created | Outcome::Existing) => life.acknowledged = true,
            (Call::Lease { .. }, Outcome::Leased { token, .. }) => {
                life.leases.push((operation.called, returned, *token));
            }
            (Call::Complete { token, .. }, Outcome::Done) => {
                if life.completed.is_some_and(|(earlier, ..)| earlier != *token) {
                    found.push(format!("job {} was completed twice", operation.job));
                }
                life.completed = Some((*token, operation.called, returned));
            }
            _ => {}
        }
    }
    lives
}

impl Life {
    fn check(&self, job: JobId, found: &mut Vec<String>) {
        let Some((token, asked, answered)) = self.completed else { return };
        for (called, returned, other) in &self.leases {
            if *called > answered {
                found.push(format!("job {job} was leased under token {other} after it was completed"));
            }
            if *other > token && *returned < asked {
                found.push(format!("job {job} was completed under token {token} when {other} had been given out"));
            }
        }
    }
}

/// No token is given twice, and whoever asks after another was answered gets a greater one.
fn check_tokens(lives: &BTreeMap<JobId, Life>, found: &mut Vec<String>) {
    let mut leases: Vec<_> =
        lives.iter().flat_map(|(job, life)| life.leases.iter().map(|lease| (lease, *job))).collect();
    leases.sort_unstable_by_key(|((_, _, token), _)| *token);
    for pair in leases.windows(2) {
        if pair[0].0.2 == pair[1].0.2 {
            found.push(format!("token {} was given out twice, for jobs {} and {}", pair[0].0.2, pair[0].1, pair[1].1));
        }
    }
    // By tokens, from the greatest down: none may have been answered before a smaller one was asked for.
    let mut first_answer: Option<(u64, FencingToken)> = None;
    for ((called, returned, token), job) in leases.iter().rev() {
        if let Some((answered, greater)) = first_answer
            && answered < *called
        {
            found.push(format!("job {job} was leased under token {token} after {greater} had been given out"));
        }
        first_answer = Some(first_answer.map_or((*returned, *token), |first| first.min((*returned, *token))));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::history::Recorder;
    use jobraft_sdk::protocol::{LogTime, NewJob, Task, TaskName, WorkerId};
    use uuid::Uuid;

    fn job(number: u128) -> JobId {
        serde_json::from_value(serde_json::to_value(Uuid::from_u128(number)).unwrap()).unwrap()
    }

    fn new_job(id: JobId) -> Call {
        let task = Task::Handler(TaskName::new("nothing").unwrap());
        Call::Enqueue(Box::new(NewJob::new(id, QueueName::new("load").unwrap(), task, "")))
    }

    fn leased(token: u64) -> Outcome {
        let (attempt, time, checkpoint) = (1, LogTime::default(), 0);
        Outcome::Leased { token: FencingToken(token), attempt, expires_at: time, enqueued_at: time, checkpoint }
    }

    /// One job that lives as it must.
    fn well() -> (History, Judge) {
        let recorder = Recorder::new();
        let mut history = recorder.history();
        let ask = history.ask(1, job(1), new_job(job(1)));
        history.answer(ask, Outcome::Created);
        let called = history.tick();
        history.leased(2, called, WorkerId::default(), 5_000, job(1), leased(7));
        let ask = history.ask(2, job(1), Call::Complete { token: FencingToken(7), result: 0 });
        history.answer(ask, Outcome::Done);
        (history.clone(), Judge { listed: vec![(job(1), JobState::Completed)], completed_total: 1 })
    }

    fn complains(history: &History, judge: &Judge, of: &str) {
        let found = judge.violations(history);
        assert!(found.iter().any(|found| found.contains(of)), "{found:?}");
    }

    #[test]
    fn what_is_well_is_not_complained_of() {
        let (mut history, judge) = well();
        // One that nobody answered may be there or not.
        history.ask(1, job(2), new_job(job(2)));
        assert_eq!(judge.violations(&history), Vec::<String>::new());
    }

    #[test]
    fn an_acknowledged_job_that_is_lost_is_found() {
        let (history, _) = well();
        complains(&history, &Judge::default(), "is lost");
    }

    #[test]
    fn a_job_from_nowhere_and_a_job_twice_are_found() {
        let (history, mut judge) = well();
        judge.listed.push((job(9), JobState::Ready));
        judge.listed.push((job(1), JobState::Completed));
        complains(&history, &judge, "nobody asked for it");
        complains(&history, &judge, "is there twice");
        complains(&history, &judge, "2 completed ones");
    }

    #[test]
    fn a_completion_that_was_undone_is_found() {
        let (history, mut judge) = well();
        judge.listed = vec![(job(1), JobState::Ready)];
        complains(&history, &judge, "was acknowledged, and it is ready");
    }

    #[test]
    fn a_lease_after_the_completion_and_a_token_that_falls_are_found() {
        let (mut history, judge) = well();
        let called = history.tick();
        history.leased(2, called, WorkerId::default(), 5_000, job(1), leased(6));
        complains(&history, &judge, "after it was completed");
        complains(&history, &judge, "after 7 had been given out");
    }

    #[test]
    fn a_token_given_twice_and_two_completions_are_found() {
        let (mut history, judge) = well();
        let called = history.tick();
        history.leased(3, called, WorkerId::default(), 5_000, job(2), leased(7));
        complains(&history, &judge, "given out twice");
        let ask = history.ask(2, job(1), Call::Complete { token: FencingToken(8), result: 0 });
        history.answer(ask, Outcome::Done);
        complains(&history, &judge, "completed twice");
    }

    #[test]
    fn a_stale_completion_that_is_taken_is_found() {
        let (mut history, judge) = well();
        history.operations.pop();
        let called = history.tick();
        history.leased(3, called, WorkerId::default(), 5_000, job(1), leased(8));
        let ask = history.ask(2, job(1), Call::Complete { token: FencingToken(7), result: 0 });
        history.answer(ask, Outcome::Done);
        complains(&history, &judge, "when 8 had been given out");
    }
}
