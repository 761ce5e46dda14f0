//! Color, only where a terminal shows it and its owner wants it (<https://no-color.org>).

use clap::builder::styling::{AnsiColor, Style};
use std::fmt::Display;
use std::io::{self, IsTerminal};

/// Colors text, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// For text that goes to stdout.
    pub(crate) fn stdout() -> Self {
        Self { on: io::stdout().is_terminal() && wanted() }
    }

    /// For text that goes to stderr.
    pub(crate) fn stderr() -> Self {
        Self { on: io::stderr().is_terminal() && wanted() }
    }

    /// Never colors.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self { on: false }
    }

    /// Whether it colors at all.
    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    /// What went well.
    pub(crate) fn good(self, text: impl Display) -> String {
        self.with(AnsiColor::Green.on_default(), text)
    }

    /// What went wrong.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    /// What to look at.
    pub(crate) fn strong(self, text: impl Display) -> String {
        self.with(Style::new().bold(), text)
    }

    /// What can be typed.
    pub(crate) fn command(self, text: impl Display) -> String {
        self.with(AnsiColor::Cyan.on_default(), text)
    }

    /// What can be overlooked.
    pub(crate) fn faint(self, text: impl Display) -> String {
        self.with(Style::new().dimmed(), text)
    }

    fn with(self, style: Style, text: impl Display) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

fn wanted() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
