//! `jobraft batch cancel`: no more jobs for a batch, and those that it has are called off.

use super::{existing, refused};
use crate::command::bulk::Deed;
use crate::command::call_off::CallOffArgs;
use crate::command::confirm::confirm;
use crate::command::settings;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::{BatchId, Consistency, JobFilter};

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
    #[command(flatten)]
    call_off: CallOffArgs,
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
        let deed = Deed { action: self.call_off.action(), yes: true, json: self.json };
        let filter = JobFilter { batch: Some(self.id), ..JobFilter::default() };
        deed.to_matching(&client, filter).await?;
        if self.json {
            return Ok(());
        }
        let batch = existing(&client, self.id, Consistency::Linearizable).await?;
        output.line(format!("batch {} takes no more jobs; it is {}", self.id, batch.state))
    }
}
