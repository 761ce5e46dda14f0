//! `jobraft job move`: puts waiting jobs into another queue.

use super::select::SelectArgs;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::Args;
use jobraft_protocol::{JobAction, QueueName};

/// Put waiting jobs into another queue; they keep their priority and their age
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job move 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --to urgent
  jobraft job move --queue emails --task send_email --to mailing --yes")]
pub(super) struct MoveArgs {
    /// The queue to put them into
    #[arg(long, value_name = "QUEUE")]
    to: QueueName,
    #[command(flatten)]
    select: SelectArgs,
}

impl MoveArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        self.select.act(connection, JobAction::Move { queue: self.to }).await
    }
}
