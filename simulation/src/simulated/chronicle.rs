//! What happened, for people: virtual time, where, what. Two runs of one seed write the same, byte for byte.

use super::environment::{self, SECOND_NS};
use std::cell::RefCell;
use std::fmt::{Display, Write as _};
use std::io;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that are kept; the oldest go first. What a run did before is told by a replay that keeps more.
const LINES_MAX: usize = 200_000;

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    host: String,
    home: String,
    is_muted: bool,
}

thread_local! {
    static LINES: RefCell<Lines> = RefCell::default();
}

/// Begins a new chronicle on this thread. What stands below the directory `home` is told without it.
pub fn begin(home: &str) {
    LINES.set(Lines { home: home.to_owned(), ..Lines::default() });
}

/// Says who speaks from now on.
pub fn speaks(host: &str) {
    LINES.with_borrow_mut(|lines| {
        lines.host.clear();
        lines.host.push_str(host);
    });
}

/// Notes nothing until told otherwise: what a host says that loses its power, nobody hears, and the order in which its
/// tasks are dropped follows from numbers that tokio counts for the whole process.
pub fn mute(is_muted: bool) {
    LINES.with_borrow_mut(|lines| lines.is_muted = is_muted);
}

/// Notes something.
pub fn note(what: impl Display) {
    LINES.with_borrow_mut(|lines| {
        if lines.is_muted {
            return;
        }
        if lines.lines.len() >= LINES_MAX {
            lines.lines.drain(..LINES_MAX / 2);
        }
        let now = environment::now_ns();
        let mut line = String::new();
        let (seconds, micros) = (now / SECOND_NS, now % SECOND_NS / 1_000);
        write!(line, "{seconds:>5}.{micros:06}  {:<8}  {what}", lines.host)
            .expect("a string takes all that is written");
        if !lines.home.is_empty() && line.contains(&lines.home) {
            line = line.replace(&lines.home, "");
        }
        lines.lines.push(line);
    });
}

/// Ends the chronicle of this thread, and gives it.
#[must_use]
pub fn end() -> Vec<String> {
    LINES.take().lines
}

/// Takes what the nodes log into the chronicle, for as long as the guard lives.
#[must_use]
pub fn listen(level: tracing::Level) -> tracing::subscriber::DefaultGuard {
    // Raft says more than anybody reads.
    let filter = EnvFilter::new(format!("{level},openraft=error"));
    let subscriber = tracing_subscriber::fmt()
        .with_writer(LogLines)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_env_filter(filter)
        .finish();
    tracing::subscriber::set_default(subscriber)
}

/// Where the log goes.
struct LogLines;

/// One line of it.
#[derive(Default)]
struct LogLine(Vec<u8>);

impl MakeWriter<'_> for LogLines {
    type Writer = LogLine;

    fn make_writer(&self) -> LogLine {
        LogLine::default()
    }
}

impl io::Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.0);
        let text = text.trim_end();
        if !text.is_empty() {
            note(text);
        }
    }
}
