//! `jobraft token`: secrets that stand for clients which have no certificate.

mod create;
mod list;
mod revoke;
mod rotate;
mod secret;

use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::{Args, Subcommand};

/// Make, list, rotate and revoke tokens: for clients that show a secret instead of a certificate
///
/// A token says what its holder may do, as a certificate does. The cluster keeps only its hash: the secret is shown once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft token create ci --role producer --queue 'builds/*' --out ci.token
  jobraft job enqueue --queue builds/main --task build --token-file ci.token
  jobraft token list
  jobraft token rotate ci --out ci.token
  jobraft token revoke ci")]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Create(create::CreateArgs),
    List(list::ListArgs),
    Rotate(rotate::RotateArgs),
    Revoke(revoke::RevokeArgs),
}

impl TokenArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            TokenCommand::Create(args) => args.run(&self.connection).await,
            TokenCommand::List(args) => args.run(&self.connection).await,
            TokenCommand::Rotate(args) => args.run(&self.connection).await,
            TokenCommand::Revoke(args) => args.run(&self.connection).await,
        }
    }
}
