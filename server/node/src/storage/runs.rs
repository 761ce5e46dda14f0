//! Runs: jobs that share a row. Completed jobs are most of what is ever written to `state.db`, and those that wait for a worker are
//! most of what lives there: many of a queue, in the order of their ids, cost little more than one. A small row for each says
//! which run has it (ADR 0035, ADR 0038).

use super::StorageError;
use super::database::{crc32, unreadable, unsigned};
use super::state_rows::{column_number, column_time, space_of};
use crate::seal::Seal;
use jobraft_core::command::JobRow;
use jobraft_protocol::{JobFilter, JobId, JobState, LogTime, QueueName, UniqueKey};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::LazyLock;
use uuid::Uuid;

/// Jobs in a run: to read one of them all are read.
const JOBS_MAX: u32 = 64;
/// Bytes of a run, but for one job.
const BYTES_MAX: usize = 64 << 10;
/// Bytes of runs that are kept at hand, but for one run: between two jobs of one there are those of others that were written at
/// about the same time.
const BYTES_KEPT: u64 = 2 << 20;
/// With what its bytes begin.
const FORMAT: u8 = 1;
const ID_BYTES: usize = 16;

/// What jobs a run holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// In `runs`, found through `completed`.
    Completed,
    /// In `backlog`, found through `waiting`: jobs that wait for a worker.
    Ready,
}

impl Holds {
    pub(super) const fn state(self) -> JobState {
        match self {
            Self::Completed => JobState::Completed,
            Self::Ready => JobState::Ready,
        }
    }

    /// What [`Run::read`] reads, in its order.
    pub(super) const fn columns(self) -> &'static str {
        match self {
            Self::Completed => "run, queue, ended_seq, finished_at, crc, body",
            Self::Ready => "run, queue, 0, 0, crc, body",
        }
    }

    /// The table of the runs.
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Completed => "runs",
            Self::Ready => "backlog",
        }
    }

    /// The table that says which run has a job.
    pub(super) const fn places(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Ready => "waiting",
        }
    }

    /// Writes the places of a full run of jobs without a key or a batch.
    fn put_full_run(self) -> &'static str {
        static PUT: LazyLock<[String; 2]> = LazyLock::new(|| {
            [Holds::Completed, Holds::Ready].map(|holds| {
                let rows: Vec<_> = (3..3 + JOBS_MAX).map(|id| format!("(?{id}, ?1, ?2)")).collect();
                format!("INSERT INTO {} (id, run, space) VALUES {}", holds.places(), rows.join(", "))
            })
        });
        &PUT[self as usize]
    }
}

/// A run as it was read.
pub(super) struct Run {
    pub(super) holds: Holds,
    pub(super) number: i64,
    pub(super) queue: String,
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
pub(super) struct RunJob<'a> {
    pub(super) id: JobId,
    pub(super) finished_at: LogTime,
    pub(super) ended_seq: u64,
    pub(super) enqueued_at: LogTime,
    pub(super) task: &'a str,
    pub(super) key: Option<&'a str>,
    pub(super) batch: Option<&'a [u8]>,
    pub(super) error: Option<&'a str>,
    pub(super) body: &'a [u8],
    /// All of this, as it stands in the run.
    pub(super) bytes: &'a [u8],
}

impl RunJob<'_> {
    /// Whether a filter wants it, given that it is of this queue and in this state.
    fn is_wanted(&self, filter: &JobFilter, queue: &str, state: JobState) -> bool {
        let JobFilter { queues, namespace, states, task, key, batch, enqueued_from, enqueued_before, error } = filter;
        (queues.is_empty() || queues.iter().any(|wanted| QueueName::as_str(wanted) == queue))
            && namespace.as_ref().is_none_or(|namespace| namespace.local(queue).is_some())
            && (states.is_empty() || states.contains(&state))
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
    /// The run in a row of [`Holds::columns`], if its checksum is right.
    pub(super) fn read(row: &Row<'_>, holds: Holds, seal: &Seal, path: &Path) -> Result<Self, StorageError> {
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
        let bytes = seal.open(&place(holds, &number.to_be_bytes()), body).map_err(unopened)?.into_owned();
        let bounds = bounds(&bytes).ok_or_else(|| StorageError::corrupt(path, format!("run {number} is malformed")))?;
        Ok(Self { holds, number, queue: queue.to_owned(), last, bytes, bounds, is_current: seal.is_current(body) })
    }

    /// A run of which something else says that it is there.
    pub(super) fn numbered(
        connection: &Connection,
        holds: Holds,
        number: i64,
        seal: &Seal,
        path: &Path,
    ) -> Result<Self, StorageError> {
        let failed = StorageError::database(path);
        let sql = format!("SELECT {} FROM {} WHERE run = ?1", holds.columns(), holds.table());
        let mut statement = connection.prepare_cached(&sql).map_err(&failed)?;
        let mut rows = statement.query([number]).map_err(&failed)?;
        let row = rows.next().map_err(&failed)?;
        let row = row.ok_or_else(|| StorageError::corrupt(path, format!("run {number} is not there")))?;
        Self::read(row, holds, seal, path)
    }

    /// How many jobs there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.bounds.len() - 1).unwrap_or(u32::MAX)
    }

    /// Its jobs, by id.
    pub(super) fn jobs(&self) -> impl ExactSizeIterator<Item = RunJob<'_>> {
        (0..self.bounds.len() - 1).map(|place| self.job(place))
    }

    fn job(&self, place: usize) -> RunJob<'_> {
        let bytes = &self.bytes[self.bounds[place]..self.bounds[place + 1]];
        take_job(bytes).expect("all jobs of a run are parsed when it is read").0
    }

    /// The job of this id.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if it is not here.
    pub(super) fn find(&self, id: JobId, path: &Path) -> Result<RunJob<'_>, StorageError> {
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
    ) -> Result<Option<RunJob<'_>>, StorageError> {
        let job = self.find(id, path)?;
        Ok(job.is_wanted(filter, &self.queue, self.holds.state()).then_some(job))
    }

    /// Checksum and body of the same, as it is written now.
    pub(super) fn sealed(&self, seal: &Seal) -> (u32, Cow<'_, [u8]>) {
        sealed((self.holds, self.number), &self.queue, self.last, &self.bytes, seal)
    }
}

/// Runs that were read lately.
#[derive(Default)]
pub(super) struct KeptRuns {
    /// The last to be read comes first.
    runs: VecDeque<Run>,
}

impl KeptRuns {
    /// A run that is there, read if it is not at hand.
    pub(super) fn get(
        &mut self,
        connection: &Connection,
        holds: Holds,
        number: i64,
        seal: &Seal,
        path: &Path,
    ) -> Result<&Run, StorageError> {
        let is_it = |run: &Run| (run.holds, run.number) == (holds, number);
        let place = match self.runs.iter().position(is_it) {
            Some(place) => place,
            None => {
                self.runs.push_front(Run::numbered(connection, holds, number, seal, path)?);
                let mut bytes = 0;
                let fits = |run: &&Run| {
                    bytes += run.bytes_len();
                    bytes <= BYTES_KEPT
                };
                let kept = self.runs.iter().take_while(fits).count();
                self.runs.truncate(kept.max(1));
                0
            }
        };
        Ok(&self.runs[place])
    }
}

/// A run in the making.
pub(super) struct Draft {
    pub(super) count: u32,
    last: (u64, LogTime),
    bytes: Vec<u8>,
}

impl Draft {
    /// One in the room of a former.
    pub(super) fn new(mut bytes: Vec<u8>) -> Self {
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

    /// Adds a job of another run as it stands there.
    pub(super) fn take_over(&mut self, job: &RunJob<'_>) {
        self.begin((job.ended_seq, job.finished_at)).extend_from_slice(job.bytes);
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

    pub(super) fn write(
        &self,
        transaction: &Transaction<'_>,
        (holds, number): (Holds, i64),
        queue: &str,
        seal: &Seal,
    ) -> rusqlite::Result<()> {
        let (seq, finished_at) = self.last;
        let (crc, body) = sealed((holds, number), queue, self.last, &self.bytes, seal);
        match holds {
            Holds::Completed => {
                let sql = "INSERT OR REPLACE INTO runs (run, queue, ended_seq, finished_at, crc, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                let columns = params![number, queue, column_number(seq), column_time(finished_at), crc, body];
                transaction.prepare_cached(sql)?.execute(columns).map(drop)
            }
            Holds::Ready => {
                let sql = "INSERT INTO backlog (run, queue, jobs, crc, body) VALUES (?1, ?2, ?3, ?4, ?5)";
                transaction.prepare_cached(sql)?.execute(params![number, queue, self.count, crc, body]).map(drop)
            }
        }
    }
}

/// Writes jobs that are in no run so far into new ones, in the order of their ids. `replace` makes room for one that has a place
/// already, against all expectation.
pub(super) fn put_runs(
    transaction: &Transaction<'_>,
    holds: Holds,
    jobs: &[&JobRow],
    seal: &Seal,
    path: &Path,
    replace: &dyn Fn(JobId) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let failed = StorageError::database(path);
    let last = format!("SELECT coalesce(max(run), 0) FROM {}", holds.table());
    let last = transaction.prepare_cached(&last).and_then(|mut last| last.query_row([], |row| row.get(0)));
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
            draft.write(transaction, (holds, number), queue.as_str(), seal).map_err(&failed)?;
            put_places(transaction, (holds, number), run, path, replace)?;
            draft = Draft::new(draft.bytes);
            rest = left;
        }
    }
    Ok(())
}

/// Writes that these jobs, all of one queue, are in this run.
fn put_places(
    transaction: &Transaction<'_>,
    (holds, run): (Holds, i64),
    jobs: &[&JobRow],
    path: &Path,
    replace: &dyn Fn(JobId) -> Result<(), StorageError>,
) -> Result<(), StorageError> {
    let failed = StorageError::database(path);
    let space = space_of(jobs[0].queue.as_str());
    let is_plain = |job: &&JobRow| job.key.is_none() && job.batch.is_none();
    if jobs.len() == JOBS_MAX as usize && jobs.iter().all(is_plain) {
        // By far the most. One statement for all takes half the time of one for each.
        let mut put = transaction.prepare_cached(holds.put_full_run()).map_err(&failed)?;
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
    let sql = match holds {
        Holds::Completed => "INSERT INTO completed (id, run, space, key, batch) VALUES (?1, ?2, ?3, ?4, ?5)",
        Holds::Ready => "INSERT INTO waiting (id, run, space) VALUES (?1, ?2, ?3)",
    };
    let mut put = transaction.prepare_cached(sql).map_err(&failed)?;
    for job in jobs {
        let id = &job.id.as_bytes()[..];
        let key = job.key.as_ref().map(UniqueKey::as_str);
        let batch = job.batch.as_ref().map(|batch| &batch.0.as_bytes()[..]);
        let mut put = || match holds {
            Holds::Completed => put.execute(params![id, run, space, key, batch]),
            Holds::Ready => put.execute(params![id, run, space]),
        };
        let mut written = put();
        if is_conflict(&written) {
            replace(job.id)?;
            written = put();
        }
        written.map_err(&failed)?;
    }
    Ok(())
}

fn is_conflict(written: &rusqlite::Result<usize>) -> bool {
    let code = written.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
    code == Some(rusqlite::ErrorCode::ConstraintViolation)
}

/// Checks each run, and that each job that is to be found in one is there.
pub(super) fn check_runs(connection: &Connection, holds: Holds, path: &Path, seal: &Seal) -> Result<(), StorageError> {
    let failed = StorageError::database(path);
    let (columns, table, places) = (holds.columns(), holds.table(), holds.places());
    let (more, counted) = match holds {
        Holds::Completed => ("key, batch", "NULL"),
        Holds::Ready => ("NULL, NULL", "jobs"),
    };
    let find = format!("SELECT run, space, {more} FROM {places} WHERE id = ?1");
    let mut find = connection.prepare(&find).map_err(&failed)?;
    let mut statement = connection.prepare(&format!("SELECT {columns}, {counted} FROM {table}")).map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    let mut found_in_all = 0;
    while let Some(row) = rows.next().map_err(&failed)? {
        let run = Run::read(row, holds, seal, path)?;
        let mut found_here = 0;
        for job in run.jobs() {
            let found = find.query_row([&job.id.as_bytes()[..]], |row| {
                let is_here = row.get::<_, i64>(0)? == run.number;
                let (key, batch) = (row.get_ref(2)?.as_str_or_null()?, row.get_ref(3)?.as_blob_or_null()?);
                let space = row.get_ref(1)?.as_str_or_null()?;
                Ok((is_here, (space, key, batch) == (space_of(&run.queue), job.key, job.batch)))
            });
            let found = found.optional().map_err(|error| unreadable(path, error, "the row of a job in a run"))?;
            match found {
                Some((true, true)) => found_here += 1,
                // It waits no longer, or is somewhere else.
                Some((false, _)) | None if holds == Holds::Ready => {}
                _ => {
                    let text = format!("job {} of run {} is lost", job.id, run.number);
                    return Err(StorageError::corrupt(path, text));
                }
            }
        }
        let counted: Option<u32> = row.get(6).map_err(|error| unreadable(path, error, "a run's row"))?;
        if counted.is_some_and(|counted| counted != found_here) {
            return Err(StorageError::corrupt(path, format!("run {} of the backlog miscounts its jobs", run.number)));
        }
        found_in_all += u64::from(found_here);
    }
    let places = format!("SELECT count(*) FROM {places}");
    let places = connection.query_row(&places, [], |row| unsigned(row, 0)).map_err(&failed)?;
    if places == found_in_all {
        Ok(())
    } else {
        Err(StorageError::corrupt(path, "a job is not in the run that is to have it"))
    }
}

fn place(holds: Holds, number: &[u8; 8]) -> [&[u8]; 2] {
    match holds {
        Holds::Completed => [b"run", number],
        Holds::Ready => [b"backlog", number],
    }
}

pub(super) fn run_crc(number: i64, queue: &str, (seq, finished_at): (u64, LogTime), body: &[u8]) -> u32 {
    let finished_at = finished_at.as_ms().to_le_bytes();
    crc32(&[&number.to_le_bytes(), queue.as_bytes(), &seq.to_le_bytes(), &finished_at, body])
}

/// Checksum and body of a run, as it is written.
fn sealed<'a>(
    (holds, number): (Holds, i64),
    queue: &str,
    last: (u64, LogTime),
    bytes: &'a [u8],
    seal: &Seal,
) -> (u32, Cow<'a, [u8]>) {
    let body = seal.seal(&place(holds, &number.to_be_bytes()), bytes);
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
fn take_job(bytes: &[u8]) -> Option<(RunJob<'_>, &[u8])> {
    let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
    let (finished_at, rest) = take_number(rest)?;
    let (ended_seq, rest) = take_number(rest)?;
    let (enqueued_at, rest) = take_number(rest)?;
    let (task, rest) = take_bytes(rest)?;
    let (key, rest) = take_bytes(rest)?;
    let (batch, rest) = take_bytes(rest)?;
    let (error, rest) = take_bytes(rest)?;
    let (body, rest) = take_bytes(rest)?;
    let job = RunJob {
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
