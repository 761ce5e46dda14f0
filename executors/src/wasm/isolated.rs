//! Guests in another process, which has no rights.

use super::WasmError;
use super::artifacts::Artifacts;
use super::compiler::Compiler;
use super::config::{ChildCommand, WasmConfig};
use super::disk_cache::DiskCache;
use super::engine;
use super::host::Host;
use super::hosts::Hosts;
use super::masking::Masking;
use super::secrets;
use super::watch::Watch;
use super::wire::Settings;
use jobraft_protocol::{Completion, Digest, Failure, LeasedJob};
use jobraft_sdk::{JobContext, ModuleSource};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often an attempt begins anew because the process ended, or dropped the module, before the guest ran.
const BEGINNINGS_MAX: u32 = 4;

/// The processes that guests run in, one at a time, and what they need from this one.
pub(super) struct Isolated {
    artifacts: Artifacts,
    slots: Arc<Semaphore>,
    hosts: Hosts,
    log_bytes_max: usize,
}

impl Isolated {
    /// Tries whether `host` can be isolated.
    pub(super) fn new(
        config: WasmConfig,
        host: ChildCommand,
        source: Arc<dyn ModuleSource>,
    ) -> Result<Self, WasmError> {
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
            log_bytes_max: limits.stderr_bytes,
        })
    }

    /// The process that runs modules, if one was started and is not known to have ended.
    pub(super) fn host_pid(&self) -> Option<u32> {
        self.hosts.pid()
    }

    /// Runs the job's module once. What the process says of it is not believed to be without the job's secrets.
    pub(super) async fn attempt(
        &self,
        digest: Digest,
        job: &LeasedJob,
        context: &JobContext,
        watch: Watch,
    ) -> Result<Completion, Failure> {
        let mut failure = Failure::retryable("the process that runs modules dropped this one before its turn");
        for _ in 0..BEGINNINGS_MAX {
            let (host, slot) = match watch.bound(self.ready(digest)).await?? {
                Ok(ready) => ready,
                Err(ended) => {
                    failure = ended;
                    continue;
                }
            };
            let secrets = secrets::of(context, &watch).await?;
            let Some(attempt) = host.begin(job, digest, &secrets, slot) else { continue };
            match attempt.finish(&watch.clone().start(job.run_timeout_ms)).await {
                Some(outcome) => return Masking::of(&secrets).outcome(outcome, self.log_bytes_max),
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
