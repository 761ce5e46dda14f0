//! What an engine's error means for the job, in a sentence.

use jobraft_protocol::{Failure, FailureKind};
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Exit code of a command that may do better later (`EX_TEMPFAIL` of BSD's `sysexits.h`).
const EXIT_RETRY: i32 = 75;
/// Exit code of a command whose input is wrong (`EX_DATAERR` of BSD's `sysexits.h`).
const EXIT_NEVER: i32 = 65;
/// How much of a guest's last words a message holds.
const LAST_WORDS_CHARS_MAX: usize = 300;
/// How much of a function's name a message holds.
const FUNCTION_CHARS_MAX: usize = 80;
/// A module whose function names are longer than this wants to fill our memory.
const FUNCTION_BYTES_MAX: usize = 1_024;

/// The failure that `error` stands for; `log` is what the guest said.
pub(super) fn of(error: &wasmtime::Error, log: &[u8]) -> Failure {
    if let Some(&I32Exit(code)) = error.downcast_ref() {
        let (retryable, meaning) = match code {
            EXIT_RETRY => (true, " (asks for a retry)"),
            EXIT_NEVER => (false, " (no retry can help)"),
            _ => (true, ""),
        };
        let message = format!("exited with code {code}{meaning}{}", last_words(log));
        return Failure::of_kind(FailureKind::Error, retryable, message);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let what = trap.to_string();
        let what = what.strip_prefix("wasm trap: ").unwrap_or(&what);
        let place = place(error);
        return Failure::of_kind(FailureKind::Trap, true, format!("trapped: {what}{place}{}", last_words(log)));
    }
    Failure::of_kind(
        FailureKind::Trap,
        true,
        format!("stopped by the sandbox: {}", printable(&error.root_cause().to_string())),
    )
}

/// The failure of a guest that asked for more memory than it may have.
pub(super) fn out_of_memory(wanted: usize, limit: usize) -> Failure {
    let mib = |bytes: usize| bytes.div_ceil(1024 * 1024);
    let message = format!("out of memory: it asked for {} MiB, its limit is {} MiB", mib(wanted), mib(limit));
    Failure::of_kind(FailureKind::OutOfMemory, true, message)
}

/// The failure of a guest that wrote more than it may. Final: it would do so again.
pub(super) fn output_limit(limit: usize) -> Failure {
    let message = format!("its result exceeds the limit of {} KiB", limit.div_ceil(1024));
    Failure::of_kind(FailureKind::OutputLimit, false, message)
}

/// The failure of a job whose module can never run here.
pub(super) fn invalid_module(reason: &str) -> Failure {
    Failure::of_kind(FailureKind::InvalidModule, false, format!("the module cannot run here: {reason}"))
}

/// Whether the guest was interrupted from outside.
pub(super) fn is_interrupt(error: &wasmtime::Error) -> bool {
    error.downcast_ref() == Some(&Trap::Interrupt)
}

/// Where it happened: the innermost functions, if the module names them.
fn place(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let sane = |name: Option<&str>| name.is_none_or(|name| name.len() <= FUNCTION_BYTES_MAX);
    if !backtrace.frames().iter().all(|frame| sane(frame.func_name()) && sane(frame.module().name())) {
        return String::new();
    }
    // The engine demangles names only in this form: "0: 0x1c - module!function" in each line.
    let text = backtrace.to_string();
    let functions: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once(" - ")?.1.split_once('!'))
        .map(|(_, function)| printable(function).chars().take(FUNCTION_CHARS_MAX).collect())
        .collect();
    if functions.is_empty() { String::new() } else { format!(", in {}", functions.join(" ← ")) }
}

/// The end of what the guest said, on one line.
fn last_words(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    // Rust ends the account of a panic with a note on how to get a backtrace, which is not what went wrong.
    let mut lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("note: ")).collect();
    lines.drain(..lines.len().saturating_sub(2));
    let words = printable(&lines.join(" / "));
    if words.is_empty() { words } else { format!(": {}", words.chars().take(LAST_WORDS_CHARS_MAX).collect::<String>()) }
}

/// Without what could play tricks on a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_decide_about_retries() {
        for (code, retryable) in [(75, true), (65, false), (1, true), (101, true), (-1, true)] {
            let failure = of(&I32Exit(code).into(), b"");
            assert_eq!((failure.kind, failure.retryable), (FailureKind::Error, retryable), "code {code}");
        }
    }

    #[test]
    fn message_ends_with_the_last_words() {
        let log =
            b"starting\nthread 'main' panicked at job.rs:3:5:\nno \x1b[31mcolumn\nnote: run with `RUST_BACKTRACE=1`\n";
        let failure = of(&I32Exit(101).into(), log);
        assert_eq!(failure.message, "exited with code 101: thread 'main' panicked at job.rs:3:5: / no  [31mcolumn");
    }
}
