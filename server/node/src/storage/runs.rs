//! Completed jobs in `state.db`. They are most of what is ever written there, and never change again: many of a queue share
//! one row, a *run*, in the order of their ids. A row of `completed` for each says which run has it (ADR 0035).
//!
//! A run goes as a whole when retention is over for the last of it. What is deleted or pinned is rare: then the run is
//! written anew.

use super::StorageError;
use super::database::{crc32, unreadable, unsigned};
use super::state_rows::{column_number, column_time, space_of};
use crate::seal::Seal;
use jobraft_core::command::JobRow;
use jobraft_protocol::{JobFilter, JobId, JobState, LogTime, QueueName, UniqueKey};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, params};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;
use uuid::Uuid;

/// Jobs in a run: to read one of them all are read.
const JOBS_MAX: usize = 64;
/// Bytes of a run, but for one job.
const BYTES_MAX: usize = 64 << 10;
/// With what its bytes begin.
const FORMAT: u8 = 1;
const ID_BYTES: usize = 16;

/// What [`Run::read`] reads, in its order.
pub(super) const RUN_COLUMNS: &str = "run, queue, ended_seq, finished_at, crc, body";

/// The run that has a job.
const RUN_OF_JOB: &str = "SELECT run, queue, ended_seq, finished_at, crc, body
     FROM completed LEFT JOIN runs USING (run) WHERE id = ?1";

/// Places of a full run of jobs without a key or a batch.
static PUT_FULL_RUN: LazyLock<String> = LazyLock::new(|| {
    let rows: Vec<_> = (3..3 + JOBS_MAX).map(|id| format!("(?{id}, ?1, ?2)")).collect();
    format!("INSERT INTO completed (id, run, space) VALUES {}", rows.join(", "))
});

/// A run as it was read.
pub(super) struct Run {
    pub(super) number: i64,
    queue: String,
    /// The number and time of the last to end.
    pub(super) last: (u64, LogTime),
    /// Its format and its jobs, one behind the other.
    bytes: Vec<u8>,
    /// Where each begins, and the last ends.
    bounds: Vec<usize>,
    /// Whether it is sealed as it would be now.
    pub(super) is_current: bool,
}

/// A job in a run.
#[derive(Clone, Copy)]
pub(super) struct Completed<'a> {
    pub(super) id: JobId,
    pub(super) finished_at: LogTime,
    pub(super) ended_seq: u64,
    enqueued_at: LogTime,
    task: &'a str,
    key: Option<&'a str>,
    batch: Option<&'a [u8]>,
    error: Option<&'a str>,
    pub(super) body: &'a [u8],
    /// All of this, as it stands in the run.
    bytes: &'a [u8],
}

impl Completed<'_> {
    /// Whether a filter wants it, given that it is of this queue.
    fn is_wanted(&self, filter: &JobFilter, queue: &str) -> bool {
        let JobFilter { queues, namespace, states, task, key, batch, enqueued_from, enqueued_before, error } = filter;
        (queues.is_empty() || queues.iter().any(|wanted| QueueName::as_str(wanted) == queue))
            && namespace.as_ref().is_none_or(|namespace| namespace.local(queue).is_some())
            && (states.is_empty() || states.contains(&JobState::Completed))
            && task.as_ref().is_none_or(|task| task == self.task)
            && key.as_ref().is_none_or(|key| Some(key.as_str()) == self.key)
            && batch.is_none_or(|batch| Some(&batch.0.as_bytes()[..]) == self.batch)
            && enqueued_from.is_none_or(|from| self.enqueued_at >= from)
            && enqueued_before.is_none_or(|before| self.enqueued_at < before)
            && error.as_ref().is_none_or(|wanted| {
                let has = |error: &str| error.to_ascii_lowercase().contains(&wanted.to_ascii_lowercase());
                self.error.is_some_and(has)
            })
    }
}

impl Run {
    /// The run in a row of [`RUN_COLUMNS`], if its checksum is right.
    pub(super) fn read(row: &Row<'_>, seal: &Seal, path: &Path) -> Result<Self, StorageError> {
        let read = || {
            let (number, queue) = (row.get::<_, i64>(0)?, row.get_ref(1)?.as_str()?);
            let last = (unsigned(row, 2)?, LogTime::from_ms(unsigned(row, 3)?));
            Ok((number, queue, last, row.get::<_, u32>(4)?, row.get_ref(5)?.as_blob()?))
        };
        let (number, queue, last, crc, body) = read().map_err(|error| unreadable(path, error, "a run's row"))?;
        if crc != run_crc(number, queue, last, body) {
            return Err(StorageError::corrupt(path, format!("the checksum of run {number} is wrong")));
        }
        let unopened = StorageError::unopened(path, || format!("run {number}"));
        let bytes = seal.open(&[b"run", &number.to_be_bytes()], body).map_err(unopened)?.into_owned();
        let bounds = bounds(&bytes).ok_or_else(|| StorageError::corrupt(path, format!("run {number} is malformed")))?;
        Ok(Self { number, queue: queue.to_owned(), last, bytes, bounds, is_current: seal.is_current(body) })
    }

    /// Its jobs, by id.
    pub(super) fn jobs(&self) -> impl ExactSizeIterator<Item = Completed<'_>> {
        (0..self.bounds.len() - 1).map(|place| self.job(place))
    }

    fn job(&self, place: usize) -> Completed<'_> {
        let bytes = &self.bytes[self.bounds[place]..self.bounds[place + 1]];
        take_job(bytes).expect("all jobs of a run are parsed when it is read").0
    }

    /// The job of this id.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if it is not here.
    fn find(&self, id: JobId, path: &Path) -> Result<Completed<'_>, StorageError> {
        let begins = &self.bounds[..self.bounds.len() - 1];
        let id_at = |&begin: &usize| &self.bytes[begin..begin + ID_BYTES];
        match begins.binary_search_by_key(&&id.as_bytes()[..], id_at) {
            Ok(place) => Ok(self.job(place)),
            Err(_) => Err(StorageError::corrupt(path, format!("run {} lacks job {id}", self.number))),
        }
    }

    pub(super) fn bytes_len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The job of this id if the filter wants it.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(super) fn wanted(
        &self,
        id: JobId,
        filter: &JobFilter,
        path: &Path,
    ) -> Result<Option<Completed<'_>>, StorageError> {
        let job = self.find(id, path)?;
        Ok(job.is_wanted(filter, &self.queue).then_some(job))
    }

    /// Writes it anew with these of its jobs alone.
    pub(super) fn keep(
        &self,
        transaction: &Transaction<'_>,
        mut keep: impl FnMut(&Completed<'_>) -> bool,
        seal: &Seal,
    ) -> rusqlite::Result<()> {
        let mut forget = transaction.prepare_cached("DELETE FROM completed WHERE id = ?1 AND run = ?2")?;
        let mut kept = Draft::new(Vec::new());
        for job in self.jobs() {
            if keep(&job) {
                kept.begin((job.ended_seq, job.finished_at)).extend_from_slice(job.bytes);
            } else {
                forget.execute((&job.id.as_bytes()[..], self.number))?;
            }
        }
        if kept.count == 0 {
            return transaction.prepare_cached("DELETE FROM runs WHERE run = ?1")?.execute([self.number]).map(drop);
        }
        kept.write(transaction, self.number, &self.queue, seal)
    }

    /// Checksum and body of the same, as it is written now.
    pub(super) fn sealed(&self, seal: &Seal) -> (u32, Cow<'_, [u8]>) {
        sealed(self.number, &self.queue, self.last, &self.bytes, seal)
    }
}

/// A run in the making.
struct Draft {
    count: usize,
    last: (u64, LogTime),
    bytes: Vec<u8>,
}

impl Draft {
    /// One in the room of a former.
    fn new(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.push(FORMAT);
        Self { count: 0, last: Default::default(), bytes }
    }

    fn is_full(&self, next: &JobRow) -> bool {
        self.count == JOBS_MAX || self.count > 0 && self.bytes.len() + next.body.len() > BYTES_MAX
    }

    /// Begins a job with the number and time of its end. The rest is to be appended.
    fn begin(&mut self, end: (u64, LogTime)) -> &mut Vec<u8> {
        self.count += 1;
        self.last = self.last.max(end);
        &mut self.bytes
    }

    fn add(&mut self, row: &JobRow) {
        let (ended_seq, finished_at) = (row.ended_seq.unwrap_or_default(), row.finished_at.unwrap_or_default());
        let to = self.begin((ended_seq, finished_at));
        to.extend_from_slice(row.id.as_bytes());
        for number in [finished_at.as_ms(), ended_seq, row.enqueued_at.as_ms()] {
            to.extend_from_slice(&number.to_be_bytes());
        }
        let key = row.key.as_ref().map(|key| UniqueKey::as_str(key).as_bytes());
        let batch = row.batch.as_ref().map(|batch| &batch.0.as_bytes()[..]);
        let error = row.error.as_ref().map(String::as_bytes);
        for field in [Some(row.task.as_bytes()), key, batch, error, Some(&*row.body)] {
            put_bytes(to, field);
        }
    }

    fn write(&self, transaction: &Transaction<'_>, number: i64, queue: &str, seal: &Seal) -> rusqlite::Result<()> {
        let (seq, finished_at) = self.last;
        let (crc, body) = sealed(number, queue, self.last, &self.bytes, seal);
        let sql = "INSERT OR REPLACE INTO runs (run, queue, ended_seq, finished_at, crc, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let columns = params![number, queue, column_number(seq), column_time(finished_at), crc, body];
        transaction.prepare_cached(sql)?.execute(columns).map(drop)
    }
}

/// Writes completed jobs, in the order of their ids. None of them may have a row in `jobs`.
pub(super) fn put_completed(
    transaction: &Transaction<'_>,
    jobs: &[&JobRow],
    seal: &Seal,
    path: &Path,
) -> Result<(), StorageError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let failed = StorageError::database(path);
    let last = "SELECT coalesce(max(run), 0) FROM runs";
    let last = transaction.prepare_cached(last).and_then(|mut last| last.query_row([], |row| row.get(0)));
    let mut number: i64 = last.map_err(&failed)?;
    let mut queues: BTreeMap<&QueueName, Vec<&JobRow>> = BTreeMap::new();
    for job in jobs {
        queues.entry(&job.queue).or_default().push(job);
    }
    let mut draft = Draft::new(Vec::new());
    for (queue, jobs) in queues {
        let mut rest = &jobs[..];
        while let Some(first) = rest.first() {
            draft.add(first);
            let more = rest[1..].iter().take_while(|next| {
                let has_room = !draft.is_full(next);
                if has_room {
                    draft.add(next);
                }
                has_room
            });
            let (run, left) = rest.split_at(1 + more.count());
            number += 1;
            draft.write(transaction, number, queue.as_str(), seal).map_err(&failed)?;
            put_places(transaction, number, run, seal, path)?;
            draft = Draft::new(draft.bytes);
            rest = left;
        }
    }
    Ok(())
}

/// Writes that these jobs, all of one queue, are in this run.
fn put_places(
    transaction: &Transaction<'_>,
    run: i64,
    jobs: &[&JobRow],
    seal: &Seal,
    path: &Path,
) -> Result<(), StorageError> {
    let failed = StorageError::database(path);
    let space = space_of(jobs[0].queue.as_str());
    let is_plain = |job: &&JobRow| job.key.is_none() && job.batch.is_none();
    if jobs.len() == JOBS_MAX && jobs.iter().all(is_plain) {
        // By far the most. One statement for all takes half the time of one for each.
        let mut put = transaction.prepare_cached(&PUT_FULL_RUN).map_err(&failed)?;
        let mut bind = || {
            put.raw_bind_parameter(1, run)?;
            put.raw_bind_parameter(2, space)?;
            for (place, job) in (3..).zip(jobs) {
                put.raw_bind_parameter(place, &job.id.as_bytes()[..])?;
            }
            put.raw_execute()
        };
        let bound = bind();
        if !is_conflict(&bound) {
            return bound.map(drop).map_err(&failed);
        }
    }
    let sql = "INSERT INTO completed (id, run, space, key, batch) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut put = transaction.prepare_cached(sql).map_err(&failed)?;
    for job in jobs {
        let key = job.key.as_ref().map(UniqueKey::as_str);
        let columns =
            params![&job.id.as_bytes()[..], run, space, key, job.batch.as_ref().map(|batch| &batch.0.as_bytes()[..])];
        let mut written = put.execute(columns);
        if is_conflict(&written) {
            // Nobody completes a job twice; were it so, no run would hold what cannot be found.
            remove_completed(transaction, &[job.id], seal, path)?;
            written = put.execute(columns);
        }
        written.map_err(&failed)?;
    }
    Ok(())
}

fn is_conflict(written: &rusqlite::Result<usize>) -> bool {
    let code = written.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
    code == Some(ErrorCode::ConstraintViolation)
}

/// Removes these jobs, as far as they are among the completed.
pub(super) fn remove_completed(
    transaction: &Transaction<'_>,
    jobs: &[JobId],
    seal: &Seal,
    path: &Path,
) -> Result<(), StorageError> {
    let failed = StorageError::database(path);
    let mut runs: BTreeMap<i64, BTreeSet<JobId>> = BTreeMap::new();
    let mut find = transaction.prepare_cached("SELECT run FROM completed WHERE id = ?1").map_err(&failed)?;
    for id in jobs {
        if let Some(run) = find.query_row([&id.as_bytes()[..]], |row| row.get(0)).optional().map_err(&failed)? {
            runs.entry(run).or_default().insert(*id);
        }
    }
    for (number, gone) in runs {
        let run = run(transaction, number, seal, path)?;
        run.keep(transaction, |job| !gone.contains(&job.id), seal).map_err(&failed)?;
    }
    Ok(())
}

/// The body of a completed job.
pub(super) fn completed_job(
    connection: &Connection,
    id: JobId,
    seal: &Seal,
    path: &Path,
) -> Result<Option<Vec<u8>>, StorageError> {
    let failed = StorageError::database(path);
    let mut statement = connection.prepare_cached(RUN_OF_JOB).map_err(&failed)?;
    let mut rows = statement.query([&id.as_bytes()[..]]).map_err(&failed)?;
    let Some(row) = rows.next().map_err(&failed)? else { return Ok(None) };
    Ok(Some(Run::read(row, seal, path)?.find(id, path)?.body.to_vec()))
}

/// A run of which something else says that it is there.
pub(super) fn run(connection: &Connection, number: i64, seal: &Seal, path: &Path) -> Result<Run, StorageError> {
    let failed = StorageError::database(path);
    let sql = format!("SELECT {RUN_COLUMNS} FROM runs WHERE run = ?1");
    let mut statement = connection.prepare_cached(&sql).map_err(&failed)?;
    let mut rows = statement.query([number]).map_err(&failed)?;
    let row = rows.next().map_err(&failed)?;
    Run::read(row.ok_or_else(|| StorageError::corrupt(path, format!("run {number} is not there")))?, seal, path)
}

/// Checks each run, and that each job in one can be found.
pub(super) fn check_runs(connection: &Connection, path: &Path, seal: &Seal) -> Result<(), StorageError> {
    let failed = StorageError::database(path);
    let mut find = connection.prepare("SELECT run, space, key, batch FROM completed WHERE id = ?1").map_err(&failed)?;
    let mut statement = connection.prepare(&format!("SELECT {RUN_COLUMNS} FROM runs")).map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    let mut count = 0;
    while let Some(row) = rows.next().map_err(&failed)? {
        let run = Run::read(row, seal, path)?;
        for job in run.jobs() {
            let found = find.query_row([&job.id.as_bytes()[..]], |row| {
                let is_there = row.get::<_, i64>(0)? == run.number;
                let (key, batch) = (row.get_ref(2)?.as_str_or_null()?, row.get_ref(3)?.as_blob_or_null()?);
                let space = row.get_ref(1)?.as_str_or_null()?;
                Ok(is_there && (space, key, batch) == (space_of(&run.queue), job.key, job.batch))
            });
            if !found.optional().map_err(|error| unreadable(path, error, "a completed job's row"))?.unwrap_or(false) {
                return Err(StorageError::corrupt(path, format!("job {} of run {} is lost", job.id, run.number)));
            }
            count += 1;
        }
    }
    let rows = connection.query_row("SELECT count(*) FROM completed", [], |row| unsigned(row, 0)).map_err(&failed)?;
    if rows == count { Ok(()) } else { Err(StorageError::corrupt(path, "a completed job is in no run")) }
}

pub(super) fn run_crc(number: i64, queue: &str, (seq, finished_at): (u64, LogTime), body: &[u8]) -> u32 {
    let finished_at = finished_at.as_ms().to_le_bytes();
    crc32(&[&number.to_le_bytes(), queue.as_bytes(), &seq.to_le_bytes(), &finished_at, body])
}

/// Checksum and body of a run, as it is written.
fn sealed<'a>(number: i64, queue: &str, last: (u64, LogTime), bytes: &'a [u8], seal: &Seal) -> (u32, Cow<'a, [u8]>) {
    let body = seal.seal(&[b"run", &number.to_be_bytes()], bytes);
    (run_crc(number, queue, last, &body), body)
}

/// Appends a field: its length and one, or 0 if it is not there; and itself.
fn put_bytes(to: &mut Vec<u8>, field: Option<&[u8]>) {
    let length = field.map_or(0, |field| u32::try_from(field.len() + 1).unwrap_or(u32::MAX));
    to.extend_from_slice(&length.to_be_bytes());
    to.extend_from_slice(field.unwrap_or_default());
}

/// The reverse: the field and what follows.
fn take_bytes(from: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = from.split_first_chunk()?;
    match u32::from_be_bytes(*length) {
        0 => Some((None, rest)),
        length => rest.split_at_checked(length as usize - 1).map(|(field, rest)| (Some(field), rest)),
    }
}

fn take_number(from: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = from.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// The first job of these bytes, and what follows it.
fn take_job(bytes: &[u8]) -> Option<(Completed<'_>, &[u8])> {
    let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
    let (finished_at, rest) = take_number(rest)?;
    let (ended_seq, rest) = take_number(rest)?;
    let (enqueued_at, rest) = take_number(rest)?;
    let (task, rest) = take_bytes(rest)?;
    let (key, rest) = take_bytes(rest)?;
    let (batch, rest) = take_bytes(rest)?;
    let (error, rest) = take_bytes(rest)?;
    let (body, rest) = take_bytes(rest)?;
    let job = Completed {
        id: JobId::from_uuid(Uuid::from_bytes(*id)).ok()?,
        finished_at: LogTime::from_ms(finished_at),
        ended_seq,
        enqueued_at: LogTime::from_ms(enqueued_at),
        task: std::str::from_utf8(task?).ok()?,
        key: key.map(std::str::from_utf8).transpose().ok()?,
        batch,
        error: error.map(std::str::from_utf8).transpose().ok()?,
        body: body?,
        bytes: &bytes[..bytes.len() - rest.len()],
    };
    Some((job, rest))
}

/// Where each job begins, and the last ends; `None` if these are no jobs.
fn bounds(bytes: &[u8]) -> Option<Vec<usize>> {
    let (FORMAT, mut rest) = bytes.split_first().map(|(format, rest)| (*format, rest))? else { return None };
    let mut bounds = vec![1];
    while !rest.is_empty() {
        rest = take_job(rest)?.1;
        bounds.push(bytes.len() - rest.len());
    }
    (bounds.len() > 1).then_some(bounds)
}
