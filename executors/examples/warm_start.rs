//! Measures what a job costs once its module is ready: start, run and end of one that does nothing, and of one that
//! echoes its payload, one after the other. `cargo run --release -p jobraft-executors --example warm_start`

use jobraft_executors::wasm::{CompilerCommand, WasmConfig, WasmExecutor, compile_main};
use jobraft_protocol::{Digest, JobId, LeasedJob, LogTime, QueueName, Task};
use jobraft_sdk::{Executor, JobContext, ModuleSource};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RUNS: usize = 20_000;
const NOTHING: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
const ECHO: &[u8] = include_bytes!("../../examples/wasm/echo-c/echo.wasm");
const WORDCOUNT: &[u8] = include_bytes!("../../examples/wasm/wordcount/wordcount.wasm");

struct Modules(HashMap<Digest, bytes::Bytes>);

impl ModuleSource for Modules {
    fn fetch(
        &self,
        digest: Digest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<bytes::Bytes, jobraft_protocol::Error>> + Send + '_>> {
        let unknown = || jobraft_protocol::Error::new(jobraft_protocol::ErrorCode::ModuleUnknown, "no such module");
        Box::pin(std::future::ready(self.0.get(&digest).cloned().ok_or_else(unknown)))
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    if std::env::args().nth(1).is_some_and(|argument| argument == "compile-module") {
        return Ok(compile_main());
    }
    let modules =
        [("nothing", wat::parse_str(NOTHING)?), ("echo (C)", ECHO.into()), ("wordcount (Rust)", WORDCOUNT.into())];
    let digest = |wasm: &[u8]| Digest(Sha256::digest(wasm).into());
    let source = modules.iter().map(|(_, wasm)| (digest(wasm), bytes::Bytes::copy_from_slice(wasm))).collect();

    let cache = tempfile::tempdir()?;
    let compiler = CompilerCommand::current_program(["compile-module"])?;
    let config = WasmConfig::new(compiler, cache.path().join("modules"));
    let executor = WasmExecutor::new(config, Arc::new(Modules(source)))?;
    let mut out = std::io::stdout();
    for (name, wasm) in &modules {
        let (id, payload) = (JobId::new(LogTime::ZERO, [0; 10]), bytes::Bytes::from_static(&[b'x'; 256]));
        let job = LeasedJob::new(id, QueueName::new("example")?, Task::Module(digest(wasm)), payload);
        let lease_end = Instant::now() + Duration::from_secs(600);
        let run = async || {
            let started = Instant::now();
            let context = JobContext::new(job.id, tokio_util::sync::CancellationToken::new(), move || lease_end);
            executor.run(&job, context).await.map(|_| started.elapsed()).map_err(|failure| failure.message)
        };
        let cold = run().await?;
        let mut warm = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            warm.push(run().await?);
        }
        warm.sort_unstable();
        let (median, high) = (warm[RUNS / 2], warm[RUNS / 100 * 99]);
        writeln!(out, "{name:>18}: first {cold:>9.2?}, then median {median:>9.2?}, 99th percentile {high:>9.2?}")?;
    }
    Ok(ExitCode::SUCCESS)
}
