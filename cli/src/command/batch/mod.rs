//! `jobraft batch`: jobs that belong together, and workflows.

mod cancel;
mod create;
mod list;
mod retry;
mod seal;
mod show;
mod tree;
mod view;
mod wait;
mod workflow;

use crate::connection::{ConnectionArgs, failed};
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use jobraft_protocol::{BatchId, BatchView, Consistency};
use jobraft_sdk::{Client, SdkError};

/// Create batches of jobs and workflows, see where they stand, wait for them, cancel and retry them
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft batch create -f config/workflow.toml --wait
  jobraft batch create --module wordcount --file a.md --file b.md --on-complete-task notify
  jobraft batch show 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft batch retry 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d
  jobraft batch cancel 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d --yes")]
pub(super) struct BatchArgs {
    #[command(subcommand)]
    command: BatchCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum BatchCommand {
    Create(Box<create::CreateArgs>),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Wait(wait::WaitArgs),
    Seal(seal::SealArgs),
    Cancel(cancel::CancelArgs),
    Retry(retry::RetryArgs),
}

impl BatchArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.connection;
        match self.command {
            BatchCommand::Create(args) => args.run(&connection).await,
            BatchCommand::List(args) => args.run(&connection).await,
            BatchCommand::Show(args) => args.run(&connection).await,
            BatchCommand::Wait(args) => args.run(&connection).await,
            BatchCommand::Seal(args) => args.run(&connection).await,
            BatchCommand::Cancel(args) => args.run(&connection).await,
            BatchCommand::Retry(args) => args.run(&connection).await,
        }
    }
}

/// The batch as it stands.
async fn existing(client: &Client, id: BatchId, consistency: Consistency) -> Result<BatchView, Failure> {
    client.batch(id, consistency).await.map_err(|error| refused(format!("find batch {id}"), &error))
}

/// What the cluster says to something that was asked of a batch; one that is not there has a hint of its own.
fn refused(doing: String, error: &SdkError) -> Failure {
    let failure = failed(doing, error);
    match failure.exit_code() {
        Exit::NotFound => failure.hint("see which there are with `jobraft batch list`"),
        _ => failure,
    }
}
