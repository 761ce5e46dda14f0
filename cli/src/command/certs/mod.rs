//! `jobraft certs`: the cluster's own certificate authority.

mod ca_passphrase;
mod init;
mod issue;
mod passphrase;
mod renew;
mod revoke;
mod show;

use crate::command::confirm::at_terminal;
use crate::failure::{Exit, Failure};
use ca_passphrase::{CaPassphraseArgs, ask};
use clap::{Args, Subcommand};
use jobraft_node::tls::{CertificateAuthority, TlsError};
use std::path::{Path, PathBuf};

/// Where certificates are written and looked for unless said otherwise.
const DIRECTORY: &str = "certs";
/// The most certificates of one directory that are looked at; what is beyond is not.
const CERTIFICATES_MAX: usize = 10_000;

/// Make, renew, revoke and show certificates
///
/// Whoever holds ca.key decides who is a node and who a client. Keep it off the nodes. It can lie under a
/// passphrase, which is asked for where it is needed, or read from the file that --ca-passphrase-file names.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft certs init
  jobraft certs issue node 1 --host 127.0.0.1 --host node1.example
  jobraft certs issue client alice --role admin
  jobraft certs renew
  jobraft certs revoke alice
  jobraft certs show
  jobraft certs passphrase")]
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
    Passphrase(passphrase::PassphraseArgs),
}

impl CertsArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            CertsCommand::Init(args) => args.run(),
            CertsCommand::Issue(args) => args.run(),
            CertsCommand::Renew(args) => args.run(),
            CertsCommand::Revoke(args) => args.run(),
            CertsCommand::Show(args) => args.run(),
            CertsCommand::Passphrase(args) => args.run(),
        }
    }
}

/// The authority in `directory`. The passphrase of its key, if it has one, is in the file that is named, or is asked for.
fn authority(directory: &Path, passphrase: &CaPassphraseArgs) -> Result<CertificateAuthority, Failure> {
    let loaded = match CertificateAuthority::load_under(directory, passphrase.load()?.as_ref()) {
        Err(TlsError::KeySealed { path }) if at_terminal() => {
            let typed = ask(&format!("Passphrase of {}: ", path.display()))?;
            CertificateAuthority::load_under(directory, Some(&typed))
        }
        loaded => loaded,
    };
    loaded.map_err(|error| {
        let failure = failed("load the certificate authority", &error);
        match error {
            TlsError::Read { .. } => failure.hint("make one with `jobraft certs init`, or say where it is with --dir"),
            TlsError::KeySealed { .. } => failure.hint(
                "name the file that has it with --ca-passphrase-file, or run this at a terminal, where it is asked for",
            ),
            TlsError::KeyNotSealed { .. } => {
                failure.hint("one was given by --ca-passphrase-file or JOBRAFT_CA_PASSPHRASE_FILE")
            }
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
