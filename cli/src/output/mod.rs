//! How results reach the person or the script: text, tables, JSON, always on stdout; logs and progress are on stderr.

pub(crate) mod human;
mod job;
mod paint;
mod program;
mod progress;
mod table;

pub(crate) use job::{BytesJson, JobJson, SummaryJson, TemplateJson};
pub(crate) use paint::Paint;
pub(crate) use program::{program, quoted};
pub(crate) use progress::Progress;
pub(crate) use table::{Mood, Table};

use crate::failure::Failure;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};

/// Stdout. Every write can fail, and a reader that has gone away ends the command quietly.
#[derive(Debug)]
pub(crate) struct Output {
    paint: Paint,
}

impl Output {
    /// Stdout, in color if it is a terminal that wants it.
    pub(crate) fn new() -> Self {
        Self { paint: Paint::stdout() }
    }

    /// How to color what is written.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// Writes a line.
    pub(crate) fn line(&self, text: impl Display) -> Result<(), Failure> {
        Ok(writeln!(io::stdout().lock(), "{text}")?)
    }

    /// Empties the terminal's screen.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        // To the top left, and away with all that follows: no flicker of an empty screen in between.
        Ok(write!(io::stdout().lock(), "\u{1b}[H\u{1b}[J")?)
    }

    /// Writes a remark to stderr: for people, and out of the way of what scripts read.
    pub(crate) fn note(&self, text: impl Display) -> Result<(), Failure> {
        Ok(writeln!(io::stderr().lock(), "{text}")?)
    }

    /// Writes a name and a value, with values in one column.
    pub(crate) fn field(&self, name: &str, value: impl Display) -> Result<(), Failure> {
        self.line(format!("{} {value}", self.paint.faint(format!("{name:<10}"))))
    }

    /// Writes bytes as they are; to a terminal as text, without what would steer it.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        if io::IsTerminal::is_terminal(&stdout) {
            writeln!(stdout, "{}", human::excerpt(bytes, usize::MAX))?;
        } else {
            stdout.write_all(bytes)?;
        }
        Ok(stdout.flush()?)
    }

    /// Writes a value as indented JSON.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new("write JSON", error))?;
        self.line(text)
    }

    /// Writes a value as JSON on one line, for lists that are read line by line.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|error| Failure::new("write JSON", error))?;
        self.line(text)
    }

    /// Writes a table; `empty` if it has no rows.
    pub(crate) fn table(&self, table: Table, empty: &str) -> Result<(), Failure> {
        match table.render(self.paint) {
            Some(text) => self.line(text),
            None => self.line(self.paint.faint(empty)),
        }
    }
}
