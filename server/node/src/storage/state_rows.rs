//! The rows of `state.db`: how jobs and the small tables' items become columns, each row with its checksum.

use super::StorageError;
use super::database::{crc32, meta, unreadable};
use super::state_db::META_HEADER;
use jobraft_core::command::{JobRow, Row as Item};
use jobraft_protocol::{JobId, LogTime};
use rusqlite::{Connection, Row, Transaction};
use std::path::Path;
use uuid::Uuid;

/// What [`checked_job`] reads, in its order.
pub(super) const JOB_COLUMNS: &str = "id, queue, state, live, enqueued_at, finished_at, crc, body";

/// A row of `jobs` whose checksum is right.
pub(super) struct Job<'a> {
    id: &'a [u8],
    finished_at: Option<i64>,
    pub(super) body: &'a [u8],
}

impl Job<'_> {
    /// When it ended, if it did.
    pub(super) fn finished_at(&self) -> Option<LogTime> {
        self.finished_at.map(|at| LogTime::from_ms(at.cast_unsigned()))
    }

    pub(super) fn id(&self, path: &Path) -> Result<JobId, StorageError> {
        let id = Uuid::from_slice(self.id).ok().and_then(|uuid| JobId::from_uuid(uuid).ok());
        id.ok_or_else(|| StorageError::corrupt(path, "a job's id is no UUID of version 7"))
    }
}

pub(super) fn checked_job<'a>(row: &'a Row<'_>, path: &Path) -> Result<Job<'a>, StorageError> {
    let read = || {
        let job = Job { id: row.get_ref(0)?.as_blob()?, finished_at: row.get(5)?, body: row.get_ref(7)?.as_blob()? };
        let (queue, state) = (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?);
        let crc = job_crc(job.id, queue, state, row.get(3)?, row.get(4)?, job.finished_at, job.body);
        Ok((crc == row.get::<_, u32>(6)?, job))
    };
    match read().map_err(|error| unreadable(path, error, "a job's row"))? {
        (true, job) => Ok(job),
        (false, job) => {
            let id = Uuid::from_slice(job.id).map_or_else(|_| "without an id".to_owned(), |id| id.to_string());
            Err(StorageError::corrupt(path, format!("the checksum of job {id} is wrong")))
        }
    }
}

pub(super) fn checked_item<'a>(row: &'a Row<'_>, path: &Path) -> Result<(&'a str, &'a [u8]), StorageError> {
    let read = || {
        let (kind, key) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        let body = row.get_ref(3)?.as_blob()?;
        Ok((kind, key, body, row.get::<_, u32>(2)?))
    };
    let (kind, key, body, crc) = read().map_err(|error| unreadable(path, error, "an item's row"))?;
    if crc == crc32(&[kind.as_bytes(), key.as_bytes(), body]) {
        return Ok((key, body));
    }
    Err(StorageError::corrupt(path, format!("the checksum of {kind} {key:?} is wrong")))
}

fn job_crc(
    id: &[u8],
    queue: &str,
    state: &str,
    live: bool,
    enqueued_at: i64,
    finished_at: Option<i64>,
    body: &[u8],
) -> u32 {
    let finished_at = finished_at.map(i64::to_le_bytes);
    let finished_at = finished_at.as_ref().map_or(&[][..], |bytes| bytes);
    let fields =
        [id, queue.as_bytes(), state.as_bytes(), &[u8::from(live)], &enqueued_at.to_le_bytes(), finished_at, body];
    crc32(&fields)
}

/// Log time as a column. The end of time for SQLite comes before that of log time.
pub(super) fn column_time(at: LogTime) -> i64 {
    i64::try_from(at.as_ms()).unwrap_or(i64::MAX)
}

pub(super) fn put_jobs(transaction: &Transaction<'_>, jobs: &[JobRow]) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO jobs (id, queue, state, live, enqueued_at, finished_at, crc, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (id) DO UPDATE SET queue = excluded.queue, state = excluded.state, live = excluded.live,
             enqueued_at = excluded.enqueued_at, finished_at = excluded.finished_at, crc = excluded.crc,
             body = excluded.body",
    )?;
    for job in jobs {
        let (id, queue, state, live) =
            (&job.id.as_bytes()[..], job.queue.as_str(), job.state.as_str(), !job.state.is_terminal());
        let (enqueued_at, finished_at) = (column_time(job.enqueued_at), job.finished_at.map(column_time));
        let crc = job_crc(id, queue, state, live, enqueued_at, finished_at, &job.body);
        put.execute((id, queue, state, live, enqueued_at, finished_at, crc, &job.body))?;
    }
    Ok(())
}

pub(super) fn put_items(transaction: &Transaction<'_>, rows: &[Item]) -> rusqlite::Result<()> {
    for row in rows {
        let (kind, key) = (row.table.as_str(), row.key.as_str());
        match &row.body {
            Some(body) => transaction
                .prepare_cached("INSERT OR REPLACE INTO items (kind, key, crc, body) VALUES (?1, ?2, ?3, ?4)")?
                .execute((kind, key, crc32(&[kind.as_bytes(), key.as_bytes(), body]), body))?,
            None => {
                transaction.prepare_cached("DELETE FROM items WHERE kind = ?1 AND key = ?2")?.execute((kind, key))?
            }
        };
    }
    Ok(())
}

/// Checks the checksum of every row.
pub(super) fn check_rows(connection: &Connection, path: &Path) -> Result<(), StorageError> {
    let failed = StorageError::database(path);
    let mut statement = connection.prepare(&format!("SELECT {JOB_COLUMNS} FROM jobs")).map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        checked_job(row, path)?;
    }
    let mut statement = connection.prepare("SELECT kind, key, crc, body FROM items").map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        checked_item(row, path)?;
    }
    meta(connection, path, META_HEADER).map(drop)
}
