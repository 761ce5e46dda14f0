//! `jobraft schedule pause` and `resume`: whether ticks are passed over.

use super::{existing, refused};
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::ScheduleName;
use serde::Serialize;

/// Pass over a schedule's ticks until it is resumed; what it enqueued goes on
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft schedule pause nightly
  jobraft schedule pause nightly --json")]
pub(super) struct PauseArgs {
    /// The schedule
    name: ScheduleName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Let a paused schedule tick again; what was passed over is not made up for
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft schedule resume nightly
  jobraft schedule resume nightly --json")]
pub(super) struct ResumeArgs {
    /// The schedule
    name: ScheduleName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct PausedJson<'a> {
    schedule: &'a str,
    paused: bool,
    changed: bool,
}

impl PauseArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        set(connection, &self.name, true, self.json).await
    }
}

impl ResumeArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        set(connection, &self.name, false, self.json).await
    }
}

async fn set(connection: &ConnectionArgs, name: &ScheduleName, paused: bool, json: bool) -> Result<(), Failure> {
    let client = connection.client().await?;
    let changed = existing(&client, name, 0).await?.paused != paused;
    if changed {
        let (verb, set) = match paused {
            true => ("pause", client.pause_schedule(name).await),
            false => ("resume", client.resume_schedule(name).await),
        };
        set.map_err(|error| refused(format!("{verb} schedule {name}"), &error))?;
    }
    let output = Output::new();
    if json {
        return output.json(&PausedJson { schedule: name.as_str(), paused, changed });
    }
    let (already, state) = (if changed { "" } else { "already " }, if paused { "paused" } else { "running" });
    output.line(format!("schedule {name} is {already}{state}"))
}
