//! Snapshots: a consistent copy of `state.db`, and how a node takes over one made elsewhere.
//!
//! At any moment of an installation, a crash leaves the old state or the new one, whole. A WAL must never lie beside
//! a database that it does not belong to: SQLite would take its pages for that database's own. So the old database is
//! closed with its WAL empty, the WAL is removed durably, and only then does the new file take the name.

use super::data_dir::{remove_if_there, sync_dir};
use super::database::{beside, check_format, open_read_only};
use super::state_db::{Open, STATE, checkpoint_meta};
use super::state_rows::check_rows;
use super::{CheckpointMeta, StateDb, StorageError};
use rusqlite::Connection;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// A snapshot on its way into place. Whatever begins like this is removed when the state is opened.
const INCOMING: &str = "state.db.incoming";
const HASH_BUFFER_BYTES: usize = 256 << 10;

/// A snapshot as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// What it stands for; the same is inside.
    pub meta: CheckpointMeta,
}

impl StateDb {
    /// Writes a copy of the state as of its last checkpoint to `path`, durably, replacing what is there. Checkpoints
    /// and reads go on meanwhile.
    ///
    /// # Errors
    /// [`StorageError::NoCheckpoint`] before the first one, [`StorageError::Corrupt`] if a row is damaged, or what SQLite
    /// and the file system refuse.
    pub fn snapshot_to(&self, path: &Path) -> Result<SnapshotFile, StorageError> {
        let temporary = beside(path, ".new");
        remove_if_there(&temporary)?;
        let refused =
            || StorageError::io("write", path)(io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"));
        let name = temporary.to_str().ok_or_else(refused)?;
        self.read(|connection| {
            if checkpoint_meta(connection, &self.inner.path)?.is_none() {
                return Err(StorageError::NoCheckpoint { path: self.inner.path.clone() });
            }
            connection.execute("VACUUM INTO ?1", [name]).map(drop).map_err(StorageError::database(&temporary))
        })?;
        sync_file(&temporary)?;
        // A checkpoint may have come between the look above and the copy: what counts is what was copied.
        let copy = open_read_only(&temporary)?;
        // Damage here must stop this node, not those that it would send its state to.
        check_rows(&copy, &self.inner.path, &self.inner.seal)?;
        let meta = checkpoint_meta(&copy, &temporary)?;
        drop(copy);
        let meta = meta.ok_or_else(|| StorageError::NoCheckpoint { path: temporary.clone() })?;
        let (bytes, sha256) = hash_file(&temporary).map_err(StorageError::io("read", &temporary))?;
        fs::rename(&temporary, path).map_err(StorageError::io("write", path))?;
        path.parent().map_or(Ok(()), sync_dir)?;
        Ok(SnapshotFile { path: path.to_owned(), bytes, sha256, meta })
    }

    /// Replaces the whole state by the snapshot in `file`, which stays. The snapshot is checked first: format,
    /// tables, structure, and every row's checksum. Waits for reads to end; those that follow see the new state.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`], [`StorageError::NewerFormat`] or [`StorageError::Sealed`] if the snapshot is not fit, and what SQLite and the
    /// file system refuse. The old state stays, but after a failure while the files change places the handle is
    /// stopped and the state has to be opened again.
    pub fn install(&self, file: &Path) -> Result<CheckpointMeta, StorageError> {
        let incoming = self.stage(file)?;
        let meta = self.check_incoming(&incoming)?;
        let mut open = self.inner.open.write().unwrap_or_else(PoisonError::into_inner);
        let stopped = |reason: String| StorageError::Stopped { path: self.inner.path.clone(), reason };
        match &mut *open {
            Ok(open) => open.writer.get_mut().unwrap_or_else(PoisonError::into_inner).check_running()?,
            Err(reason) => return Err(stopped(reason.clone())),
        }
        let before = std::mem::replace(&mut *open, Err("a snapshot could not be installed".to_owned()));
        let before = before.map_err(stopped)?;
        self.detach(before)?;
        fs::rename(&incoming, &self.inner.path).map_err(StorageError::io("install", &self.inner.path))?;
        sync_dir(&self.inner.dir)?;
        *open = Ok(Open::new(&self.inner.dir)?);
        Ok(meta)
    }

    /// Copies a snapshot beside the state, durably.
    pub(super) fn stage(&self, file: &Path) -> Result<PathBuf, StorageError> {
        remove_incoming(&self.inner.dir)?;
        let incoming = self.inner.dir.join(INCOMING);
        fs::copy(file, &incoming).map_err(StorageError::io("copy the snapshot to", &incoming))?;
        sync_file(&incoming)?;
        Ok(incoming)
    }

    fn check_incoming(&self, incoming: &Path) -> Result<CheckpointMeta, StorageError> {
        let connection = open_read_only(incoming)?;
        check_format(&connection, incoming, &STATE)?;
        let failed = StorageError::database(incoming);
        let expected = self.read(|own| schema(own).map_err(StorageError::database(&self.inner.path)))?;
        if schema(&connection).map_err(&failed)? != expected {
            return Err(StorageError::corrupt(incoming, "its tables are not those of a state"));
        }
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(&failed)?;
        if verdict != "ok" {
            return Err(StorageError::corrupt(incoming, verdict));
        }
        check_rows(&connection, incoming, &self.inner.seal)?;
        let meta = checkpoint_meta(&connection, incoming)?;
        meta.ok_or_else(|| StorageError::NoCheckpoint { path: incoming.to_owned() })
    }

    /// Closes a database so that its main file is all of it, and nothing of another may follow it.
    pub(super) fn detach(&self, open: Open) -> Result<(), StorageError> {
        // Readers first: a connection that outlives the writer would remove the WAL by name when it closes.
        drop(open.readers);
        open.writer.into_inner().unwrap_or_else(PoisonError::into_inner).close()?;
        for suffix in ["-wal", "-shm", "-journal"] {
            remove_if_there(&beside(&self.inner.path, suffix))?;
        }
        sync_dir(&self.inner.dir)
    }
}

/// Removes what an interrupted installation left.
pub(super) fn remove_incoming(dir: &Path) -> Result<(), StorageError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        remove_if_there(&beside(&dir.join(INCOMING), suffix))?;
    }
    Ok(())
}

/// Every table and index, as it was declared.
fn schema(connection: &Connection) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn sync_file(path: &Path) -> Result<(), StorageError> {
    let sync = || File::options().write(true).open(path)?.sync_all();
    sync().map_err(StorageError::io("fsync", path))
}

fn hash_file(path: &Path) -> io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hasher.finalize().into()));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}
