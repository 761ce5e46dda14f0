//! `jobraft wasm-host`: the child process in which `jobraft worker --isolate` runs modules. Not for people.

use clap::Args;
use std::process::ExitCode;

/// Run modules for the worker that started it, without rights, until stdin ends
#[derive(Args, Debug)]
#[command(hide = true)]
pub(super) struct WasmHostArgs {}

impl WasmHostArgs {
    /// Whatever goes wrong it tells on stderr itself, in the form that the worker reads.
    pub(super) fn run(self) -> ExitCode {
        jobraft_executors::wasm::host_main()
    }
}
