//! The `jobraft` binary: nodes, workers and tools. Wiring and presentation only; what is decided is decided elsewhere.
//!
//! Each command is a file under `command/`. Results go to stdout, as text, tables or (`--json`) JSON; logs, progress and
//! errors to stderr. Exit codes ([`failure::Exit`]) tell scripts what happened.

mod command;
mod connection;
mod failure;
mod logging;
mod output;
mod shutdown;

use clap::Parser;
use std::process::ExitCode;

/// A node allocates and frees a few dozen times for each step of a job, on several threads: glibc's allocator took a
/// sixth of its CPU time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match command::Cli::parse().run() {
        Ok(code) => code,
        Err(failure) => {
            failure.report();
            failure.exit_code().into()
        }
    }
}
