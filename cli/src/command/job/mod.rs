//! `jobraft job`: jobs, one by one or as many as match.

mod cancel;
mod delete;
mod enqueue;
mod get;
pub(super) mod list;
pub(super) mod payload;
mod prioritize;
mod relocate;
mod retry;
mod select;
pub(super) mod unique;
pub(super) mod wait;

use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::{Args, Subcommand};
use jobraft_protocol::{Error, ErrorCode, JobView, Withheld};

/// Enqueue jobs, find them, look at them, wait for them, change what becomes of them
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job enqueue --module wordcount 'some text' --wait
  jobraft job list --queue emails --state dead
  jobraft job get 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft job retry --queue emails --error timeout
  jobraft job cancel 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --reason 'no longer needed'")]
pub(super) struct JobArgs {
    #[command(subcommand)]
    command: JobCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum JobCommand {
    Enqueue(Box<enqueue::EnqueueArgs>),
    List(list::ListArgs),
    Get(get::GetArgs),
    Wait(wait::WaitArgs),
    Cancel(cancel::CancelArgs),
    Retry(retry::RetryArgs),
    Delete(delete::DeleteArgs),
    Move(relocate::MoveArgs),
    Prioritize(prioritize::PrioritizeArgs),
}

impl JobArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.connection;
        match self.command {
            JobCommand::Enqueue(args) => args.run(&connection).await,
            JobCommand::List(args) => args.run(&connection).await,
            JobCommand::Get(args) => args.run(&connection).await,
            JobCommand::Wait(args) => args.run(&connection).await,
            JobCommand::Cancel(args) => args.run(&connection).await,
            JobCommand::Retry(args) => args.run(&connection).await,
            JobCommand::Delete(args) => args.run(&connection).await,
            JobCommand::Move(args) => args.run(&connection).await,
            JobCommand::Prioritize(args) => args.run(&connection).await,
        }
    }
}

/// What came of a completed job, if that is for this client.
fn result(job: &JobView) -> Result<&[u8], Failure> {
    if job.withheld == Withheld::All {
        let message = "its result is not for this client: issue it a certificate with --payloads yes";
        let error = Error::new(ErrorCode::Forbidden, message);
        return Err(Failure::refused(format!("show what came of job {}", job.id), &error));
    }
    Ok(&job.result)
}
