//! `jobraft certs init`: makes a certificate authority.

use super::{DIRECTORY, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_node::tls::{CA_VALIDITY_DAYS_DEFAULT, CertificateAuthority};
use std::path::PathBuf;

/// Make a certificate authority: ca.crt and ca.key
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft certs init
  jobraft certs init --dir /etc/jobraft/certs --days 1825
  jobraft certs init --dir new-certs    (to take the place of the one in certs)")]
pub(super) struct InitArgs {
    /// Where to write
    #[arg(long, default_value = DIRECTORY)]
    dir: PathBuf,
    /// For how many days it is valid
    #[arg(long, default_value_t = CA_VALIDITY_DAYS_DEFAULT)]
    days: u32,
}

impl InitArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        CertificateAuthority::create(&self.dir, self.days)
            .map_err(|error| failed("make a certificate authority", &error))?;
        let (output, dir) = (Output::new(), self.dir.display());
        let paint = output.paint();
        let option = if self.dir.as_os_str() == DIRECTORY { String::new() } else { format!(" --dir {dir}") };
        output.line(format!(
            "{} {dir}/ca.crt and {dir}/ca.key (keep the key safe, and off the nodes)",
            paint.good("wrote")
        ))?;
        output.line("next, for each node and each client:")?;
        output.line(format!(
            "  {}",
            paint.command(format!("jobraft certs issue node 1 --host 127.0.0.1 --host localhost{option}"))
        ))?;
        output.line(format!("  {}", paint.command(format!("jobraft certs issue client admin --role admin{option}"))))
    }
}
