//! The writer of the log: everything that waits becomes one transaction and one fsync.
//!
//! Upkeep rides along: purged records are removed, and room is given back to the file system, a little with each
//! transaction, or in transactions of its own when nothing waits.

use super::database::{Database, crc32, lock, put_meta};
use super::log_db::sealed;
use super::log_index::{LogIndex, META_PURGED, encode_position};
use super::log_queue::{Batch, Failure, LogQueue, Op};
use super::room::{Room, give_back};
use super::{LogRecord, StorageError};
use crate::seal::Seal;
use rusqlite::{Connection, Transaction};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Free pages that the file keeps for what is appended next.
const FREE_PAGES_KEPT: u64 = 4096;
/// Pages given back per transaction, which writes nothing else.
const VACUUM_PAGES: u64 = 64;
/// One part of the time in so many goes into that. To find one page among many free ones SQLite looks at all of them: a burst
/// of a million jobs leaves work for seconds.
const VACUUM_SHARE: u32 = 20;
/// Pages that a transaction touches apart from bodies: the last leaf, its parent, `meta`, the list of free pages.
const PAGES_PER_COMMIT: u64 = 4;
const PAGE_BYTES: u64 = 4096;
/// What a record takes beyond its body, roughly.
const RECORD_OVERHEAD_BYTES: u64 = 24;

pub(super) const META_VOTE: &str = "vote";
pub(super) const META_COMMITTED: &str = "committed";

/// What the writer shares with everyone who holds the log.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) queue: LogQueue,
    pub(super) index: Mutex<LogIndex>,
    pub(super) commits: AtomicU64,
}

pub(super) struct LogWriter {
    db: Database,
    seal: Arc<Seal>,
    shared: Arc<Shared>,
    /// When to give room back next, if nothing waits then; `None`: not to.
    shrinks_at: Option<Instant>,
    /// Dropped last.
    _end: StopOnEnd,
}

/// A batch that is durable.
pub(super) struct Written {
    batch: Batch,
    settling: Settling,
}

/// What is left to do after a transaction.
pub(super) enum Settling {
    /// The WAL has so many pages more.
    Pages(u64),
    /// The file has become shorter.
    All,
}

impl Written {
    /// Tells those who wait.
    pub(super) fn tell(self) -> Settling {
        self.batch.ops.into_iter().for_each(|(_, done)| done(Ok(())));
        self.settling
    }
}

/// However the writer ends, nobody waits for it any longer.
struct StopOnEnd(Arc<Shared>);

impl Drop for StopOnEnd {
    fn drop(&mut self) {
        let reason = "the log is closed".to_owned();
        self.0.queue.stop(Failure { kind: io::ErrorKind::Other, reason }, Vec::new());
    }
}

impl LogWriter {
    pub(super) fn new(db: Database, shared: Arc<Shared>, seal: Arc<Seal>) -> Result<Self, StorageError> {
        let end = StopOnEnd(Arc::clone(&shared));
        // A former process may have left it longer than it need be.
        let shrinks_at = has_room_to_give(db.connection(), db.path())?.then(Instant::now);
        Ok(Self { db, seal, shared, shrinks_at, _end: end })
    }

    /// Writes until the log is closed or a write fails.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.shared.queue.take(self.patience()) {
            let Some(written) = self.write_or_stop(batch) else { return };
            let settling = written.tell();
            if !self.settle(settling) {
                return;
            }
        }
        self.close();
    }

    /// How long there is nothing to do but what is asked; `None`: for good.
    pub(super) fn patience(&self) -> Option<Duration> {
        if lock(&self.shared.index).has_garbage() {
            return Some(Duration::ZERO);
        }
        self.shrinks_at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Writes a batch durably; those who wait for it are to be told next. `None` if it failed: they know, and nothing
    /// more can be written.
    pub(super) fn write_or_stop(&mut self, batch: Batch) -> Option<Written> {
        let was_shrinking = self.shrinks_at.is_some();
        match self.write(&batch) {
            Ok(pages) => {
                self.shared.commits.fetch_add(1, Ordering::Relaxed);
                // Only then is the file as short as it was made, and it may be long until the next write.
                let settling =
                    if was_shrinking && self.shrinks_at.is_none() { Settling::All } else { Settling::Pages(pages) };
                Some(Written { batch, settling })
            }
            Err(error) => {
                self.stop(error, batch);
                None
            }
        }
    }

    /// Copies the WAL if it is time to, and says whether more can be written.
    pub(super) fn settle(&mut self, settling: Settling) -> bool {
        let copied = match settling {
            Settling::All => self.db.settle(),
            Settling::Pages(pages) => self.db.wrote_pages(pages),
        };
        copied.map_err(|error| self.stop(error, Batch::default())).is_ok()
    }

    /// Closes the log's database, after all has been written.
    pub(super) fn close(self) {
        if let Err(error) = self.db.close() {
            tracing::warn!(%error, "the log was closed without copying its WAL; the next start does it");
        }
    }

    fn stop(&self, error: StorageError, batch: Batch) {
        tracing::error!(%error, "the log takes no more writes");
        let error = io::Error::from(error);
        let failure = Failure { kind: error.kind(), reason: error.to_string() };
        self.shared.queue.stop(failure, batch.ops);
    }

    /// Writes a batch durably, and says about how many pages that took.
    fn write(&mut self, batch: &Batch) -> Result<u64, StorageError> {
        let path = self.db.path().to_owned();
        let mut change = Change { path: &path, seal: &self.seal, shared: &self.shared, pages: PAGES_PER_COMMIT };
        let shrinks_at = &mut self.shrinks_at;
        self.db.write(|transaction| {
            batch.ops.iter().try_for_each(|(op, _)| change.apply(transaction, op))?;
            if let Some(committed) = &batch.committed {
                put_meta(transaction, &path, META_COMMITTED, committed)?;
            }
            let collected = change.collect_garbage(transaction)?;
            match *shrinks_at {
                Some(at) if batch.ops.is_empty() && at <= Instant::now() => {
                    let began = Instant::now();
                    let goes_on = change.shrink(transaction)?;
                    *shrinks_at = goes_on.then(|| Instant::now() + began.elapsed() * VACUUM_SHARE);
                }
                None if collected && has_room_to_give(transaction, &path)? => *shrinks_at = Some(Instant::now()),
                _ => {}
            }
            Ok(())
        })?;
        Ok(change.pages)
    }
}

/// One transaction in the making. The index is changed along with it: should the transaction fail, nothing is
/// written after it.
struct Change<'a> {
    path: &'a Path,
    seal: &'a Seal,
    shared: &'a Shared,
    pages: u64,
}

impl Change<'_> {
    fn apply(&mut self, transaction: &Transaction<'_>, op: &Op) -> Result<(), StorageError> {
        let failed = StorageError::database(self.path);
        match op {
            Op::Append(records) => self.append(transaction, records),
            Op::SaveVote(vote) => put_meta(transaction, self.path, META_VOTE, vote),
            Op::TruncateAfter(index) => {
                lock(&self.shared.index).truncate_after(*index);
                // An index that does not fit is beyond every record.
                let first_gone = index.map_or(0, |index| index.saturating_add(1));
                let first_gone = i64::try_from(first_gone).unwrap_or(i64::MAX);
                transaction.execute("DELETE FROM log WHERE idx >= ?1", [first_gone]).map(drop).map_err(failed)
            }
            Op::Purge(upto) => {
                self.column(upto.index)?;
                if lock(&self.shared.index).purge(*upto).map_err(|what| self.refused(what))? {
                    put_meta(transaction, self.path, META_PURGED, &encode_position(*upto))?;
                }
                Ok(())
            }
        }
    }

    fn append(&mut self, transaction: &Transaction<'_>, records: &[LogRecord]) -> Result<(), StorageError> {
        let failed = StorageError::database(self.path);
        let mut insert = transaction
            .prepare_cached("INSERT INTO log (idx, term, crc, body) VALUES (?1, ?2, ?3, ?4)")
            .map_err(&failed)?;
        let mut bytes = 0;
        for record in records {
            let (at, term) = (self.column(record.index)?, self.column(record.term)?);
            let body = sealed(record, self.seal);
            let size = u32::try_from(body.len()).map_err(|_| self.refused("a record of over 4 GiB"))?;
            // Locked for this alone: readers ask the index too.
            lock(&self.shared.index).append(record.index, size).map_err(|what| self.refused(what))?;
            let crc = record_crc(record.index, record.term, &body);
            insert.execute((at, term, crc, &body[..])).map_err(&failed)?;
            bytes += u64::from(size) + RECORD_OVERHEAD_BYTES;
        }
        self.pages += bytes / PAGE_BYTES;
        Ok(())
    }

    fn collect_garbage(&mut self, transaction: &Transaction<'_>) -> Result<bool, StorageError> {
        let Some(upto) = lock(&self.shared.index).take_garbage() else { return Ok(false) };
        let upto = self.column(upto)?;
        transaction
            .prepare_cached("DELETE FROM log WHERE idx <= ?1")
            .and_then(|mut delete| delete.execute([upto]))
            .map_err(StorageError::database(self.path))?;
        Ok(true)
    }

    /// Gives pages back, and says whether there are more than appends will need anyway.
    fn shrink(&mut self, transaction: &Transaction<'_>) -> Result<bool, StorageError> {
        let failed = StorageError::database(self.path);
        give_back(transaction, VACUUM_PAGES).map_err(&failed)?;
        self.pages += VACUUM_PAGES;
        let room = Room::of(transaction).map_err(failed)?;
        Ok(room.free > FREE_PAGES_KEPT.max(room.used()))
    }

    fn column(&self, value: u64) -> Result<i64, StorageError> {
        i64::try_from(value).map_err(|_| self.refused(format!("{value} is no index and no term")))
    }

    fn refused(&self, what: impl Into<String>) -> StorageError {
        StorageError::Refused { path: self.path.to_owned(), what: what.into() }
    }
}

/// Whether far more pages are free than are in use, and more than a log takes and frees again from one purge to the next: what is
/// given back then is taken again at once.
fn has_room_to_give(connection: &Connection, path: &Path) -> Result<bool, StorageError> {
    let room = Room::of(connection).map_err(StorageError::database(path))?;
    Ok(room.free > FREE_PAGES_KEPT && room.free > 2 * room.used())
}

pub(super) fn record_crc(index: u64, term: u64, body: &[u8]) -> u32 {
    crc32(&[&index.to_le_bytes(), &term.to_le_bytes(), body])
}
