//! The commands of this program.

mod campaign;
mod planted;
mod seed;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Whole clusters of Jobraft under faults.
///
/// Without a command: runs seeds in the deterministic simulation. Ends with 0 if all passed, with 1 if something was
/// violated, with 2 if too little happened to say anything.
#[derive(Debug, Parser)]
#[command(name = "simulation", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    campaign: campaign::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replays one seed, and prints all that happened.
    Seed(seed::Arguments),
    /// Plants known bugs one by one, and tells which of them are found, where and how fast.
    ///
    /// Needs a build with `--features planted-bugs`. Ends with 0 if all were found within their budget.
    Planted(planted::Arguments),
    /// Real nodes on disks that lose power, fail and rot.
    ///
    /// Ends with 77 where the machine does not permit it.
    #[cfg(target_os = "linux")]
    Disk(simulation::disk_faults::DiskArgs),
    /// Real nodes on a real network, in namespaces of their own, under faults.
    ///
    /// Ends with 77 where the machine does not permit it.
    #[cfg(target_os = "linux")]
    Network(simulation::network::NetworkArgs),
}

impl Arguments {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        match self.command {
            None => self.campaign.run(),
            Some(Command::Seed(seed)) => seed.run(),
            Some(Command::Planted(planted)) => planted.run(),
            #[cfg(target_os = "linux")]
            Some(Command::Disk(disk)) => disk.run(),
            #[cfg(target_os = "linux")]
            Some(Command::Network(network)) => network.run(),
        }
    }
}
