//! `jobraft job enqueue`: one job for each payload.

use super::wait::MissedJson;
use super::{payload, wait};
use crate::command::work::{JobSpec, Modules, OptionArgs, Options, WhatArgs};
use crate::command::{settings, value};
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Output, Progress, human};
use bytes::Bytes;
use clap::{ArgGroup, Args};
use jobraft_protocol::limits::{BULK_BYTES_MAX, BULK_JOBS_MAX};
use jobraft_protocol::{After, BatchId, EnqueueOutcome, Error, JobId, Label, LogTime, NewJob, OnFailure, Start, Task};
use jobraft_sdk::Client;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Jobs of one enqueue request: fewer than the limit, so that a bar has something to show.
const BATCH_JOBS: usize = BULK_JOBS_MAX / 2;
/// Payload bytes after which a request takes no further job: half the limit, so that the last one always fits.
const BATCH_BYTES: usize = BULK_BYTES_MAX / 2;
/// The most jobs that one command enqueues.
const COUNT_MAX: u64 = 10_000_000;

/// Enqueue jobs: one for each payload. Prints their ids
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").required(true).args(["module", "task"]), after_help = "\
Examples:
  jobraft job enqueue --module wordcount 'some text' --wait
  jobraft job enqueue --queue reports --module wordcount --file a.md --file b.md
  echo '{\"to\":\"a@b.example\"}' | jobraft job enqueue --queue emails --task send_email -
  jobraft job enqueue --module cleanup --delay 2h --priority 9 --max-attempts 3
  jobraft job enqueue --task report --at 2026-01-31T12:00:00Z --start-deadline 10m
  jobraft job enqueue --task call_api --backoff exponential:1s,max=1h --max-crashes 5 --ttl 1d
  jobraft job enqueue --task reindex --delay 5s --unique reindex --on-conflict replace-start
  jobraft job enqueue --task resize --group tenant-7 --file a.png --file b.png --all-or-none
  jobraft job enqueue --task report --after 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --on-failure run

Prints an id for each payload: that of the new job, or of the one that holds its unique key.")]
pub(super) struct EnqueueArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// The payload; `-` reads it from stdin [default: empty]
    payload: Option<String>,
    /// A file to read a payload from; repeat it for more jobs
    #[arg(long = "file", short, value_name = "FILE", conflicts_with = "payload")]
    files: Vec<PathBuf>,
    /// Not before this time has passed, such as 90s, 5m or 2h
    #[arg(long, value_name = "DURATION", value_parser = value::delay)]
    delay: Option<Duration>,
    /// Not before this time, in UTC, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = value::time, conflicts_with = "delay")]
    at: Option<LogTime>,
    /// If the queue is full, how long to try again until there is room
    #[arg(long, value_name = "DURATION", value_parser = value::duration, conflicts_with = "all_or_none")]
    wait_when_full: Option<Duration>,
    /// The job's id, to make an enqueue that can be repeated: a UUIDv7 of the last few minutes
    #[arg(long, conflicts_with_all = ["files", "count"])]
    id: Option<JobId>,
    /// Enqueue each payload so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    count: u64,
    /// Wait until they have ended, and print their results
    #[arg(long)]
    wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    // With headings of their own: what follows such a part would stand under its heading.
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    together: TogetherArgs,
}

/// What they have to do with other jobs.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Together")]
struct TogetherArgs {
    /// Not before this job has ended; repeat it, or separate several by commas
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    after: Vec<JobId>,
    /// What becomes of it if one of those does not complete: wait goes on waiting behind a dead one, which may be retried,
    /// cancel cancels it, run runs it all the same [default: wait]
    #[arg(long, value_name = "WHAT", requires = "after", value_parser = value::on_failure())]
    on_failure: Option<OnFailure>,
    /// Put it into this batch, which is open
    #[arg(long, value_name = "ID")]
    batch: Option<BatchId>,
    /// What it is called within its batch
    #[arg(long, value_name = "NAME")]
    label: Option<Label>,
    /// Enqueue all of them, or none if one is refused
    #[arg(long)]
    all_or_none: bool,
}

impl TogetherArgs {
    /// What it waits for; each named once.
    fn after(&self) -> Option<After> {
        let mut jobs: Vec<JobId> = Vec::new();
        for id in &self.after {
            if !jobs.contains(id) {
                jobs.push(*id);
            }
        }
        (!jobs.is_empty()).then(|| After { jobs, on_failure: self.on_failure.unwrap_or_default() })
    }
}

/// What became of one payload.
#[derive(Serialize)]
struct EnqueuedJson {
    /// The job that stands for it.
    id: JobId,
    /// Whether it is a new one.
    created: bool,
    /// `created`, `existing`, `duplicate`, `replaced` or `refused`.
    outcome: &'static str,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error>,
}

/// The payloads that were refused.
#[derive(Default)]
struct Refusals {
    count: usize,
    first: Option<(JobId, Error)>,
}

impl EnqueuedJson {
    fn new(id: JobId, outcome: EnqueueOutcome) -> Self {
        let (id, outcome, error) = match outcome {
            EnqueueOutcome::Created => (id, "created", None),
            EnqueueOutcome::Existing => (id, "existing", None),
            EnqueueOutcome::Duplicate(holder) => (holder, "duplicate", None),
            EnqueueOutcome::Replaced(holder) => (holder, "replaced", None),
            EnqueueOutcome::Refused(error) => (id, "refused", Some(error)),
        };
        Self { id, created: outcome == "created", outcome, error }
    }

    /// What is to be said of a job that is not a new one.
    fn remark(&self) -> Option<String> {
        let holder = &self.id;
        match self.outcome {
            "existing" => Some(format!("{holder}: existing; a job of this id was there already, nothing was changed")),
            "duplicate" => Some(format!("not enqueued: duplicate of {holder}, which holds the unique key")),
            "replaced" => {
                Some(format!("not enqueued: replaced what was asked for in {holder}, which holds the unique key"))
            }
            _ => None,
        }
    }
}

impl Refusals {
    fn count(&mut self, id: JobId, error: &Error) {
        self.count += 1;
        self.first.get_or_insert_with(|| (id, error.clone()));
    }

    fn verdict(self, total: u64) -> Result<(), Failure> {
        match self.first {
            None => Ok(()),
            Some((id, error)) if total == 1 => Err(Failure::refused(format!("enqueue job {id}"), &error)),
            Some((_, mut first)) => {
                first.message = format!("{} of them were refused; the first: {}", self.count, first.message);
                Err(Failure::refused(format!("enqueue {}", settings::jobs(total)), &first))
            }
        }
    }
}

impl EnqueueArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let payloads = payload::each(self.payload.as_deref(), &self.files)?;
        let total = payloads.len() as u64 * self.count;
        if self.together.all_or_none {
            let bytes = payloads
                .iter()
                .map(Bytes::len)
                .sum::<usize>()
                .saturating_mul(usize::try_from(self.count).unwrap_or(usize::MAX));
            in_one_step(total, bytes)?;
        }
        let client = connection.client().await?;
        let spec = self.spec()?;
        let task = Modules::default().task(&client, &spec.what).await?;
        let progress = (total > BATCH_JOBS as u64).then(|| Progress::counting("enqueue", total));
        let (mut ids, mut refused): (Vec<JobId>, Vec<MissedJson>) = Default::default();
        let (mut enqueued, mut refusals, mut broke) = (0, Refusals::default(), Ok(()));
        let output = Output::new();
        let mut jobs = payloads
            .iter()
            .flat_map(|payload| (0..self.count).map(move |_| payload))
            .map(|payload| self.job(&client, &spec, &task, payload.clone()))
            .peekable();
        let mut shown = Vec::new();
        // Whoever reads the ids may have read enough: all jobs are enqueued nevertheless.
        let mut written = Ok(());
        while jobs.peek().is_some() {
            let mut bytes = 0;
            let mut batch = Vec::new();
            // All or none is one request.
            while (self.together.all_or_none || batch.len() < BATCH_JOBS && bytes < BATCH_BYTES)
                && let Some(job) = jobs.next()
            {
                bytes += job.payload.len();
                batch.push(job);
            }
            let outcomes = match self.wait_when_full {
                // An id that was asked for stays.
                Some(patience) if self.id.is_some() => client.enqueue_waiting(batch.clone(), patience).await,
                Some(patience) => client.enqueue_renewing(&mut batch, patience).await,
                None if self.together.all_or_none => client.enqueue_all(batch.clone()).await,
                None => client.enqueue(batch.clone()).await,
            };
            let outcomes = match outcomes {
                Ok(outcomes) => outcomes,
                // Those before it are enqueued: their ids are not lost.
                Err(error) => {
                    let failure = failed("enqueue", &error);
                    let some =
                        format!("{enqueued} of {} are enqueued, and this may have been too", settings::jobs(total));
                    broke = Err(if enqueued == 0 { failure } else { failure.hint(some) });
                    break;
                }
            };
            for (job, outcome) in batch.iter().zip(outcomes) {
                let id = job.id;
                let outcome = EnqueuedJson::new(id, outcome);
                if let Some(remark) = outcome.remark().filter(|_| written.is_ok()) {
                    written = output.note(remark);
                }
                if let Some(error) = &outcome.error {
                    let place = enqueued + refusals.count as u64;
                    if let Some(file) = self.files.get(usize::try_from(place / self.count).unwrap_or(usize::MAX)) {
                        output.note(format!("{}: not enqueued: {error}", file.display()))?;
                    }
                    refusals.count(id, error);
                } else {
                    enqueued += 1;
                }
                match (self.wait, &outcome.error) {
                    (true, None) => ids.push(outcome.id),
                    (true, Some(error)) if self.json => refused.push(MissedJson { id, error: error.clone() }),
                    (false, _) if self.json => shown.push(outcome),
                    (false, None) if written.is_ok() => written = output.line(outcome.id),
                    (false, None) | (_, Some(_)) => {}
                }
            }
            if let Some(progress) = &progress {
                progress.advance(batch.len() as u64);
            }
        }
        drop(progress);
        let printed = match (self.wait, self.json) {
            (true, json) if !ids.is_empty() || json => wait::until_ended(&client, &ids, None, json, refused).await,
            (false, true) => output.json(&shown),
            _ => Ok(()),
        };
        Failure::of_all([printed, written, refusals.verdict(total), broke])
    }

    /// What is common to all of them.
    fn spec(&self) -> Result<JobSpec, Failure> {
        let what = self.what.what();
        let what = what.ok_or_else(|| Failure::usage("enqueue", "neither --module nor --task says what to run"))?;
        let options = Options { label: self.together.label.clone(), ..self.options.options() };
        Ok(JobSpec { queue: self.what.queue.clone(), what, payload: Bytes::new(), options })
    }

    fn job(&self, client: &Client, spec: &JobSpec, task: &Task, payload: Bytes) -> NewJob {
        let id = self.id.unwrap_or_else(|| client.job_id());
        let start = match (self.at, self.delay) {
            (Some(time), _) => Start::At(time),
            (None, Some(delay)) => Start::AfterMs(value::milliseconds(delay)),
            (None, None) => Start::Now,
        };
        let (after, batch) = (self.together.after(), self.together.batch);
        NewJob { payload, start, after, batch, ..spec.job(id, task.clone()) }
    }
}

/// Refuses what does not fit into one request.
fn in_one_step(jobs: u64, bytes: usize) -> Result<(), Failure> {
    let doing = "enqueue all or none";
    if jobs > BULK_JOBS_MAX as u64 {
        return Err(Failure::usage(
            doing,
            format!("{jobs} jobs are more than the {BULK_JOBS_MAX} that one step takes"),
        )
        .hint("enqueue them into a batch: `jobraft batch create --open`, `job enqueue --batch ID`, `batch seal ID`"));
    }
    if bytes > BULK_BYTES_MAX {
        let (bytes, most) = (human::bytes(bytes as u64), human::bytes(BULK_BYTES_MAX as u64));
        return Err(Failure::usage(doing, format!("payloads of {bytes} are more than the {most} that one step takes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_job_that_is_waited_for_is_named_once() {
        assert!(TogetherArgs::default().after().is_none());
        let id = |n| JobId::new(LogTime::from_ms(n), [0; 10]);
        let args = TogetherArgs { after: vec![id(2), id(1), id(2)], ..TogetherArgs::default() };
        assert_eq!(args.after().unwrap(), After { jobs: vec![id(2), id(1)], on_failure: OnFailure::Wait });
    }

    #[test]
    fn all_or_none_is_one_request() {
        in_one_step(1_000, BULK_BYTES_MAX).unwrap();
        assert!(in_one_step(1_001, 0).unwrap_err().to_string().contains("1001 jobs"));
        assert!(in_one_step(1, BULK_BYTES_MAX + 1).unwrap_err().to_string().contains("4.0 MiB"));
    }
}
