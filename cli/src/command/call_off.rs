//! How jobs are called off, for the commands that do it.

use super::value;
use clap::Args;
use jobraft_protocol::JobAction;
use jobraft_protocol::limits::CANCEL_GRACE_MS_DEFAULT;
use std::time::Duration;

/// Why, and with how much patience.
#[derive(Args, Debug)]
pub(super) struct CallOffArgs {
    /// Why; kept with the jobs
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// How long a running job has to stop [default: 25s]
    #[arg(long, value_name = "DURATION", value_parser = value::grace)]
    grace: Option<Duration>,
    /// Take running jobs away at once, which is a grace of 0
    #[arg(long, conflicts_with = "grace")]
    now: bool,
}

impl CallOffArgs {
    /// What is done to each job.
    pub(super) fn action(self) -> JobAction {
        let grace_ms = match self.grace {
            _ if self.now => 0,
            Some(grace) => value::milliseconds(grace),
            None => CANCEL_GRACE_MS_DEFAULT,
        };
        JobAction::Cancel { reason: self.reason, grace_ms }
    }
}
