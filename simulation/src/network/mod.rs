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

use crate::real::Sandbox;
use crate::real::flags::{Flags, Start};
use crate::real::verdict::{Report, Trouble, within};
use campaign::Campaign;
use clap::Args;
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
    #[command(flatten)]
    flags: Flags,
}

impl NetworkArgs {
    /// Runs it, prints what came of it.
    #[must_use]
    pub fn run(self) -> ExitCode {
        self.flags.run("network", |start| self.report(start))
    }

    fn report(&self, Start { jobraft, version, seed }: Start) -> Result<Report, Trouble> {
        let sandbox = Sandbox::enter()?;
        let load = Duration::from_secs(self.minutes * 60);
        eprintln!("network: {version}, {} minutes, {} jobs a second, seed {seed}", self.minutes, self.rate);
        let limit = load + EXTRA;
        let campaign = Campaign { jobraft, seed, load, limit, rate: self.rate };
        within(limit, campaign.run(&sandbox))
    }
}
