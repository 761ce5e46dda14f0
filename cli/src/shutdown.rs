//! When to stop: on SIGTERM or SIGINT, or when the process that started this one is gone.

use crate::failure::Failure;
use std::io::Read;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// The requests to stop. The first is for stopping in order, the second for stopping at once.
#[derive(Debug)]
pub(crate) struct Shutdown {
    terminate: Signal,
    interrupt: Signal,
    // Keeps the channel open when nobody watches stdin.
    stdin: mpsc::Sender<()>,
    stdin_closed: mpsc::Receiver<()>,
}

impl Shutdown {
    /// Takes over SIGTERM and SIGINT: from now on they no longer end the process by themselves.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let take = |kind| signal(kind).map_err(|error| Failure::new("listen for signals", error));
        let (stdin, stdin_closed) = mpsc::channel(1);
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            stdin,
            stdin_closed,
        })
    }

    /// Also stops, at once, when stdin ends: a child whose parent holds the other end of the pipe does not outlive it,
    /// whatever way the parent ends.
    pub(crate) fn with_stdin(self) -> Self {
        let closed = self.stdin.clone();
        // A thread of its own: a blocked read of stdin would keep the runtime from ending.
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while matches!(std::io::stdin().read(&mut buffer), Ok(1..)) {}
            // Again and again: nobody is left to wait for an orderly end.
            while closed.blocking_send(()).is_ok() {}
        });
        self
    }

    /// Waits for the next request to stop and says what it was.
    pub(crate) async fn requested(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.stdin_closed.recv() => "end of stdin",
        }
    }
}
