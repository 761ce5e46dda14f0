//! `jobraft job retry`: lets dead jobs run again.

use super::select::SelectArgs;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::Args;
use jobraft_protocol::JobAction;

/// Let dead jobs run again, with all their attempts anew
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job retry 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft job retry --queue emails --error timeout
  jobraft job retry --all --yes")]
pub(super) struct RetryArgs {
    #[command(flatten)]
    select: SelectArgs,
}

impl RetryArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        self.select.act(connection, JobAction::Retry).await
    }
}
