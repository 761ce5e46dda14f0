//! The thread on which a client's connections, and a worker's heartbeats, live.
//!
//! It belongs to the client alone, so that a job handler that blocks the program's own runtime starves neither the
//! connection nor the leases.

use crate::error::SdkError;
use std::future::Future;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the thread goes on after the client is gone, so that connections can say goodbye.
const FAREWELL: Duration = Duration::from_millis(100);

/// Ends its thread when dropped.
#[derive(Debug)]
pub(crate) struct IoThread {
    handle: Handle,
    stop: CancellationToken,
}

impl IoThread {
    pub(crate) fn start() -> Result<Self, SdkError> {
        let refused = |source| SdkError::Machine { what: "a thread for the connection", source };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        std::thread::Builder::new()
            .name("jobraft-io".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    stopped.cancelled().await;
                    tokio::time::sleep(FAREWELL).await;
                });
            })
            .map_err(refused)?;
        Ok(Self { handle, stop })
    }

    /// The thread's runtime.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.handle.spawn(future)
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
