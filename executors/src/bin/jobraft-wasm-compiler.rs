//! Compiles one module and exits: for programs that embed the executor and do not want to be their own compiler.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobraft_executors::wasm::compile_main()
}
