//! `jobraft batch retry`: lets the dead jobs of a batch run again.

use super::existing;
use crate::command::bulk::Deed;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::Args;
use jobraft_protocol::{BatchId, Consistency, JobAction, JobFilter};

/// Let the dead jobs of a batch run again, with all their attempts anew; what waits behind them goes on
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft batch retry 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft batch retry 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --yes --json")]
pub(super) struct RetryArgs {
    /// The batch
    id: BatchId,
    /// Do it without asking
    #[arg(long, short)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl RetryArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        existing(&client, self.id, Consistency::Linearizable).await?;
        let deed = Deed { action: JobAction::Retry, yes: self.yes, json: self.json };
        let filter = JobFilter { batch: Some(self.id), ..JobFilter::default() };
        deed.to_matching(&client, filter).await
    }
}
