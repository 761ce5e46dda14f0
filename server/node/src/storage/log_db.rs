//! The Raft log and the vote, in `log.db`.
//!
//! Writes are queued in order and carried out by one writer, everything that waits in one transaction; each call's
//! `done` says when its write is durable. Reads go past the queue and see what was reported as done.

use super::StorageError;
use super::database::{Database, Kind, lock, meta, unreadable, unsigned};
use super::log_index::LogIndex;
use super::log_queue::Op;
use super::log_run::LogRun;
use super::log_writer::{LogWriter, META_COMMITTED, META_VOTE, Shared, record_crc};
use super::readers::Readers;
use crate::seal::Seal;
use bytes::Bytes;
use rusqlite::{Connection, Row};
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

pub(super) const LOG: Kind = Kind {
    file: "log.db",
    format: 1,
    format_min: 1,
    schema: "CREATE TABLE log (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);",
    cache_kib: 16 << 10,
};

/// The last records, as many as are read and checked when the log is opened: they are what a crash could have hit.
const CHECKED_AT_OPEN: u64 = 64;

/// Called once, when a write is durable or has failed. Runs on the writer's thread, in the order of the calls, and
/// holds up every write behind it: it must be short, and must not call the [`LogDb`] again.
pub type Done = Box<dyn FnOnce(Result<(), io::Error>) + Send>;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Its index; one more than that of the record before.
    pub index: u64,
    /// The term in which it was made.
    pub term: u64,
    /// The entry, opaque to storage.
    pub body: Bytes,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The index.
    pub index: u64,
    /// The term of the record there.
    pub term: u64,
}

/// What was found when the log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRecovered {
    /// The last vote saved.
    pub vote: Option<Vec<u8>>,
    /// The last committed position written; may be older than the last one given.
    pub committed: Option<Vec<u8>>,
    /// The last record purged.
    pub purged: Option<LogPosition>,
    /// The last record, or the last one purged if there is none behind it.
    pub last: Option<LogPosition>,
}

/// The Raft log. Clones share it; the last one to go, or [`LogDb::close`], writes what still waits.
#[derive(Clone)]
pub struct LogDb {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    seal: Arc<Seal>,
    shared: Arc<Shared>,
    readers: Readers,
    writer: Mutex<Option<LogRun>>,
}

impl LogDb {
    /// Opens the log in `dir`, making it if it never was there, and starts its writer.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if a record is missing or one of the last ones is damaged,
    /// [`StorageError::NewerFormat`], [`StorageError::Missing`], or what SQLite and the file system refuse.
    pub fn open(dir: &Path) -> Result<(Self, LogRecovered), StorageError> {
        Self::open_sealed(dir, Seal::none())
    }

    /// The same of one whose bodies are sealed.
    ///
    /// # Errors
    /// As [`LogDb::open`], and [`StorageError::Sealed`] if one of the last records is sealed under a key that is not there.
    pub fn open_sealed(dir: &Path, seal: Arc<Seal>) -> Result<(Self, LogRecovered), StorageError> {
        Self::start(Database::open(dir, &LOG)?, seal)
    }

    pub(super) fn start(db: Database, seal: Arc<Seal>) -> Result<(Self, LogRecovered), StorageError> {
        let path = db.path().to_owned();
        let index = LogIndex::recover(db.connection(), &path)?;
        let recovered = recovered(db.connection(), &path, &seal, &index)?;
        db.forget_pages()?;
        let shared = Arc::new(Shared { index: Mutex::new(index), ..Shared::default() });
        let writer = LogWriter::new(db, Arc::clone(&shared), Arc::clone(&seal))?;
        let writer = LogRun::start(writer, &shared, &path)?;
        let readers = Readers::new(&path);
        let inner = Inner { path, seal, shared, readers, writer: Mutex::new(Some(writer)) };
        Ok((Self { inner: Arc::new(inner) }, recovered))
    }

    /// Appends records, the first right behind the last one there. Blocks while too much waits to be written.
    ///
    /// A gap fails this and every later write: what would follow could not be trusted.
    pub fn append(&self, records: Vec<LogRecord>, done: Done) {
        self.inner.shared.queue.push(Op::Append(records), done);
    }

    /// Saves the vote.
    pub fn save_vote(&self, vote: Vec<u8>, done: Done) {
        self.inner.shared.queue.push(Op::SaveVote(vote), done);
    }

    /// Notes how far the log is committed. It is written along with the next transaction: losing it costs nothing
    /// but that the state machine starts from an older position.
    pub fn save_committed(&self, committed: Vec<u8>) {
        self.inner.shared.queue.set_committed(committed);
    }

    /// Removes the records behind `index`, or all.
    pub fn truncate_after(&self, index: Option<u64>, done: Done) {
        self.inner.shared.queue.push(Op::TruncateAfter(index), done);
    }

    /// Forgets the records up to `upto`, which may lie behind the last one (the node got a snapshot). They are not
    /// seen any more once `done` was called; their room is given back little by little.
    pub fn purge(&self, upto: LogPosition, done: Done) {
        self.inner.shared.queue.push(Op::Purge(upto), done);
    }

    /// Reads the records from `from` on, before `to_exclusive`, of at most `max_bytes` together, but at least one if
    /// there is one. Blocks on the disk. Sees everything whose `done` was called.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if a record is damaged or missing between two others.
    pub fn read(&self, from: u64, to_exclusive: u64, max_bytes: usize) -> Result<Vec<LogRecord>, StorageError> {
        let purged = lock(&self.inner.shared.index).purged();
        let from = purged.map_or(from, |purged| from.max(purged.index + 1));
        let Inner { path, seal, readers, .. } = &*self.inner;
        readers.read(|connection| read(connection, (path, seal), from, to_exclusive, max_bytes))
    }

    /// The index to purge up to so that what stays is the longest tail of at most `bytes`; `None` if nothing need go.
    #[must_use]
    pub fn purge_index_keeping(&self, bytes: u64) -> Option<u64> {
        lock(&self.inner.shared.index).index_keeping(bytes)
    }

    /// Transactions committed since the log was opened: one fsync each.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.inner.shared.commits.load(Ordering::Relaxed)
    }

    /// Writes what waits and ends the writer. Other clones can still read; their writes fail.
    pub fn close(self) {
        self.inner.close();
    }
}

impl Inner {
    fn close(&self) {
        self.shared.queue.close();
        self.readers.close_idle();
        let writer = lock(&self.writer).take();
        if let Some(writer) = writer {
            writer.end(&self.path);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

fn recovered(
    connection: &Connection,
    path: &Path,
    seal: &Seal,
    index: &LogIndex,
) -> Result<LogRecovered, StorageError> {
    let mut last = index.purged();
    if let (Some(first), Some(end)) = (index.first(), index.last()) {
        let from = first.max(end.saturating_sub(CHECKED_AT_OPEN - 1));
        for at in from..=end {
            let record = read(connection, (path, seal), at, at + 1, 0)?.pop();
            last = record.map(|record| LogPosition { index: record.index, term: record.term });
        }
    }
    Ok(LogRecovered {
        vote: meta(connection, path, META_VOTE)?,
        committed: meta(connection, path, META_COMMITTED)?,
        purged: index.purged(),
        last,
    })
}

fn read(
    connection: &Connection,
    (path, seal): (&Path, &Seal),
    from: u64,
    to_exclusive: u64,
    max_bytes: usize,
) -> Result<Vec<LogRecord>, StorageError> {
    let failed = StorageError::database(path);
    let column = |index: u64| i64::try_from(index).unwrap_or(i64::MAX);
    let mut records: Vec<LogRecord> = Vec::new();
    let mut bytes = 0_usize;
    let mut statement = connection
        .prepare_cached("SELECT idx, term, crc, body FROM log WHERE idx >= ?1 AND idx < ?2 ORDER BY idx")
        .map_err(&failed)?;
    let mut rows = statement.query([column(from), column(to_exclusive)]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let expected = records.last().map(|last| last.index + 1);
        let stored = stored(row, path, || format!("log record {}", expected.unwrap_or(from)))?;
        if let Some(expected) = expected.filter(|&expected| expected != stored.index) {
            return Err(StorageError::corrupt(path, format!("log record {expected} is missing")));
        }
        let record = opened(stored, seal, path)?;
        bytes = bytes.saturating_add(record.body.len());
        if bytes > max_bytes && !records.is_empty() {
            break;
        }
        records.push(record);
    }
    Ok(records)
}

/// A record as it is written, if its checksum is right. `which` it is expected to be stands in errors.
pub(super) fn stored(row: &Row<'_>, path: &Path, which: impl FnOnce() -> String) -> Result<LogRecord, StorageError> {
    let decode = || {
        let body = Bytes::copy_from_slice(row.get_ref(3)?.as_blob()?);
        Ok((LogRecord { index: unsigned(row, 0)?, term: unsigned(row, 1)?, body }, row.get::<_, u32>(2)?))
    };
    let (record, crc) = decode().map_err(|error| unreadable(path, error, &which()))?;
    if crc == record_crc(record.index, record.term, &record.body) {
        return Ok(record);
    }
    Err(StorageError::corrupt(path, format!("the checksum of log record {} is wrong", record.index)))
}

/// The record that was written so.
pub(super) fn opened(stored: LogRecord, seal: &Seal, path: &Path) -> Result<LogRecord, StorageError> {
    let LogRecord { index, term, body } = stored;
    let opened = match seal
        .open(&place(index, term).each(), &body)
        .map_err(StorageError::unopened(path, || format!("log record {index}")))?
    {
        Cow::Owned(opened) => Some(opened.into()),
        Cow::Borrowed(_) => None,
    };
    Ok(LogRecord { index, term, body: opened.unwrap_or(body) })
}

/// A record's body as it is to be written.
pub(super) fn sealed<'a>(record: &'a LogRecord, seal: &Seal) -> Cow<'a, [u8]> {
    seal.seal(&place(record.index, record.term).each(), &record.body)
}

/// Where a record's body belongs.
struct LogPlace([u8; 8], [u8; 8]);

fn place(index: u64, term: u64) -> LogPlace {
    LogPlace(index.to_be_bytes(), term.to_be_bytes())
}

impl LogPlace {
    fn each(&self) -> [&[u8]; 3] {
        [b"log", &self.0, &self.1]
    }
}
