//! `jobraft certs revoke`: certificates that no longer count.

use super::ca_passphrase::CaPassphraseArgs;
use super::{DIRECTORY, authority, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_node::tls::{Revoked, describe};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Take certificates back: writes ca.crl, which nodes and clients look for beside their ca.crt
///
/// Nodes that have the new ca.crl refuse these certificates within ten seconds and close the connections that were opened with
/// them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft certs revoke alice
  jobraft certs revoke alice --ca-passphrase-file ca.passphrase
  jobraft certs revoke old/node-1.crt --dir /etc/jobraft/certs")]
pub(super) struct RevokeArgs {
    /// Which certificates: the names of their files without .crt in the directory, or files
    #[arg(required = true, value_name = "NAME|FILE.crt")]
    certificates: Vec<String>,
    /// Where the authority is, and where to write ca.crl
    #[arg(long, default_value = DIRECTORY)]
    dir: PathBuf,
    #[command(flatten)]
    passphrase: CaPassphraseArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct RevocationJson {
    file: PathBuf,
    #[serde(rename = "for")]
    role: String,
    /// Whether it was revoked before.
    before: bool,
}

impl RevokeArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let authority = authority(&self.dir, &self.passphrase)?;
        let files: Vec<PathBuf> = self.certificates.iter().map(|name| self.file(name)).collect();
        let mut revoked = Vec::new();
        for file in &files {
            revoked.push(describe(file).map_err(|error| failed("read a certificate", &error))?);
        }
        let outcomes = authority.revoke(&self.dir, &files).map_err(|error| failed("revoke certificates", &error))?;
        let revoked: Vec<RevocationJson> = files
            .into_iter()
            .zip(revoked)
            .zip(&outcomes)
            .map(|((file, info), outcome)| RevocationJson {
                file,
                role: info.role,
                before: *outcome == Revoked::Before,
            })
            .collect();
        let output = Output::new();
        if self.json {
            return output.json(&revoked);
        }
        for RevocationJson { file, role, before } in &revoked {
            let file = file.display();
            output.line(match before {
                true => format!("{file} ({role}) was revoked before"),
                false => format!("{} {file} ({role})", output.paint().good("revoked")),
            })?;
        }
        if outcomes.contains(&Revoked::Now) {
            let list = self.dir.join("ca.crl");
            output.line(format!("next: copy {} to every node and client, beside its ca.crt", list.display()))?;
        }
        Ok(())
    }

    /// A name is one in the directory, a path is a path.
    fn file(&self, name: &str) -> PathBuf {
        match Path::new(name).extension() {
            Some(extension) if extension == "crt" => name.into(),
            _ => self.dir.join(format!("{name}.crt")),
        }
    }
}
