//! `jobraft batch show`: where a batch stands, with its jobs as a tree.

use super::existing;
use super::tree::{self, Style};
use super::view::{BatchJson, counts, mood};
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, SummaryJson, human};
use clap::Args;
use jobraft_protocol::limits::LIST_JOBS_MAX;
use jobraft_protocol::{
    BatchId, BatchState, BatchView, Consistency, ErrorCode, JobFilter, JobId, JobState, JobSummary, JobView,
};
use jobraft_sdk::{Client, Listing};
use serde::Serialize;
use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

/// Jobs that are read unless all are asked for.
const JOBS_READ: usize = 10_000;
/// Jobs that wait for more others than a list names are read one by one, so many of them.
const READ_WHOLE: usize = 20;

/// Show a batch, with its jobs as a tree: each under the one that it waits for last
///
/// Of many jobs side by side that look the same, some are drawn and the others counted.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft batch show 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft batch show 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --watch
  jobraft batch show 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --json | jq .batch.dead")]
pub(super) struct ShowArgs {
    /// The batch
    id: BatchId,
    /// Every job of it
    #[arg(long)]
    all: bool,
    /// As any node knows it, without asking a majority: cheaper, and works without one
    #[arg(long)]
    stale: bool,
    /// Show it again every so many seconds, until it has ended [default with --watch: 2]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3_600), conflicts_with = "json")]
    watch: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ShownJson {
    batch: BatchJson,
    /// Its jobs, oldest first.
    jobs: Vec<SummaryJson>,
    /// Whether there are more of them.
    more: bool,
}

/// A batch and its jobs.
struct Shown {
    batch: BatchView,
    jobs: Vec<JobSummary>,
    /// Where the jobs stand that it called and that are kept.
    called: HashMap<JobId, JobState>,
    /// What those wait for that wait for more than their summary says.
    after: HashMap<JobId, Vec<JobId>>,
    /// Whether there are more jobs.
    more: bool,
}

impl ShowArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let output = Output::new();
        let Some(seconds) = self.watch else {
            let shown = self.read(&client).await?;
            return if self.json { output.json(&ShownJson::from(&shown)) } else { self.show(&client, &output, &shown) };
        };
        tokio::select! {
            ended = self.watch(&client, &output, Duration::from_secs(seconds)) => ended,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    }

    async fn watch(&self, client: &Client, output: &Output, every: Duration) -> Result<(), Failure> {
        loop {
            let shown = self.read(client).await?;
            if io::stdout().is_terminal() {
                output.clear()?;
            }
            self.show(client, output, &shown)?;
            if shown.batch.state.has_ended() {
                return Ok(());
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn read(&self, client: &Client) -> Result<Shown, Failure> {
        let consistency = if self.stale { Consistency::Stale } else { Consistency::Linearizable };
        let batch = existing(client, self.id, consistency).await?;
        let doing = || format!("list the jobs of batch {}", self.id);
        let filter = JobFilter { batch: Some(self.id), ..JobFilter::default() };
        let mut listing = Listing { oldest_first: true, limit: LIST_JOBS_MAX, consistency, ..Listing::default() };
        let mut jobs = Vec::new();
        let more = loop {
            let page = client.list_jobs(filter.clone(), listing).await.map_err(|error| failed(doing(), &error))?;
            jobs.extend(page.jobs);
            match page.next {
                None => break false,
                Some(_) if !self.all && jobs.len() >= JOBS_READ => break true,
                Some(next) => listing.after = Some(next),
            }
        };
        let mut after = HashMap::new();
        let cut = jobs.iter().filter(|job| job.after_count as usize > job.after.len()).take(READ_WHOLE);
        for job in cut.filter(|_| !self.json) {
            if let Some(whole) = kept(client, job.id, consistency).await? {
                after.insert(job.id, whole.after.iter().map(|predecessor| predecessor.job).collect());
            }
        }
        let mut called = HashMap::new();
        for id in callbacks(&batch).into_iter().filter(|(_, _, is_called)| *is_called).map(|(_, id, _)| id) {
            called.extend(kept(client, id, consistency).await?.map(|job| (id, job.state)));
        }
        Ok(Shown { batch, jobs, called, after, more })
    }

    fn show(&self, client: &Client, output: &Output, shown: &Shown) -> Result<(), Failure> {
        let (paint, now) = (output.paint(), client.log_time());
        let Shown { batch, jobs, called, after, more } = shown;
        let when = |time| format!("{} ({})", human::timestamp(time), human::relative(now.min(time), now));
        output.field("batch", paint.strong(batch.id))?;
        if let Some(label) = &batch.label {
            output.field("label", label)?;
        }
        output.field(
            "state",
            match mood(batch.state) {
                Mood::Good => paint.good(batch.state),
                Mood::Bad => paint.bad(batch.state),
                _ => batch.state.to_string(),
            },
        )?;
        output.field("created", when(batch.created_at))?;
        if let Some(ended) = batch.ended_at {
            output.field("ended", when(ended))?;
        }
        output.field("jobs", format!("{}: {}", batch.jobs(), counts(batch)))?;
        for (name, id, is_called) in callbacks(batch) {
            let state = match called.get(&id) {
                Some(state) => human::painted(paint, *state),
                None if is_called => paint.faint("called, and kept no longer"),
                None if batch.state.has_ended() => paint.faint("not called"),
                None => paint.faint("not called yet"),
            };
            output.field("callback", format!("{name}: job {id} {state}"))?;
        }
        if !jobs.is_empty() {
            output.line(tree::draw(jobs, after, Style { all: self.all, paint, now }))?;
        }
        let missing = batch.jobs().saturating_sub(jobs.len() as u64);
        match (more, missing) {
            (true, _) => output.note(format!("the first {} jobs are drawn; see all with --all", jobs.len())),
            (false, 0) => Ok(()),
            (false, missing) => output.note(format!("{missing} more have ended, and are not kept any longer")),
        }
    }
}

/// A job, if it is kept still.
async fn kept(client: &Client, id: JobId, consistency: Consistency) -> Result<Option<JobView>, Failure> {
    match client.get_job(id, consistency).await {
        Ok(job) => Ok(Some(job)),
        Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(None),
        Err(error) => Err(failed(format!("read job {id}"), &error)),
    }
}

/// The callbacks that a batch has: under which name, which job, whether it was called.
fn callbacks(batch: &BatchView) -> Vec<(&'static str, JobId, bool)> {
    let on_complete = batch.on_complete.map(|id| ("on_complete", id, batch.state == BatchState::Completed));
    let on_failure = batch.on_failure.map(|id| ("on_failure", id, batch.failure_called));
    on_complete.into_iter().chain(on_failure).collect()
}

impl From<&Shown> for ShownJson {
    fn from(shown: &Shown) -> Self {
        let jobs = shown.jobs.iter().map(SummaryJson::from).collect();
        Self { batch: BatchJson::from(&shown.batch), jobs, more: shown.more }
    }
}
