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
    if let Some(lease) = &job.lease {
        output
            .field("held by", format!("worker {}, until {}", lease.worker, human::relative(lease.expires_at, now)))?;
    }
    if let Some(finished) = job.finished_at {
        output.field("ended", when(finished))?;
    }
    if let Some(reason) = job.cancel_reason.as_deref().filter(|reason| !reason.is_empty()) {
        output.field("cancelled", reason)?;
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
