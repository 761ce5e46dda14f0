//! `jobraft schedule`: jobs that the cluster enqueues by the calendar.

mod calendar;
mod list;
mod next;
mod pause;
pub(super) mod plan;
mod put;
mod remove;
mod run;
mod show;

use crate::connection::{ConnectionArgs, failed};
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use jobraft_protocol::{Consistency, ErrorCode, ScheduleName, ScheduleView};
use jobraft_sdk::{Client, SdkError};

/// Enqueue jobs by the calendar: put schedules, see them, pause them, run them now
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft schedule put nightly --cron '0 3 * * *' --tz Europe/Berlin --task report
  jobraft schedule list
  jobraft schedule next nightly
  jobraft schedule pause nightly
  jobraft schedule run nightly --wait")]
pub(super) struct ScheduleArgs {
    #[command(subcommand)]
    command: ScheduleCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum ScheduleCommand {
    Put(Box<put::PutArgs>),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Next(next::NextArgs),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Run(run::RunArgs),
    Rm(remove::RemoveArgs),
}

impl ScheduleArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.connection;
        match self.command {
            ScheduleCommand::Put(args) => args.run(&connection).await,
            ScheduleCommand::List(args) => args.run(&connection).await,
            ScheduleCommand::Show(args) => args.run(&connection).await,
            ScheduleCommand::Next(args) => args.run(&connection).await,
            ScheduleCommand::Pause(args) => args.run(&connection).await,
            ScheduleCommand::Resume(args) => args.run(&connection).await,
            ScheduleCommand::Run(args) => args.run(&connection).await,
            ScheduleCommand::Rm(args) => args.run(&connection).await,
        }
    }
}

/// The schedule with its `next` ticks, if there is one.
async fn find(client: &Client, name: &ScheduleName, next: u32) -> Result<Option<ScheduleView>, Failure> {
    match client.schedule(name, next, Consistency::Linearizable).await {
        Ok(view) => Ok(Some(view)),
        Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(None),
        Err(error) => Err(refused(format!("find schedule {name}"), &error)),
    }
}

/// The schedule with its `next` ticks.
async fn existing(client: &Client, name: &ScheduleName, next: u32) -> Result<ScheduleView, Failure> {
    let read = client.schedule(name, next, Consistency::Linearizable).await;
    read.map_err(|error| refused(format!("find schedule {name}"), &error))
}

/// What the cluster says to something that was asked of a schedule; one that is not there has a hint of its own.
fn refused(doing: String, error: &SdkError) -> Failure {
    let failure = failed(doing, error);
    match failure.exit_code() {
        Exit::NotFound => failure.hint("see which there are with `jobraft schedule list`"),
        _ => failure,
    }
}
