//! What comes out: a verdict, its reasons, and figures that say how much was tried.

use super::Cluster;
use serde::Serialize;
use std::fmt::Write as _;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;
use tempfile::TempDir;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All that must hold did, under as many faults as were asked for.
    Passed,
    /// Something that must hold did not.
    Violated,
    /// Too little happened to say either.
    Insufficient,
    /// This machine does not permit the run.
    Skipped,
}

impl Verdict {
    /// 0 passed, 1 violated, 2 insufficient, 77 skipped: what test harnesses take for "skipped".
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Passed => 0,
            Self::Violated => 1,
            Self::Insufficient => 2,
            Self::Skipped => 77,
        })
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Violated => "VIOLATED",
            Self::Insufficient => "insufficient",
            Self::Skipped => "skipped",
        }
    }
}

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// What the user asked for cannot be.
    #[error("{0}")]
    Usage(String),
    /// This machine does not permit it.
    #[error("{0}")]
    NotPermitted(String),
    /// This machine failed, not the product.
    #[error("{0}")]
    Machine(String),
    /// The product does not do what it must.
    #[error("{0}")]
    Violation(String),
}

impl Trouble {
    /// The machine fails at something.
    pub fn machine(doing: &str, error: impl std::fmt::Display) -> Self {
        Self::Machine(format!("failed to {doing}: {error}"))
    }

    /// The verdict that this leads to.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::NotPermitted(_) => Verdict::Skipped,
            Self::Violation(_) => Verdict::Violated,
            Self::Usage(_) | Self::Machine(_) => Verdict::Insufficient,
        }
    }
}

/// The outcome of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Which run: `disk` or `network`.
    pub run: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What repeats its choices.
    pub seed: u64,
    /// What was violated, or what was missing.
    pub reasons: Vec<String>,
    /// What was not tried, and why.
    pub left_out: Vec<String>,
    /// How much was tried, by name, in the order of their making.
    pub figures: Vec<Figure>,
    /// The last lines of each node's log, if something was violated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<String>,
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Of what.
    pub name: String,
    /// How much.
    pub value: f64,
}

/// The most reasons that are told; a broken product gives thousands of the same.
const REASONS_MAX: usize = 20;

impl Report {
    /// A report with nothing in it yet.
    #[must_use]
    pub const fn new(run: &'static str, seed: u64) -> Self {
        Self {
            run,
            verdict: Verdict::Passed,
            seed,
            reasons: Vec::new(),
            left_out: Vec::new(),
            figures: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// Notes a figure.
    pub fn figure(&mut self, name: impl Into<String>, value: f64) {
        self.figures.push(Figure { name: name.into(), value });
    }

    /// Notes how many of something there were.
    pub fn count(&mut self, name: impl Into<String>, value: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a count of operations is far below 2^52")]
        self.figure(name, value as f64);
    }

    /// Something that must hold did not. A violation is never outweighed.
    pub fn violated(&mut self, reason: impl Into<String>) {
        self.verdict = Verdict::Violated;
        self.reasons.push(reason.into());
    }

    /// Too little happened.
    pub fn insufficient(&mut self, reason: impl Into<String>) {
        if self.verdict == Verdict::Passed {
            self.verdict = Verdict::Insufficient;
        }
        self.reasons.push(reason.into());
    }

    /// The run ended before its time.
    pub fn broken_off(&mut self, trouble: &Trouble) {
        match trouble.verdict() {
            Verdict::Violated => self.violated(trouble.to_string()),
            verdict => {
                if self.verdict != Verdict::Violated {
                    self.verdict = verdict;
                }
                self.reasons.push(trouble.to_string());
            }
        }
    }

    /// If something was violated, adds the ends of the nodes' logs and keeps the directory of the run.
    pub fn attach_logs(&mut self, cluster: &Cluster, directory: TempDir) {
        if self.verdict == Verdict::Violated {
            self.logs = cluster.logs();
            self.logs.push(format!("--- all files of the run are kept in {}", directory.keep().display()));
        }
    }

    /// Prints it, as JSON if so asked.
    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    pub fn print(&self, json: bool) {
        let json = json.then(|| serde_json::to_string_pretty(self));
        match json {
            Some(Ok(text)) => println!("{text}"),
            // It cannot fail: all keys are strings; and if it did, the text says the same.
            Some(Err(_)) | None => println!("{}", self.text()),
        }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for log in &self.logs {
            let _ = writeln!(text, "{log}");
        }
        for Figure { name, value } in &self.figures {
            let value = if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") };
            let _ = writeln!(text, "  {name:<44} {value:>12}");
        }
        for left_out in &self.left_out {
            let _ = writeln!(text, "  left out: {left_out}");
        }
        for reason in self.reasons.iter().take(REASONS_MAX) {
            let _ = writeln!(text, "  {reason}");
        }
        if self.reasons.len() > REASONS_MAX {
            let _ = writeln!(text, "  and {} more", self.reasons.len() - REASONS_MAX);
        }
        let _ = write!(text, "{} {}; --seed {} makes the same choices", self.run, self.verdict.word(), self.seed);
        text
    }
}

/// How long a run that was given up may take to tell of it.
const FAREWELL: Duration = Duration::from_secs(10);

/// Runs `what` on the main thread, and its tasks on others, until it ends or is interrupted. It should be over within
/// `limit`, and see to that itself, by [`in_time`]; a little later it is given up.
///
/// # Errors
/// Its own, a violation when it takes too long, or that it was interrupted.
pub fn within<T>(limit: Duration, what: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Trouble::machine("start threads", error))?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = in_time(limit + FAREWELL, what) => outcome,
            _ = tokio::signal::ctrl_c() => Err(Trouble::Machine("interrupted".to_owned())),
        }
    });
    runtime.shutdown_background();
    outcome
}

/// Waits for `what`.
///
/// # Errors
/// Its own, or a violation when it takes longer than `limit`.
pub async fn in_time<T>(limit: Duration, what: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let late = |_| Trouble::Violation(format!("the run has not ended after {limit:?}: something is stuck"));
    tokio::time::timeout(limit, what).await.map_err(late).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_outweighs_what_is_missing() {
        let mut report = Report::new("disk", 1);
        report.insufficient("few jobs");
        assert_eq!(report.verdict, Verdict::Insufficient);
        report.violated("a job is lost");
        report.insufficient("few cuts");
        report.broken_off(&Trouble::Machine("no room".to_owned()));
        assert_eq!(report.verdict, Verdict::Violated);
        assert!(report.text().contains("a job is lost") && report.text().contains("no room"));
    }

    #[test]
    fn what_is_not_permitted_is_skipped_and_not_passed() {
        let mut report = Report::new("network", 1);
        report.broken_off(&Trouble::NotPermitted("no namespaces here".to_owned()));
        assert_eq!(report.verdict, Verdict::Skipped);
        assert!(report.text().contains("no namespaces here"));
    }
}
