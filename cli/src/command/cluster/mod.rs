//! `jobraft cluster`: the nodes, and who of them is a member.

mod membership;
mod status;
mod survey;

pub(super) use status::table as status_table;
pub(super) use survey::{Answer, ask, survey};

use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::{Args, Subcommand};

/// See and change which nodes form the cluster
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft cluster status
  jobraft cluster add 4 127.0.0.1:7404
  jobraft cluster remove 1
  jobraft cluster transfer-leader 2")]
pub(super) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    Status(status::StatusArgs),
    Add(membership::AddArgs),
    Remove(membership::RemoveArgs),
    TransferLeader(membership::TransferLeaderArgs),
}

impl ClusterArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let connection = self.connection;
        match self.command {
            ClusterCommand::Status(args) => args.run(&connection).await,
            ClusterCommand::Add(args) => args.run(&connection).await,
            ClusterCommand::Remove(args) => args.run(&connection).await,
            ClusterCommand::TransferLeader(args) => args.run(&connection).await,
        }
    }
}
