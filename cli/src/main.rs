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

/// `mi_option_purge_delay`, in milliseconds, which the bindings do not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
/// Each checkpoint, every other second under load, frees as much as the next takes: a node spent 5 % of its CPU time in giving
/// memory back and having it mapped again.
const PURGE_DELAY_MS: std::ffi::c_long = 10_000;

fn main() -> ExitCode {
    #[expect(unsafe_code, reason = "the bindings of the allocator are those of C")]
    // SAFETY: the option is one of the allocator's, and no other thread runs yet.
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS);
    }
    match command::Cli::parse().run() {
        Ok(code) => code,
        Err(failure) => {
            failure.report();
            failure.exit_code().into()
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_option_set_is_the_one_that_is_meant() {
        #[expect(unsafe_code, reason = "the bindings of the allocator are those of C")]
        // SAFETY: it reads a number.
        let default = unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) };
        assert_eq!(default, 1_000, "no other option has this default");
    }
}
