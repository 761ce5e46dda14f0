//! `jobraft secret`: named values that are given to the jobs of modules.

mod delete;
mod grant;
mod granted;
mod list;
mod put;
mod reseal;

use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::{Args, Subcommand};

/// Keep secrets for jobs: put, grant, list and delete them; nobody reads them but the jobs of the modules named
///
/// A node seals the value under a key of its [secrets] key_file before anything is kept of it. A job of a module that a secret
/// is granted to finds it in the environment variable of the secret's name.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft secret put STRIPE_KEY --module billing --from-file stripe.key
  jobraft secret put DB_PASSWORD --module report --module import --queue 'nightly/*'
  jobraft secret list
  jobraft secret grant STRIPE_KEY --module billing --module refunds
  jobraft secret delete STRIPE_KEY")]
pub(super) struct SecretArgs {
    #[command(subcommand)]
    command: SecretCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum SecretCommand {
    Put(put::PutArgs),
    List(list::ListArgs),
    Grant(grant::GrantArgs),
    Delete(delete::DeleteArgs),
    Reseal(reseal::ResealArgs),
}

impl SecretArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            SecretCommand::Put(args) => args.run(&self.connection).await,
            SecretCommand::List(args) => args.run(&self.connection).await,
            SecretCommand::Grant(args) => args.run(&self.connection).await,
            SecretCommand::Delete(args) => args.run(&self.connection).await,
            SecretCommand::Reseal(args) => args.run(&self.connection).await,
        }
    }
}
