//! `jobraft job cancel`: calls jobs off.

use super::select::SelectArgs;
use crate::command::value;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::Args;
use jobraft_protocol::JobAction;
use jobraft_protocol::limits::CANCEL_GRACE_MS_DEFAULT;
use std::time::Duration;

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
    /// Why; kept with the job
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// How long a running job has to stop [default: 25s]
    #[arg(long, value_name = "DURATION", value_parser = value::grace)]
    grace: Option<Duration>,
    /// Take running jobs away at once, which is a grace of 0
    #[arg(long, conflicts_with = "grace")]
    now: bool,
}

impl CancelArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let grace_ms = match self.grace {
            _ if self.now => 0,
            Some(grace) => value::milliseconds(grace),
            None => CANCEL_GRACE_MS_DEFAULT,
        };
        self.select.act(connection, JobAction::Cancel { reason: self.reason, grace_ms }).await
    }
}
