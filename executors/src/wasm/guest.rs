//! One run of one module: a fresh store with its limits, stdin, stdout and stderr.

use super::capture::Capture;
use super::clock::FrozenClock;
use super::config::{Clocks, WasmLimits};
use super::masking::Masking;
use super::secrets::Secrets;
use super::ticker::Running;
use super::verdict;
use super::watch::Watch;
use bytes::Bytes;
use jobraft_protocol::{Completion, Failure, LogTime};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{Engine, InstancePre, Linker, ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder, WasiView as _};

/// The most handles a guest can have the host keep at once, of which polling takes one for each subscription.
const HANDLES_MAX: usize = 1_024;
/// The most random bytes in one call.
const RANDOM_BYTES_MAX: u64 = 1024 * 1024;
/// The names under which WASI commands import their host: preview 1, and what came before.
const HOSTS: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];

/// What the host keeps of a running guest.
pub(super) struct Guest {
    wasi: WasiP1Ctx,
    limiter: Limiter,
}

impl Guest {
    /// A guest that is never run: for looking at what the linker offers.
    pub(super) fn empty() -> Self {
        Self { wasi: WasiCtxBuilder::new().build_p1(), limiter: Limiter::new(&WasmLimits::default()) }
    }
}

/// What every guest can call.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |guest: &mut Guest| &mut guest.wasi)?;
    wasmtime_wasi::p0::add_to_linker_async(&mut linker, |guest: &mut Guest| &mut guest.wasi)?;
    // The library's own refuses codes above 125, and thereby hides the -1 of a C program.
    linker.allow_shadowing(true);
    for host in HOSTS {
        linker.func_wrap(host, "proc_exit", |code: i32| -> wasmtime::Result<()> { Err(I32Exit(code).into()) })?;
    }
    linker.allow_shadowing(false);
    Ok(linker)
}

/// Decides about memory and tables, and remembers that it refused memory.
pub(super) struct Limiter {
    memory_bytes: usize,
    table_elements: usize,
    refused_bytes: Option<usize>,
}

impl Limiter {
    fn new(limits: &WasmLimits) -> Self {
        Self { memory_bytes: limits.memory_bytes, table_elements: limits.table_elements, refused_bytes: None }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, _: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired <= self.memory_bytes {
            return Ok(true);
        }
        // Beyond the module's own maximum: it asked in vain, as its author knew it might.
        if maximum.is_some_and(|maximum| maximum <= self.memory_bytes) {
            return Ok(false);
        }
        self.refused_bytes = Some(desired);
        Err(wasmtime::Error::msg("more memory than permitted"))
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements)
    }
}

/// What a run needs.
pub(super) struct Run {
    /// The module.
    pub(super) module: InstancePre<Guest>,
    /// Its stdin.
    pub(super) payload: Bytes,
    /// Where its wall clock stands.
    pub(super) enqueued_at: LogTime,
    /// Its environment.
    pub(super) secrets: Secrets,
    /// What it may use.
    pub(super) limits: WasmLimits,
    /// What clocks it may read.
    pub(super) clocks: Clocks,
    /// When it has to stop.
    pub(super) watch: Watch,
    /// Keeps the epoch going.
    pub(super) running: Running,
    /// The slot it holds; free again once the store is gone.
    pub(super) slot: OwnedSemaphorePermit,
}

impl Run {
    /// Runs the guest to its end, whatever that is.
    pub(super) async fn finish(self) -> Result<Completion, Failure> {
        let Self { module, payload, enqueued_at, secrets, limits, clocks, watch, running: _running, slot: _slot } =
            self;
        let (stdout, stderr) = (Capture::all(limits.stdout_bytes), Capture::tail(limits.stderr_bytes));
        let mut wasi = WasiCtxBuilder::new();
        wasi.arg("job")
            .stdin(MemoryInputPipe::new(payload))
            .stdout(stdout.clone())
            .stderr(stderr.clone())
            .max_random_size(RANDOM_BYTES_MAX);
        for (name, value) in &secrets {
            wasi.env(name.as_str(), value.reveal());
        }
        if clocks == Clocks::Frozen {
            wasi.wall_clock(FrozenClock(enqueued_at)).monotonic_clock(FrozenClock(enqueued_at));
        }
        let mut wasi = wasi.build_p1();
        wasi.ctx().table.set_max_capacity(HANDLES_MAX);

        let mut store = Store::new(module.module().engine(), Guest { wasi, limiter: Limiter::new(&limits) });
        store.limiter(|guest| &mut guest.limiter);
        // A guest can hand over no more than it has.
        store.set_hostcall_fuel(limits.memory_bytes);
        store.set_epoch_deadline(1);
        let epoch_watch = watch.clone();
        store.epoch_deadline_callback(move |_| {
            Ok(if epoch_watch.stop().is_some() { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });

        let ended = watch.bound(call(&module, &mut store)).await;
        let log = stderr.take();
        // Before anything is made of it: a message may hold less than a whole value.
        let log = Masking::of(&secrets).log(log, stderr.exceeded());
        let failure = match ended {
            Ok(Ok(())) => return Ok(Completion { result: stdout.take(), log, ..Completion::default() }),
            Err(stop) => stop.into(),
            Ok(Err(error)) => {
                // The epoch's callback may have stopped the guest before this task was asked again.
                let stop = if verdict::is_interrupt(&error) { watch.stop() } else { None };
                match (stop, store.data().limiter.refused_bytes) {
                    (Some(stop), _) => stop.into(),
                    (None, Some(wanted)) => verdict::out_of_memory(wanted, limits.memory_bytes),
                    (None, None) if stdout.exceeded() => verdict::output_limit(limits.stdout_bytes),
                    (None, None) => verdict::of(&error, &log),
                }
            }
        };
        Err(Failure { log, ..failure })
    }
}

async fn call(module: &InstancePre<Guest>, store: &mut Store<Guest>) -> wasmtime::Result<()> {
    let instance = module.instantiate_async(&mut *store).await?;
    let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
    match start.call_async(&mut *store, ()).await {
        Err(error) if matches!(error.downcast_ref(), Some(I32Exit(0))) => Ok(()),
        ended => ended,
    }
}
