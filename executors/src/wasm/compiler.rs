//! Starts the compiler's process and makes sense of how it ended.

use super::WasmError;
use super::compile_main::{CPU_SECONDS_MAX, EXIT_INVALID, MEMORY_BYTES_MAX};
use super::config::ChildCommand;
use rustix::process::Signal;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;

/// Tells the compiler's process what its code must be compatible with.
pub(super) const COMPATIBILITY_VARIABLE: &str = "JOBRAFT_WASM_COMPATIBILITY";
/// How long a compilation may take by the clock; its CPU time is limited much lower, so this is a machine that stands.
const WALL_TIME_MAX: Duration = Duration::from_secs(300);
/// How much of what it says is read.
const REASON_BYTES_MAX: u64 = 2 * 1024;
/// Threads of the compiler: each costs address space, which is limited.
const THREADS: &str = "4";

/// Why there is no compiled module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CompileError {
    /// The module is to blame: it would be so again.
    #[error("{0}")]
    Invalid(String),
    /// This machine is to blame: another, or this one later, may do better.
    #[error("{0}")]
    Machine(String),
}

/// Compiles modules, one at a time.
#[derive(Debug)]
pub(super) struct Compiler {
    command: ChildCommand,
    turn: Semaphore,
}

impl Compiler {
    /// A compiler that runs `command`, which has to exist.
    pub(super) fn new(command: ChildCommand) -> Result<Self, WasmError> {
        let program = &command.program;
        // A bare name is looked up in PATH when it is started.
        let is_path = program.components().count() > 1 || program.is_absolute();
        if program.as_os_str().is_empty() || (is_path && !program.is_file()) {
            return Err(WasmError::CompilerMissing { program: program.clone() });
        }
        Ok(Self { command, turn: Semaphore::new(1) })
    }

    /// Compiles the module in `input` into `output`. Dropping the future ends the process.
    pub(super) async fn compile(&self, input: &Path, output: &Path, compatibility: &str) -> Result<(), CompileError> {
        let _turn = self.turn.acquire().await.expect("the semaphore is never closed");
        let compile = self.run(input, output, compatibility);
        match tokio::time::timeout(WALL_TIME_MAX, compile).await {
            Ok(Ok((status, reason))) => judge(status, &reason),
            Ok(Err(error)) => Err(CompileError::Machine(format!(
                "the compiler {} does not run: {error}",
                self.command.program.display()
            ))),
            Err(_) => {
                Err(CompileError::Machine(format!("the compiler did not end within {} s", WALL_TIME_MAX.as_secs())))
            }
        }
    }

    async fn run(&self, input: &Path, output: &Path, compatibility: &str) -> std::io::Result<(ExitStatus, String)> {
        let mut command = Command::new(&self.command.program);
        command
            .args(&self.command.args)
            .args([input, output])
            .env_clear()
            .env(COMPATIBILITY_VARIABLE, compatibility)
            .env("RAYON_NUM_THREADS", THREADS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for the worker: it drains, and must not take a killed compiler for a bad module.
            .process_group(0)
            .kill_on_drop(true);
        let mut process = command.spawn()?;
        let mut reason = Vec::new();
        if let Some(mut stderr) = process.stderr.take() {
            (&mut stderr).take(REASON_BYTES_MAX).read_to_end(&mut reason).await?;
            // Whatever else it says must not block it.
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        Ok((process.wait().await?, String::from_utf8_lossy(&reason).trim().to_owned()))
    }
}

fn judge(status: ExitStatus, reason: &str) -> Result<(), CompileError> {
    let killed_by = |signal: Signal| status.signal() == Some(signal.as_raw());
    if status.success() {
        Ok(())
    } else if status.code() == Some(i32::from(EXIT_INVALID)) {
        Err(CompileError::Invalid(reason.to_owned()))
    } else if killed_by(Signal::XCPU) {
        Err(CompileError::Invalid(format!("compiling it takes more than {CPU_SECONDS_MAX} s of CPU time")))
    } else if killed_by(Signal::XFSZ) {
        Err(CompileError::Invalid("its machine code is too large".to_owned()))
    } else if killed_by(Signal::ABORT) && reason.contains("memory allocation") {
        let mib = MEMORY_BYTES_MAX / (1024 * 1024);
        Err(CompileError::Invalid(format!("compiling it takes more than {mib} MiB of memory")))
    } else if [Signal::ABORT, Signal::SEGV, Signal::BUS, Signal::ILL].into_iter().any(killed_by) {
        Err(CompileError::Invalid(format!("the compiler crashed on it: {status}")))
    } else {
        let colon = if reason.is_empty() { "" } else { ": " };
        Err(CompileError::Machine(format!("the compiler failed ({status}){colon}{reason}")))
    }
}
