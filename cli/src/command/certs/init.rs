//! `jobraft certs init`: makes a certificate authority, and its first administrator.

use super::ca_passphrase::{CaPassphraseArgs, ask_new};
use super::{DIRECTORY, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_node::tls::{CA_VALIDITY_DAYS_DEFAULT, CertificateAuthority, LEAF_VALIDITY_DAYS_DEFAULT, Overwrite};
use jobraft_protocol::Grant;
use std::path::PathBuf;

/// Make a certificate authority, ca.crt and ca.key, and a certificate for its first administrator, admin.crt and admin.key
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft certs init
  jobraft certs init --ask-ca-passphrase
  jobraft certs init --ca-passphrase-file ca.passphrase
  jobraft certs init --dir /etc/jobraft/certs --days 1825
  jobraft certs init --dir new-certs --no-admin    (to take the place of the one in certs)")]
pub(super) struct InitArgs {
    /// Where to write
    #[arg(long, default_value = DIRECTORY)]
    dir: PathBuf,
    /// For how many days the authority is valid
    #[arg(long, default_value_t = CA_VALIDITY_DAYS_DEFAULT)]
    days: u32,
    /// Make no administrator
    #[arg(long)]
    no_admin: bool,
    #[command(flatten)]
    passphrase: CaPassphraseArgs,
    /// Ask for a passphrase under which ca.key is to lie, whatever file is named; without this, --ca-passphrase-file and
    /// JOBRAFT_CA_PASSPHRASE_FILE it has none
    #[arg(long)]
    ask_ca_passphrase: bool,
}

/// The name of the first administrator.
const ADMIN: &str = "admin";

impl InitArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let passphrase = match self.ask_ca_passphrase {
            true => Some(ask_new("--ca-passphrase-file")?),
            false => self.passphrase.load()?,
        };
        let authority = CertificateAuthority::create_under(&self.dir, self.days, passphrase.as_ref());
        let authority = authority.map_err(|error| failed("make a certificate authority", &error))?;
        let (output, dir) = (Output::new(), self.dir.display());
        let paint = output.paint();
        let mut options = if self.dir.as_os_str() == DIRECTORY { String::new() } else { format!(" --dir {dir}") };
        if let Some(file) = self.passphrase.file() {
            options.push_str(&format!(" --ca-passphrase-file {}", file.display()));
        }
        let care = match passphrase {
            Some(_) => "under the passphrase; keep both safe, and off the nodes",
            None => "keep the key safe, and off the nodes",
        };
        output.line(format!("{} {dir}/ca.crt and {dir}/ca.key ({care})", paint.good("wrote")))?;
        if !self.no_admin {
            let issued = authority.issue_client(ADMIN, Grant::admin(), LEAF_VALIDITY_DAYS_DEFAULT);
            let written = issued.and_then(|pair| pair.write(&self.dir, ADMIN, Overwrite::Refuse));
            let (cert, key) = written.map_err(|error| failed("issue a certificate for the administrator", &error))?;
            output.line(format!(
                "{} {} and {} (may do everything)",
                paint.good("wrote"),
                cert.display(),
                key.display()
            ))?;
        }
        output.line("next, for each node and each client:")?;
        output.line(format!(
            "  {}",
            paint.command(format!("jobraft certs issue node 1 --host 127.0.0.1 --host localhost{options}"))
        ))?;
        output
            .line(format!("  {}", paint.command(format!("jobraft certs issue client alice --role producer{options}"))))
    }
}
