//! `jobraft job delete`: removes jobs that wait or have ended.

use super::select::SelectArgs;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::Args;
use jobraft_protocol::JobAction;

/// Delete jobs that wait or have ended; nothing is left to read of them
///
/// A filter must say in which state, and --all means all that can be deleted: there is no way back. Jobs that run cannot
/// be deleted; cancel them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job delete 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft job delete --state dead --older-than 7d
  jobraft job delete --queue reports --state scheduled,ready --yes")]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    select: SelectArgs,
}

impl DeleteArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        self.select.act(connection, JobAction::Delete).await
    }
}
