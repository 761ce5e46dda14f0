//! `jobraft certs passphrase`: what protects the authority's key where it lies.

use super::ca_passphrase::{CaPassphraseArgs, ask_new, load};
use super::{DIRECTORY, authority, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_node::tls::CertificateAuthority;
use std::path::PathBuf;

/// Set, change or remove the passphrase of ca.key
///
/// The key stays the same, and so do all certificates. What was copied before opens as before: with the old passphrase, or with
/// none.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft certs passphrase
  jobraft certs passphrase --new-passphrase-file ca.passphrase
  jobraft certs passphrase --ca-passphrase-file ca.passphrase --new-passphrase-file new.passphrase
  jobraft certs passphrase --remove")]
pub(super) struct PassphraseArgs {
    #[command(flatten)]
    old: CaPassphraseArgs,
    /// A file whose first line is the new passphrase, and which only you can read. Without it, the passphrase is asked for
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Leave ca.key without a passphrase: whoever can read the file can use it
    #[arg(long, conflicts_with = "new_passphrase_file")]
    remove: bool,
    /// Where the authority is
    #[arg(long, default_value = DIRECTORY)]
    dir: PathBuf,
}

impl PassphraseArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Where there is no passphrase yet, that of JOBRAFT_CA_PASSPHRASE_FILE is not asked for.
        let authority = match CertificateAuthority::load(&self.dir) {
            Ok(authority) => authority,
            Err(_) => authority(&self.dir, &self.old)?,
        };
        let new = match &self.new_passphrase_file {
            _ if self.remove => None,
            Some(file) => Some(load(file)?),
            None => Some(ask_new("--new-passphrase-file")?),
        };
        let written = authority.rewrite_key(&self.dir, new.as_ref());
        written.map_err(|error| failed("write the key", &error))?;
        let (output, key) = (Output::new(), self.dir.join("ca.key"));
        let paint = output.paint();
        output.line(match new {
            Some(_) => format!("{} {} under the new passphrase", paint.good("wrote"), key.display()),
            None => format!("{} {} without a passphrase", paint.good("wrote"), key.display()),
        })
    }
}
