//! `jobraft job get`: everything about one job.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{JobJson, Output, human};
use clap::Args;
use jobraft_protocol::{Consistency, JobId, JobView};
use std::time::Duration;

/// Bytes of a payload, a result or a log that are shown among other things; `--result` writes all.
const EXCERPT_BYTES: usize = 2_000;

/// Show a job
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job get 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft job get 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --result > result.bin
  jobraft job get 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --json | jq .state")]
pub(super) struct GetArgs {
    /// The job
    id: JobId,
    /// Only write the result, as it is
    #[arg(long, conflicts_with = "json")]
    result: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl GetArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let job = client
            .get_job(self.id, Consistency::Linearizable)
            .await
            .map_err(|error| failed(format!("get job {}", self.id), &error))?;
        let output = Output::new();
        if self.json {
            output.json(&JobJson::from(&job))
        } else if self.result {
            output.bytes(&job.result)
        } else {
            show(&output, &job)
        }
    }
}

fn show(output: &Output, job: &JobView) -> Result<(), Failure> {
    let now = human::now();
    let paint = output.paint();
    let when = |time| format!("{} ({})", human::timestamp(time), human::relative(time, now));
    output.field("job", paint.strong(job.id))?;
    output.field("state", human::painted(paint, job.state))?;
    output.field("queue", &job.queue)?;
    output.field("task", &job.task)?;
    output.field("attempt", format!("{} of at most {}", job.attempt, job.max_attempts))?;
    output.field("priority", job.priority)?;
    output.field("run time", format!("at most {}", human::duration(Duration::from_millis(job.run_timeout_ms))))?;
    output.field("enqueued", when(job.enqueued_at))?;
    if !job.state.is_terminal() && job.run_at > job.enqueued_at {
        output.field("runs", when(job.run_at))?;
    }
    if let Some(ends) = job.ttl_ends_at.filter(|_| !job.state.is_terminal() && job.attempt == 0) {
        output.field("expires", format!("{}, unless it has begun", when(ends)))?;
    }
    if let Some(by) = job.start_by.filter(|_| !job.state.is_terminal()) {
        output.field("start by", when(by))?;
    }
    if let Some(backoff) = &job.backoff {
        output.field("backoff", human::backoff(backoff))?;
    }
    if let Some(unique) = &job.unique {
        output.field("unique", human::unique(unique))?;
    }
    if let Some(progress) = &job.progress {
        let message = human::one_line(&progress.message, EXCERPT_BYTES);
        output.field("progress", format!("{}% {message}", progress.percent).trim_end())?;
    }
    if job.checkpoint_bytes > 0 {
        output.field("checkpoint", format!("{} for the next attempt", human::bytes(job.checkpoint_bytes)))?;
    }
    if let Some(last) = job.crashed_at.last() {
        let count = job.crashed_at.len();
        output.field("crashes", format!("{count} of at most {} in 72 h, the last {}", job.max_crashes, when(*last)))?;
    }
    if let Some(lease) = &job.lease {
        output
            .field("held by", format!("worker {}, until {}", lease.worker, human::relative(lease.expires_at, now)))?;
    }
    if let Some(notice) = &job.cancel {
        let reason = human::one_line(&notice.reason, EXCERPT_BYTES);
        let until = format!("is to stop {}, else it is taken away", human::relative(notice.hard_at, now));
        output.field("cancel", if reason.is_empty() { until } else { format!("{until}: {reason}") })?;
    }
    if let Some(finished) = job.finished_at {
        let reason = job.end_reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        output.field("ended", format!("{}{reason}", when(finished)))?;
    }
    if let Some(reason) = job.cancel_reason.as_deref().filter(|reason| !reason.is_empty()) {
        output.field("cancelled", human::one_line(reason, EXCERPT_BYTES))?;
    }
    for error in &job.errors {
        let message = human::excerpt(error.message.as_bytes(), EXCERPT_BYTES);
        output.field("error", format!("attempt {}, {}: {message}", error.attempt, error.kind))?;
    }
    for (name, bytes) in [("payload", &job.payload), ("result", &job.result), ("log", &job.log)] {
        if !bytes.is_empty() {
            output.field(name, human::bytes(bytes.len() as u64))?;
            output.line(human::excerpt(bytes, EXCERPT_BYTES))?;
        }
    }
    Ok(())
}
