//! What runs the log's writer: a thread of its own, or a task where a simulated machine has no threads.

use super::StorageError;
use super::database::lock;
use super::log_writer::{LogWriter, Shared};
use crate::machine::{self, DiskWork};
use std::future::poll_fn;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// A writer at work.
pub(super) enum LogRun {
    Thread(JoinHandle<()>),
    /// The writer is here whenever it does not write, so that whoever closes the log can have the rest written.
    Task(AbortOnDropHandle<()>, Place),
}

type Place = Arc<Mutex<Option<LogWriter>>>;

impl LogRun {
    pub(super) fn start(writer: LogWriter, shared: &Arc<Shared>, path: &Path) -> Result<Self, StorageError> {
        if machine::is_simulated() {
            let place: Place = Arc::new(Mutex::new(Some(writer)));
            let task = tokio::spawn(by_task(Arc::clone(&place), Arc::clone(shared)));
            return Ok(Self::Task(AbortOnDropHandle::new(task), place));
        }
        let thread = thread::Builder::new().name("log-writer".to_owned()).spawn(move || writer.run());
        thread.map(Self::Thread).map_err(StorageError::io("start the writer of", path))
    }

    /// Waits until all is written, once the queue is closed.
    pub(super) fn end(self, path: &Path) {
        match self {
            // A `done` may hold the last clone: the writer cannot wait for itself, and ends anyway.
            Self::Thread(thread) => {
                if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                    tracing::error!(path = %path.display(), "the log's writer panicked (a bug in jobraft)");
                }
            }
            Self::Task(task, place) => {
                drop(task);
                let writer = lock(&place).take();
                if let Some(writer) = writer {
                    writer.run();
                }
            }
        }
    }
}

/// As [`LogWriter::run`], with the time that a disk takes, during which more collects.
async fn by_task(place: Place, shared: Arc<Shared>) {
    loop {
        let Some(patience) = lock(&place).as_ref().map(LogWriter::patience) else { return };
        let work = poll_fn(|context| shared.queue.poll_work(context));
        match patience {
            None => work.await,
            Some(Duration::ZERO) => {}
            Some(patience) => drop(tokio::time::timeout(patience, work).await),
        }
        machine::pause(DiskWork::LogWrite).await;
        let Some(mut writer) = lock(&place).take() else { return };
        let Some(batch) = shared.queue.take(Some(Duration::ZERO)) else { return writer.close() };
        let written = writer.write_or_stop(batch);
        *lock(&place) = Some(writer);
        machine::pause(DiskWork::LogWritten).await;
        let Some(written) = written else { return };
        let settled = written.tell();
        // Taken by whoever closed the log meanwhile: it settles too.
        let Some(mut writer) = lock(&place).take() else { return };
        if !writer.settle(settled) {
            return;
        }
        *lock(&place) = Some(writer);
    }
}
