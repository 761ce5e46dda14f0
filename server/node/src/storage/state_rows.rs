//! The rows of `state.db`: how jobs and the small tables' items become columns, each row with its checksum.

use super::StorageError;
use super::backlog::{self, Leaving, put_backlog};
use super::completed::{put_completed, remove_completed};
use super::database::{crc32, meta, unreadable};
use super::runs::{Holds, RunJob, check_runs};
use super::state_db::META_HEADER;
use crate::seal::Seal;
use jobraft_core::command::{JobRow, Row as Item};
use jobraft_protocol::{JobId, JobState, LogTime, Namespace, UniqueKey};
use rusqlite::{Connection, Row, Statement, Transaction, params};
use std::borrow::Cow;
use std::path::Path;
use uuid::Uuid;

/// What [`checked_job`] reads, in its order.
pub(super) const JOB_COLUMNS: &str =
    "id, queue, space, state, live, enqueued_at, finished_at, ended_seq, task, key, batch, error, crc, body";

/// The steps of a live job change neither its queue nor its key nor its batch. What is not named here SQLite leaves alone, with the
/// indexes by it. A row in which one of them did change, or whose job had ended, is not touched.
const PUT_STEP: &str = "INSERT INTO jobs
         (id, queue, space, state, live, enqueued_at, finished_at, ended_seq, task, key, batch, error, crc, body)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
     ON CONFLICT (id) DO UPDATE SET state = excluded.state, enqueued_at = excluded.enqueued_at,
         finished_at = excluded.finished_at, ended_seq = excluded.ended_seq, task = excluded.task,
         error = excluded.error, crc = excluded.crc, body = excluded.body
     WHERE live = 1 AND queue = excluded.queue AND key IS excluded.key AND batch IS excluded.batch";

const PUT_JOB: &str =
    "INSERT INTO jobs
         (id, queue, space, state, live, enqueued_at, finished_at, ended_seq, task, key, batch, error, crc, body)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
     ON CONFLICT (id) DO UPDATE SET queue = excluded.queue, space = excluded.space, state = excluded.state, live = excluded.live,
         enqueued_at = excluded.enqueued_at, finished_at = excluded.finished_at, ended_seq = excluded.ended_seq,
         task = excluded.task, key = excluded.key, batch = excluded.batch, error = excluded.error, crc = excluded.crc,
         body = excluded.body";

/// The columns of a job's row but for its checksum.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    id: &'a [u8],
    queue: &'a str,
    /// See [`space_of`].
    space: Option<&'a str>,
    state: &'a str,
    live: bool,
    enqueued_at: i64,
    finished_at: Option<i64>,
    ended_seq: Option<i64>,
    task: &'a str,
    key: Option<&'a str>,
    batch: Option<&'a [u8]>,
    error: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl Job<'_> {
    pub(super) fn id(&self, path: &Path) -> Result<JobId, StorageError> {
        read_id(self.id, path)
    }

    /// When it ended, if it did.
    pub(super) fn finished_at(&self) -> Option<LogTime> {
        self.finished_at.map(|at| LogTime::from_ms(at.cast_unsigned()))
    }

    fn put(&self, statement: &mut Statement<'_>) -> rusqlite::Result<usize> {
        let Self { id, queue, space, state, live, enqueued_at, finished_at, ended_seq, task, key, batch, error, body } =
            self;
        let crc = self.crc();
        statement.execute(params![
            id,
            queue,
            space,
            state,
            live,
            enqueued_at,
            finished_at,
            ended_seq,
            task,
            key,
            batch,
            error,
            crc,
            body
        ])
    }

    /// What was written as its body.
    pub(super) fn open(&self, seal: &Seal, path: &Path) -> Result<Cow<'_, [u8]>, StorageError> {
        let unopened = StorageError::unopened(path, || "a job".to_owned());
        seal.open(&job_place(self.id), self.body).map_err(unopened)
    }

    /// The checksum and the body of the same with this body, as it is written.
    pub(super) fn sealed(&self, opened: &[u8], seal: &Seal) -> (u32, Vec<u8>) {
        let body = seal.seal(&job_place(self.id), opened);
        let crc = Job { body: &body, ..*self }.crc();
        (crc, body.into_owned())
    }

    fn crc(&self) -> u32 {
        let number = |number: Option<i64>| number.unwrap_or(0).to_le_bytes();
        let there = [
            self.space.is_some(),
            self.finished_at.is_some(),
            self.ended_seq.is_some(),
            self.key.is_some(),
            self.batch.is_some(),
            self.error.is_some(),
        ];
        crc32(&[
            self.id,
            self.queue.as_bytes(),
            self.space.unwrap_or_default().as_bytes(),
            self.state.as_bytes(),
            &[u8::from(self.live)],
            &there.map(u8::from),
            &self.enqueued_at.to_le_bytes(),
            &number(self.finished_at),
            &number(self.ended_seq),
            self.task.as_bytes(),
            self.key.unwrap_or_default().as_bytes(),
            self.batch.unwrap_or_default(),
            self.error.unwrap_or_default().as_bytes(),
            self.body,
        ])
    }
}

/// Where a job's body belongs.
fn job_place(id: &[u8]) -> [&[u8]; 2] {
    [b"job", id]
}

/// Where an item's body belongs.
fn item_place<'a>(kind: &'a str, key: &'a str) -> [&'a [u8]; 3] {
    [b"item", kind.as_bytes(), key.as_bytes()]
}

/// What was written as an item's body.
pub(super) fn open_item<'a>(
    kind: &str,
    key: &str,
    body: &'a [u8],
    seal: &Seal,
    path: &Path,
) -> Result<Cow<'a, [u8]>, StorageError> {
    let unopened = StorageError::unopened(path, || format!("{kind} {key:?}"));
    seal.open(&item_place(kind, key), body).map_err(unopened)
}

/// The checksum and the body of an item with this body, as it is written.
pub(super) fn sealed_item<'a>(kind: &str, key: &str, opened: &'a [u8], seal: &Seal) -> (u32, Cow<'a, [u8]>) {
    let body = seal.seal(&item_place(kind, key), opened);
    (item_crc(kind, key, &body), body)
}

fn item_crc(kind: &str, key: &str, body: &[u8]) -> u32 {
    crc32(&[kind.as_bytes(), key.as_bytes(), body])
}

/// A job's id as it stands in its column.
pub(super) fn read_id(id: &[u8], path: &Path) -> Result<JobId, StorageError> {
    let id = Uuid::from_slice(id).ok().and_then(|uuid| JobId::from_uuid(uuid).ok());
    id.ok_or_else(|| StorageError::corrupt(path, "a job's id is no UUID of version 7"))
}

/// The job in a row of [`JOB_COLUMNS`], if its checksum is right.
pub(super) fn checked_job<'a>(row: &'a Row<'_>, path: &Path) -> Result<Job<'a>, StorageError> {
    let read = || {
        let job = Job {
            id: row.get_ref(0)?.as_blob()?,
            queue: row.get_ref(1)?.as_str()?,
            space: row.get_ref(2)?.as_str_or_null()?,
            state: row.get_ref(3)?.as_str()?,
            live: row.get(4)?,
            enqueued_at: row.get(5)?,
            finished_at: row.get(6)?,
            ended_seq: row.get(7)?,
            task: row.get_ref(8)?.as_str()?,
            key: row.get_ref(9)?.as_str_or_null()?,
            batch: row.get_ref(10)?.as_blob_or_null()?,
            error: row.get_ref(11)?.as_str_or_null()?,
            body: row.get_ref(13)?.as_blob()?,
        };
        Ok((job.crc() == row.get::<_, u32>(12)?, job))
    };
    match read().map_err(|error| unreadable(path, error, "a job's row"))? {
        (true, job) => Ok(job),
        (false, job) => {
            let id = Uuid::from_slice(job.id).map_or_else(|_| "without an id".to_owned(), |id| id.to_string());
            Err(StorageError::corrupt(path, format!("the checksum of job {id} is wrong")))
        }
    }
}

/// Kind, key and body of an item, if its checksum is right.
pub(super) fn checked_item<'a>(row: &'a Row<'_>, path: &Path) -> Result<(&'a str, &'a str, &'a [u8]), StorageError> {
    let read = || {
        let (kind, key) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?);
        let body = row.get_ref(3)?.as_blob()?;
        Ok((kind, key, body, row.get::<_, u32>(2)?))
    };
    let (kind, key, body, crc) = read().map_err(|error| unreadable(path, error, "an item's row"))?;
    if crc == item_crc(kind, key, body) {
        return Ok((kind, key, body));
    }
    Err(StorageError::corrupt(path, format!("the checksum of {kind} {key:?} is wrong")))
}

/// Log time as a column.
pub(super) fn column_time(at: LogTime) -> i64 {
    column_number(at.as_ms())
}

/// A number as a column. SQLite's end before ours, but no time and no count gets there.
pub(super) fn column_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The namespace of a queue as a column: none for the default one, so that no index of others has its jobs.
pub(super) fn space_of(queue: &str) -> Option<&str> {
    let space = Namespace::name_of(queue);
    (space != Namespace::DEFAULT).then_some(space)
}

/// Whether a job's row is to be in a run.
pub(super) fn is_in_run(row: &JobRow) -> bool {
    row.state == JobState::Completed || backlog::belongs(row)
}

/// Writes jobs: those that are completed and those that begin to wait to runs, the others each to a row of its own.
pub(super) fn put_jobs(
    transaction: &Transaction<'_>,
    jobs: &[JobRow],
    seal: &Seal,
    path: &Path,
) -> Result<(), StorageError> {
    let is_completed = |row: &JobRow| row.state == JobState::Completed;
    let mut leaving = Leaving::new(transaction, seal, path)?;
    for row in jobs.iter().filter(|row| row.rests) {
        if !leaving.take(row.id)? && is_completed(row) {
            remove_row(transaction, row.id, path)?;
        }
    }
    leaving.finish()?;
    let completed: Vec<_> = jobs.iter().filter(|row| is_completed(row)).collect();
    put_completed(transaction, &completed, seal, path)?;
    let ready: Vec<_> = jobs.iter().filter(|row| backlog::belongs(row)).collect();
    put_backlog(transaction, &ready, seal, path)?;
    let others = jobs.iter().filter(|row| !is_in_run(row));
    put_rows(transaction, others, seal).map_err(StorageError::database(path))
}

fn put_rows<'a>(
    transaction: &Transaction<'_>,
    jobs: impl Iterator<Item = &'a JobRow>,
    seal: &Seal,
) -> rusqlite::Result<()> {
    let mut put_step = transaction.prepare_cached(PUT_STEP)?;
    let mut put = transaction.prepare_cached(PUT_JOB)?;
    for row in jobs {
        let body = seal.seal(&job_place(row.id.as_bytes()), &row.body);
        let job = Job {
            id: row.id.as_bytes(),
            queue: row.queue.as_str(),
            space: space_of(row.queue.as_str()),
            state: row.state.as_str(),
            live: !row.state.is_terminal(),
            enqueued_at: column_time(row.enqueued_at),
            finished_at: row.finished_at.map(column_time),
            ended_seq: row.ended_seq.map(column_number),
            task: &row.task,
            key: row.key.as_ref().map(UniqueKey::as_str),
            batch: row.batch.as_ref().map(|batch| &batch.0.as_bytes()[..]),
            error: row.error.as_deref(),
            body: &body,
        };
        if !job.live || job.put(&mut put_step)? == 0 {
            job.put(&mut put)?;
        }
    }
    Ok(())
}

/// Gives a job of the backlog a row of its own.
pub(super) fn put_ready_job(
    transaction: &Transaction<'_>,
    queue: &str,
    job: &RunJob<'_>,
    seal: &Seal,
) -> rusqlite::Result<()> {
    let job = Job {
        id: job.id.as_bytes(),
        queue,
        space: space_of(queue),
        state: JobState::Ready.as_str(),
        live: true,
        enqueued_at: column_time(job.enqueued_at),
        finished_at: None,
        ended_seq: None,
        task: job.task,
        key: job.key,
        batch: job.batch,
        error: job.error,
        body: &seal.seal(&job_place(job.id.as_bytes()), job.body),
    };
    job.put(&mut *transaction.prepare_cached(PUT_JOB)?).map(drop)
}

/// Removes the rows of these jobs, as far as there are any.
pub(super) fn remove_jobs(
    transaction: &Transaction<'_>,
    jobs: &[JobId],
    seal: &Seal,
    path: &Path,
) -> Result<(), StorageError> {
    let mut leaving = Leaving::new(transaction, seal, path)?;
    for id in jobs {
        if !leaving.take(*id)? {
            remove_row(transaction, *id, path)?;
        }
    }
    leaving.finish()?;
    remove_completed(transaction, jobs, seal, path)
}

fn remove_row(transaction: &Transaction<'_>, id: JobId, path: &Path) -> Result<(), StorageError> {
    let sql = "DELETE FROM jobs WHERE id = ?1";
    let removed = transaction.prepare_cached(sql).and_then(|mut remove| remove.execute([&id.as_bytes()[..]]));
    removed.map(drop).map_err(StorageError::database(path))
}

pub(super) fn put_items(transaction: &Transaction<'_>, rows: &[Item], seal: &Seal) -> rusqlite::Result<()> {
    for row in rows {
        let (kind, key) = (row.table.as_str(), row.key.as_str());
        match &row.body {
            Some(body) => {
                let (crc, body) = sealed_item(kind, key, body, seal);
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO items (kind, key, crc, body) VALUES (?1, ?2, ?3, ?4)")?
                    .execute((kind, key, crc, body))?
            }
            None => {
                transaction.prepare_cached("DELETE FROM items WHERE kind = ?1 AND key = ?2")?.execute((kind, key))?
            }
        };
    }
    Ok(())
}

/// Checks the checksum of every row, and that what is sealed can be opened.
pub(super) fn check_rows(connection: &Connection, path: &Path, seal: &Seal) -> Result<(), StorageError> {
    let failed = StorageError::database(path);
    let mut statement = connection.prepare(&format!("SELECT {JOB_COLUMNS} FROM jobs")).map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        seal.check(checked_job(row, path)?.body).map_err(StorageError::unopened(path, || "a job".to_owned()))?;
    }
    check_runs(connection, Holds::Completed, path, seal)?;
    check_runs(connection, Holds::Ready, path, seal)?;
    let mut statement = connection.prepare("SELECT kind, key, crc, body FROM items").map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        seal.check(checked_item(row, path)?.2).map_err(StorageError::unopened(path, || "a row".to_owned()))?;
    }
    meta(connection, path, META_HEADER).map(drop)
}
