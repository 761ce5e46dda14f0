//! `jobraft schedule run`: a schedule's job now.

use super::refused;
use crate::command::job::wait;
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::{JobId, ScheduleName};
use serde::Serialize;

/// Enqueue a schedule's job now, whether or not it is paused. Prints its id
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft schedule run nightly
  jobraft schedule run nightly --wait")]
pub(super) struct RunArgs {
    /// The schedule
    name: ScheduleName,
    /// Wait until it has ended, and print its result
    #[arg(long)]
    wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct RunJson<'a> {
    schedule: &'a str,
    job: JobId,
}

impl RunArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let run = client.run_schedule(&self.name).await;
        let job = run.map_err(|error| refused(format!("run schedule {}", self.name), &error))?;
        let output = Output::new();
        match (self.wait, self.json) {
            (true, json) => wait::until_ended(&client, &[job], None, json, Vec::new()).await,
            (false, true) => output.json(&RunJson { schedule: self.name.as_str(), job }),
            (false, false) => output.line(job),
        }
    }
}
