//! Where guests run: a bounded number of slots, and threads of their own.

use super::WasmError;
use super::config::{Clocks, WasmLimits};
use super::guest::{Guest, Run};
use super::secrets::Secrets;
use super::ticker::Ticker;
use super::watch::Watch;
use bytes::Bytes;
use jobraft_protocol::{Completion, Failure, FailureKind, LogTime};
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::{Engine, InstancePre};

/// The threads and the slots. Dropping it never waits for a guest.
pub(super) struct Guests {
    limits: WasmLimits,
    clocks: Clocks,
    slots: Arc<Semaphore>,
    ticker: Ticker,
    /// Taken by drop alone.
    runtime: Option<Runtime>,
}

impl Guests {
    /// Starts the threads, for guests of `engine`.
    pub(super) fn start(
        engine: Engine,
        limits: WasmLimits,
        clocks: Clocks,
        concurrency: usize,
        threads: usize,
    ) -> Result<Self, WasmError> {
        let ticker = Ticker::start(engine)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("jobraft-wasm")
            // Busy guests yield only once each tick; timers of those that sleep must not wait for dozens of ticks.
            .event_interval(1)
            .enable_time()
            .build()?;
        Ok(Self { limits, clocks, slots: Arc::new(Semaphore::new(concurrency)), ticker, runtime: Some(runtime) })
    }

    /// Waits for a slot.
    pub(super) async fn slot(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// The threads.
    pub(super) fn threads(&self) -> &Handle {
        self.runtime.as_ref().expect("taken only by drop").handle()
    }

    /// Runs a guest to its end, or until `watch` stops it. Dropping this future stops it too: a busy guest yields to that at
    /// the next tick.
    pub(super) async fn run(
        &self,
        module: InstancePre<Guest>,
        payload: Bytes,
        enqueued_at: LogTime,
        secrets: Secrets,
        watch: Watch,
        slot: OwnedSemaphorePermit,
    ) -> Result<Completion, Failure> {
        let (limits, clocks, running) = (self.limits, self.clocks, self.ticker.run());
        let run = Run { module, payload, enqueued_at, secrets, limits, clocks, watch, running, slot };
        match AbortOnDropHandle::new(self.threads().spawn(run.finish())).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => {
                tracing::error!("the WASM executor panicked: this is a defect of Jobraft");
                Err(Failure::of_kind(FailureKind::Panic, true, "the executor panicked: this is a defect of Jobraft"))
            }
            Err(_) => Err(Failure::retryable("the worker is going away")),
        }
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
