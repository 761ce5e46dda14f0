//! `jobraft compile-module`: the child process in which a worker has modules compiled. Not for people.

use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Compile a module to machine code, within limits, and exit
#[derive(Args, Debug)]
#[command(hide = true)]
pub(super) struct CompileModuleArgs {
    /// The module
    input: PathBuf,
    /// Where to write the machine code
    output: PathBuf,
}

impl CompileModuleArgs {
    /// Whatever goes wrong it tells on stderr itself, in the form that the worker reads.
    pub(super) fn run(self) -> ExitCode {
        jobraft_executors::wasm::compile_main()
    }
}
