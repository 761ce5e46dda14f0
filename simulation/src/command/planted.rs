//! Tests of the tests: each planted bug must be found, within a budget, by the layer whose work that is.
//!
//! A bug is planted by a feature of this build and a variable in a process of its own: here a campaign of simulated seeds, or
//! the scenario scripts of the state machine. Found means that they say so by their exit code, as they would of a real bug.

use clap::Args;
use jobraft_core::planted::{Bug, VARIABLE};
use serde::Serialize;
use std::io::{self, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What a process that finds a violation exits with: a campaign, and `cargo test`.
const VIOLATED: i32 = 1;
const TESTS_FAILED: i32 = 101;
/// The seeds are the budget; this only ends what hangs.
const MINUTES: &str = "60";

/// The flags of `planted`.
#[derive(Args, Debug)]
#[group(id = "planted")]
pub(crate) struct Arguments {
    /// Only these, by name; all by default
    #[arg(value_name = "BUG")]
    only: Vec<String>,
    /// Simulated seeds within which a bug must be found
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// Steps of each seed
    #[arg(long, default_value_t = 20_000)]
    steps: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Prints one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

/// Who must find a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Layer {
    /// Whole clusters under faults.
    Simulation,
    /// Scenario scripts of the state machine: the simulation's faults would need much luck.
    Scripts,
}

impl Layer {
    const fn of(bug: Bug) -> Self {
        match bug {
            Bug::LeaseNotExtended => Self::Scripts,
            Bug::AckBeforeFsync
            | Bug::FencingDropped
            | Bug::WallClockInApply
            | Bug::PurgeBeforeCheckpoint
            | Bug::HashOrder
            | Bug::VoteNotSynced
            | Bug::KeyReleasedEarly
            | Bug::CheckpointWithoutItsPosition
            | Bug::RetryEnqueuesTwice
            | Bug::TimerLostAtFailover
            | Bug::StaleRead
            | Bug::LeaderRestored => Self::Simulation,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Simulation => "simulation",
            Self::Scripts => "core scripts",
        }
    }
}

#[derive(Debug, Serialize)]
struct Finding {
    bug: &'static str,
    layer: Layer,
    is_found: bool,
    /// The seed that found it.
    seed: Option<u64>,
    seconds: u64,
    /// What was said of it.
    said: String,
}

impl Arguments {
    /// Plants each bug in turn and tells who found it; fails if one was not.
    pub(crate) fn run(&self) -> ExitCode {
        match plant_all(self) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(error) => {
                // Nobody is left to be told if that fails.
                let _ = writeln!(io::stderr(), "error: {error}");
                ExitCode::from(2)
            }
        }
    }
}

fn plant_all(args: &Arguments) -> io::Result<bool> {
    if !cfg!(feature = "planted-bugs") {
        let fix = "this build has no bugs to plant; try `cargo run --release -p simulation --features planted-bugs -- planted`";
        return Err(io::Error::other(fix));
    }
    for name in &args.only {
        if !Bug::ALL.iter().any(|bug| bug.name() == name) {
            let names: Vec<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
            return Err(io::Error::other(format!("no bug is called {name}; there are {}", names.join(", "))));
        }
    }
    let wanted = |bug: &Bug| args.only.is_empty() || args.only.iter().any(|name| name == bug.name());
    let mut findings = Vec::new();
    let mut out = io::stdout().lock();
    for bug in Bug::ALL.into_iter().filter(wanted) {
        let finding = plant(bug, args)?;
        if !args.json {
            let verdict = if finding.is_found { "found" } else { "NOT FOUND" };
            let Finding { bug, layer, seconds, said, .. } = &finding;
            writeln!(out, "{bug:<32} {:<13} {verdict:<9} {seconds:>5} s  {said}", layer.name())?;
        }
        findings.push(finding);
    }
    if args.json {
        serde_json::to_writer_pretty(&mut out, &findings)?;
        writeln!(out)?;
    }
    Ok(findings.iter().all(|finding| finding.is_found))
}

fn plant(bug: Bug, args: &Arguments) -> io::Result<Finding> {
    let layer = Layer::of(bug);
    let begun = Instant::now();
    let mut command = match layer {
        Layer::Simulation => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--json", "--seeds", &args.seeds.to_string(), "--first", &args.first.to_string()]);
            command.args(["--steps", &args.steps.to_string(), "--minutes", MINUTES]);
            command
        }
        Layer::Scripts => {
            let mut command = Command::new("cargo");
            command.args(["test", "--quiet", "-p", "jobraft-core", "--features", "planted-bugs", "--test", "scripts"]);
            command
        }
    };
    let output = command.env(VARIABLE, bug.name()).stdin(Stdio::null()).output()?;
    let seconds = begun.elapsed().saturating_sub(Duration::from_millis(500)).as_secs();
    let (is_found, seed, said) = match layer {
        Layer::Simulation => {
            let (seed, said) = first_violation(&output.stdout);
            (output.status.code() == Some(VIOLATED), seed, said)
        }
        Layer::Scripts => {
            let said = String::from_utf8_lossy(&output.stdout);
            let failed = said.lines().find(|line| line.starts_with("test result")).unwrap_or_default();
            (output.status.code() == Some(TESTS_FAILED), None, failed.to_owned())
        }
    };
    Ok(Finding { bug: bug.name(), layer, is_found, seed, seconds, said })
}

/// The seed that failed, and its first complaint.
fn first_violation(report: &[u8]) -> (Option<u64>, String) {
    let report: serde_json::Value = serde_json::from_slice(report).unwrap_or_default();
    let failed = &report["failed"][0];
    let (seed, said) =
        (failed[0].as_u64(), failed[1].as_str().and_then(|said| said.lines().next()).unwrap_or_default());
    (seed, format!("seed {}: {said}", seed.map_or_else(|| "?".to_owned(), |seed| seed.to_string())))
}
