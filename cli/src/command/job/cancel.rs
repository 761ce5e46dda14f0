//! `jobraft job cancel`: calls jobs off.

use super::select::SelectArgs;
use crate::command::call_off::CallOffArgs;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::Args;

/// Call jobs off, whether they wait or run
///
/// A job that waits is cancelled at once. One that runs is asked to stop; if it has not by the end of its grace, it is taken
/// away from its worker.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job cancel 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --reason 'sent by mistake'
  jobraft job cancel 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --grace 5m
  jobraft job cancel --queue reports --state scheduled --older-than 2h
  jobraft job cancel --all --now --yes")]
pub(super) struct CancelArgs {
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    call_off: CallOffArgs,
}

impl CancelArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        self.select.act(connection, self.call_off.action()).await
    }
}
