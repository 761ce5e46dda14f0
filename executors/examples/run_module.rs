//! Runs a module once, as a worker would: `cargo run -p jobraft-executors --example run_module -- job.wasm < payload`.
//!
//! The result goes to stdout, the job's log to stderr; a failure is printed and ends with exit code 1.

use jobraft_executors::wasm::{ChildCommand, WasmConfig, WasmExecutor, compile_main};
use jobraft_protocol::{Digest, JobId, LeasedJob, LogTime, QueueName, Task};
use jobraft_sdk::{Executor, JobContext, ModuleSource};
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Gives the one module that was named on the command line.
struct OneModule(bytes::Bytes);

impl ModuleSource for OneModule {
    fn fetch(
        &self,
        _: Digest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<bytes::Bytes, jobraft_protocol::Error>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let argument = std::env::args().nth(1).ok_or("usage: run_module job.wasm < payload")?;
    if argument == "compile-module" {
        return Ok(compile_main());
    }
    let module = std::fs::read(argument)?;
    let mut payload = Vec::new();
    std::io::stdin().read_to_end(&mut payload)?;

    let cache = tempfile::tempdir()?;
    let digest = Digest(Sha256::digest(&module).into());
    let compiler = ChildCommand::current_program(["compile-module"])?;
    let config = WasmConfig::new(compiler, cache.path().join("modules"));
    let executor = WasmExecutor::new(config, Arc::new(OneModule(module.into())))?;

    let now = LogTime::from_ms(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?);
    let job = LeasedJob {
        run_timeout_ms: 60_000,
        ..LeasedJob::new(JobId::new(now, [0; 10]), QueueName::new("example")?, Task::Module(digest), payload)
    };
    let lease_end = Instant::now() + Duration::from_secs(600);
    let context = JobContext::new(job.id, tokio_util::sync::CancellationToken::new(), move || lease_end);
    let (log, code) = match executor.run(&job, context).await {
        Ok(completion) => {
            std::io::stdout().write_all(&completion.result)?;
            (completion.log, ExitCode::SUCCESS)
        }
        Err(failure) => {
            writeln!(std::io::stderr(), "{}: {}", failure.kind, failure.message)?;
            (failure.log, ExitCode::FAILURE)
        }
    };
    std::io::stderr().write_all(&log)?;
    Ok(code)
}
