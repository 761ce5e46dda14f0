//! `jobraft job enqueue`: one job for each payload.

use super::unique::UniqueArgs;
use super::wait::MissedJson;
use super::{payload, wait};
use crate::command::{settings, value};
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Output, Progress};
use bytes::Bytes;
use clap::{ArgGroup, Args};
use jobraft_protocol::limits::{ATTEMPTS_MAX, BULK_BYTES_MAX, BULK_JOBS_MAX, CRASHES_MAX, PRIORITY_MAX};
use jobraft_protocol::{
    Backoff, EnqueueOutcome, Error, JobId, LogTime, ModuleRef, NewJob, QueueName, Start, Task, TaskName,
};
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

Prints an id for each payload: that of the new job, or of the one that holds its unique key.")]
pub(super) struct EnqueueArgs {
    /// The queue
    #[arg(long, short, default_value = "default")]
    queue: QueueName,
    /// The module to run: its name, or sha256: and its digest
    #[arg(long, short, value_name = "NAME|sha256:…")]
    module: Option<ModuleRef>,
    /// The task of a worker's program to run
    #[arg(long, short, value_name = "NAME")]
    task: Option<TaskName>,
    /// The payload; `-` reads it from stdin [default: empty]
    payload: Option<String>,
    /// A file to read a payload from; repeat it for more jobs
    #[arg(long = "file", short, value_name = "FILE", conflicts_with = "payload")]
    files: Vec<PathBuf>,
    /// 0 (first) to 9
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=i64::from(PRIORITY_MAX)))]
    priority: Option<u8>,
    /// Not before this time has passed, such as 90s, 5m or 2h
    #[arg(long, value_name = "DURATION", value_parser = value::delay)]
    delay: Option<Duration>,
    /// Not before this time, in UTC, such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = value::time, conflicts_with = "delay")]
    at: Option<LogTime>,
    /// How long it may wait for its first attempt; then it is expired
    #[arg(long, value_name = "DURATION", value_parser = value::wait)]
    ttl: Option<Duration>,
    /// How long after its scheduled time an attempt may begin; then it is expired
    #[arg(long, value_name = "DURATION", value_parser = value::wait)]
    start_deadline: Option<Duration>,
    /// How often it is tried at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(ATTEMPTS_MAX)))]
    max_attempts: Option<u32>,
    /// How long it waits between two attempts: standard, exponential:1s, linear:30s, fixed:1m or list:1s,5s,30s; then
    /// perhaps ,factor=2 ,max=1h ,jitter=10%
    #[arg(long, value_name = "EXPR", value_parser = jobraft_sdk::parse_backoff)]
    backoff: Option<Backoff>,
    /// How many crashes of its worker within 72 h make it dead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CRASHES_MAX)))]
    max_crashes: Option<u32>,
    /// How long one attempt may run, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = value::run_time)]
    timeout: Option<Duration>,
    #[command(flatten)]
    unique: UniqueArgs,
    /// If the queue is full, how long to try again until there is room
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
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
        let payloads = self.payloads()?;
        let client = connection.client().await?;
        let task = self.task(&client).await?;
        let total = payloads.len() as u64 * self.count;
        let progress = (total > BATCH_JOBS as u64).then(|| Progress::counting("enqueue", total));
        let (mut ids, mut refused): (Vec<JobId>, Vec<MissedJson>) = Default::default();
        let (mut enqueued, mut refusals, mut broke) = (0, Refusals::default(), Ok(()));
        let output = Output::new();
        let mut jobs = payloads
            .iter()
            .flat_map(|payload| (0..self.count).map(move |_| payload))
            .map(|payload| self.job(&client, &task, payload.clone()))
            .peekable();
        let mut shown = Vec::new();
        // Whoever reads the ids may have read enough: all jobs are enqueued nevertheless.
        let mut written = Ok(());
        while jobs.peek().is_some() {
            let mut bytes = 0;
            let mut batch = Vec::new();
            while batch.len() < BATCH_JOBS
                && bytes < BATCH_BYTES
                && let Some(job) = jobs.next()
            {
                bytes += job.payload.len();
                batch.push(job);
            }
            let outcomes = match self.wait_when_full {
                // An id that was asked for stays.
                Some(patience) if self.id.is_some() => client.enqueue_waiting(batch.clone(), patience).await,
                Some(patience) => client.enqueue_renewing(&mut batch, patience).await,
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

    fn payloads(&self) -> Result<Vec<Bytes>, Failure> {
        if !self.files.is_empty() {
            return self.files.iter().map(|file| payload::from_file(file)).collect();
        }
        Ok(vec![match self.payload.as_deref() {
            None => Bytes::new(),
            Some("-") => payload::from_stdin()?,
            Some(text) => payload::from_text(text.to_owned())?,
        }])
    }

    /// The task, with a module's name resolved once, so that all jobs of this command run the same bytes.
    async fn task(&self, client: &Client) -> Result<Task, Failure> {
        match (&self.module, &self.task) {
            (Some(ModuleRef::Digest(digest)), _) => Ok(Task::Module(*digest)),
            (Some(module), _) => {
                let manifest = client.resolve_module(module.clone()).await;
                manifest
                    .map(|manifest| Task::Module(manifest.digest))
                    .map_err(|error| failed(format!("find module {module}"), &error))
            }
            (None, Some(task)) => Ok(Task::Handler(task.clone())),
            (None, None) => Err(Failure::usage("enqueue", "neither --module nor --task says what to run")),
        }
    }

    fn job(&self, client: &Client, task: &Task, payload: Bytes) -> NewJob {
        let id = self.id.unwrap_or_else(|| client.job_id());
        let mut job = NewJob::new(id, self.queue.clone(), task.clone(), payload);
        job.priority = self.priority;
        job.start = match (self.at, self.delay) {
            (Some(time), _) => Start::At(time),
            (None, Some(delay)) => Start::AfterMs(value::milliseconds(delay)),
            (None, None) => Start::Now,
        };
        job.max_attempts = self.max_attempts;
        job.run_timeout_ms = self.timeout.map(value::milliseconds);
        job.ttl_ms = self.ttl.map(value::milliseconds);
        job.start_deadline_ms = self.start_deadline.map(value::milliseconds);
        job.backoff.clone_from(&self.backoff);
        job.max_crashes = self.max_crashes;
        job.unique = self.unique.claim();
        job
    }
}
