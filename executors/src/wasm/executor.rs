//! The executor: prepares the module, waits for a slot, runs the guest on threads of its own.

use super::compiler::Compiler;
use super::config::{CONCURRENCY_MAX, Clocks, MEMORY_BYTES_MAX, STACK_BYTES_MAX, TABLE_ELEMENTS_MAX};
use super::config::{WasmConfig, WasmLimits};
use super::disk_cache::DiskCache;
use super::engine;
use super::guest::Run;
use super::modules::Modules;
use super::ticker::Ticker;
use super::watch::Watch;
use jobraft_protocol::{Completion, Failure, FailureKind, LeasedJob, Task};
use jobraft_sdk::{Executor, ExecutorFuture, JobContext, ModuleSource};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

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
    /// The threads do not start.
    #[error("the threads that run modules do not start: {0}")]
    Threads(#[from] std::io::Error),
}

/// Runs uploaded modules; see the [module's documentation](crate::wasm) for what they see and what holds.
pub struct WasmExecutor {
    modules: Modules,
    limits: WasmLimits,
    clocks: Clocks,
    slots: Arc<Semaphore>,
    ticker: Ticker,
    /// Taken when dropped, so that dropping never waits for a guest.
    runtime: Option<Runtime>,
}

impl WasmExecutor {
    /// An executor that gets its modules from `source`.
    ///
    /// # Errors
    /// If the compiler's program does not exist, a setting is outside its domain, the cache directory cannot be used or is
    /// open to others, or the machine does not give the memory or threads.
    pub fn new(config: WasmConfig, source: Arc<dyn ModuleSource>) -> Result<Self, WasmError> {
        check(&config)?;
        let compiler = Compiler::new(config.compiler.clone())?;
        let engine = engine::running(&config).map_err(|error| WasmError::Engine(format!("{error:#}")))?;
        let disk = DiskCache::open(&config.cache_dir, engine::compatibility(&engine))?;
        let ticker = Ticker::start(engine.clone())?;
        let modules = Modules::new(engine, source, compiler, disk, config.modules_cached)
            .map_err(|error| WasmError::Engine(format!("{error:#}")))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(config.threads)
            .thread_name("jobraft-wasm")
            // Busy guests yield only once each tick; timers of those that sleep must not wait for dozens of ticks.
            .event_interval(1)
            .enable_time()
            .build()?;
        Ok(Self {
            modules,
            limits: config.limits,
            clocks: config.clocks,
            slots: Arc::new(Semaphore::new(config.concurrency)),
            ticker,
            runtime: Some(runtime),
        })
    }

    async fn attempt(&self, job: &LeasedJob, context: JobContext) -> Result<Completion, Failure> {
        let Task::Module(digest) = job.task else {
            return Err(Failure::of_kind(FailureKind::UnknownTask, false, "this executor runs modules only"));
        };
        let watch = Watch::new(context);
        let (module, slot) = watch
            .bound(async {
                let module = self.modules.get(digest).await?;
                let slot = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
                Ok::<_, Failure>((module, slot))
            })
            .await??;
        let run = Run {
            module,
            payload: job.payload.clone(),
            enqueued_at: job.enqueued_at,
            limits: self.limits,
            clocks: self.clocks,
            watch: watch.start(job.run_timeout_ms),
            running: self.ticker.run(),
            slot,
        };
        let runtime = self.runtime.as_ref().expect("taken only by drop");
        // Dropping this future aborts the task, and a busy guest yields to that at the next tick.
        match AbortOnDropHandle::new(runtime.spawn(run.finish())).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => {
                tracing::error!(job = %job.id, "the WASM executor panicked: this is a defect of Jobraft");
                Err(Failure::of_kind(FailureKind::Panic, true, "the executor panicked: this is a defect of Jobraft"))
            }
            Err(_) => Err(Failure::retryable("the worker is going away")),
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

impl Drop for WasmExecutor {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for WasmExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmExecutor")
            .field("limits", &self.limits)
            .field("clocks", &self.clocks)
            .finish_non_exhaustive()
    }
}

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
