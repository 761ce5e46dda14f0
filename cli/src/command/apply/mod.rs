//! `jobraft apply`: makes the cluster's settings what a file says.
//!
//! Only keys that stand in the file are looked at; a schedule is all that its section says. The plan is reckoned from what the cluster is set to now, shown,
//! confirmed, and carried out in one step; a second time there is nothing to do.

mod file;
mod keys;
mod plan;

use super::confirm::confirm;
use super::settings::{self, Change};
use super::work::Modules;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::{Output, human};
use clap::Args;
use file::SettingsFile;
use jobraft_protocol::{Consistency, ScheduleName, Task};
use jobraft_sdk::Client;
use plan::Now;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Make queues, their limits and groups, schedules, and the cluster what a TOML file says
///
/// Shows what would change from what to what and asks; then all of it is done in one step, or nothing. Queues and keys that
/// are not in the file stay as they are. The section of a schedule says all of it: what is absent has its default.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft apply -f config/queues.toml --dry-run
  jobraft apply -f config/queues.toml
  jobraft apply -f config/queues.toml --prune
  jobraft apply -f config/queues.toml --yes --json")]
pub(super) struct ApplyArgs {
    /// The file
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,
    /// Remove the schedules that the file does not name
    #[arg(long)]
    prune: bool,
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
        let now = self.now(&client, &wishes).await?;
        let tasks = tasks(&client, &wishes).await?;
        let changes = plan::changes(&wishes, &now, &tasks, self.prune);
        // Before anybody is asked.
        let settings = settings::wishes(&changes)?;
        let output = Output::new();
        if !self.json {
            changes.iter().map(Change::told).try_for_each(|line| output.line(line))?;
        }
        let apply = !self.dry_run && !changes.is_empty();
        if apply {
            let what = format!("make {}", human::count(changes.len(), "change"));
            confirm(&what, self.yes)?;
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

    /// What is set now, of all that the file is concerned with.
    async fn now(&self, client: &Client, file: &SettingsFile) -> Result<Now, Failure> {
        let doing = |error| failed("see what is set now", &error);
        let fresh = Consistency::Linearizable;
        let queues = client.queues(fresh).await.map_err(doing)?;
        let mut groups = BTreeMap::new();
        for (name, wishes) in &file.queues {
            if !wishes.groups.is_empty() && queues.iter().any(|queue| queue.queue == *name) {
                groups.insert(name.clone(), client.groups(name, fresh).await.map_err(doing)?);
            }
        }
        let scheduled = self.prune || !file.schedules.is_empty();
        let schedules = if scheduled { client.schedules(fresh).await.map_err(doing)? } else { Vec::new() };
        Ok(Now { cluster: client.settings(fresh).await.map_err(doing)?, queues, groups, schedules })
    }
}

/// What the file's schedules run, with modules' names resolved.
async fn tasks(client: &Client, file: &SettingsFile) -> Result<BTreeMap<ScheduleName, Task>, Failure> {
    let (mut modules, mut tasks) = (Modules::default(), BTreeMap::new());
    for (name, spec) in &file.schedules {
        tasks.insert(name.clone(), modules.task(client, &spec.job.what).await?);
    }
    Ok(tasks)
}
