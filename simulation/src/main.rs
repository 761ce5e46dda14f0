//! `simulation`: clusters under faults, judged by what must hold.

#![expect(clippy::print_stdout, reason = "this is a program for people")]

mod command;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    command::Arguments::parse().run()
}
