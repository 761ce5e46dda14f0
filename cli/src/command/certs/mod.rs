//! `jobraft certs`: the cluster's own certificate authority.

mod init;
mod issue;
mod show;

use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use jobraft_node::tls::TlsError;

/// Where certificates are written and looked for unless said otherwise.
const DIRECTORY: &str = "certs";

/// Make and show certificates
///
/// Whoever holds ca.key decides who is a node and who a client. Keep it off the nodes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft certs init
  jobraft certs issue node 1 --host 127.0.0.1 --host node1.example
  jobraft certs issue client alice --role admin
  jobraft certs show")]
pub(super) struct CertsArgs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    Init(init::InitArgs),
    Issue(issue::IssueArgs),
    Show(show::ShowArgs),
}

impl CertsArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            CertsCommand::Init(args) => args.run(),
            CertsCommand::Issue(args) => args.run(),
            CertsCommand::Show(args) => args.run(),
        }
    }
}

fn failed(doing: impl Into<String>, error: &TlsError) -> Failure {
    let failure = Failure::from_error(doing, error);
    match error {
        TlsError::Exists { .. } => failure,
        _ => failure.exit(Exit::Usage),
    }
}
