//! `jobraft schedule rm`: no more of it.

use super::refused;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::ScheduleName;
use serde::Serialize;

/// Remove a schedule; what it enqueued goes on
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft schedule rm nightly
  jobraft schedule rm nightly --json")]
pub(super) struct RemoveArgs {
    /// The schedule
    name: ScheduleName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct RemovedJson<'a> {
    schedule: &'a str,
    removed: bool,
}

impl RemoveArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let removed = client.remove_schedule(&self.name).await;
        removed.map_err(|error| refused(format!("remove schedule {}", self.name), &error))?;
        let output = Output::new();
        if self.json {
            return output.json(&RemovedJson { schedule: self.name.as_str(), removed: true });
        }
        output.line(format!("schedule {} is removed", self.name))
    }
}
