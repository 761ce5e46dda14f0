//! `jobraft fleet`: the workers of the cluster.

mod list;
mod order;

use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use clap::{Args, Subcommand};
use jobraft_protocol::{Consistency, LogTime, WorkerOrder, WorkerView};
use jobraft_sdk::Client;

/// A worker that was not heard of for longer than this is taken for lost.
const LOST_MS: u64 = 60_000;

/// See the workers and tell them to pause, to go on, or to end
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft fleet list
  jobraft fleet quiet worker-1
  jobraft fleet resume worker-1
  jobraft fleet stop w17 w18")]
pub(super) struct FleetArgs {
    #[command(subcommand)]
    command: FleetCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    List(list::ListArgs),
    /// Let workers finish what they have and take nothing new
    #[command(after_help = "Examples:\n  jobraft fleet quiet worker-1\n  jobraft fleet quiet w17 w18")]
    Quiet(order::OrderArgs),
    /// Let workers finish what they have within their grace, and end
    #[command(after_help = "Examples:\n  jobraft fleet stop worker-1\n  jobraft fleet stop w17 w18")]
    Stop(order::OrderArgs),
    /// Let workers that are quiet work again
    #[command(after_help = "Examples:\n  jobraft fleet resume worker-1\n  jobraft fleet resume w17 w18")]
    Resume(order::OrderArgs),
}

impl FleetArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.connection;
        match self.command {
            FleetCommand::List(args) => args.run(&connection).await,
            FleetCommand::Quiet(args) => args.run(&connection, WorkerOrder::Quiet).await,
            FleetCommand::Stop(args) => args.run(&connection, WorkerOrder::Stop).await,
            FleetCommand::Resume(args) => args.run(&connection, WorkerOrder::Run).await,
        }
    }
}

/// All workers, by id.
async fn workers(client: &Client) -> Result<Vec<WorkerView>, Failure> {
    client.workers(Consistency::Linearizable).await.map_err(|error| failed("list the workers", &error))
}

/// Whether a worker is taken for lost.
fn is_lost(worker: &WorkerView, now: LogTime) -> bool {
    now.ms_since(worker.last_seen) > LOST_MS
}

#[cfg(test)]
mod testing {
    use jobraft_protocol::{LogTime, WorkerId, WorkerInfo, WorkerOrder, WorkerView};

    /// A worker that was last seen at `seen`.
    pub(super) fn worker(id: u64, name: &str, seen: LogTime) -> WorkerView {
        WorkerView {
            id: WorkerId(id),
            info: WorkerInfo {
                name: name.to_owned(),
                agent: "jobraft-cli/1".to_owned(),
                queues: Vec::new(),
                concurrency: 4,
                owner: "app".to_owned(),
                ..WorkerInfo::default()
            },
            registered_at: seen,
            last_seen: seen,
            order: WorkerOrder::Run,
            held: 2,
            jobs: Vec::new(),
        }
    }
}
