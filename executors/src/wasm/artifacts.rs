//! Machine code of modules: from this machine's disk, or fetched and compiled.

use super::compiler::{CompileError, Compiler};
use super::disk_cache::DiskCache;
use super::machine_code::MachineCode;
use bytes::Bytes;
use jobraft_protocol::{Digest, Failure};
use jobraft_sdk::ModuleSource;
use sha2::{Digest as _, Sha256};
use std::io::Write as _;
use std::sync::Arc;

/// Where machine code comes from. It never comes from the network: each machine compiles for itself.
pub(super) struct Artifacts {
    source: Arc<dyn ModuleSource>,
    compiler: Compiler,
    disk: Arc<DiskCache>,
}

impl Artifacts {
    /// Modules from `source`, compiled by `compiler`, kept on `disk`.
    pub(super) fn new(source: Arc<dyn ModuleSource>, compiler: Compiler, disk: DiskCache) -> Self {
        Self { source, compiler, disk: Arc::new(disk) }
    }

    /// The module's machine code; or why the module cannot be compiled, now or ever.
    ///
    /// # Errors
    /// If it could not be fetched, or the machine is to blame: another attempt may help.
    pub(super) async fn get(&self, digest: Digest) -> Result<Result<MachineCode, String>, Failure> {
        let disk = Arc::clone(&self.disk);
        if let Some(code) = blocking(move || disk.load(digest)).await? {
            return Ok(Ok(code));
        }
        match self.compile(digest).await {
            Ok(code) => Ok(Ok(code)),
            Err(CompileError::Invalid(reason)) => Ok(Err(reason)),
            Err(CompileError::Machine(reason)) => Err(Failure::retryable(reason)),
        }
    }

    async fn compile(&self, digest: Digest) -> Result<MachineCode, CompileError> {
        let machine = |what: &str, error: &dyn std::fmt::Display| CompileError::Machine(format!("{what}: {error}"));
        let wasm = self.source.fetch(digest).await.map_err(|e| machine("the module could not be fetched", &e))?;
        let started = std::time::Instant::now();
        let size = wasm.len();
        let disk = Arc::clone(&self.disk);
        let (input, output) = blocking(move || {
            if Sha256::digest(&wasm).as_slice() != digest.0 {
                return Err(CompileError::Machine("the module's bytes do not have its digest".to_owned()));
            }
            stage(&disk, &wasm).map_err(|e| machine("the module's cache directory cannot be written to", &e))
        })
        .await
        .map_err(|failure| CompileError::Machine(failure.message))??;
        self.compiler.compile(input.path(), output.path(), self.disk.compatibility()).await?;
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(%digest, bytes = size, ms, "compiled a module");
        let disk = Arc::clone(&self.disk);
        let adopted = blocking(move || disk.adopt(digest, output)).await;
        adopted
            .map_err(|failure| CompileError::Machine(failure.message))?
            .map_err(|error| machine("the compiler's output cannot be used", &error))
    }
}

fn stage(disk: &DiskCache, wasm: &Bytes) -> std::io::Result<(tempfile::NamedTempFile, tempfile::NamedTempFile)> {
    let mut input = disk.scratch()?;
    input.write_all(wasm)?;
    Ok((input, disk.scratch()?))
}

/// Runs what may take the machine a while on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::retryable("the worker is going away"))
}
