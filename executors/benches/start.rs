//! What it costs to run a module: for the first time, when it has to be compiled in its process, and again, in this process
//! and in one of its own; and beside the latter wasmtime alone, which instantiates and calls it. `cargo bench -p jobraft-executors`

use bytes::Bytes;
use criterion::{Criterion, criterion_group};
use jobraft_executors::wasm::{ChildCommand, WasmConfig, WasmExecutor, compile_main, host_main};
use jobraft_protocol::{Digest, ErrorCode, JobId, LeasedJob, LogTime, QueueName, Task};
use jobraft_sdk::{Executor, JobContext, ModuleSource};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, Linker, Module, PoolingAllocationConfig, Store};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EMPTY: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;
const ECHO: &[u8] = include_bytes!("../../examples/wasm/echo-c/echo.wasm");
const WORDCOUNT: &[u8] = include_bytes!("../../examples/wasm/wordcount/wordcount.wasm");
const COMPILE_MODULE: &str = "compile-module";
const WASM_HOST: &str = "wasm-host";

type Failed = Box<dyn Error>;

struct Modules(HashMap<Digest, Bytes>);

impl ModuleSource for Modules {
    fn fetch(
        &self,
        digest: Digest,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, jobraft_protocol::Error>> + Send + '_>> {
        let unknown = || jobraft_protocol::Error::new(ErrorCode::ModuleUnknown, "no such module");
        Box::pin(std::future::ready(self.0.get(&digest).cloned().ok_or_else(unknown)))
    }
}

#[derive(Clone, Copy)]
enum Where {
    Here,
    Isolated,
}

fn executor(cache: &Path, wasm: &[u8], place: Where) -> Result<(WasmExecutor, LeasedJob), Failed> {
    let digest = Digest(Sha256::digest(wasm).into());
    let modules = Arc::new(Modules(HashMap::from([(digest, Bytes::copy_from_slice(wasm))])));
    let config = WasmConfig::new(ChildCommand::current_program([COMPILE_MODULE])?, cache.join("modules"));
    let (id, payload) = (JobId::new(LogTime::ZERO, [0; 10]), Bytes::from_static(&[b'x'; 256]));
    let job = LeasedJob::new(id, QueueName::new("bench")?, Task::Module(digest), payload);
    let executor = match place {
        Where::Here => WasmExecutor::new(config, modules)?,
        Where::Isolated => WasmExecutor::isolated(config, ChildCommand::current_program([WASM_HOST])?, modules)?,
    };
    Ok((executor, job))
}

async fn run(executor: &dyn Executor, job: &LeasedJob) {
    let lease_end = Instant::now() + Duration::from_secs(600);
    let context = JobContext::new(job.id, CancellationToken::new(), move || lease_end);
    executor.run(job, context).await.expect("the module runs to its end");
}

fn measure(criterion: &mut Criterion) -> Result<(), Failed> {
    let runtime = tokio::runtime::Runtime::new()?;
    for (name, wasm) in [("empty", wat::parse_str(EMPTY)?), ("echo in C", ECHO.into()), ("wordcount", WORDCOUNT.into())]
    {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("cold start", |bencher| {
            bencher.iter_custom(|rounds| {
                let cold = || {
                    let cache = tempfile::tempdir().expect("a directory");
                    let (executor, job) = executor(cache.path(), &wasm, Where::Here).expect("an executor");
                    let started = Instant::now();
                    runtime.block_on(run(&executor, &job));
                    started.elapsed()
                };
                (0..rounds).map(|_| cold()).sum()
            });
        });
        for (name, place) in [("warm start", Where::Here), ("warm start, isolated", Where::Isolated)] {
            let cache = tempfile::tempdir()?;
            let (executor, job) = executor(cache.path(), &wasm, place)?;
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|rounds| {
                    runtime.block_on(async {
                        run(&executor, &job).await;
                        let started = Instant::now();
                        for _ in 0..rounds {
                            run(&executor, &job).await;
                        }
                        started.elapsed()
                    })
                });
            });
        }
        group.finish();
    }
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::new()));
    let engine = Engine::new(&config)?;
    let module = Linker::new(&engine).instantiate_pre(&Module::new(&engine, EMPTY)?)?;
    criterion.bench_function("empty/wasmtime alone", |bencher| {
        bencher.iter(|| {
            let mut store = Store::new(&engine, ());
            let instance = module.instantiate(&mut store).expect("an instance");
            let start = instance.get_typed_func::<(), ()>(&mut store, "_start").expect("a function");
            start.call(&mut store, ()).expect("it returns");
        });
    });
    Ok(())
}

fn start(criterion: &mut Criterion) {
    measure(criterion).expect("what is measured can be set up");
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = config(); targets = start }

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(COMPILE_MODULE) => return compile_main(),
        Some(WASM_HOST) => return host_main(),
        _ => {}
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
    ExitCode::SUCCESS
}
