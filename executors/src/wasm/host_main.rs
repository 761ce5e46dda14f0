//! What the process that runs guests does: gives up its rights, then runs what its worker sends, until stdin ends.

use super::compile_main::OUTPUT_BYTES_MAX;
use super::confinement::{self, ConfinementError};
use super::engine;
use super::guests::Guests;
use super::loader::{Known, Loader};
use super::machine_code::MachineCode;
use super::recent::Recent;
use super::secrets::Secrets;
use super::watch::Watch;
use super::wire::{self, FROM_HOST_BYTES_MAX, FromHost, Outcome, Settings, TO_HOST_BYTES_MAX, ToHost, WireError};
use bytes::Bytes;
use jobraft_protocol::{Digest, JobId, LogTime, frame};
use jobraft_sdk::JobContext;
use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// It exits so when it could not give up its rights (`EX_NOPERM`).
pub(super) const EXIT_UNCONFINED: u8 = 77;
/// It exits so when it could not do its work (`EX_IOERR`).
const EXIT_FAILED: u8 = 74;
/// Here nobody stops a run but its worker: long after this.
const NEVER: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Runs guests: the whole work of the process that a [`WasmExecutor::isolated`](super::WasmExecutor::isolated) starts.
///
/// Before it reads anything, it gives up what it could do harm with, for the rest of its life: it opens no file and no socket,
/// and starts no process. So call this before anything else, from a process that has no other thread and does nothing else,
/// and return what it returns from `main`. It takes no arguments, reads stdin, writes stdout, and ends when stdin does. Why
/// it failed, it says on stderr.
#[must_use]
pub fn host_main() -> ExitCode {
    let served = confinement::confine().map_err(HostError::from).and_then(|()| serve(&mut std::io::stdin().lock()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may listen any more; there is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "{error}");
            let confined = !matches!(error, HostError::Confinement(_));
            ExitCode::from(if confined { EXIT_FAILED } else { EXIT_UNCONFINED })
        }
    }
}

/// Why the process ends before it is told to.
#[derive(Debug, thiserror::Error)]
enum HostError {
    #[error("{0}")]
    Confinement(#[from] ConfinementError),
    #[error("listen to the worker: {0}")]
    Wire(#[from] WireError),
    #[error("start the engine: {0}")]
    Engine(String),
    #[error("the program is of another version than the worker that started it: restart the worker")]
    Version,
    #[error("the worker sent {0}: this is a defect of Jobraft")]
    Unexpected(&'static str),
}

fn serve(pipe: &mut impl Read) -> Result<(), HostError> {
    let mut host = match wire::read(pipe, TO_HOST_BYTES_MAX)? {
        Some(ToHost::Settings(settings)) => Host::start(&settings)?,
        Some(_) => return Err(HostError::Unexpected("something else before the settings")),
        None => return Ok(()),
    };
    say(&FromHost::Ready);
    while let Some(frame) = wire::read(pipe, TO_HOST_BYTES_MAX)? {
        host.take(frame)?;
    }
    Ok(())
}

/// The process' state, as far as the thread that reads stdin has it.
struct Host {
    shared: Arc<Shared>,
    incoming: Option<Incoming>,
}

/// What runs share with it.
struct Shared {
    guests: Guests,
    loader: Loader,
    modules: Mutex<Recent<Option<Known>>>,
    /// How to stop those that have not ended: no more than the worker has slots.
    runs: Mutex<BTreeMap<u64, CancellationToken>>,
}

/// Machine code of which parts are still to come.
struct Incoming {
    digest: Digest,
    bytes: u64,
    code: Vec<u8>,
}

impl Host {
    fn start(settings: &Settings) -> Result<Self, HostError> {
        let failed = |error: wasmtime::Error| HostError::Engine(format!("{error:#}"));
        let Settings { compatibility, limits, clocks, concurrency, threads, modules_cached } = settings;
        let engine = engine::running(limits, *concurrency).map_err(failed)?;
        if engine::compatibility(&engine) != *compatibility {
            return Err(HostError::Version);
        }
        let loader = Loader::new(engine.clone()).map_err(failed)?;
        let guests = Guests::start(engine, *limits, *clocks, *concurrency, *threads)
            .map_err(|error| HostError::Engine(error.to_string()))?;
        let modules = Mutex::new(Recent::new(*modules_cached));
        let shared = Shared { guests, loader, modules, runs: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), incoming: None })
    }

    fn take(&mut self, frame: ToHost) -> Result<(), HostError> {
        match frame {
            ToHost::Settings(_) => Err(HostError::Unexpected("its settings twice")),
            ToHost::Load { .. } if self.incoming.is_some() => Err(HostError::Unexpected("two modules at once")),
            ToHost::Load { bytes, .. } if bytes > OUTPUT_BYTES_MAX => Err(HostError::Unexpected("too large a module")),
            ToHost::Load { digest, bytes } => {
                self.incoming = Some(Incoming { digest, bytes, code: Vec::new() });
                self.take_part(&Bytes::new())
            }
            ToHost::Part(part) => self.take_part(&part),
            ToHost::Run { id, digest, payload, enqueued_at, secrets } => {
                self.run(id, digest, payload, enqueued_at, secrets);
                Ok(())
            }
            ToHost::Stop { id } => {
                // One that is not there has ended meanwhile.
                if let Some(stop) = lock(&self.shared.runs).get(&id) {
                    stop.cancel();
                }
                Ok(())
            }
        }
    }

    fn take_part(&mut self, part: &[u8]) -> Result<(), HostError> {
        let Some(mut incoming) = self.incoming.take() else {
            return Err(HostError::Unexpected("a part of no module"));
        };
        incoming.code.extend_from_slice(part);
        match (incoming.code.len() as u64).cmp(&incoming.bytes) {
            std::cmp::Ordering::Less => self.incoming = Some(incoming),
            std::cmp::Ordering::Equal => self.load(incoming),
            std::cmp::Ordering::Greater => return Err(HostError::Unexpected("more of a module than it said")),
        }
        Ok(())
    }

    /// Loads a module on another thread, so that word to stop a guest is heard meanwhile.
    fn load(&self, Incoming { digest, code, .. }: Incoming) {
        let shared = Arc::clone(&self.shared);
        self.shared.guests.threads().spawn_blocking(move || {
            // The worker sends what its own compiler wrote, after it has compared the checksum.
            let known = shared.loader.load(&MachineCode::believe(code.into()));
            let refused = known.as_ref().err().cloned().map(wire::cut);
            lock(&shared.modules).insert(digest, Some(known));
            say(&FromHost::Loaded { digest, refused });
        });
    }

    /// Runs a module. Its secrets are here until it has ended, and no longer.
    fn run(&self, id: u64, digest: Digest, payload: Bytes, enqueued_at: LogTime, secrets: Secrets) {
        let stop = CancellationToken::new();
        lock(&self.shared.runs).insert(id, stop.clone());
        let shared = Arc::clone(&self.shared);
        self.shared.guests.threads().spawn(async move {
            let module = lock(&shared.modules).get(digest).flatten();
            let outcome = match module {
                Some(Ok(module)) => {
                    // The worker has the lease and the clock; here a run ends when it says so.
                    let never = Instant::now() + NEVER;
                    let watch = Watch::new(JobContext::new(JobId::new(enqueued_at, [0; 10]), stop, move || never));
                    let slot = shared.guests.slot().await;
                    Outcome::of(shared.guests.run(module, payload, enqueued_at, secrets, watch, slot).await)
                }
                Some(Err(_)) | None => Outcome::Unknown,
            };
            lock(&shared.runs).remove(&id);
            say(&FromHost::Ended { id, outcome });
        });
    }
}

/// Tells the worker; frames of several threads do not mix.
fn say(frame: &FromHost) {
    let mut bytes = Vec::new();
    frame::encode(frame, &mut bytes, FROM_HOST_BYTES_MAX).expect("what guests bring about is bounded: it fits");
    let mut pipe = std::io::stdout().lock();
    // If the worker is gone, stdin ends too.
    let _ = pipe.write_all(&bytes).and_then(|()| pipe.flush());
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
