//! The executor: which jobs it takes, and where their guests run.

use super::config::{CONCURRENCY_MAX, MEMORY_BYTES_MAX, STACK_BYTES_MAX, TABLE_ELEMENTS_MAX};
use super::config::{ChildCommand, WasmConfig};
use super::in_process::InProcess;
use super::isolated::Isolated;
use super::watch::Watch;
use jobraft_protocol::{Completion, Failure, FailureKind, LeasedJob, Task};
use jobraft_sdk::{Executor, ExecutorFuture, JobContext, ModuleSource};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Why there is no executor.
#[derive(Debug, thiserror::Error)]
pub enum WasmError {
    /// The program that compiles modules is not there.
    #[error(
        "the program that compiles modules, {program:?}, does not exist; give the path of one that calls compile_main"
    )]
    CompilerMissing {
        /// The path that was given.
        program: PathBuf,
    },
    /// A setting outside its domain.
    #[error("{what} is {value}; it must be 1 to {max}")]
    Setting {
        /// Which.
        what: &'static str,
        /// What was given.
        value: usize,
        /// The largest permitted.
        max: usize,
    },
    /// The directory for compiled modules cannot be used.
    #[error("the directory for compiled modules, {}, cannot be used: {source}", path.display())]
    CacheDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others can get at the directory for compiled modules, and thereby run their code as us.
    #[error("the directory for compiled modules, {}, must belong to this user and nobody else may have access: chmod 700 it, or choose another", path.display())]
    CacheShared {
        /// Which.
        path: PathBuf,
    },
    /// The engine does not start.
    #[error(
        "the WebAssembly engine does not start: {0}; it reserves 4 GiB of address space for each concurrent job, so check `ulimit -v`, or lower the concurrency"
    )]
    Engine(String),
    /// This machine does not let a process give up its rights.
    #[error(
        "modules cannot be isolated here: {0}; it needs Linux 5.9 or later on x86_64 or aarch64, with seccomp filters, and a container that permits them; without isolation they run in the worker's own process"
    )]
    Isolation(String),
    /// The process that runs isolated modules does not start.
    #[error("the process that runs modules does not start: {0}")]
    Host(String),
    /// The threads do not start.
    #[error("the threads that run modules do not start: {0}")]
    Threads(#[from] std::io::Error),
}

/// Runs uploaded modules, in this process or apart from it; see the [module's documentation](crate::wasm) for what they see
/// and what holds. A job cannot tell where it runs.
pub struct WasmExecutor(Place);

/// Where guests run.
enum Place {
    Here(InProcess),
    Apart(Isolated),
}

impl WasmExecutor {
    /// An executor that gets its modules from `source` and runs them in this process.
    ///
    /// # Errors
    /// If the compiler's program does not exist, a setting is outside its domain, the cache directory cannot be used or is
    /// open to others, or the machine does not give the memory or threads.
    pub fn new(config: WasmConfig, source: Arc<dyn ModuleSource>) -> Result<Self, WasmError> {
        check(&config)?;
        InProcess::new(config, source).map(|here| Self(Place::Here(here)))
    }

    /// An executor that runs them in a process that holds nothing of this one's and may ask the kernel for next to nothing:
    /// `host` names a program that calls [`host_main`](super::host_main). One that crashes, hangs or breaks the rules fails
    /// the attempts that ran in it, which may be tried again, and is replaced.
    ///
    /// # Errors
    /// As [`new`](Self::new); [`WasmError::Host`] if such a process, which is tried here, does not start,
    /// [`WasmError::Isolation`] if it cannot give up its rights: modules are never run with less isolation than was asked for.
    pub fn isolated(config: WasmConfig, host: ChildCommand, source: Arc<dyn ModuleSource>) -> Result<Self, WasmError> {
        check(&config)?;
        Isolated::new(config, host, source).map(|apart| Self(Place::Apart(apart)))
    }

    /// The process that runs modules, if it is not this one, was started and is not known to have ended.
    #[must_use]
    pub fn host_pid(&self) -> Option<u32> {
        match &self.0 {
            Place::Here(_) => None,
            Place::Apart(apart) => apart.host_pid(),
        }
    }

    async fn attempt(&self, job: &LeasedJob, context: JobContext) -> Result<Completion, Failure> {
        let Task::Module(digest) = job.task else {
            return Err(Failure::of_kind(FailureKind::UnknownTask, false, "this executor runs modules only"));
        };
        let watch = Watch::new(context.clone());
        match &self.0 {
            Place::Here(here) => here.attempt(digest, job, &context, watch).await,
            Place::Apart(apart) => apart.attempt(digest, job, &context, watch).await,
        }
    }
}

impl Executor for WasmExecutor {
    fn name(&self) -> &str {
        "wasm"
    }

    fn accepts(&self, task: &Task) -> bool {
        matches!(task, Task::Module(_))
    }

    fn run<'a>(&'a self, job: &'a LeasedJob, context: JobContext) -> ExecutorFuture<'a> {
        Box::pin(self.attempt(job, context))
    }
}

impl fmt::Debug for WasmExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmExecutor").field("host_pid", &self.host_pid()).finish_non_exhaustive()
    }
}

/// Whether every setting is in its domain.
fn check(config: &WasmConfig) -> Result<(), WasmError> {
    let limits = &config.limits;
    for (what, value, max) in [
        ("concurrency", config.concurrency, CONCURRENCY_MAX),
        ("threads", config.threads, CONCURRENCY_MAX),
        ("modules_cached", config.modules_cached, CONCURRENCY_MAX),
        ("limits.memory_bytes", limits.memory_bytes, MEMORY_BYTES_MAX),
        ("limits.table_elements", limits.table_elements, TABLE_ELEMENTS_MAX),
        ("limits.stack_bytes", limits.stack_bytes, STACK_BYTES_MAX),
        ("limits.stdout_bytes", limits.stdout_bytes, jobraft_protocol::limits::RESULT_BYTES_MAX),
        ("limits.stderr_bytes", limits.stderr_bytes, jobraft_protocol::limits::LOG_TAIL_BYTES_MAX),
    ] {
        if value == 0 || value > max {
            return Err(WasmError::Setting { what, value, max });
        }
    }
    Ok(())
}
