//! A worker that runs WebAssembly modules: what `jobraft worker` is and `jobraft dev` has inside.

use crate::connection::{AGENT, ServedQueue, failed};
use crate::failure::Failure;
use jobraft_executors::wasm::{ChildCommand, WasmConfig, WasmExecutor};
use jobraft_protocol::Signer;
use jobraft_sdk::{Client, SignedOnly, Worker};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The module for people to try: counts what is in a document.
pub(super) const WORDCOUNT: &[u8] = include_bytes!("../../../examples/wasm/wordcount/wordcount.wasm");
/// The name it is uploaded under.
pub(super) const WORDCOUNT_NAME: &str = "wordcount";

/// How the worker is set up; what is absent is as the SDK and the executor have it.
#[derive(Debug)]
pub(super) struct WasmWorker {
    /// Where jobs come from; all have a weight, or none has.
    pub(super) queues: Vec<ServedQueue>,
    /// Jobs at once.
    pub(super) concurrency: usize,
    /// For logs.
    pub(super) name: Option<String>,
    /// How long leases are.
    pub(super) lease: Option<Duration>,
    /// Memory of one job.
    pub(super) memory_bytes: Option<usize>,
    /// Whether modules run in a process of their own, without rights.
    pub(super) isolate: bool,
    /// Where compiled modules are kept.
    pub(super) cache_dir: PathBuf,
    /// Whose signature a module must have; empty: nobody's.
    pub(super) signers: Vec<Signer>,
}

impl WasmWorker {
    /// The worker; it takes its modules from the cluster that `client` is connected to.
    pub(super) fn build(self, client: Client) -> Result<Worker, Failure> {
        let itself = |command| {
            ChildCommand::current_program([command])
                .map_err(|error| Failure::new("find this program, to compile and run modules with", error))
        };
        let mut config = WasmConfig::new(itself("compile-module")?, self.cache_dir);
        config.concurrency = self.concurrency;
        if let Some(bytes) = self.memory_bytes {
            config.limits.memory_bytes = bytes;
        }
        let source = Arc::new(client.clone());
        let mut worker = Worker::builder(client.clone()).agent(AGENT).concurrency(self.concurrency);
        let executor = if self.isolate {
            WasmExecutor::isolated(config, itself("wasm-host")?, source)
        } else {
            WasmExecutor::new(config, source)
        };
        let executor = executor.map_err(|error| Failure::from_error("start the WebAssembly executor", &error))?;
        worker = if self.signers.is_empty() {
            worker.executor(executor)
        } else {
            worker.executor(SignedOnly::new(executor, client, self.signers))
        };
        let plain = self.queues.iter().filter(|queue| queue.weight.is_none());
        worker = worker.queues(plain.map(|queue| queue.name.as_str()));
        for queue in &self.queues {
            if let Some(weight) = queue.weight {
                worker = worker.queue_weighted(queue.name.as_str(), weight);
            }
        }
        if let Some(name) = self.name {
            worker = worker.name(name);
        }
        if let Some(lease) = self.lease {
            worker = worker.lease(lease);
        }
        worker.build().map_err(|error| failed("start the worker", &error))
    }
}

/// As many jobs at once as there are processors.
pub(super) fn concurrency_default() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
