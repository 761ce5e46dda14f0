//! The clock that interrupts busy guests: a thread that advances the engine's epoch while any guest runs.
//!
//! It sleeps while none does, so that an idle worker costs nothing.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wasmtime::Engine;

/// How often a busy guest is interrupted.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The clock; it stops when dropped.
#[derive(Debug)]
pub(super) struct Ticker(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    stopped: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticker {
    /// Starts the thread.
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("jobraft-epoch".to_owned()).spawn(move || tick(&engine, &theirs))?;
        Ok(Self(shared))
    }

    /// The clock runs for as long as the returned guard lives.
    pub(super) fn run(&self) -> Running {
        self.0.lock().running += 1;
        self.0.changed.notify_one();
        Running(Arc::clone(&self.0))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_one();
    }
}

/// A guest runs.
#[derive(Debug)]
pub(super) struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

fn tick(engine: &Engine, shared: &Shared) {
    loop {
        {
            let mut state = shared.lock();
            // Guests that still run when the executor goes away are interrupted until they are gone.
            while state.running == 0 {
                if state.stopped {
                    return;
                }
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        std::thread::sleep(TICK);
        engine.increment_epoch();
    }
}
