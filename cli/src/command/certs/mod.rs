//! `jobraft certs`: the cluster's own certificate authority.

mod init;
mod issue;
mod renew;
mod revoke;
mod show;

use crate::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use jobraft_node::tls::{CertificateAuthority, TlsError};
use std::path::{Path, PathBuf};

/// Where certificates are written and looked for unless said otherwise.
const DIRECTORY: &str = "certs";
/// The most certificates of one directory that are looked at; what is beyond is not.
const CERTIFICATES_MAX: usize = 10_000;

/// Make, renew, revoke and show certificates
///
/// Whoever holds ca.key decides who is a node and who a client. Keep it off the nodes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft certs init
  jobraft certs issue node 1 --host 127.0.0.1 --host node1.example
  jobraft certs issue client alice --role admin
  jobraft certs renew
  jobraft certs revoke alice
  jobraft certs show")]
pub(super) struct CertsArgs {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    Init(init::InitArgs),
    Issue(issue::IssueArgs),
    Renew(renew::RenewArgs),
    Revoke(revoke::RevokeArgs),
    Show(show::ShowArgs),
}

impl CertsArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            CertsCommand::Init(args) => args.run(),
            CertsCommand::Issue(args) => args.run(),
            CertsCommand::Renew(args) => args.run(),
            CertsCommand::Revoke(args) => args.run(),
            CertsCommand::Show(args) => args.run(),
        }
    }
}

/// The authority in `directory`.
fn authority(directory: &Path) -> Result<CertificateAuthority, Failure> {
    CertificateAuthority::load(directory).map_err(|error| {
        let failure = failed("load the certificate authority", &error);
        match error {
            TlsError::Read { .. } => failure.hint("make one with `jobraft certs init`, or say where it is with --dir"),
            _ => failure,
        }
    })
}

/// All certificates in `directory`, by name.
fn certificates(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| {
        Failure::usage(format!("list {}", directory.display()), error)
            .exit(Exit::NotFound)
            .hint("make certificates with `jobraft certs init`, or say where they are with --dir")
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)?.take(CERTIFICATES_MAX) {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "crt") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn failed(doing: impl Into<String>, error: &TlsError) -> Failure {
    let failure = Failure::from_error(doing, error);
    match error {
        TlsError::Exists { .. } => failure,
        _ => failure.exit(Exit::Usage),
    }
}
