//! Real nodes on disks that lose power, fail and rot: `simulation disk`.
//!
//! Each node's data lie on a file system of this process (FUSE), which keeps apart what was fsynced and what was only
//! written. A *power cut* is the node's SIGKILL and the loss of what was not fsynced: of all, of parts, out of order, torn.
//! Disks also refuse to fsync, are full, turn read-only; files are cut short, bits turn over. A load goes on, and after each
//! cut the cluster must go on; in the end all that it was told is judged.

mod campaign;
mod damage;
mod disk;
mod file_system;
mod image;
#[cfg(test)]
mod image_tests;
mod rack;

use crate::real::Sandbox;
use crate::real::flags::{Flags, Start};
use crate::real::verdict::{Report, Trouble, within};
use campaign::Campaign;
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;

/// What a run may take beyond the time for its faults.
const EXTRA: Duration = Duration::from_secs(240);

/// Run real nodes on disks that lose power, fail and rot
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  simulation disk --cuts 10
  simulation disk --cuts 500 --seconds 3600 --jobraft target/release/jobraft

Needs root, or a kernel that lets users make namespaces, and /dev/fuse.")]
pub struct DiskArgs {
    /// How many cuts and other faults
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    cuts: u32,
    /// How long they may take at most; fewer faults than asked for are insufficient
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Jobs a second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    #[command(flatten)]
    flags: Flags,
}

impl DiskArgs {
    /// Runs it, prints what came of it.
    #[must_use]
    pub fn run(self) -> ExitCode {
        self.flags.run("disk", |start| self.report(start))
    }

    fn report(&self, Start { jobraft, version, seed }: Start) -> Result<Report, Trouble> {
        let _inside = Sandbox::enter()?;
        let time = Duration::from_secs(self.seconds);
        eprintln!("disk: {version}, {} cuts and other faults, {} jobs a second, seed {seed}", self.cuts, self.rate);
        let limit = time + EXTRA;
        let campaign = Campaign { jobraft, seed, cuts: self.cuts, time, limit, rate: self.rate };
        within(limit, campaign.run())
    }
}
