//! `jobraft apply`: makes the cluster's settings what a file says.
//!
//! Only keys that stand in the file are looked at. The plan is reckoned from what the cluster is set to now, shown,
//! confirmed, and carried out in one step; a second time there is nothing to do.

mod file;
mod plan;

use super::confirm::confirm;
use super::settings::Change;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Output, human};
use clap::Args;
use file::SettingsFile;
use jobraft_protocol::Consistency;
use serde::Serialize;
use std::path::PathBuf;

/// Make the settings of queues and of the cluster what a TOML file says
///
/// Shows what would change from what to what and asks; keys that are not in the file stay as they are.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft apply -f config/queues.toml --dry-run
  jobraft apply -f config/queues.toml
  jobraft apply -f config/queues.toml --yes --json")]
pub(super) struct ApplyArgs {
    /// The file
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Do it without asking
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Serialize)]
struct AppliedJson<'a> {
    changes: &'a [Change],
    applied: bool,
}

impl ApplyArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let wishes = SettingsFile::read(&self.file).map_err(|error| Failure::usage("read what to apply", error))?;
        let client = self.connection.client().await?;
        let doing = |error| failed("see what is set now", &error);
        let queues = client.queues(Consistency::Linearizable).await.map_err(doing)?;
        let settings = client.settings(Consistency::Linearizable).await.map_err(doing)?;
        let changes = plan::changes(&wishes, &settings, &queues);
        let output = Output::new();
        if !self.json {
            changes.iter().map(Change::told).try_for_each(|line| output.line(line))?;
        }
        let apply = !self.dry_run && !changes.is_empty();
        if apply {
            let what = format!("make {}", human::count(changes.len(), "change"));
            confirm(&what, self.yes)?;
            let settings = changes.iter().map(|change| change.wish.clone()).collect();
            client.configure(settings).await.map_err(|error| failed("apply the file", &error))?;
        }
        if self.json {
            return output.json(&AppliedJson { changes: &changes, applied: apply });
        }
        output.line(match (changes.len(), apply) {
            (0, _) => "nothing to change: everything is as the file says".to_owned(),
            (count, true) => format!("{} made", human::count(count, "change")),
            (count, false) => format!("{} to make; nothing was done (--dry-run)", human::count(count, "change")),
        })
    }
}
