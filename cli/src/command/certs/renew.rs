//! `jobraft certs renew`: certificates that end soon, issued anew.

use super::ca_passphrase::CaPassphraseArgs;
use super::{DIRECTORY, authority, certificates, failed};
use crate::failure::Failure;
use crate::output::{Output, Paint};
use clap::Args;
use jobraft_node::tls::{
    CertificateAuthority, CertificateInfo, Overwrite, Revocations, Validity, describe_by, describe_pem,
};
use serde::Serialize;
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

/// Issue certificates anew that end soon, with the same names and new keys
///
/// By the authority in the same directory, also if another one issued them before. Running nodes use the new files within
/// ten seconds once these are where they look; clients with their next connection.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft certs renew --dry-run
  jobraft certs renew --within 60
  jobraft certs renew node-1 alice --days 90
  jobraft certs renew --all
  jobraft certs renew --ca-passphrase-file ca.passphrase    (where nobody can be asked)")]
pub(super) struct RenewArgs {
    /// Which certificates, by the names of their files without .crt [default: those that end soon]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All certificates of the directory but those that are revoked
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Those that end within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 30, conflicts_with_all = ["names", "all"])]
    within: u32,
    /// For how many days they are valid [default: as long as before]
    #[arg(long)]
    days: Option<u32>,
    /// Where the authority and the certificates are
    #[arg(long, default_value = DIRECTORY)]
    dir: PathBuf,
    #[command(flatten)]
    passphrase: CaPassphraseArgs,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was done to one certificate.
#[derive(Serialize)]
struct Renewal {
    name: String,
    #[serde(rename = "for")]
    role: String,
    outcome: Outcome,
    /// Until when the certificate is valid that is there now, or would be.
    until: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Renewed,
    WouldRenew,
    /// It is on the authority's list: who wants it back must name it.
    Revoked,
    /// A new one would end when it does: with the authority.
    EndsWithAuthority,
}

impl RenewArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let authority = authority(&self.dir, &self.passphrase)?;
        let revocations = Revocations::in_directory(&self.dir)
            .map_err(|error| failed("read which certificates are revoked", &error))?;
        let mut renewals = Vec::new();
        for file in self.candidates()? {
            let info = describe_by(&file, &revocations).map_err(|error| failed("read a certificate", &error))?;
            renewals.extend(self.renew(&authority, &file, &info)?);
        }
        let output = Output::new();
        if self.json {
            return output.json(&renewals);
        }
        if renewals.is_empty() {
            let which = if self.all { String::new() } else { format!(" that ends within {} days", self.within) };
            return output.line(format!("nothing to do: no certificate{which} in {}", self.dir.display()));
        }
        renewals.iter().try_for_each(|renewal| output.line(renewal.line(output.paint())))
    }

    /// The files that may have to be renewed.
    fn candidates(&self) -> Result<Vec<PathBuf>, Failure> {
        if self.names.is_empty() {
            return certificates(&self.dir);
        }
        Ok(self.names.iter().map(|name| self.dir.join(format!("{name}.crt"))).collect())
    }

    /// Renews one certificate; `None` if it is not among those that were meant.
    fn renew(
        &self,
        authority: &CertificateAuthority,
        file: &Path,
        info: &CertificateInfo,
    ) -> Result<Option<Renewal>, Failure> {
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let doing = format!("renew {name}");
        let named = !self.names.is_empty();
        if !named {
            let soon = info.ends_at - OffsetDateTime::now_utc() < Duration::days(i64::from(self.within));
            if info.role == "authority" || !(self.all || soon) {
                return Ok(None);
            }
        }
        let outcome = |outcome, until: &str| {
            Ok(Some(Renewal { name: name.clone(), role: info.role.clone(), outcome, until: until.to_owned() }))
        };
        if info.validity == Validity::Revoked && !named {
            return outcome(Outcome::Revoked, &info.not_after);
        }
        let pair = authority.renew(file, self.days).map_err(|error| failed(&doing, &error))?;
        let new = describe_pem(file, pair.certificate_pem().as_bytes()).map_err(|error| failed(&doing, &error))?;
        if !(named || self.all) && authority.not_after() <= info.ends_at {
            return outcome(Outcome::EndsWithAuthority, &info.not_after);
        }
        if self.dry_run {
            return outcome(Outcome::WouldRenew, &new.not_after);
        }
        pair.write(&self.dir, &name, Overwrite::Replace).map_err(|error| failed(&doing, &error))?;
        outcome(Outcome::Renewed, &new.not_after)
    }
}

impl Renewal {
    fn line(&self, paint: Paint) -> String {
        let name = &self.name;
        let until = self.until.split('T').next().unwrap_or_default();
        match self.outcome {
            Outcome::Renewed => format!("{} {name} ({}), valid until {until}", paint.good("renewed"), self.role),
            Outcome::WouldRenew => format!("would renew {name} ({}), valid until {until} then", self.role),
            Outcome::Revoked => format!("left {name}: it is revoked; name it to issue it anew all the same"),
            Outcome::EndsWithAuthority => format!(
                "left {name}: it ends on {until}, and so does its authority; make a new one with: jobraft certs init --dir DIR"
            ),
        }
    }
}
