//! `jobraft queue pause` and `resume`: what a queue does with jobs.

use super::existing;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::{QueueMode, QueueName, QueueSetting, Setting};
use jobraft_sdk::Client;
use serde::Serialize;

/// Let a queue's jobs wait: it takes new ones, but gives none to workers; what runs goes on
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft queue pause emails
  jobraft queue pause emails --json")]
pub(super) struct PauseArgs {
    /// The queue
    name: QueueName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Open a queue that was paused or drained
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft queue resume emails
  jobraft queue resume emails --json")]
pub(super) struct ResumeArgs {
    /// The queue
    name: QueueName,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ModeJson<'a> {
    queue: &'a str,
    mode: QueueMode,
    changed: bool,
}

impl PauseArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let changed = set_mode(&client, &self.name, QueueMode::Paused).await?;
        tell(&self.name, QueueMode::Paused, changed, self.json)
    }
}

impl ResumeArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let client = connection.client().await?;
        let changed = set_mode(&client, &self.name, QueueMode::Open).await?;
        tell(&self.name, QueueMode::Open, changed, self.json)
    }
}

/// Sets the mode of a queue that is there; whether that changed anything.
pub(super) async fn set_mode(client: &Client, name: &QueueName, mode: QueueMode) -> Result<bool, Failure> {
    let now = existing(client, name).await?.settings.mode;
    if now == mode {
        return Ok(false);
    }
    let setting = Setting::Queue(name.clone(), QueueSetting::Mode(mode));
    let set = client.configure(vec![setting]).await;
    set.map_err(|error| failed(format!("set queue {name} to {mode}"), &error))?;
    Ok(true)
}

/// Says what the mode is now.
pub(super) fn tell(name: &QueueName, mode: QueueMode, changed: bool, json: bool) -> Result<(), Failure> {
    let output = Output::new();
    if json {
        return output.json(&ModeJson { queue: name.as_str(), mode, changed });
    }
    output.line(format!("queue {name} is {}{mode}", if changed { "" } else { "already " }))
}
