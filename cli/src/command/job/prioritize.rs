//! `jobraft job prioritize`: changes the priority of jobs.

use super::select::SelectArgs;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::Args;
use jobraft_protocol::JobAction;
use jobraft_protocol::limits::PRIORITY_MAX;

/// Change the priority of jobs that have not ended
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job prioritize 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --priority 0
  jobraft job prioritize --queue reports --older-than 1h --priority 2 --yes")]
pub(super) struct PrioritizeArgs {
    /// 0 (first) to 9
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=i64::from(PRIORITY_MAX)))]
    priority: u8,
    #[command(flatten)]
    select: SelectArgs,
}

impl PrioritizeArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        self.select.act(connection, JobAction::Prioritize { priority: self.priority }).await
    }
}
