//! `simulation seed N`: one seed, told whole.

use clap::Args;
use simulation::simulated::run::{Plan, Report, Verdict, run};
use std::process::ExitCode;

/// The flags of `seed`.
#[derive(Debug, Args)]
#[group(id = "replay")]
pub(crate) struct Arguments {
    /// Which.
    seed: u64,
    /// Steps with faults, as in the campaign in which it failed.
    #[arg(long, default_value_t = 20_000)]
    steps: u64,
    /// Print the report as JSON, for the campaign; with the story if it failed.
    #[arg(long, hide = true)]
    json: bool,
    /// In JSON, with the story in any case.
    #[arg(long, hide = true)]
    whole: bool,
}

impl Arguments {
    /// Runs it.
    pub(crate) fn run(self) -> ExitCode {
        let report = run(Plan { seed: self.seed, steps: self.steps });
        if self.json {
            let is_told = self.whole || matches!(report.verdict, Verdict::Violation(_));
            let chronicle = if is_told { report.chronicle } else { Vec::new() };
            println!("{}", serde_json::to_string(&Report { chronicle, ..report }).unwrap_or_default());
            return ExitCode::SUCCESS;
        }
        for line in &report.chronicle {
            println!("{line}");
        }
        println!();
        println!(
            "{} steps, {} s of virtual time, {:?}, {:?}",
            report.steps,
            report.virtual_ns / 1_000_000_000,
            report.progress,
            report.done
        );
        println!("{:?}; faults: {}; fingerprint {:016x}", report.traffic, report.happened, report.fingerprint);
        match report.verdict {
            Verdict::Passed => {
                println!("passed");
                ExitCode::SUCCESS
            }
            Verdict::Violation(what) => {
                println!("failed: {what}");
                ExitCode::from(1)
            }
            Verdict::Insufficient(why) => {
                println!("insufficient: {why}");
                ExitCode::from(2)
            }
        }
    }
}
