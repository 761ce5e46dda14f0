//! What every run with real processes is told, and how it ends.

use super::binary;
use super::verdict::{Report, Trouble};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// The flags that they share.
#[derive(Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// Makes the same choices again [default: by chance]
    #[arg(long)]
    seed: Option<u64>,
    /// The binary [default: `jobraft` beside this program]
    #[arg(long, value_name = "PATH")]
    jobraft: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a run begins with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The binary.
    pub jobraft: PathBuf,
    /// What it says of its version.
    pub version: String,
    /// From which all choices follow.
    pub seed: u64,
}

impl Flags {
    /// Makes a run of that name, and prints what came of it.
    pub fn run(&self, name: &'static str, report: impl FnOnce(Start) -> Result<Report, Trouble>) -> ExitCode {
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let report = self.start(seed).and_then(report).unwrap_or_else(|trouble| {
            let mut report = Report::new(name, seed);
            report.broken_off(&trouble);
            report
        });
        report.print(self.json);
        report.verdict.exit_code()
    }

    fn start(&self, seed: u64) -> Result<Start, Trouble> {
        let jobraft = binary::find(self.jobraft.as_deref())?;
        let version = binary::version(&jobraft)?;
        Ok(Start { jobraft, version, seed })
    }
}
