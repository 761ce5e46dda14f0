//! Where passphrases of `ca.key` come from: a file, or whoever sits at the terminal. Never the command line, which all users of
//! a machine can see.

use super::failed;
use crate::command::confirm::at_terminal;
use crate::failure::Failure;
use clap::Args;
use jobraft_node::tls::Passphrase;
use std::path::{Path, PathBuf};

/// The passphrase of `ca.key`, where it does not come from the terminal.
#[derive(Args, Debug)]
pub(super) struct CaPassphraseArgs {
    /// A file whose first line is the passphrase of ca.key, and which only you can read
    #[arg(long = "ca-passphrase-file", value_name = "FILE", env = "JOBRAFT_CA_PASSPHRASE_FILE", global = true)]
    file: Option<PathBuf>,
}

impl CaPassphraseArgs {
    /// The file, if one is named.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The passphrase in it.
    pub(super) fn load(&self) -> Result<Option<Passphrase>, Failure> {
        self.file().map(load).transpose()
    }
}

/// The first line of `file`.
pub(super) fn load(file: &Path) -> Result<Passphrase, Failure> {
    Passphrase::load(file).map_err(|error| failed("read the passphrase", &error))
}

/// What is typed at the terminal as a new passphrase, twice, so that nobody is locked out by a slip; `option` names a file
/// instead.
pub(super) fn ask_new(option: &str) -> Result<Passphrase, Failure> {
    if !at_terminal() {
        let failure = Failure::usage("ask for the new passphrase", "there is no terminal to ask at; nothing was done");
        return Err(failure.hint(format!("name a file that has it with {option}")));
    }
    let new = ask("New passphrase of ca.key: ")?;
    if ask("The same once more: ")? == new {
        Ok(new)
    } else {
        Err(Failure::usage(
            "take the new passphrase",
            "what was typed first is not what was typed then; nothing was done",
        ))
    }
}

/// What is typed at the terminal, which does not show it.
pub(super) fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    let typed = rpassword::prompt_password(prompt).map_err(|error| Failure::new("ask for the passphrase", error))?;
    Passphrase::new(typed).map_err(|error| Failure::usage("take the passphrase", error))
}
