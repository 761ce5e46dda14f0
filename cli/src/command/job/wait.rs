//! `jobraft job wait`: until jobs have ended, and what came of them.

use super::result;
use crate::command::value;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::{Exit, Failure};
use crate::output::{JobJson, Output, Progress, human};
use clap::Args;
use futures_util::{StreamExt, stream};
use jobraft_protocol::{EndReason, Error, ErrorCode, JobId, JobState, JobView};
use jobraft_sdk::{Client, SdkError};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Jobs waited for at once; the others' turn comes as these end.
const WAITS_AT_ONCE: usize = 256;
/// Of a failure's message this much is shown.
const MESSAGE_BYTES: usize = 500;
/// From this many jobs on there is a bar that counts those that have ended.
const PROGRESS_FROM: usize = 20;

/// Wait until jobs have ended, and print their results
///
/// Exits with 1 if one of them did not complete, with 4 if the time was over before.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job wait 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --timeout 1m
  jobraft job wait $(jobraft job enqueue --module wordcount --file a.md --file b.md)")]
pub(super) struct WaitArgs {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
    /// For how long at most, such as 30s [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    timeout: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed of a job that was to be waited for.
#[derive(Serialize)]
#[serde(untagged)]
enum EndJson {
    Job(Box<JobJson>),
    Missed(MissedJson),
}

/// A job whose end is not known.
#[derive(Serialize)]
pub(in crate::command) struct MissedJson {
    /// The job.
    pub(in crate::command) id: JobId,
    /// Why.
    pub(in crate::command) error: Error,
}

impl WaitArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        until_ended(&client, &self.ids, self.timeout, self.json, Vec::new()).await
    }
}

/// How a wait for one job ended.
enum End {
    /// So did the job.
    Job(Box<JobView>),
    /// It is not there, or goes on.
    Missed { error: Error, failure: Failure },
}

/// Waits for all jobs, prints each one's result in the given order, and fails if one of them did not complete. What is
/// wrong with one of them takes nothing away from the others. `refused` ones have no end; they are in the JSON.
pub(in crate::command) async fn until_ended(
    client: &Client,
    ids: &[JobId],
    timeout: Option<Duration>,
    json: bool,
    refused: Vec<MissedJson>,
) -> Result<(), Failure> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let progress = (ids.len() >= PROGRESS_FROM).then(|| Progress::counting("wait", ids.len() as u64));
    let output = Output::new();
    let mut ended = stream::iter(ids).map(|id| end_of(client, *id, deadline, ids.len() == 1)).buffered(WAITS_AT_ONCE);
    let (mut all, mut failures, mut asked) = (Vec::new(), 0, ids.iter());
    let (mut missed, mut broke) = (None, Ok(()));
    while let Some(end) = ended.next().await {
        let id = asked.next().expect("each wait is for an id");
        if let Some(progress) = &progress {
            progress.advance(1);
        }
        match end {
            Ok(End::Job(job)) => {
                failures += usize::from(job.state != JobState::Completed);
                if json {
                    all.push(EndJson::Job(Box::new(JobJson::from(&*job))));
                } else {
                    show(&output, &job, ids.len() > 1)?;
                }
            }
            Ok(End::Missed { error, failure }) => {
                // The first is the command's failure.
                match missed {
                    None => missed = Some(failure),
                    Some(_) => output.note(format!("{id}: {error}"))?,
                }
                all.push(EndJson::Missed(MissedJson { id: *id, error }));
            }
            // The cluster does not answer: the others would fail as well.
            Err(failure) => {
                broke = Err(failure);
                break;
            }
        }
    }
    drop(progress);
    if json {
        all.extend(refused.into_iter().map(EndJson::Missed));
        output.json(&all)?;
    }
    let completed = match failures {
        0 => Ok(()),
        _ => Err(Failure::new(
            "complete",
            format!("{} of {} did not complete", failures, human::count(ids.len(), "job")),
        )
        .hint("`jobraft job get ID` tells why")),
    };
    Failure::of_all([completed, missed.map_or(Ok(()), Err), broke])
}

/// Shows how far a job says it is.
fn show_progress(bar: &Progress, job: &JobView) {
    let progress = job.progress.as_ref();
    bar.reach(progress.map_or(0, |progress| progress.percent.into()));
    bar.say(match progress.filter(|progress| !progress.message.is_empty()) {
        Some(progress) => human::one_line(&progress.message, MESSAGE_BYTES),
        None => job.state.to_string(),
    });
}

/// The job once it has ended. One that is `watched` shows meanwhile how far it is, if there is a terminal.
async fn end_of(client: &Client, id: JobId, deadline: Option<Instant>, watched: bool) -> Result<End, Failure> {
    let doing = || format!("wait for job {id}");
    let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
    let bar = watched.then(|| Progress::percent("job")).filter(Progress::is_shown);
    let ended = match &bar {
        Some(bar) => client.wait_job_watching(id, left, |job| show_progress(bar, job)).await,
        None => client.wait_job(id, left).await,
    };
    // Away with it before anything is printed.
    drop(bar);
    match ended {
        Ok(job) => Ok(End::Job(Box::new(job))),
        Err(SdkError::Timeout { .. }) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
            let cause = "it has not ended in the time allowed";
            let failure = Failure::new(doing(), cause)
                .exit(Exit::Unavailable)
                .hint("it goes on; wait longer with --timeout, or see where it stands with `jobraft job get`");
            Ok(End::Missed { error: Error::new(ErrorCode::Unavailable, cause), failure })
        }
        Err(SdkError::Refused(error)) => {
            let failure = Failure::refused(doing(), &error);
            Ok(End::Missed { error, failure })
        }
        Err(error) => Err(failed(doing(), &error)),
    }
}

/// Why a job did not complete. What an attempt failed of explains its death, but not that it was called off or came too late.
fn why(job: &JobView) -> Option<String> {
    let error = job.errors.last().filter(|_| job.state == JobState::Dead).map(|error| {
        let message = human::excerpt(error.message.as_bytes(), MESSAGE_BYTES);
        format!("{}: {message}", error.kind)
    });
    if error.is_some() {
        return error;
    }
    let parts = [
        // The state says as much.
        job.end_reason.filter(|reason| *reason != EndReason::Cancelled).map(|reason| reason.to_string()),
        job.cancel_reason.as_deref().filter(|text| !text.is_empty()).map(|text| human::one_line(text, MESSAGE_BYTES)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(": "))
}

/// One job alone: its result as it is, for pipes. One of several: a line that says which.
fn show(output: &Output, job: &JobView, several: bool) -> Result<(), Failure> {
    let paint = output.paint();
    if job.state != JobState::Completed {
        let reason = why(job).map(|reason| format!(": {reason}")).unwrap_or_default();
        return output.line(format!("{} {}{reason}", job.id, human::painted(paint, job.state)));
    }
    if several {
        output.line(format!("{} {}", paint.strong(job.id), human::painted(paint, job.state)))?;
    }
    let result = result(job)?;
    if result.is_empty() { Ok(()) } else { output.bytes(result) }
}
