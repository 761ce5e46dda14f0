//! `jobraft batch wait`: until a batch has ended, and how.

use super::refused;
use super::view::{BatchJson, counts};
use crate::command::{settings, value};
use crate::connection::ConnectionArgs;
use crate::failure::{Exit, Failure};
use crate::output::{Output, Progress};
use clap::Args;
use jobraft_protocol::{BatchId, BatchState, BatchView};
use jobraft_sdk::{Client, SdkError};
use std::time::{Duration, Instant};

/// Wait until a batch has ended, and say how
///
/// Exits with 1 if not all of its jobs completed, with 4 if the time was over before.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft batch wait 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft batch wait 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --timeout 10m --json | jq .dead")]
pub(super) struct WaitArgs {
    /// The batch
    id: BatchId,
    /// For how long at most, such as 30s [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    timeout: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl WaitArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        until_ended(&client, self.id, self.timeout, self.json).await
    }
}

/// Waits for the end, prints how it came, and fails if not all jobs completed.
pub(super) async fn until_ended(
    client: &Client,
    id: BatchId,
    timeout: Option<Duration>,
    json: bool,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let progress = Progress::counting("batch", 0);
    let show = |batch: &BatchView| {
        progress.expect(batch.jobs());
        progress.reach(batch.jobs() - batch.live);
    };
    let patience = timeout.unwrap_or(Duration::MAX);
    let ended = if progress.is_shown() {
        client.wait_batch_watching(id, patience, show).await
    } else {
        client.wait_batch(id, patience).await
    };
    drop(progress);
    let doing = || format!("wait for batch {id}");
    let batch = match ended {
        Ok(batch) => batch,
        Err(SdkError::Timeout { .. }) if timeout.is_some_and(|timeout| begun.elapsed() >= timeout) => {
            return Err(Failure::new(doing(), "it has not ended in the time allowed")
                .exit(Exit::Unavailable)
                .hint("it goes on; wait longer with --timeout, or see where it stands with `jobraft batch show`"));
        }
        Err(error) => return Err(refused(doing(), &error)),
    };
    let output = Output::new();
    if json {
        output.json(&BatchJson::from(&batch))?;
    } else if batch.state == BatchState::Completed {
        output.line(format!("batch {id} completed: {}", settings::jobs(batch.completed)))?;
    }
    verdict(&batch)
}

fn verdict(batch: &BatchView) -> Result<(), Failure> {
    if batch.state == BatchState::Completed {
        return Ok(());
    }
    let id = batch.id;
    let hint = if batch.dead > 0 {
        format!("`jobraft batch show {id}` tells why; `jobraft batch retry {id}` lets the dead ones run again")
    } else {
        format!("`jobraft batch show {id}` tells why")
    };
    Err(Failure::new(format!("complete batch {id}"), format!("it has ended {}: {}", batch.state, counts(batch)))
        .hint(hint))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::view::tests::batch;
    use super::*;

    #[test]
    fn only_a_batch_all_of_whose_jobs_completed_is_a_success() {
        verdict(&batch(BatchState::Completed)).unwrap();
        let failed = BatchView { completed: 3, dead: 1, cancelled: 1, ..batch(BatchState::Failed) };
        let failure = verdict(&failed).unwrap_err();
        assert_eq!(failure.exit_code(), Exit::Failed);
        assert!(failure.to_string().contains("it has ended failed: 3 completed, 1 dead, 1 cancelled"), "{failure}");
        let cancelled = BatchView { cancelled: 2, ..batch(BatchState::Cancelled) };
        assert!(verdict(&cancelled).unwrap_err().to_string().contains("it has ended cancelled: 2 cancelled"));
    }
}
