//! `jobraft job get`: everything about one job.

use super::result;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{JobJson, Output, Paint, human};
use clap::Args;
use jobraft_protocol::{Consistency, JobId, JobState, JobView, Predecessor, Withheld};
use std::time::Duration;

/// Bytes of a payload, a result or a log that are shown among other things; `--result` writes all.
const EXCERPT_BYTES: usize = 2_000;
/// Lines that tell what a job waits for.
const AFTER_SHOWN: usize = 20;
/// What is said of a job that lives.
const NOT_ENDED: &str = "not ended";

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
            result(&job).and_then(|result| output.bytes(result))
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
    relations(output, job)?;
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
    let cancelled = [job.cancelled_by.as_ref().map(|by| format!("by {by}")), job.cancel_reason.clone()];
    let cancelled = cancelled.into_iter().flatten().map(|text| human::one_line(&text, EXCERPT_BYTES));
    let cancelled: Vec<String> = cancelled.filter(|text| !text.is_empty()).collect();
    if !cancelled.is_empty() {
        output.field("cancelled", cancelled.join(": "))?;
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
    match job.withheld {
        Withheld::Nothing => Ok(()),
        Withheld::AllButResult => output.field("withheld", "payload and log: not for this certificate"),
        Withheld::All => output.field("withheld", "payload, result and log: not for this certificate"),
    }
}

/// What it has to do with other jobs, and why it is there.
fn relations(output: &Output, job: &JobView) -> Result<(), Failure> {
    if let Some(label) = &job.label {
        output.field("label", label)?;
    }
    if let Some(group) = &job.group {
        output.field("group", group)?;
    }
    if let Some(batch) = &job.batch {
        output.field("batch", format!("{batch}{}", if job.is_callback { ", which called it" } else { "" }))?;
    }
    if let Some(tick) = &job.tick {
        output.field("schedule", format!("{}, for {}", tick.schedule, human::timestamp(tick.tick)))?;
    }
    predecessors(&job.after, output.paint()).into_iter().try_for_each(|line| output.field("after", line))?;
    if !job.after.is_empty() {
        output.field("on failure", job.on_failure)?;
    }
    Ok(())
}

/// What it waits or waited for, each on a line; of many the last line counts the rest.
fn predecessors(after: &[Predecessor], paint: Paint) -> Vec<String> {
    let line = |predecessor: &Predecessor| match predecessor.ended {
        Some(state) => format!("{} {}", predecessor.job, human::painted(paint, state)),
        None => format!("{} {NOT_ENDED}", predecessor.job),
    };
    let shown = if after.len() > AFTER_SHOWN { AFTER_SHOWN - 1 } else { after.len() };
    let mut lines: Vec<String> = after[..shown].iter().map(line).collect();
    let rest = &after[shown..];
    if !rest.is_empty() {
        let count = |ended: Option<JobState>| rest.iter().filter(|predecessor| predecessor.ended == ended).count();
        let states = JobState::ALL
            .into_iter()
            .filter(|state| state.is_terminal())
            .map(|state| (count(Some(state)), state.as_str()));
        let counts = states.chain([(count(None), NOT_ENDED)]).filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        lines.push(format!("… {} more: {}", rest.len(), counts.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobraft_protocol::LogTime;

    fn after(count: usize) -> Vec<Predecessor> {
        let ended = [Some(JobState::Completed), None, Some(JobState::Dead)];
        let id = |n: usize| JobId::new(LogTime::from_ms(n as u64), [0; 10]);
        (0..count).map(|n| Predecessor { job: id(n), ended: ended[n % 3] }).collect()
    }

    #[test]
    fn what_is_waited_for_is_told_with_its_state() {
        let lines = predecessors(&after(3), Paint::never());
        assert!(lines[0].ends_with(" completed") && lines[1].ends_with(" not ended") && lines[2].ends_with(" dead"));
        assert_eq!(predecessors(&after(AFTER_SHOWN), Paint::never()).len(), AFTER_SHOWN);
    }

    #[test]
    fn many_are_counted() {
        let lines = predecessors(&after(AFTER_SHOWN + 2), Paint::never());
        assert_eq!(lines.len(), AFTER_SHOWN);
        assert_eq!(lines[AFTER_SHOWN - 1], "… 3 more: 1 completed, 1 dead, 1 not ended");
    }
}
