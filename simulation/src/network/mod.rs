//! Real nodes on a real network, under faults: `simulation network`.
//!
//! Each node lives in a network namespace of its own, on a virtual switch. Links are cut and thinned by iptables and `tc`,
//! processes killed and stopped, clocks moved, a certificate runs out. A load goes on all the while; what it was told is
//! judged in the end. The machine itself is left as it was: see [`crate::real::Sandbox`].

mod campaign;
mod certificate;
mod fault;
mod scene;
mod topology;
mod weather;

use crate::real::verdict::{Report, Trouble, within};
use crate::real::{Sandbox, binary};
use campaign::Campaign;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What a run may take beyond the time of its load: the start, the rest of the work, the judgement.
const EXTRA: Duration = Duration::from_secs(100);

/// Run real nodes on a real network, in namespaces of their own, under faults
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  simulation network --minutes 2
  simulation network --minutes 15 --rate 2000 --jobraft target/release/jobraft

Needs root, or a kernel that lets users make namespaces; `ip`, `tc` and `iptables`. For clocks and certificates also `cc`.")]
pub struct NetworkArgs {
    /// How long the load and the faults go on
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=24 * 60))]
    minutes: u64,
    /// Jobs a second
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
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

impl NetworkArgs {
    /// Runs it, prints what came of it.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let report = self.report(seed).unwrap_or_else(|trouble| {
            let mut report = Report::new("network", seed);
            report.broken_off(&trouble);
            report
        });
        report.print(self.json);
        report.verdict.exit_code()
    }

    fn report(&self, seed: u64) -> Result<Report, Trouble> {
        let jobraft = binary::find(self.jobraft.as_deref())?;
        let version = binary::version(&jobraft)?;
        let sandbox = Sandbox::enter()?;
        let load = Duration::from_secs(self.minutes * 60);
        eprintln!("network: {version}, {} minutes, {} jobs a second, seed {seed}", self.minutes, self.rate);
        let limit = load + EXTRA;
        let campaign = Campaign { jobraft, seed, load, limit, rate: self.rate };
        within(limit, campaign.run(&sandbox))
    }
}
