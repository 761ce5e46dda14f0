//! `jobraft batch cancel`: no more jobs for a batch, and those that it has are called off.

use super::{existing, refused};
use crate::command::bulk::Deed;
use crate::command::confirm::confirm;
use crate::command::{settings, value};
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::limits::CANCEL_GRACE_MS_DEFAULT;
use jobraft_protocol::{BatchId, Consistency, JobAction, JobFilter};
use std::time::Duration;

/// Call a batch off: it takes no more jobs, calls nobody when it ends, and its jobs are cancelled
///
/// A job that waits is cancelled at once. One that runs is asked to stop; if it has not by the end of its grace, it is taken
/// away from its worker. What it called when a job failed is no part of it, and goes on.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft batch cancel 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --reason 'no longer needed'
  jobraft batch cancel 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --now --yes")]
pub(super) struct CancelArgs {
    /// The batch
    id: BatchId,
    /// Why; kept with the jobs
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// How long a running job has to stop [default: 25s]
    #[arg(long, value_name = "DURATION", value_parser = value::grace)]
    grace: Option<Duration>,
    /// Take running jobs away at once, which is a grace of 0
    #[arg(long, conflicts_with = "grace")]
    now: bool,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl CancelArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let batch = existing(&client, self.id, Consistency::Linearizable).await?;
        let output = Output::new();
        if batch.state.has_ended() && !self.json {
            return output.line(format!("batch {} has ended already: {}", self.id, batch.state));
        }
        if !batch.state.has_ended() {
            confirm(&format!("cancel batch {} with {}", self.id, settings::jobs(batch.live)), self.yes)?;
            let closed = client.cancel_batch_intake(self.id).await;
            closed.map_err(|error| refused(format!("cancel batch {}", self.id), &error))?;
        }
        let grace_ms = match self.grace {
            _ if self.now => 0,
            Some(grace) => value::milliseconds(grace),
            None => CANCEL_GRACE_MS_DEFAULT,
        };
        let action = JobAction::Cancel { reason: self.reason, grace_ms };
        let deed = Deed { action, yes: true, json: self.json };
        let filter = JobFilter { batch: Some(self.id), ..JobFilter::default() };
        deed.to_matching(&client, filter).await?;
        if self.json {
            return Ok(());
        }
        let batch = existing(&client, self.id, Consistency::Linearizable).await?;
        output.line(format!("batch {} takes no more jobs; it is {}", self.id, batch.state))
    }
}
