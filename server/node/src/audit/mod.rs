//! The audit log: who asked for what, from where, and what came of it; one JSON object a line.
//!
//! What must hold: a change that a client made, and everything that anybody was refused, has a line, or the node's log says
//! how many lines are missing; no line carries a payload, a result, a value or a secret. A line is with the operating system
//! before the next one is taken; whoever asks for more than can be written waits.

mod record;
mod rotation;

pub use record::{Event, Outcome};

use crate::config::{AuditConfig, AuditScope, AuditTarget};
use jobraft_protocol::NodeId;
use record::Record;
use rotation::RotatingFile;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Lines that wait to be written; beyond, those who make them wait.
const LINES_WAITING_MAX: usize = 1_024;
/// How often the node's log says that lines cannot be written.
const FAILURE_TOLD_EVERY: Duration = Duration::from_secs(60);

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the audit log {}: {source}; correct [audit] to, or turn it off with to = \"off\"", path.display())]
pub struct AuditError {
    /// Where it was to be.
    path: PathBuf,
    /// What the system says.
    source: io::Error,
}

/// Where events are told. Clones tell the same log.
#[derive(Clone)]
pub struct Audit {
    scope: AuditScope,
    lines: Option<mpsc::Sender<Line>>,
}

enum Line {
    Record(Box<Record>),
    Flush(oneshot::Sender<()>),
}

impl Audit {
    /// One that nobody reads.
    #[must_use]
    pub const fn off() -> Self {
        Self { scope: AuditScope::Changes, lines: None }
    }

    /// Opens the log of a node.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn start(config: &AuditConfig, node: NodeId) -> Result<Self, AuditError> {
        let target: Box<dyn Write + Send> = match &config.to {
            AuditTarget::Off => return Ok(Self::off()),
            AuditTarget::Stdout => Box::new(io::stdout()),
            AuditTarget::File(path) => {
                let opened = RotatingFile::open(path.clone(), config.file_bytes_max, config.files_max);
                Box::new(opened.map_err(|source| AuditError { path: path.clone(), source })?)
            }
        };
        let (lines, waiting) = mpsc::channel(LINES_WAITING_MAX);
        let writer = Writer { target, node, lost: 0, told_at: None };
        let spawned = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(waiting));
        spawned.map_err(|source| AuditError { path: "-".into(), source })?;
        Ok(Self { scope: config.record, lines: Some(lines) })
    }

    /// Whether anybody reads it.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Whether it is to have everything, not changes and refusals alone.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.is_on() && self.scope == AuditScope::All
    }

    /// Tells an event; waits while as many as may wait do.
    pub async fn tell(&self, event: Event) {
        if let Some(lines) = &self.lines {
            // The writer ends after all who could tell it anything.
            let _ = lines.send(Line::Record(Box::new(Record::now(event)))).await;
        }
    }

    /// Tells an event unless as many wait as may; for those who cannot wait. Says whether it was told.
    pub fn try_tell(&self, event: Event) -> bool {
        let told = |lines: &mpsc::Sender<Line>| lines.try_send(Line::Record(Box::new(Record::now(event)))).is_ok();
        self.lines.as_ref().is_none_or(told)
    }

    /// Waits until everything that was told is written.
    pub async fn flush(&self) {
        let Some(lines) = &self.lines else { return };
        let (written, wait) = oneshot::channel();
        if lines.send(Line::Flush(written)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

/// The thread that writes.
struct Writer {
    target: Box<dyn Write + Send>,
    node: NodeId,
    /// Lines that could not be written, and of which the log does not know yet.
    lost: u64,
    told_at: Option<Instant>,
}

impl Writer {
    fn run(mut self, mut lines: mpsc::Receiver<Line>) {
        while let Some(line) = lines.blocking_recv() {
            match line {
                Line::Record(record) => self.write(&record),
                // Nobody waits any more: nothing to say.
                Line::Flush(written) => drop(written.send(())),
            }
        }
    }

    fn write(&mut self, record: &Record) {
        let line = record.line(self.node, self.lost);
        match self.target.write_all(&line).and_then(|()| self.target.flush()) {
            Ok(()) => self.lost = 0,
            Err(error) => {
                self.lost += 1;
                let now = Instant::now();
                if self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= FAILURE_TOLD_EVERY) {
                    self.told_at = Some(now);
                    tracing::error!(%error, lost = self.lost, "the audit log cannot be written; the node goes on without");
                }
            }
        }
    }
}
