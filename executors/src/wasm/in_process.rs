//! Guests within the worker's process: prepares the module, waits for a slot, runs the guest.

use super::WasmError;
use super::artifacts::Artifacts;
use super::compiler::Compiler;
use super::config::WasmConfig;
use super::disk_cache::DiskCache;
use super::engine;
use super::guests::Guests;
use super::loader::Loader;
use super::modules::Modules;
use super::secrets;
use super::watch::Watch;
use jobraft_protocol::{Completion, Digest, Failure, LeasedJob};
use jobraft_sdk::{JobContext, ModuleSource};
use std::sync::Arc;

/// The modules that are ready here, and where they run.
pub(super) struct InProcess {
    modules: Modules,
    guests: Guests,
}

impl InProcess {
    /// Starts the engine and its threads.
    pub(super) fn new(config: WasmConfig, source: Arc<dyn ModuleSource>) -> Result<Self, WasmError> {
        let failed = |error: wasmtime::Error| WasmError::Engine(format!("{error:#}"));
        let compiler = Compiler::new(config.compiler)?;
        let engine = engine::running(&config.limits, config.concurrency).map_err(failed)?;
        let disk = DiskCache::open(&config.cache_dir, engine::compatibility(&engine))?;
        let loader = Loader::new(engine.clone()).map_err(failed)?;
        let modules = Modules::new(Artifacts::new(source, compiler, disk), loader, config.modules_cached);
        let guests = Guests::start(engine, config.limits, config.clocks, config.concurrency, config.threads)?;
        Ok(Self { modules, guests })
    }

    /// Runs the job's module once.
    pub(super) async fn attempt(
        &self,
        digest: Digest,
        job: &LeasedJob,
        context: &JobContext,
        watch: Watch,
    ) -> Result<Completion, Failure> {
        let (module, slot) = watch
            .bound(async {
                let module = self.modules.get(digest).await?;
                Ok::<_, Failure>((module, self.guests.slot().await))
            })
            .await??;
        let secrets = secrets::of(context, &watch).await?;
        let watch = watch.start(job.run_timeout_ms);
        self.guests.run(module, job.payload.clone(), job.enqueued_at, secrets, watch, slot).await
    }
}
