//! `jobraft completions`: what a shell needs to complete command lines.

use super::Cli;
use crate::failure::Failure;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;

/// Write completions for a shell to stdout
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft completions bash > ~/.local/share/bash-completion/completions/jobraft
  jobraft completions zsh > ~/.zfunc/_jobraft
  jobraft completions fish > ~/.config/fish/completions/jobraft.fish")]
pub(super) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        // Into memory first: clap_complete panics when stdout is closed.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "jobraft", &mut script);
        Ok(std::io::stdout().write_all(&script)?)
    }
}
