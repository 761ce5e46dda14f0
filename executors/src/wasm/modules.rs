//! Modules ready to run: fetched, compiled and linked once, however many jobs want them at the same time.

use super::compiler::{CompileError, Compiler};
use super::disk_cache::{DiskCache, LoadError};
use super::guest::Guest;
use bytes::Bytes;
use jobraft_protocol::{Digest, Failure, FailureKind};
use jobraft_sdk::ModuleSource;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;
use wasmtime::{Engine, InstancePre, Linker, Module, Store};

/// How many unknown imports a message names.
const UNKNOWN_NAMED_MAX: usize = 8;

/// What is known of a module: how to start it, or why it can never run. The second is worth keeping too: it may have
/// taken the compiler a minute to find out.
type Known = Result<InstancePre<Guest>, String>;

/// The modules, by digest.
pub(super) struct Modules {
    engine: Engine,
    linker: Linker<Guest>,
    source: Arc<dyn ModuleSource>,
    compiler: Compiler,
    disk: Arc<DiskCache>,
    ready: Mutex<Ready>,
}

/// At most `max` modules; the one not used for longest makes room.
struct Ready {
    max: usize,
    uses: u64,
    cells: BTreeMap<Digest, (u64, Arc<OnceCell<Known>>)>,
}

impl Ready {
    fn cell(&mut self, digest: Digest) -> Arc<OnceCell<Known>> {
        self.uses += 1;
        if let Some((used, cell)) = self.cells.get_mut(&digest) {
            *used = self.uses;
            return Arc::clone(cell);
        }
        if self.cells.len() >= self.max
            && let Some((&oldest, _)) = self.cells.iter().min_by_key(|(_, (used, _))| *used)
        {
            self.cells.remove(&oldest);
        }
        let cell = Arc::<OnceCell<Known>>::default();
        self.cells.insert(digest, (self.uses, Arc::clone(&cell)));
        cell
    }
}

impl Modules {
    /// No module yet.
    pub(super) fn new(
        engine: Engine,
        source: Arc<dyn ModuleSource>,
        compiler: Compiler,
        disk: DiskCache,
        max: usize,
    ) -> wasmtime::Result<Self> {
        let linker = super::guest::linker(&engine)?;
        let ready = Mutex::new(Ready { max: max.max(1), uses: 0, cells: BTreeMap::new() });
        Ok(Self { engine, linker, source, compiler, disk: Arc::new(disk), ready })
    }

    /// The module, ready to run. Concurrent first uses compile once.
    ///
    /// # Errors
    /// Final if the module is to blame; if it could not be fetched, or the machine is to blame, another attempt may help.
    pub(super) async fn get(&self, digest: Digest) -> Result<InstancePre<Guest>, Failure> {
        let cell = self.ready.lock().unwrap_or_else(PoisonError::into_inner).cell(digest);
        match cell.get_or_try_init(|| self.prepare(digest)).await? {
            Ok(module) => Ok(module.clone()),
            Err(reason) => {
                let message = format!("the module cannot run here: {reason}");
                Err(Failure::of_kind(FailureKind::InvalidModule, false, message))
            }
        }
    }

    async fn prepare(&self, digest: Digest) -> Result<Known, Failure> {
        let (disk, engine) = (Arc::clone(&self.disk), self.engine.clone());
        let module = match blocking(move || disk.load(&engine, digest)).await? {
            Some(module) => module,
            None => match self.compile(digest).await {
                Ok(module) => module,
                Err(CompileError::Invalid(reason)) => return Ok(Err(reason)),
                Err(CompileError::Machine(reason)) => return Err(Failure::retryable(reason)),
            },
        };
        Ok(self.link(&module))
    }

    async fn compile(&self, digest: Digest) -> Result<Module, CompileError> {
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
        let (disk, engine) = (Arc::clone(&self.disk), self.engine.clone());
        let adopted = blocking(move || disk.adopt(&engine, digest, output)).await;
        match adopted.map_err(|failure| CompileError::Machine(failure.message))? {
            Ok(module) => Ok(module),
            // It was compiled for this engine, so it is the module that asks for more than the engine has.
            Err(LoadError::Refused(reason)) => Err(CompileError::Invalid(reason)),
            Err(error) => Err(machine("the compiler's output cannot be used", &error)),
        }
    }

    /// Checks that the module is a command that asks for nothing but WASI.
    fn link(&self, module: &Module) -> Known {
        let mut store = Store::new(&self.engine, Guest::empty());
        let unknown: Vec<String> = module
            .imports()
            .filter(|import| self.linker.get_by_import(&mut store, import).is_none())
            .map(|import| format!("{}.{}", import.module(), import.name()).chars().take(100).collect())
            .collect();
        if !unknown.is_empty() {
            let more = if unknown.len() > UNKNOWN_NAMED_MAX { ", …" } else { "" };
            let named = unknown[..unknown.len().min(UNKNOWN_NAMED_MAX)].join(", ");
            return Err(format!("it imports what no worker provides: {named}{more}"));
        }
        let start = module.get_export("_start");
        let is_command =
            start.is_some_and(|ty| ty.func().is_some_and(|func| func.params().len() == 0 && func.results().len() == 0));
        if !is_command {
            return Err("it is not a WASI command: it exports no function _start".to_owned());
        }
        self.linker.instantiate_pre(module).map_err(|error| format!("{error:#}"))
    }
}

fn stage(disk: &DiskCache, wasm: &Bytes) -> std::io::Result<(tempfile::NamedTempFile, tempfile::NamedTempFile)> {
    let mut input = disk.scratch()?;
    input.write_all(wasm)?;
    Ok((input, disk.scratch()?))
}

/// Runs what may take the disk a while on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Failure::retryable("the worker is going away"))
}
