//! `jobraft namespace`: parts of the cluster that know nothing of each other.

mod create;
mod delete;
mod list;
mod quota;
mod set;

use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::{Args, Subcommand};

/// Make, list, bound and delete namespaces: parts of the cluster that know nothing of each other
///
/// Queues, schedules, modules, values, unique keys and tokens have their names within a namespace. Whoever is confined to
/// one, by certificate or token, sees nothing of the others; an administrator of the cluster enters each with --namespace.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft namespace create acme --max-jobs 100000 --max-bytes 1GiB --rate 1000/1s
  jobraft token create app --namespace acme --role producer --out acme.token
  jobraft job enqueue --task resize --token-file acme.token
  jobraft queue list --namespace acme
  jobraft namespace list
  jobraft namespace set acme --rate 5000/1s")]
pub(super) struct NamespaceArgs {
    #[command(subcommand)]
    command: NamespaceCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum NamespaceCommand {
    Create(create::CreateArgs),
    List(list::ListArgs),
    Set(set::SetArgs),
    Delete(delete::DeleteArgs),
}

impl NamespaceArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            NamespaceCommand::Create(args) => args.run(&self.connection).await,
            NamespaceCommand::List(args) => args.run(&self.connection).await,
            NamespaceCommand::Set(args) => args.run(&self.connection).await,
            NamespaceCommand::Delete(args) => args.run(&self.connection).await,
        }
    }
}
