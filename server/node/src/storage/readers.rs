//! Connections for reading, opened as they are needed and kept for the next reader.

use super::StorageError;
use super::database::{lock, open_read_only};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Idle connections that are kept; those above are closed.
const READERS_IDLE_MAX: usize = 4;

/// Read connections, as many as read at the same time.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default() }
    }

    /// Reads what was committed before the call.
    pub(super) fn read<T, E: From<StorageError>>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = lock(&self.idle).pop();
        let connection = idle.map_or_else(|| open_read_only(&self.path), Ok)?;
        let value = read(&connection)?;
        let mut idle = lock(&self.idle);
        if idle.len() < READERS_IDLE_MAX {
            idle.push(connection);
        }
        Ok(value)
    }

    pub(super) fn close_idle(&self) {
        lock(&self.idle).clear();
    }
}
