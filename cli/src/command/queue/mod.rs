//! `jobraft queue`: queues, how many jobs are where, and what they are set to.

mod drain;
mod limit;
mod list;
mod mode;
mod purge;
mod set;

use crate::connection::{ConnectionArgs, failed};
use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use jobraft_protocol::{Consistency, QueueName, QueueStats};
use jobraft_sdk::Client;

/// See queues; set, limit, pause, drain and purge them
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft queue list
  jobraft queue set emails --max-jobs 100000 --keep-completed 1h
  jobraft queue limit set emails --concurrency 50 --rate 100/1m
  jobraft queue pause emails
  jobraft queue drain reports --wait
  jobraft queue purge reports --state dead")]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    command: QueueCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    List(list::ListArgs),
    Set(set::SetArgs),
    Limit(limit::LimitArgs),
    Pause(mode::PauseArgs),
    Resume(mode::ResumeArgs),
    Drain(drain::DrainArgs),
    Purge(purge::PurgeArgs),
}

impl QueueArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.connection;
        match self.command {
            QueueCommand::List(args) => args.run(&connection).await,
            QueueCommand::Set(args) => args.run(&connection).await,
            QueueCommand::Limit(args) => args.run(&connection).await,
            QueueCommand::Pause(args) => args.run(&connection).await,
            QueueCommand::Resume(args) => args.run(&connection).await,
            QueueCommand::Drain(args) => args.run(&connection).await,
            QueueCommand::Purge(args) => args.run(&connection).await,
        }
    }
}

/// The queue as it stands, if there is one.
async fn find(client: &Client, name: &QueueName) -> Result<Option<QueueStats>, Failure> {
    let queues = client.queues(Consistency::Linearizable).await.map_err(|error| failed("list queues", &error))?;
    Ok(queues.into_iter().find(|queue| queue.queue == *name))
}

/// The queue as it stands. A name that is misspelled shall not make one.
async fn existing(client: &Client, name: &QueueName) -> Result<QueueStats, Failure> {
    find(client, name).await?.ok_or_else(|| {
        Failure::new(format!("find queue {name}"), "there is none of that name")
            .exit(Exit::NotFound)
            .hint("see which there are with `jobraft queue list`; `jobraft queue set` makes one")
    })
}
