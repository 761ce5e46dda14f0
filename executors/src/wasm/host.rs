//! A process that runs guests, as its worker sees it.
//!
//! # What must hold
//! - Whatever the process does, it can hold up or harm the jobs that run in it, and nothing else: what it says is bounded and
//!   checked ([`wire`](super::wire)), nothing waits for it without a time limit, and one that breaks the rules is killed.
//! - A run keeps its slot until the process has said that it ended, or is gone. So no more is sent to it at once than there are
//!   slots, and what waits to be sent is bounded by that.

use super::artifacts::Artifacts;
use super::config::{ChildCommand, WasmLimits};
use super::host_process::{self, HostProcess, Outgoing};
use super::machine_code::MachineCode;
use super::recent::Recent;
use super::secrets::Secrets;
use super::verdict;
use super::watch::Watch;
use super::wire::{FromHost, Outcome, PART_BYTES, Settings, ToHost};
use bytes::Bytes;
use jobraft_protocol::limits::FAILURE_MESSAGE_BYTES_MAX;
use jobraft_protocol::{Completion, Digest, Failure, LeasedJob};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long it may take to load a module: it takes milliseconds, so one that exceeds this hangs.
const LOAD_TIME_MAX: Duration = Duration::from_secs(60);
/// How long it may take to stop a guest, which takes a tick: long enough for a machine that has too much to do.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// What becomes of whatever is under way when the executor is dropped.
const GOING_AWAY: &str = "the worker is going away";

/// What is known of a module: that the process has it, or why it can never run.
type Known = Result<(), String>;

/// A process that runs guests; it is ended when this is dropped.
pub(super) struct Host {
    shared: Arc<Shared>,
    pid: Option<u32>,
}

struct Shared {
    urgent: mpsc::UnboundedSender<ToHost>,
    code: mpsc::Sender<ToHost>,
    loading: tokio::sync::Mutex<()>,
    modules: Mutex<Recent<Arc<OnceCell<Known>>>>,
    state: Mutex<State>,
    end: CancellationToken,
    limits: WasmLimits,
    runtime: Handle,
}

#[derive(Default)]
struct State {
    last_id: u64,
    runs: BTreeMap<u64, Sent>,
    load: Option<(Digest, oneshot::Sender<Known>)>,
    /// Why it is to be killed.
    doomed: Option<String>,
    /// How it ended.
    ended: Option<String>,
}

/// A run whose end was not told yet.
struct Sent {
    answer: oneshot::Sender<Result<Outcome, String>>,
    _slot: OwnedSemaphorePermit,
}

impl Host {
    /// Starts a process, and waits until it is ready. It lives until this is dropped or `end` says so; `guard` is dropped
    /// afterwards.
    ///
    /// Runs on `runtime`, whose thread must live for as long: the process dies with the thread that started it.
    pub(super) async fn start(
        program: ChildCommand,
        settings: Settings,
        runtime: Handle,
        end: CancellationToken,
        guard: impl Send + 'static,
    ) -> Result<Self, String> {
        let mut process = HostProcess::start(&program)?;
        let (limits, modules_cached) = (settings.limits, settings.modules_cached);
        let ready = tokio::select! {
            ready = process.begin(settings) => ready,
            () = end.cancelled() => Err(Some(GOING_AWAY.to_owned())),
        };
        if let Err(why) = ready {
            return Err(process.end(why).await);
        }
        // As many as there are slots, twice: each run, and the word to stop it.
        let (urgent, urgent_next) = mpsc::unbounded_channel();
        let (code, code_next) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            urgent,
            code,
            loading: tokio::sync::Mutex::default(),
            modules: Mutex::new(Recent::new(modules_cached)),
            state: Mutex::default(),
            end,
            limits,
            runtime: runtime.clone(),
        });
        let pid = process.pid();
        let theirs = Arc::clone(&shared);
        runtime.spawn(async move {
            let _guard = guard;
            // Closed last, so that who waits to send hears of the end when it is known how it came.
            let mut outgoing = Outgoing { urgent: urgent_next, code: code_next };
            let why = tokio::select! {
                () = theirs.end.cancelled() => Some(theirs.why()),
                why = process.serve(&mut outgoing, |frame| theirs.take(frame)) => why,
            };
            // Nobody begins anything in it any more.
            theirs.end.cancel();
            theirs.bury(process.end(why).await);
        });
        Ok(Self { shared, pid })
    }

    /// The process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Whether the process has ended, or is about to.
    pub(super) fn is_over(&self) -> bool {
        self.shared.end.is_cancelled() || self.shared.state().ended.is_some()
    }

    /// Makes sure that the process has the module. Concurrent first uses load once.
    ///
    /// # Errors
    /// Final if the module is to blame; else another attempt may help, after another process was started if this one is
    /// [over](Self::is_over).
    pub(super) async fn module(&self, digest: Digest, artifacts: &Artifacts) -> Result<(), Failure> {
        let cell = self.shared.modules().get_or_default(digest);
        let known = cell.get_or_try_init(|| async {
            match artifacts.get(digest).await? {
                Ok(code) => self.load(digest, code).await.map_err(Failure::retryable),
                Err(reason) => Ok(Err(reason)),
            }
        });
        known.await?.as_ref().map_err(|reason| verdict::invalid_module(reason)).copied()
    }

    /// No longer believes that the process has the module.
    pub(super) fn forget(&self, digest: Digest) {
        self.shared.modules().forget(digest);
    }

    async fn load(&self, digest: Digest, code: MachineCode) -> Result<Known, String> {
        let shared = Arc::clone(&self.shared);
        // To its end, whatever becomes of the attempt that wanted it: half a module would be in the way of the next one.
        let load = self.shared.runtime.spawn(async move {
            let _turn = shared.loading.lock().await;
            match timeout(LOAD_TIME_MAX, shared.load(digest, code.bytes())).await {
                Ok(Some(known)) => Ok(known),
                Ok(None) => Err(shared.state().ended.clone().unwrap_or_else(|| GOING_AWAY.to_owned())),
                Err(_) => {
                    let why = format!("it did not load a module within {} s", LOAD_TIME_MAX.as_secs());
                    shared.doom(why.clone());
                    Err(host_process::ended(&why))
                }
            }
        });
        load.await.unwrap_or_else(|_| Err(GOING_AWAY.to_owned()))
    }

    /// Begins a run of a module that was loaded. None if the process is over.
    pub(super) fn begin(
        &self,
        job: &LeasedJob,
        digest: Digest,
        secrets: &Secrets,
        slot: OwnedSemaphorePermit,
    ) -> Option<Attempt> {
        let mut state = self.shared.state();
        if state.ended.is_some() || self.shared.end.is_cancelled() {
            return None;
        }
        let (answer, ended) = oneshot::channel();
        state.last_id += 1;
        let id = state.last_id;
        state.runs.insert(id, Sent { answer, _slot: slot });
        drop(state);
        let (payload, enqueued_at, secrets) = (job.payload.clone(), job.enqueued_at, secrets.clone());
        self.shared.send(ToHost::Run { id, digest, payload, enqueued_at, secrets });
        Some(Attempt { shared: Arc::clone(&self.shared), id, ended: Some(ended) })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.doom("nobody needs it any more".to_owned());
    }
}

/// A run under way; it is stopped when this is dropped.
pub(super) struct Attempt {
    shared: Arc<Shared>,
    id: u64,
    ended: Option<oneshot::Receiver<Result<Outcome, String>>>,
}

impl Attempt {
    /// How it ended, by itself or because `watch` stopped it. None if it never began: the process did not know the module.
    pub(super) async fn finish(mut self, watch: &Watch) -> Option<Result<Completion, Failure>> {
        let stop = tokio::select! {
            biased;
            stop = watch.stopped() => stop,
            ended = self.ended() => return match ended {
                Ok(Outcome::Completed { result, log }) => Some(Ok(Completion { result, log, ..Completion::default() })),
                Ok(Outcome::Failed { kind, retryable, message, log }) => {
                    Some(Err(Failure { kind, message, retryable, log }))
                }
                Ok(Outcome::Unknown) => None,
                Err(how) => Some(Err(Failure::retryable(how))),
            },
        };
        self.shared.stop(self.id);
        let log = match self.ended().await {
            Ok(Outcome::Completed { log, .. } | Outcome::Failed { log, .. }) => log,
            Ok(Outcome::Unknown) | Err(_) => Bytes::new(),
        };
        Some(Err(Failure { log, ..stop.into() }))
    }

    async fn ended(&mut self) -> Result<Outcome, String> {
        let Some(ended) = &mut self.ended else { return Err(GOING_AWAY.to_owned()) };
        let answer = ended.await;
        self.ended = None;
        answer.unwrap_or_else(|_| Err(GOING_AWAY.to_owned()))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.ended.is_some() {
            self.shared.stop(self.id);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn modules(&self) -> MutexGuard<'_, Recent<Arc<OnceCell<Known>>>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, frame: ToHost) {
        // If it is gone, whoever waits for an answer hears of that.
        let _ = self.urgent.send(frame);
    }

    /// Has the process killed; the first reason counts.
    fn doom(&self, why: String) {
        self.state().doomed.get_or_insert(why);
        self.end.cancel();
    }

    fn why(&self) -> String {
        self.state().doomed.clone().unwrap_or_else(|| GOING_AWAY.to_owned())
    }

    /// Sends a module and waits until it is loaded; none if the process is over before.
    async fn load(&self, digest: Digest, code: &Bytes) -> Option<Known> {
        let (answer, loaded) = oneshot::channel();
        {
            let mut state = self.state();
            if state.ended.is_some() {
                return None;
            }
            state.load = Some((digest, answer));
        }
        self.code.send(ToHost::Load { digest, bytes: code.len() as u64 }).await.ok()?;
        let mut rest = code.clone();
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(PART_BYTES));
            self.code.send(ToHost::Part(part)).await.ok()?;
        }
        loaded.await.ok()
    }

    /// Has a run stopped; a process that does not follow is killed.
    fn stop(self: &Arc<Self>, id: u64) {
        self.send(ToHost::Stop { id });
        let shared = Arc::clone(self);
        self.runtime.spawn(async move {
            tokio::time::sleep(STOP_TIME_MAX).await;
            if shared.state().runs.contains_key(&id) {
                shared.doom(format!("it did not stop a job within {} s", STOP_TIME_MAX.as_secs()));
            }
        });
    }

    /// Believes what can be believed of an answer; an error is a breach of the rules.
    fn take(&self, frame: FromHost) -> Result<(), &'static str> {
        match frame {
            FromHost::Ready => Err("it was ready twice"),
            FromHost::Loaded { refused: Some(reason), .. } if reason.len() > FAILURE_MESSAGE_BYTES_MAX => {
                Err("it refused a module at too great a length")
            }
            FromHost::Loaded { digest, refused } => match self.state().load.take() {
                Some((asked, answer)) if asked == digest => {
                    // Nobody waits if it took too long.
                    let _ = answer.send(refused.map_or(Ok(()), Err));
                    Ok(())
                }
                _ => Err("it loaded a module that nobody sent"),
            },
            FromHost::Ended { outcome, .. } if !outcome.is_within(&self.limits) => {
                Err("it answered with more than a job may have")
            }
            FromHost::Ended { id, outcome } => match self.state().runs.remove(&id) {
                Some(sent) => {
                    // Nobody waits if the attempt was dropped.
                    let _ = sent.answer.send(Ok(outcome));
                    Ok(())
                }
                None => Err("it ended a job that it does not have"),
            },
        }
    }

    /// The process is gone: whoever waits for an answer is told.
    fn bury(&self, how: String) {
        let mut state = self.state();
        let runs = std::mem::take(&mut state.runs);
        if state.doomed.is_some() && runs.is_empty() {
            tracing::debug!("{how}");
        } else {
            tracing::warn!(jobs = runs.len(), "{how}");
        }
        state.ended = Some(how.clone());
        let load = state.load.take();
        drop(state);
        drop(load);
        for sent in runs.into_values() {
            let _ = sent.answer.send(Err(how.clone()));
        }
    }
}
