//! How every database here is made, opened, written and read: WAL, fsync on every commit, one writer.
//!
//! Checkpoints of the WAL are asked for here rather than by SQLite's automatic ones, which swallow a failed fsync and try
//! again at the next commit; here it is as fatal as any other.

use super::data_dir::{remove_if_there, sync_dir};
use super::wal_copy::WalCopy;
use super::{StorageError, gather, soundness, wal};
use crate::machine;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pages written to the WAL before it is copied into the database: few enough for the disk to have them soon, many enough
/// for pages that are written again and again to be copied once.
const CHECKPOINT_PAGES: u64 = 4000;
/// Pages in a WAL that is being copied at which its writer waits for the end of that.
const CHECKPOINT_PAGES_MAX: u64 = 4 * CHECKPOINT_PAGES;
const READER_CACHE_KIB: u32 = 4096;
/// A WAL that a burst made longer than this is cut when it starts over.
const WAL_BYTES_KEPT: u64 = 64 << 20;

/// The table that every format has, and will have: a later build's format is read from it.
const META_SCHEMA: &str =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;";
const META_FORMAT: &str = "format";

/// What distinguishes one kind of database from another.
pub(super) struct Kind {
    /// Its file name.
    pub(super) file: &'static str,
    /// The newest format that this build reads, and the one that it writes.
    pub(super) format: u64,
    /// The oldest format that this build reads.
    pub(super) format_min: u64,
    /// Its tables, apart from `meta`.
    pub(super) schema: &'static str,
    /// How much of it may be cached in memory.
    pub(super) cache_kib: u32,
}

/// The one connection that writes.
pub(super) struct Database {
    /// Ends before the connection does.
    copy: Option<WalCopy>,
    connection: Connection,
    path: PathBuf,
    wal_pages: u64,
    stopped: Option<String>,
}

impl Database {
    /// Opens the database in `dir`, making it if it never was there, and examines it.
    pub(super) fn open(dir: &Path, kind: &Kind) -> Result<Self, StorageError> {
        let database = Self::open_unexamined(dir, kind)?;
        soundness::check(&database.connection, &database.path)?;
        Ok(database)
    }

    /// The same for one who examines it later.
    pub(super) fn open_unexamined(dir: &Path, kind: &Kind) -> Result<Self, StorageError> {
        let path = dir.join(kind.file);
        let marker = beside(&path, ".created");
        if !path.exists() {
            if marker.exists() {
                return Err(StorageError::Missing { path });
            }
            create(&path, kind)?;
        }
        if !marker.exists() {
            File::create(&marker).and_then(|file| file.sync_all()).map_err(StorageError::io("create", &marker))?;
            sync_dir(dir)?;
        }
        wal::check(&beside(&path, "-wal"))?;
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE, kind.cache_kib)?;
        check_format(&connection, &path, kind)?;
        use_wal(&connection, &path)?;
        let mut database = Self { copy: None, connection, path, wal_pages: 0, stopped: None };
        database.empty_wal()?;
        Ok(database)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Gives back the memory of what was read: after an opening, all of the cache is full of what nobody asks for again.
    pub(super) fn forget_pages(&self) -> Result<(), StorageError> {
        self.connection.release_memory().map_err(StorageError::database(&self.path))
    }

    /// Runs `change` in one transaction that is durable on return. Whatever fails, nothing is written any more.
    pub(super) fn write(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.check_running()?;
        let result = {
            let failed = StorageError::database(&self.path);
            let transaction = Transaction::new(&mut self.connection, TransactionBehavior::Immediate);
            transaction.map_err(&failed).and_then(|transaction| {
                change(&transaction)?;
                transaction.commit().map_err(&failed)
            })
        };
        self.stop_on_error(result)
    }

    /// Notes that about `pages` pages went to the WAL. Once it has become long it is copied into the database, by a thread
    /// of its own while more is written; what was written since is copied here when that has ended, so that the WAL
    /// starts over. With readers in the way, the rest is left to the next time.
    pub(super) fn wrote_pages(&mut self, pages: u64) -> Result<(), StorageError> {
        self.wal_pages += pages;
        let is_due = match &self.copy {
            None => self.wal_pages >= CHECKPOINT_PAGES,
            Some(copy) => copy.has_ended() || self.wal_pages >= CHECKPOINT_PAGES_MAX,
        };
        if !is_due {
            return Ok(());
        }
        if self.copy.is_some() || machine::is_simulated() {
            return self.settle();
        }
        let started = WalCopy::start(&self.path).map(|copy| self.copy = Some(copy));
        self.stop_on_error(started)
    }

    /// Copies the WAL into the database as far as no reader is in the way; only then does a file that got shorter
    /// shrink on disk.
    pub(super) fn settle(&mut self) -> Result<(), StorageError> {
        self.wal_pages = 0;
        let result = self.end_copy().and_then(|()| checkpoint_wal(&self.connection, &self.path, "PASSIVE").map(drop));
        self.stop_on_error(result)
    }

    /// Writes the whole file anew, so that nothing of what stood there before is left in it.
    pub(super) fn rewrite(&mut self) -> Result<(), StorageError> {
        self.check_running()?;
        // In a file: it is as large as the database. What goes there is what will stand there.
        let result = self
            .connection
            .execute_batch("PRAGMA temp_store = FILE; VACUUM")
            .map_err(StorageError::database(&self.path));
        self.stop_on_error(result)?;
        self.settle()
    }

    /// Closes the database with everything in its main file and its WAL empty.
    pub(super) fn close(mut self) -> Result<(), StorageError> {
        self.check_running()?;
        let copied = self.end_copy();
        self.stop_on_error(copied)?;
        self.empty_wal()?;
        self.connection.close().map_err(|(_, error)| StorageError::database(&self.path)(error))
    }

    pub(super) fn check_running(&self) -> Result<(), StorageError> {
        let Some(reason) = &self.stopped else { return Ok(()) };
        Err(StorageError::Stopped { path: self.path.clone(), reason: reason.clone() })
    }

    /// Waits for the end of a copy that is under way.
    fn end_copy(&mut self) -> Result<(), StorageError> {
        self.copy.take().map_or(Ok(()), WalCopy::end)
    }

    fn stop_on_error(&mut self, result: Result<(), StorageError>) -> Result<(), StorageError> {
        result.inspect_err(|error| {
            self.stopped = Some(error.to_string());
            // Closing must not try again what just failed. Should this fail too, SQLite tries once more to copy
            // frames that had been fsynced before: harmless.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        })
    }

    fn empty_wal(&mut self) -> Result<(), StorageError> {
        empty_wal(&self.connection, &self.path)?;
        self.wal_pages = 0;
        Ok(())
    }
}

fn empty_wal(connection: &Connection, path: &Path) -> Result<(), StorageError> {
    if checkpoint_wal(connection, path, "TRUNCATE")? {
        return Err(StorageError::InUse { path: path.to_owned(), pid: None });
    }
    Ok(())
}

/// Whether a reader was in the way.
pub(super) fn checkpoint_wal(connection: &Connection, path: &Path, mode: &str) -> Result<bool, StorageError> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&sql, [], |row| row.get(0)).map_err(StorageError::database(path))
}

/// Makes the database under another name first: one that is there under its own is complete.
fn create(path: &Path, kind: &Kind) -> Result<(), StorageError> {
    let new = beside(path, ".new");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        remove_if_there(&beside(&new, suffix))?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(&new, flags, kind.cache_kib)?;
    let failed = StorageError::database(path);
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").map_err(&failed)?;
    use_wal(&connection, &new)?;
    let transaction = connection.transaction().map_err(&failed)?;
    transaction.execute_batch(META_SCHEMA).map_err(&failed)?;
    transaction.execute_batch(kind.schema).map_err(&failed)?;
    put_meta(&transaction, path, META_FORMAT, kind.format.to_string().as_bytes())?;
    transaction.commit().map_err(&failed)?;
    // Closing would do it too, but says nothing if it fails, and the WAL does not come along under the new name.
    empty_wal(&connection, path)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    fs::rename(&new, path).map_err(StorageError::io("create", path))?;
    path.parent().map_or(Ok(()), sync_dir)
}

pub(super) fn connect(path: &Path, flags: OpenFlags, cache_kib: u32) -> Result<Connection, StorageError> {
    let failed = StorageError::database(path);
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(path, flags, gather::vfs()).map_err(&failed)?;
    // SQLite opens a file that it may not write for reading, and fails later with less to say.
    if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) && connection.is_readonly("main").map_err(&failed)? {
        return Err(StorageError::ReadOnly { path: path.to_owned() });
    }
    let pragmas = format!(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
         PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = {WAL_BYTES_KEPT};
         PRAGMA cache_size = -{cache_kib}; PRAGMA temp_store = MEMORY;
         PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;"
    );
    connection.execute_batch(&pragmas).map_err(&failed)?;
    Ok(connection)
}

fn use_wal(connection: &Connection, path: &Path) -> Result<(), StorageError> {
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(StorageError::database(path))?;
    if mode == "wal" {
        return Ok(());
    }
    let source = std::io::Error::new(std::io::ErrorKind::Unsupported, "the file system does not support SQLite's WAL");
    Err(StorageError::io("write", path)(source))
}

/// Refuses a database of a newer format, of one that is read no longer, or of none.
pub(super) fn check_format(connection: &Connection, path: &Path, kind: &Kind) -> Result<(), StorageError> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'meta'";
    let has_meta: bool = connection.query_row(sql, [], |row| row.get(0)).map_err(StorageError::database(path))?;
    let value = if has_meta { meta(connection, path, META_FORMAT)? } else { None };
    let format = value.and_then(|value| String::from_utf8(value).ok()?.parse::<u64>().ok());
    match format {
        Some(found) if found > kind.format => {
            Err(StorageError::NewerFormat { path: path.to_owned(), found, supported: kind.format })
        }
        Some(found) if found < kind.format_min => {
            Err(StorageError::OlderFormat { path: path.to_owned(), found, oldest: kind.format_min })
        }
        Some(_) => Ok(()),
        None => Err(StorageError::corrupt(path, "it names no format")),
    }
}

/// Reads a value from the table `meta`.
pub(super) fn meta(connection: &Connection, path: &Path, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
    let mut statement = connection
        .prepare_cached("SELECT value, crc FROM meta WHERE key = ?1")
        .map_err(StorageError::database(path))?;
    let row = statement.query_row([key], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, u32>(1)?))).optional();
    match row.map_err(|error| unreadable(path, error, &format!("meta {key}")))? {
        Some((value, crc)) if crc != crc32(&[key.as_bytes(), &value]) => {
            Err(StorageError::corrupt(path, format!("the checksum of meta {key} is wrong")))
        }
        row => Ok(row.map(|(value, _)| value)),
    }
}

/// Writes a value to the table `meta`.
pub(super) fn put_meta(connection: &Connection, path: &Path, key: &str, value: &[u8]) -> Result<(), StorageError> {
    let put = || {
        connection.prepare_cached("INSERT OR REPLACE INTO meta (key, value, crc) VALUES (?1, ?2, ?3)")?.execute((
            key,
            value,
            crc32(&[key.as_bytes(), value]),
        ))
    };
    put().map(drop).map_err(StorageError::database(path))
}

/// CRC-32 over fields, each with its length, so that a byte that moved from one field to the next shows.
pub(super) fn crc32(fields: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    // A few bytes at a time take several times as long as many at once.
    let mut gathered = [0; 256];
    let mut length = 0;
    for field in fields {
        let bytes = (field.len() as u64).to_le_bytes();
        for part in [&bytes[..], field] {
            if length + part.len() > gathered.len() {
                hasher.update(&gathered[..length]);
                length = 0;
            }
            if part.len() > gathered.len() {
                hasher.update(part);
            } else {
                gathered[length..length + part.len()].copy_from_slice(part);
                length += part.len();
            }
        }
    }
    hasher.update(&gathered[..length]);
    hasher.finalize()
}

/// A column that does not hold what it must is corruption like any other.
pub(super) fn unreadable(path: &Path, error: rusqlite::Error, row: &str) -> StorageError {
    match error {
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => StorageError::corrupt(path, format!("{row}: {error}")),
        error => StorageError::database(path)(error),
    }
}

/// An integer column that may not be negative.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// The path with `suffix` after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Locks, whether or not a thread panicked while it held the lock: what is guarded here is never left half-changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection that cannot write.
pub(super) fn open_read_only(path: &Path) -> Result<Connection, StorageError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_is_built_with_a_page_cache_for_each_connection() {
        let sql = "SELECT count(*) FROM pragma_compile_options WHERE compile_options = 'ENABLE_MEMORY_MANAGEMENT'";
        let count = Connection::open_in_memory().and_then(|connection| connection.query_row(sql, [], |row| row.get(0)));
        assert_eq!(count, Ok(0), "`.cargo/config.toml` says otherwise");
    }

    #[test]
    fn a_checksum_is_that_of_all_lengths_and_bytes_one_behind_the_other() {
        let bytes: Vec<u8> = (0..2_000_u32).map(|number| (number * 7 % 251) as u8).collect();
        let lengths = [0, 1, 200, 47, 48, 49, 255, 256, 257, 1_000, 3, 248, 0];
        for count in 0..=lengths.len() {
            let fields: Vec<&[u8]> = lengths[..count].iter().map(|length| &bytes[..*length]).collect();
            let whole: Vec<u8> =
                fields.iter().flat_map(|field| [&(field.len() as u64).to_le_bytes(), *field].concat()).collect();
            assert_eq!(crc32(&fields), crc32fast::hash(&whole), "of {count} fields");
        }
    }
}
