//! Runs guests for one worker and exits with it: for programs that embed the executor and do not want to be their own host.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobraft_executors::wasm::host_main()
}
