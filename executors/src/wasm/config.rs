//! How a [`WasmExecutor`](super::WasmExecutor) is set up: every value has a default but the compiler and the cache.

use jobraft_protocol::limits::{LOG_TAIL_BYTES_MAX, RESULT_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// The largest memory that a guest can be given: what each slot of the pool reserves room for.
pub(super) const MEMORY_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// The largest table that a guest can be given, in elements.
pub(super) const TABLE_ELEMENTS_MAX: usize = 1024 * 1024;
/// The deepest guest stack.
pub(super) const STACK_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most jobs at once; each takes a slot of reserved address space.
pub(super) const CONCURRENCY_MAX: usize = 1_000;

/// How an executor runs modules.
#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// What compiles modules: a program that calls [`compile_main`](super::compile_main).
    pub compiler: ChildCommand,
    /// Where compiled modules are kept. Created if missing, with access for its owner alone; refused if it is there and
    /// others have access.
    pub cache_dir: PathBuf,
    /// What each job may use.
    pub limits: WasmLimits,
    /// What clocks jobs may read.
    pub clocks: Clocks,
    /// How many jobs run at once, 1 to 1,000; further ones wait for a slot, for as long as their lease lasts.
    pub concurrency: usize,
    /// How many threads run them.
    pub threads: usize,
    /// How many modules are kept ready to run in memory; beyond, the one not used for longest is dropped.
    pub modules_cached: usize,
}

impl WasmConfig {
    /// The defaults: 32 jobs at once, a thread for each core, 64 modules ready in memory, no clock.
    #[must_use]
    pub fn new(compiler: ChildCommand, cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            compiler,
            cache_dir: cache_dir.into(),
            limits: WasmLimits::default(),
            clocks: Clocks::Frozen,
            concurrency: 32,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            modules_cached: 64,
        }
    }
}

/// A program that does part of an executor's work in a process of its own, for which it has to call
/// [`compile_main`](super::compile_main) or [`host_main`](super::host_main). It is run with `args`; a compiler with the path of
/// the module and the path to write to behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildCommand {
    /// The program: a path, or a name to be looked up in `PATH`.
    pub program: PathBuf,
    /// Its first arguments.
    pub args: Vec<OsString>,
}

impl ChildCommand {
    /// A program of its own, such as `jobraft-wasm-compiler` or `jobraft-wasm-host`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), args: Vec::new() }
    }

    /// The running program itself, with arguments that make it call [`compile_main`](super::compile_main) or
    /// [`host_main`](super::host_main).
    ///
    /// # Errors
    /// If the path of the running program cannot be determined.
    pub fn current_program<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> std::io::Result<Self> {
        // On Linux this names the running program even after an upgrade has replaced its file.
        let itself = PathBuf::from("/proc/self/exe");
        let program = if itself.exists() { itself } else { std::env::current_exe()? };
        Ok(Self { program, args: args.into_iter().map(Into::into).collect() })
    }
}

/// What one job may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasmLimits {
    /// Memory, at most 1 GiB. A guest that asks for more is stopped: `out_of_memory`.
    pub memory_bytes: usize,
    /// Elements of each table, at most 1,048,576. A guest that asks for more is told so by its `table.grow`.
    pub table_elements: usize,
    /// Stack, at most 16 MiB. A guest that needs more traps.
    pub stack_bytes: usize,
    /// Result. A guest that writes more is stopped: `output_limit`.
    pub stdout_bytes: usize,
    /// Log. Of what a guest writes, the end is kept.
    pub stderr_bytes: usize,
}

impl Default for WasmLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * 1024 * 1024,
            table_elements: 64 * 1024,
            stack_bytes: 1024 * 1024,
            stdout_bytes: RESULT_BYTES_MAX,
            stderr_bytes: LOG_TAIL_BYTES_MAX,
        }
    }
}

/// What clocks a job may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clocks {
    /// None that moves: the wall clock stands at the time of the enqueue, the monotonic clock at zero.
    #[default]
    Frozen,
    /// Those of this machine.
    Real,
}
