//! The audit log: who asked for what, from where, and what came of it; one JSON object a line.
//!
//! What must hold: a change that a client made, and everything that anybody was refused, has a line, or the node's log says
//! how many lines are missing; no line carries a payload, a result, a value or a secret. A line is with the operating system
//! before the next one is taken. Whoever asks for more than can be written waits, but not long; and what anybody can have as
//! many of as they like, connections and refusals, has one line a minute for each name and kind, so that nobody can wash out
//! what stands there.

mod mentions;
mod record;
mod rotation;

pub(crate) use mentions::Mentions;
pub use record::{Event, Outcome};

use crate::config::{AuditConfig, AuditScope, AuditTarget};
use jobraft_protocol::NodeId;
use record::Record;
use rotation::RotatingFile;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Lines that wait to be written; beyond, those who make them wait.
const LINES_WAITING_MAX: usize = 1_024;
/// How long a line may wait for its place; then it is lost, and counted. A log that hangs must not stop the node.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);
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
    shared: Arc<Shared>,
}

/// What those who tell and the one who writes have in common.
#[derive(Default)]
struct Shared {
    /// Lines that are lost, and of which the log does not know yet.
    lost: AtomicU64,
    /// Who was refused what, and who connected, by name.
    mentions: Mentions<(String, &'static str)>,
}

enum Line {
    Record(Box<Record>),
    Flush(oneshot::Sender<()>),
}

impl Audit {
    /// One that nobody reads.
    #[must_use]
    pub fn off() -> Self {
        Self { scope: AuditScope::Changes, lines: None, shared: Arc::default() }
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
        let shared = Arc::<Shared>::default();
        let writer = Writer { target, node, shared: Arc::clone(&shared), is_torn: false, told_at: None };
        let spawned = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(waiting));
        spawned.map_err(|source| AuditError { path: "-".into(), source })?;
        Ok(Self { scope: config.record, lines: Some(lines), shared })
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

    /// Tells an event; waits a while for its place.
    pub async fn tell(&self, event: Event) {
        self.send(Record::now(event, 0)).await;
    }

    /// Tells an event of which there may be as many as `who` likes: one of a kind a minute, with how many went unmentioned.
    pub async fn tell_seldom(&self, who: &str, kind: &'static str, event: Event) {
        if let Some(unmentioned) = self.shared.mentions.news((who.to_owned(), kind), Instant::now()) {
            self.send(Record::now(event, unmentioned)).await;
        }
    }

    /// Tells an event that stands for `unmentioned` others as well, unless as many wait as may; for those who cannot wait.
    pub fn try_tell(&self, event: Event, unmentioned: u64) {
        if let Some(lines) = &self.lines
            && lines.try_send(Line::Record(Box::new(Record::now(event, unmentioned)))).is_err()
        {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn send(&self, record: Record) {
        let Some(lines) = &self.lines else { return };
        let sent = timeout(TELL_TIMEOUT, lines.send(Line::Record(Box::new(record)))).await;
        if !matches!(sent, Ok(Ok(()))) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
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
    shared: Arc<Shared>,
    /// Whether the last line may be there in part.
    is_torn: bool,
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
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        let mut line = record.line(self.node, lost);
        if self.is_torn {
            line.insert(0, b'\n');
        }
        let written = self.target.write_all(&line).and_then(|()| self.target.flush());
        self.is_torn = written.is_err();
        if written.is_err() {
            self.shared.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
        let now = Instant::now();
        if (lost > 0 || self.is_torn)
            && self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= FAILURE_TOLD_EVERY)
        {
            self.told_at = Some(now);
            let error = written.err().map(|error| error.to_string());
            tracing::error!(error, lost, "lines of the audit log are lost; the node goes on without them");
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::sync::Mutex;

    /// A disk that is full for a while, after a part of a line.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, bool)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            if disk.1 && disk.0.last().is_none_or(|last| *last == b'\n') {
                disk.0.extend(&bytes[..4]);
                return Ok(4);
            }
            if disk.1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.0.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_in_the_next_which_begins_anew() {
        let disk = Disk::default();
        let (target, shared) = (Box::new(disk.clone()), Arc::<Shared>::default());
        let mut writer = Writer { target, node: NodeId(1), shared: Arc::clone(&shared), is_torn: false, told_at: None };
        let mut write = |is_full: bool| {
            disk.0.lock().unwrap().1 = is_full;
            let from = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
            writer.write(&Record::now(Event::Refused { from, kind: "k", reason: String::new() }, 0));
        };
        write(false);
        write(true);
        write(true);
        // One for which there was no place.
        shared.lost.fetch_add(1, Ordering::Relaxed);
        write(false);
        write(false);
        let text = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.ends_with('}')).collect();
        let lost = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["lost"].as_u64();
        assert_eq!(lines.iter().map(|line| lost(line)).collect::<Vec<_>>(), [None, Some(3), None], "{text}");
    }
}
