//! The executor whose guests run in another process, which has no rights.

use super::WasmError;
use super::artifacts::Artifacts;
use super::compiler::Compiler;
use super::config::{ChildCommand, WasmConfig};
use super::disk_cache::DiskCache;
use super::engine;
use super::executor::{check, module_of};
use super::host::Host;
use super::hosts::Hosts;
use super::watch::Watch;
use super::wire::Settings;
use jobraft_protocol::{Completion, Digest, Failure, LeasedJob, Task};
use jobraft_sdk::{Executor, ExecutorFuture, JobContext, ModuleSource};
use std::fmt;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often an attempt begins anew because the process ended, or dropped the module, before the guest ran.
const BEGINNINGS_MAX: u32 = 4;

/// Runs uploaded modules in a process that holds nothing of the worker's and may ask the kernel for next to nothing; see
/// the [module's documentation](crate::wasm) for what they see and what holds.
///
/// A job cannot tell the difference to a [`WasmExecutor`](super::WasmExecutor). A process that crashes, hangs or breaks the
/// rules fails the attempts that ran in it, which may be tried again, and is replaced.
pub struct IsolatedWasmExecutor {
    artifacts: Artifacts,
    slots: Arc<Semaphore>,
    hosts: Hosts,
}

impl IsolatedWasmExecutor {
    /// An executor that gets its modules from `source` and runs them in processes that `host` names: a program that calls
    /// [`host_main`](super::host_main).
    ///
    /// # Errors
    /// As [`WasmExecutor::new`](super::WasmExecutor::new); [`WasmError::Host`] if such a process, which is tried here, does not
    /// start, [`WasmError::Isolation`] if it cannot give up its rights: modules are never run with less isolation than was
    /// asked for.
    pub fn new(config: WasmConfig, host: ChildCommand, source: Arc<dyn ModuleSource>) -> Result<Self, WasmError> {
        check(&config)?;
        let WasmConfig { compiler, cache_dir, limits, clocks, concurrency, threads, modules_cached } = config;
        let compiler = Compiler::new(compiler)?;
        let engine = engine::compiling().map_err(|error| WasmError::Engine(format!("{error:#}")))?;
        let compatibility = engine::compatibility(&engine);
        let disk = DiskCache::open(&cache_dir, compatibility.clone())?;
        let settings = Settings { compatibility, limits, clocks, concurrency, threads, modules_cached };
        Ok(Self {
            artifacts: Artifacts::new(source, compiler, disk),
            slots: Arc::new(Semaphore::new(concurrency)),
            hosts: Hosts::new(host, settings)?,
        })
    }

    /// The process that runs modules, if one was started and is not known to have ended.
    #[must_use]
    pub fn host_pid(&self) -> Option<u32> {
        self.hosts.pid()
    }

    async fn attempt(&self, job: &LeasedJob, context: JobContext) -> Result<Completion, Failure> {
        let digest = module_of(job)?;
        let watch = Watch::new(context);
        let mut failure = Failure::retryable("the process that runs modules dropped this one before its turn");
        for _ in 0..BEGINNINGS_MAX {
            let (host, slot) = match watch.bound(self.ready(digest)).await?? {
                Ok(ready) => ready,
                Err(ended) => {
                    failure = ended;
                    continue;
                }
            };
            let Some(attempt) = host.begin(job, digest, slot) else { continue };
            match attempt.finish(&watch.clone().start(job.run_timeout_ms)).await {
                Some(outcome) => return outcome,
                None => host.forget(digest),
            }
        }
        Err(failure)
    }

    /// A process that has the module, and a slot in it. The inner failure is that of a process that ended meanwhile: no guest
    /// ran in it, so the attempt may begin anew.
    async fn ready(&self, digest: Digest) -> Result<Result<(Arc<Host>, OwnedSemaphorePermit), Failure>, Failure> {
        let host = self.hosts.get().await?;
        match host.module(digest, &self.artifacts).await {
            Ok(()) => {
                let slot = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
                Ok(Ok((host, slot)))
            }
            Err(failure) if host.is_over() => Ok(Err(failure)),
            Err(failure) => Err(failure),
        }
    }
}

impl Executor for IsolatedWasmExecutor {
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

impl fmt::Debug for IsolatedWasmExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsolatedWasmExecutor").field("host_pid", &self.host_pid()).finish_non_exhaustive()
    }
}
