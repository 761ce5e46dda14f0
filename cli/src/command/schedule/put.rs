//! `jobraft schedule put`: a new schedule, or another one in the place of that name.

use super::calendar::{self, Zone};
use super::plan::{self, ScheduleSpec};
use super::{existing, find, refused};
use crate::command::job::payload;
use crate::command::settings::{self, Change};
use crate::command::value;
use crate::command::work::{JobSpec, Modules, OptionArgs, Options, WhatArgs};
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use crate::output::Output;
use clap::{ArgGroup, Args};
use jobraft_protocol::{CatchUp, Label, Overlap, ScheduleName};
use std::path::PathBuf;

/// Next ticks that are shown of what was put.
const NEXT_SHOWN: u32 = 3;

/// Put a schedule: the cluster enqueues one job at each of its ticks
///
/// A schedule of that name is replaced by what is said here, but stays paused if it was. Its ticks count from now on; if
/// neither --cron nor --tz changes, from where it was. A module's name is looked up now, and what it stands for then is run.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("what").required(true).args(["module", "task"]), after_help = "\
Examples:
  jobraft schedule put nightly --cron '0 3 * * *' --tz Europe/Berlin --queue reports --task report
  jobraft schedule put sync --cron '*/10 * * * *' --module sync --overlap skip --timeout 5m
  jobraft schedule put invoices --cron '@monthly' --task invoice --file invoices.json --catch-up all
  jobraft schedule put heartbeat --cron '*/15 * * * * *' --task ping --max-attempts 1

--cron takes five fields (minute, hour, day of month, month, day of week), six with seconds in front, or
@hourly, @daily, @weekly, @monthly, @yearly. `jobraft schedule next --cron EXPR` tells when that is.")]
pub(super) struct PutArgs {
    /// The schedule
    name: ScheduleName,
    /// When
    #[arg(long, value_name = "EXPR")]
    cron: String,
    /// In which time zone, by its IANA name such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    #[command(flatten)]
    what: WhatArgs,
    /// The payload of each job; `-` reads it from stdin [default: empty]
    payload: Option<String>,
    /// A file to read the payload from
    #[arg(long, short, value_name = "FILE", conflicts_with = "payload")]
    file: Option<PathBuf>,
    /// What becomes of ticks that are a minute late or more, because nobody led the cluster: skip passes over them, one makes
    /// up for the latest, all for each
    #[arg(long, value_name = "WHAT", default_value = "skip", value_parser = value::catch_up())]
    catch_up: CatchUp,
    /// What becomes of a tick while the job before still lives: allow enqueues another one, skip passes over it, queue lets the
    /// next one wait, replace cancels the one before
    #[arg(long, value_name = "WHAT", default_value = "allow", value_parser = value::overlap())]
    overlap: Overlap,
    /// What its jobs are called
    #[arg(long, value_name = "NAME")]
    label: Option<Label>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    // With headings of their own: what follows such a part would stand under its heading.
    #[command(flatten)]
    options: OptionArgs,
}

impl PutArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        // Before connecting: what is no time is none anywhere.
        calendar::cron(&self.cron, &self.tz)?;
        let spec = self.spec()?;
        let client = connection.client().await?;
        let task = Modules::default().task(&client, &spec.job.what).await?;
        let now = find(&client, &self.name, 0).await?;
        let changes = plan::changes(now.as_ref(), &spec.schedule(&self.name, task), None);
        if !changes.is_empty() {
            let put = client.configure(settings::wishes(&changes)?).await;
            put.map_err(|error| refused(format!("put schedule {}", self.name), &error))?;
        }
        let output = Output::new();
        if self.json {
            return output.json(&changes);
        }
        if changes.is_empty() {
            output.line("nothing to change")?;
        }
        changes.iter().map(Change::told).try_for_each(|line| output.line(line))?;
        let view = existing(&client, &self.name, NEXT_SHOWN).await?;
        let zone = Zone::find(&view.schedule.time_zone);
        if view.paused {
            return output.line("it is paused: `jobraft schedule resume` lets it tick");
        }
        view.next.iter().try_for_each(|tick| output.field("next", zone.shown(*tick, client.log_time())))
    }

    fn spec(&self) -> Result<ScheduleSpec, Failure> {
        let what = self.what.what();
        let what = what.ok_or_else(|| Failure::usage("put it", "neither --module nor --task says what to run"))?;
        let files = self.file.as_slice();
        let payload = payload::each(self.payload.as_deref(), files)?.pop().unwrap_or_default();
        let options = Options { label: self.label.clone(), ..self.options.options() };
        Ok(ScheduleSpec {
            cron: self.cron.clone(),
            time_zone: self.tz.clone(),
            job: JobSpec { queue: self.what.queue.clone(), what, payload, options },
            catch_up: self.catch_up,
            overlap: self.overlap,
            paused: None,
        })
    }
}
