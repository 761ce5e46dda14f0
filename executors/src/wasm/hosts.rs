//! The process that runs guests now, and the next one when that is gone.

use super::WasmError;
use super::config::ChildCommand;
use super::host::Host;
use super::host_process::try_out;
use super::wire::Settings;
use jobraft_protocol::Failure;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How long a process has to live for its end not to count against the next one.
const LONG_LIFE: Duration = Duration::from_secs(10);
/// How long the second start in a row waits after a process that did not live long; each further one twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest that a start waits.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The processes, one at a time; the last one is ended when this is dropped.
pub(super) struct Hosts {
    command: ChildCommand,
    settings: Settings,
    current: Mutex<Current>,
    /// Of the current one, 0 if there is none: for those who only look.
    pid: AtomicU32,
    thread: Thread,
}

#[derive(Default)]
struct Current {
    host: Option<(Arc<Host>, Instant)>,
    /// How many in a row did not live long.
    short_lives: u32,
}

impl Hosts {
    /// No process yet. Whether there can be one is found out now.
    pub(super) fn new(command: ChildCommand, settings: Settings) -> Result<Self, WasmError> {
        try_out(&command, &settings)?;
        Ok(Self { command, settings, current: Mutex::default(), pid: AtomicU32::new(0), thread: Thread::start()? })
    }

    /// The process that was started last.
    pub(super) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|&pid| pid != 0)
    }

    /// A process that is ready. Starts one if there is none, after a pause if the last ones did not live long.
    ///
    /// # Errors
    /// If it does not start: the next one may.
    pub(super) async fn get(&self) -> Result<Arc<Host>, Failure> {
        let mut current = self.current.lock().await;
        if let Some((host, _)) = &current.host
            && !host.is_over()
        {
            return Ok(Arc::clone(host));
        }
        if let Some((_, started)) = current.host.take() {
            self.pid.store(0, Ordering::Relaxed);
            current.short_lives = if started.elapsed() < LONG_LIFE { current.short_lives + 1 } else { 0 };
        }
        tokio::time::sleep(pause(current.short_lives)).await;
        let (runtime, end) = (self.thread.runtime.clone(), self.thread.end.child_token());
        let ended = self.thread.hosts.token();
        let start = Host::start(self.command.clone(), self.settings.clone(), runtime, end, ended);
        // Dropping this future ends a process that is not ready yet.
        match AbortOnDropHandle::new(self.thread.runtime.spawn(start)).await {
            Ok(Ok(host)) => {
                let pid = host.pid().unwrap_or_default();
                tracing::info!(pid, "started a process that runs modules");
                self.pid.store(pid, Ordering::Relaxed);
                let host = Arc::new(host);
                current.host = Some((Arc::clone(&host), Instant::now()));
                Ok(host)
            }
            Ok(Err(why)) => {
                current.short_lives += 1;
                tracing::error!("a process that runs modules does not start: {why}");
                Err(Failure::retryable(format!("the process that runs modules does not start: {why}")))
            }
            Err(_) => Err(Failure::retryable("the worker is going away")),
        }
    }
}

/// How long a start waits after so many processes in a row that did not live long. The first is replaced at once.
fn pause(short_lives: u32) -> Duration {
    match short_lives.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => PAUSE_MIN.saturating_mul(1 << doublings.min(16)).min(PAUSE_MAX),
    }
}

/// The thread that starts the processes and carries what is said. It is a thread of its own since a process dies with the
/// thread that started it, and none of the worker's need live that long.
struct Thread {
    runtime: Handle,
    hosts: TaskTracker,
    end: CancellationToken,
}

impl Thread {
    fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread =
            Self { runtime: runtime.handle().clone(), hosts: TaskTracker::new(), end: CancellationToken::new() };
        let (hosts, end) = (thread.hosts.clone(), thread.end.clone());
        std::thread::Builder::new().name("jobraft-wasm-io".to_owned()).spawn(move || {
            runtime.block_on(async {
                end.cancelled().await;
                // None of them stays behind, not even as a zombie.
                hosts.close();
                hosts.wait().await;
            });
        })?;
        Ok(thread)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_live_long_is_not_started_in_a_spin() {
        let pauses: Vec<u128> = (0..10).map(|short_lives| pause(short_lives).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}
