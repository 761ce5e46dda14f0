//! A WAL on its way into its database, by a thread and a connection of their own, while its writer writes on.

use super::StorageError;
use super::database::{checkpoint_wal, connect};
use rusqlite::OpenFlags;
use rusqlite::config::DbConfig;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

/// It reads no pages but those of the WAL, past the cache.
const CACHE_KIB: u32 = 64;
/// The second takes what was written during the first, so that little is left to the writer.
const PASSES: usize = 2;

/// A copy under way. Dropping it waits for its end.
pub(super) struct WalCopy {
    path: PathBuf,
    thread: Option<JoinHandle<Result<(), StorageError>>>,
}

impl WalCopy {
    /// Starts to copy the WAL of the database in `path`, which stays open meanwhile.
    pub(super) fn start(path: &Path) -> Result<Self, StorageError> {
        let its_path = path.to_owned();
        let thread = thread::Builder::new().name("wal-copy".to_owned()).spawn(move || copy(&its_path));
        let thread = thread.map_err(StorageError::io("start copying the WAL of", path))?;
        Ok(Self { path: path.to_owned(), thread: Some(thread) })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for its end. A failed fsync must not be tried again: after an error nobody may write to the database.
    pub(super) fn end(mut self) -> Result<(), StorageError> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), StorageError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let panicked = "the thread that copied its WAL panicked (a bug in jobraft)".to_owned();
        thread.join().unwrap_or_else(|_| Err(StorageError::Stopped { path: self.path.clone(), reason: panicked }))
    }
}

impl Drop for WalCopy {
    fn drop(&mut self) {
        if let Err(error) = self.wait() {
            tracing::error!(%error, "a WAL could not be copied");
        }
    }
}

fn copy(path: &Path) -> Result<(), StorageError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, CACHE_KIB)?;
    // Should the writer have closed its own meanwhile: a copy that failed must not be tried again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(StorageError::database(path))?;
    (0..PASSES).try_for_each(|_| checkpoint_wal(&connection, path, "PASSIVE").map(drop))
}
