//! Storage, looked at from outside: what survives, what is refused.

#![expect(clippy::unwrap_used, reason = "tests")]

mod backlog;
mod data_dir;
mod gather;
mod listing;
mod log_crash;
mod log_db;
mod runs;
mod seal;
mod snapshot;
mod state_db;
mod sweep;
mod wal_copy;

use super::state_db::PAGE_BYTES;
use super::{CheckpointMeta, Done, LogDb, LogPosition, LogRecord, StateDb, StorageError};
use bytes::Bytes;
use jobraft_core::command::{Changes, JobRow, Row, Table};
use jobraft_protocol::{JobFilter, JobId, JobState, LogTime};
use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};

/// A `done`, and where its result arrives.
fn done() -> (Done, Receiver<io::Result<()>>) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

fn record(index: u64) -> LogRecord {
    LogRecord { index, term: 1, body: Bytes::from(format!("entry {index} ").repeat(20)) }
}

fn records(range: RangeInclusive<u64>) -> Vec<LogRecord> {
    range.map(record).collect()
}

fn at(index: u64) -> LogPosition {
    LogPosition { index, term: 1 }
}

/// Appends and waits until that is durable.
fn append(log: &LogDb, records: Vec<LogRecord>) -> io::Result<()> {
    let (done, result) = done();
    log.append(records, done);
    result.recv().unwrap()
}

fn purge(log: &LogDb, upto: u64) -> io::Result<()> {
    let (done, result) = done();
    log.purge(at(upto), done);
    result.recv().unwrap()
}

fn truncate(log: &LogDb, after: Option<u64>) -> io::Result<()> {
    let (done, result) = done();
    log.truncate_after(after, done);
    result.recv().unwrap()
}

fn all(log: &LogDb) -> Vec<LogRecord> {
    log.read(0, u64::MAX, usize::MAX).unwrap()
}

/// What a kill would leave: the files as they are now. Only sound while nothing is being written.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // The next process makes its own index of the WAL.
        if entry.file_type().unwrap().is_file() && !entry.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Opens a database past all of storage's checks.
pub(crate) fn tamper(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// Lets an empty index seem to have entries: damage to SQLite's own structure.
pub(crate) fn break_index(path: &Path, index: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let page: u32 = connection.query_row(sql, [index], |row| row.get(0)).unwrap();
    drop(connection);
    let mut file = fs::File::options().write(true).open(path).unwrap();
    // After the page's type and its first free block.
    file.seek(SeekFrom::Start(u64::from(page - 1) * PAGE_BYTES + 3)).unwrap();
    file.write_all(&3_u16.to_be_bytes()).unwrap();
}

fn job_id(number: u64) -> JobId {
    JobId::new(LogTime::from_ms(1_700_000_000_000 + number), [7; 10])
}

fn job(number: u64, state: JobState) -> JobRow {
    let finished_at = state.is_terminal().then(|| LogTime::from_ms(10_000 - number));
    JobRow {
        id: job_id(number),
        queue: "mail".parse().unwrap(),
        state,
        enqueued_at: LogTime::from_ms(number),
        finished_at,
        ended_seq: finished_at.map(LogTime::as_ms),
        task: "send".to_owned(),
        key: None,
        batch: None,
        error: None,
        rests: true,
        body: format!("{state} {number}").into_bytes().into(),
    }
}

fn checkpoint_at(index: u64) -> CheckpointMeta {
    CheckpointMeta { index, term: 3, membership: format!("members at {index}").into_bytes() }
}

/// Jobs 1 to 4, of which 2 and 3 have ended, and a row of each table.
fn some_changes() -> Changes {
    Changes {
        header: Bytes::from_static(b"header"),
        jobs: vec![
            job(1, JobState::Ready),
            job(2, JobState::Completed),
            job(3, JobState::Dead),
            job(4, JobState::Scheduled),
        ],
        deleted: Vec::new(),
        rows: Table::ALL
            .iter()
            .map(|&table| Row { table, key: "key".to_owned(), body: Some(table.as_str().as_bytes().to_vec()) })
            .collect(),
    }
}

/// The bodies of all jobs that the filter wants, the oldest first.
fn list(state: &StateDb, filter: &JobFilter) -> Vec<String> {
    let mut found = Vec::new();
    let add = |body: &[u8]| {
        found.push(String::from_utf8(body.to_vec()).unwrap());
        Ok::<_, StorageError>(false)
    };
    assert_eq!(state.list_jobs(filter, None, true, usize::MAX, add).unwrap(), None);
    found
}

fn put(state: &StateDb, jobs: Vec<JobRow>) {
    state.checkpoint(&checkpoint_at(1), &Changes { jobs, ..Changes::default() }).unwrap();
}

fn delete(state: &StateDb, deleted: Vec<JobId>) {
    state.checkpoint(&checkpoint_at(1), &Changes { deleted, ..Changes::default() }).unwrap();
}

/// The numbers of all jobs that are listed, each of which is found by its id as well.
fn left(state: &StateDb) -> Vec<u64> {
    let bodies = list(state, &JobFilter::default());
    let left: Vec<u64> = bodies.iter().map(|body| body.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    for (number, body) in left.iter().zip(&bodies) {
        assert_eq!(state.job(job_id(*number)).unwrap().as_deref(), Some(body.as_bytes()));
    }
    left
}

fn count(dir: &Path, table: &str) -> i64 {
    let connection = rusqlite::Connection::open(dir.join("state.db")).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// The bodies of the jobs that a start would find live.
fn live(state: &StateDb) -> Result<Vec<Vec<u8>>, StorageError> {
    let mut live = Vec::new();
    state.each_live_job(
        |body| Ok(body.to_vec()),
        |body| {
            live.push(body);
            Ok::<_, StorageError>(())
        },
    )?;
    Ok(live)
}

/// Damage to a state in which job 1 is: it shows at once to whoever reads or lists jobs, or else to who looks at all.
fn assert_damage_is_never_served(with_jobs: impl Fn(&Path) -> StateDb, damage: &str, shows_at_once: bool) {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    tamper(&dir.path().join("state.db"), damage);
    if shows_at_once {
        let error = state.job(job_id(1)).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{damage}: {error}");
        let never = |_: &[u8]| Ok::<_, StorageError>(false);
        let error = state.list_jobs(&JobFilter::default(), None, true, 100, never).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{damage}: {error}");
    }
    let error = state.snapshot_to(&dir.path().join("snapshot")).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{damage}: {error}");
    drop(state);
    let error = StateDb::open(dir.path()).err().unwrap();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{damage}: {error}");
}

/// The `number`-th of a queue to be completed.
fn completed(number: u64) -> JobRow {
    JobRow { finished_at: Some(LogTime::from_ms(number)), ended_seq: Some(number), ..job(number, JobState::Completed) }
}

/// All that can be read of a state, as text.
fn contents(state: &StateDb) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut contents = vec![format!("{:?}", state.meta().unwrap()), format!("{:?}", state.header().unwrap())];
    contents.extend(live(state).unwrap().iter().map(|body| format!("live {}", text(body))));
    let mut ended = |body: &[u8]| {
        contents.push(format!("ended {}", text(body)));
        Ok::<_, StorageError>(())
    };
    state.each_ended_since(LogTime::ZERO, &mut ended).unwrap();
    let mut dead = |body: &[u8]| {
        contents.push(format!("to be retried: {}", text(body)));
        Ok::<_, StorageError>(())
    };
    state.each_dead(&mut dead).unwrap();
    for table in Table::ALL {
        let mut row = |key: &str, body: &[u8]| {
            contents.push(format!("{} {key} {}", table.as_str(), text(body)));
            Ok::<_, StorageError>(())
        };
        state.each_row(table, &mut row).unwrap();
    }
    contents
}
