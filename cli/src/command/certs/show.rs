//! `jobraft certs show`: what certificates say.

use super::{DIRECTORY, certificates, failed};
use crate::failure::Failure;
use crate::output::{Mood, Output, Table};
use clap::Args;
use jobraft_node::tls::{CertificateInfo, Revocations, Validity, describe_by};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Show what certificates say: all of a directory, or one file
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft certs show
  jobraft certs show certs/node-1.crt --json")]
pub(super) struct ShowArgs {
    /// A certificate [default: all *.crt of the directory]
    file: Option<PathBuf>,
    /// The directory
    #[arg(long, default_value = DIRECTORY, conflicts_with = "file")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct CertificateJson {
    file: PathBuf,
    #[serde(flatten)]
    info: CertificateInfo,
}

impl ShowArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let files = match &self.file {
            Some(file) => vec![file.clone()],
            None => certificates(&self.dir)?,
        };
        // What counts as revoked is what the list beside the certificates says.
        let directory = match &self.file {
            Some(file) => file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")),
            None => &self.dir,
        };
        let revocations = Revocations::in_directory(directory)
            .map_err(|error| failed("read which certificates are revoked", &error))?;
        let mut shown = Vec::new();
        for file in files {
            let info = describe_by(&file, &revocations).map_err(|error| failed("read a certificate", &error))?;
            shown.push(CertificateJson { file, info });
        }
        let output = Output::new();
        match (&self.file, shown.first()) {
            _ if self.json => output.json(&shown),
            (Some(_), Some(one)) => details(output, one),
            _ => output.table(overview(&shown), &format!("no certificates in {}", self.dir.display())),
        }
    }
}

fn overview(shown: &[CertificateJson]) -> Table {
    let mut table = Table::new(&["FILE", "FOR", "HOSTS", "UNTIL", "STATE"]);
    for CertificateJson { file, info } in shown {
        let hosts = info.names.iter().filter(|name| !name.starts_with("URI:"));
        let hosts: Vec<&str> = hosts.map(|name| name.split_once(':').map_or(&**name, |(_, host)| host)).collect();
        table.row([
            (file.display().to_string(), Mood::Plain),
            (info.role.clone(), Mood::Plain),
            (if hosts.is_empty() { "-".to_owned() } else { hosts.join(",") }, Mood::Plain),
            (info.not_after.split('T').next().unwrap_or_default().to_owned(), Mood::Plain),
            state(info.validity),
        ]);
    }
    table
}

fn details(output: Output, CertificateJson { file, info }: &CertificateJson) -> Result<(), Failure> {
    let (state, _) = state(info.validity);
    for (name, value) in [
        ("file", file.display().to_string()),
        ("for", info.role.clone()),
        ("subject", info.subject.clone()),
        ("names", info.names.join(", ")),
        ("issuer", info.issuer.clone()),
        ("from", info.not_before.clone()),
        ("until", info.not_after.clone()),
        ("state", state),
        ("sha256", info.sha256.clone()),
    ] {
        output.field(name, value)?;
    }
    Ok(())
}

fn state(validity: Validity) -> (String, Mood) {
    match validity {
        Validity::Valid => ("valid".to_owned(), Mood::Good),
        Validity::Expired => ("expired".to_owned(), Mood::Bad),
        Validity::NotYetValid => ("not yet valid".to_owned(), Mood::Bad),
        Validity::Revoked => ("revoked".to_owned(), Mood::Bad),
    }
}
