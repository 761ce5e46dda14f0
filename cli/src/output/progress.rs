//! Progress bars, on stderr, and only when a person is watching.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};

/// A bar that is not there unless stderr is a terminal. It goes away when dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Counts things, such as jobs.
    pub(crate) fn counting(label: &'static str, total: u64) -> Self {
        Self::new(label, total, "{prefix} {wide_bar:.cyan/dim} {human_pos}/{human_len} · {per_sec} · {eta}")
    }

    /// Counts bytes.
    pub(crate) fn bytes(label: &'static str, total: u64) -> Self {
        Self::new(label, total, "{prefix} {wide_bar:.cyan/dim} {binary_bytes}/{binary_total_bytes}")
    }

    /// Counts what has no known end.
    pub(crate) fn spinner(label: &'static str) -> Self {
        Self::new(label, 0, "{spinner:.cyan} {prefix}: {human_pos}")
    }

    /// Shows how far a job says it is, in percent, and what it says.
    pub(crate) fn percent(label: &'static str) -> Self {
        Self::new(label, 100, "{prefix} {bar:30.cyan/dim} {pos}% {wide_msg}")
    }

    /// Says what is going on.
    pub(crate) fn say(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    /// Says something above it, if somebody sees it; that stays.
    pub(crate) fn remark(&self, text: &str) {
        self.bar.println(text);
    }

    /// Whether somebody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    fn new(label: &'static str, total: u64, template: &str) -> Self {
        if !io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(label);
        Self { bar }
    }

    /// So much more is done.
    pub(crate) fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    /// So much there is in all.
    pub(crate) fn expect(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// So much is done in all.
    pub(crate) fn reach(&self, position: u64) {
        self.bar.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
