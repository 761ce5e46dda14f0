//! `simulation --seeds N`: the campaign.

use clap::Args;
use simulation::simulated::campaign::{Campaign, Summary, carry_out, last_lines, missing_kinds};
use simulation::simulated::run::{Report, Verdict};
use std::process::ExitCode;
use std::time::Duration;

/// The default command's flags.
#[derive(Debug, Args)]
#[group(id = "campaign")]
pub(crate) struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Steps with faults in each run; one step is one run of one host.
    #[arg(long, default_value_t = 20_000)]
    steps: u64,
    /// No further seed is begun after so many minutes.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Seeds at a time.
    #[arg(long, default_value_t = 1)]
    parallel: usize,
    /// Run each seed twice; both must tell the same story.
    #[arg(long)]
    twice: bool,
    /// Go on behind a seed that failed.
    #[arg(long)]
    keep_going: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Runs the campaign.
    pub(crate) fn run(self) -> ExitCode {
        let Ok(program) = std::env::current_exe() else { return ExitCode::from(2) };
        let campaign = Campaign {
            program,
            first: self.first,
            seeds: self.seeds,
            steps: self.steps,
            time: Duration::try_from_secs_f64(self.minutes * 60.0).unwrap_or(Duration::MAX),
            parallel: self.parallel,
            twice: self.twice,
            keep_going: self.keep_going,
        };
        let json = self.json;
        let summary = carry_out(&campaign, &|report| {
            if !json {
                tell(report, campaign.steps);
            }
        });
        if json {
            println!("{}", serde_json::to_string_pretty(&summary).unwrap_or_default());
        } else {
            print(&summary);
        }
        ExitCode::from(summary.exit_code())
    }
}

fn tell(report: &Report, steps: u64) {
    for line in last_lines(report) {
        println!("{line}");
    }
    if let Verdict::Violation(what) = &report.verdict {
        println!("seed {} failed: {what}", report.seed);
    }
    println!("The whole story: simulation seed {} --steps {steps}\n", report.seed);
}

fn print(summary: &Summary) {
    println!(
        "{} seeds in {:.1} s: {} passed, {} failed, {} insufficient",
        summary.seeds,
        Duration::from_millis(summary.elapsed_ms).as_secs_f64(),
        summary.passed,
        summary.failed.len(),
        summary.insufficient.len(),
    );
    println!(
        "{} steps ({}/s), {} s of virtual time, {} log entries with {} commands, {} states compared",
        summary.steps,
        summary.steps_per_second,
        summary.virtual_seconds,
        summary.entries,
        summary.commands,
        summary.states_compared,
    );
    println!("faults: {}", summary.faults);
    let missing = missing_kinds(summary);
    if !missing.is_empty() {
        println!("faults that never happened: {}", missing.join(", "));
    }
    for (seed, why) in &summary.insufficient {
        println!("seed {seed} is insufficient: {why}");
    }
    for (seed, what) in &summary.failed {
        println!("seed {seed} failed: {what}");
    }
}
