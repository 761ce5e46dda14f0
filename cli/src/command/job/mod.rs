//! `jobraft job`: jobs, one by one.

mod cancel;
mod enqueue;
mod get;
pub(super) mod payload;
mod wait;

use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::{Args, Subcommand};

/// Enqueue jobs, look at them, wait for them, call them off
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft job enqueue --module wordcount 'some text' --wait
  jobraft job get 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft job cancel 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --reason 'no longer needed'")]
pub(super) struct JobArgs {
    #[command(subcommand)]
    command: JobCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum JobCommand {
    Enqueue(enqueue::EnqueueArgs),
    Get(get::GetArgs),
    Wait(wait::WaitArgs),
    Cancel(cancel::CancelArgs),
}

impl JobArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.connection;
        match self.command {
            JobCommand::Enqueue(args) => args.run(&connection).await,
            JobCommand::Get(args) => args.run(&connection).await,
            JobCommand::Wait(args) => args.run(&connection).await,
            JobCommand::Cancel(args) => args.run(&connection).await,
        }
    }
}
