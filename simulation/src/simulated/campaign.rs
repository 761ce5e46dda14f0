//! Many seeds, one after the other or a few at a time, and what came of them together.

use super::faults::Happened;
use super::run::{Plan, Report, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Lines of a failed run's history that are shown; `simulation seed N` shows all.
const LINES_SHOWN: usize = 60;

/// What to run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The program that runs one seed by `seed N`: this one.
    pub program: PathBuf,
    /// The first seed.
    pub first: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Steps of each.
    pub steps: u64,
    /// No seed is begun after so long.
    pub time: Duration,
    /// Seeds at a time.
    pub parallel: usize,
    /// Whether each seed runs twice, and must tell the same story.
    pub twice: bool,
    /// Whether to go on behind a seed that failed.
    pub keep_going: bool,
}

/// What came of it.
#[derive(Debug, Default, serde::Serialize)]
pub struct Summary {
    /// Seeds that ran.
    pub seeds: u64,
    /// Seeds that passed.
    pub passed: u64,
    /// Seeds in which something was violated, with what.
    pub failed: Vec<(u64, String)>,
    /// Seeds that say nothing, with why.
    pub insufficient: Vec<(u64, String)>,
    /// Steps of all.
    pub steps: u64,
    /// Virtual time of all, in seconds.
    pub virtual_seconds: u64,
    /// Real time, in milliseconds.
    pub elapsed_ms: u64,
    /// Steps in a second of real time.
    pub steps_per_second: u64,
    /// Log entries that nodes agreed on.
    pub entries: u64,
    /// Commands in them.
    pub commands: u64,
    /// How often a node's state was compared with that of the others.
    pub states_compared: u64,
    /// Faults that happened, of each kind.
    pub faults: Happened,
}

impl Summary {
    /// What the process says to whoever started it: 0 passed, 1 something was violated, 2 it says too little.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        if !self.failed.is_empty() {
            1
        } else if self.passed == 0 || !self.insufficient.is_empty() {
            2
        } else {
            0
        }
    }

    fn add(&mut self, report: &Report) {
        self.seeds += 1;
        match &report.verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Violation(what) => self.failed.push((report.seed, what.clone())),
            Verdict::Insufficient(why) => self.insufficient.push((report.seed, why.clone())),
        }
        self.steps += report.steps;
        self.virtual_seconds += report.virtual_ns / super::environment::SECOND_NS;
        self.entries += report.progress.entries;
        self.commands += report.progress.commands;
        self.states_compared += report.progress.hashes_compared;
        self.faults.add(&report.happened);
    }
}

/// Runs it; `tell` hears of each seed that failed.
pub fn carry_out(campaign: &Campaign, tell: &(dyn Fn(&Report) + Sync)) -> Summary {
    let begun = Instant::now();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let bar = ProgressBar::new(campaign.seeds);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds  {elapsed}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let summary = Mutex::new(Summary::default());
    thread::scope(|scope| {
        for _ in 0..campaign.parallel.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && begun.elapsed() < campaign.time {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= campaign.seeds {
                        return;
                    }
                    let plan = Plan { seed: campaign.first + number, steps: campaign.steps };
                    let report = tried(&campaign.program, plan, campaign.twice);
                    if matches!(report.verdict, Verdict::Violation(_)) {
                        bar.suspend(|| tell(&report));
                        stop.fetch_or(!campaign.keep_going, Ordering::Relaxed);
                    }
                    let mut summary = summary.lock().expect("nobody panics with it");
                    summary.add(&report);
                    bar.set_message(format!("{} steps/s", per_second(summary.steps, begun.elapsed())));
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut summary = summary.into_inner().expect("nobody panics with it");
    summary.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    summary.steps_per_second = per_second(summary.steps, begun.elapsed());
    summary.failed.sort();
    summary.insufficient.sort();
    summary
}

fn per_second(steps: u64, elapsed: Duration) -> u64 {
    let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    steps.saturating_mul(1_000) / ms
}

/// Runs a seed; twice if asked to, and then compares.
fn tried(program: &Path, plan: Plan, twice: bool) -> Report {
    let report = run_apart(program, plan, twice);
    if !twice {
        return report;
    }
    let again = run_apart(program, plan, twice);
    match difference(&report, &again) {
        None => report,
        Some(what) => Report { verdict: Verdict::Violation(what), ..report },
    }
}

/// Runs a seed in a process of its own: what crates count for the whole process then begins anew, and a seed that panics
/// or hangs takes no other with it.
#[must_use]
pub fn run_apart(program: &Path, plan: Plan, is_whole: bool) -> Report {
    let mut command = Command::new(program);
    command.args(["seed", &plan.seed.to_string(), "--steps", &plan.steps.to_string(), "--json"]);
    if is_whole {
        command.arg("--whole");
    }
    let broken = |why: String| Report::broken(plan.seed, why);
    match command.output() {
        Ok(output) => serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            broken(format!("the simulation itself broke ({}):\n{said}", output.status))
        }),
        Err(error) => broken(format!("the simulation could not be started: {error}")),
    }
}

/// Where two runs of one seed differ.
#[must_use]
pub fn difference(one: &Report, other: &Report) -> Option<String> {
    let lines = one.chronicle.iter().zip(&other.chronicle).enumerate();
    for (line, (left, right)) in lines {
        if left != right {
            return Some(format!("one seed, one story: line {line} is\n  {left}\nand, told again,\n  {right}"));
        }
    }
    let facts = |report: &Report| (report.chronicle.len(), report.steps, report.virtual_ns, report.fingerprint);
    (facts(one) != facts(other)).then(|| format!("one seed, one story: {:?} and {:?}", facts(one), facts(other)))
}

/// The end of a run's history, for a first look.
#[must_use]
pub fn last_lines(report: &Report) -> &[String] {
    &report.chronicle[report.chronicle.len().saturating_sub(LINES_SHOWN)..]
}

/// Which kinds of faults no seed had.
#[must_use]
pub fn missing_kinds(summary: &Summary) -> Vec<String> {
    let seen: BTreeSet<_> = summary.faults.each().map(|(kind, _)| kind).collect();
    super::faults::all_kinds().filter(|kind| !seen.contains(kind)).map(|kind| format!("{kind:?}")).collect()
}
