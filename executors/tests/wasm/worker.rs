//! What the tests share: an executor with its modules, and jobs to give it.

use super::ISOLATED;
use bytes::Bytes;
use jobraft_executors::wasm::{ChildCommand, WasmConfig, WasmExecutor};
use jobraft_protocol::{Completion, Digest, Error, ErrorCode, Failure, JobId, LeasedJob, LogTime, QueueName, Task};
use jobraft_sdk::{Executor, JobContext, ModuleSource};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Nothing here takes nearly that long, on any machine.
pub(crate) const SAFETY: Duration = Duration::from_secs(120);

/// Modules by digest, and how often one was asked for.
#[derive(Default)]
pub(crate) struct Modules {
    bytes: Mutex<HashMap<Digest, Bytes>>,
    pub(crate) fetched: AtomicUsize,
}

impl Modules {
    pub(crate) fn add(&self, wasm: impl Into<Bytes>) -> Digest {
        let wasm = wasm.into();
        let digest = Digest(Sha256::digest(&wasm).into());
        self.bytes.lock().unwrap().insert(digest, wasm);
        digest
    }

    pub(crate) fn replace(&self, digest: Digest, wasm: &'static [u8]) {
        self.bytes.lock().unwrap().insert(digest, Bytes::from_static(wasm));
    }
}

impl ModuleSource for Modules {
    fn fetch(&self, digest: Digest) -> Pin<Box<dyn Future<Output = Result<Bytes, Error>> + Send + '_>> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        let found = self.bytes.lock().unwrap().get(&digest).cloned();
        Box::pin(async move { found.ok_or_else(|| Error::new(ErrorCode::ModuleUnknown, "no such module")) })
    }
}

pub(crate) fn compiler() -> ChildCommand {
    ChildCommand::new(env!("CARGO_BIN_EXE_jobraft-wasm-compiler"))
}

pub(crate) fn host() -> ChildCommand {
    ChildCommand::new(env!("CARGO_BIN_EXE_jobraft-wasm-host"))
}

/// A shell script in the place of one of the programs.
pub(crate) fn script(text: &str) -> ChildCommand {
    ChildCommand { program: "/bin/sh".into(), args: vec!["-c".into(), text.into(), "script".into()] }
}

pub(crate) fn config(dir: &Path) -> WasmConfig {
    let mut config = WasmConfig::new(compiler(), dir);
    config.concurrency = 4;
    config.threads = 2;
    config
}

/// An executor with a cache of its own.
pub(crate) struct Worker {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) modules: Arc<Modules>,
    pub(crate) cache: Option<TempDir>,
}

impl Worker {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut WasmConfig)) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let mut worker = Self::in_dir(&cache.path().join("modules"), change);
        worker.cache = Some(cache);
        worker
    }

    pub(crate) fn in_dir(dir: &Path, change: impl FnOnce(&mut WasmConfig)) -> Self {
        let mut config = config(dir);
        change(&mut config);
        let modules = Arc::new(Modules::default());
        let source: Arc<dyn ModuleSource> = modules.clone();
        let executor =
            if ISOLATED { WasmExecutor::isolated(config, host(), source) } else { WasmExecutor::new(config, source) };
        Self { executor: Arc::new(executor.unwrap()), modules, cache: None }
    }

    /// Runs the text of a module, with a lease and a run timeout that last.
    pub(crate) async fn wat(&self, text: &str, payload: &'static [u8]) -> Result<Completion, Failure> {
        self.bytes(wat::parse_str(text).unwrap(), payload).await
    }

    pub(crate) async fn bytes(&self, wasm: impl Into<Bytes>, payload: &'static [u8]) -> Result<Completion, Failure> {
        let job = job(self.modules.add(wasm), payload);
        self.run(&job, Instant::now() + 2 * SAFETY, CancellationToken::new()).await
    }

    pub(crate) async fn run(
        &self,
        job: &LeasedJob,
        deadline: Instant,
        cancelled: CancellationToken,
    ) -> Result<Completion, Failure> {
        let context = JobContext::new(job.id, cancelled, move || deadline);
        tokio::time::timeout(SAFETY, self.executor.run(job, context)).await.expect("the attempt must end")
    }
}

pub(crate) fn job(digest: Digest, payload: &'static [u8]) -> LeasedJob {
    let id = JobId::new(LogTime::from_ms(1_700_000_000_123), [7; 10]);
    let queue = QueueName::new("q").unwrap();
    LeasedJob { max_attempts: 3, ..LeasedJob::new(id, queue, Task::Module(digest), payload) }
}
