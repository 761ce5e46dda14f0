use super::{checkpoint_at, contents, copy_files, job, job_id, some_changes, tamper};
use crate::storage::database::Database;
use crate::storage::state_db::{Inner, Open, STATE};
use crate::storage::{StateDb, StorageError};
use bytes::Bytes;
use jobraft_core::command::{Changes, Row, Table};
use jobraft_protocol::{JobState, LogTime};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

#[test]
fn new_state_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    assert_eq!((state.meta().unwrap(), state.header().unwrap()), (None, None));
    assert_eq!(state.job(job_id(1)).unwrap(), None);
}

#[test]
fn checkpoint_survives_a_kill_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.checkpoint(&checkpoint_at(7), &some_changes()).unwrap();
    copy_files(dir.path(), copy.path());
    let survivor = StateDb::open(copy.path()).unwrap();
    assert_eq!(contents(&survivor), contents(&state));
    assert_eq!(survivor.meta().unwrap(), Some(checkpoint_at(7)));
    assert_eq!(survivor.job(job_id(2)).unwrap().unwrap(), b"completed 2");
}

#[test]
fn checkpoint_writes_over_and_removes() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.checkpoint(&checkpoint_at(7), &some_changes()).unwrap();
    let changes = Changes {
        header: Bytes::from_static(b"second"),
        jobs: vec![job(1, JobState::Cancelled), job(3, JobState::Ready)],
        rows: vec![
            Row { table: Table::Queue, key: "key".to_owned(), body: None },
            Row { table: Table::Module, key: "key".to_owned(), body: Some(b"other".to_vec()) },
        ],
    };
    state.checkpoint(&checkpoint_at(9), &changes).unwrap();
    let ended = |number, state| format!("ended {} {} {state} {number}", job_id(number), 10_000 - number);
    let expected = [
        format!("{:?}", Some(checkpoint_at(9))),
        format!("{:?}", Some(b"second")),
        "live ready 3".to_owned(),
        "live scheduled 4".to_owned(),
        ended(2, "completed"),
        ended(1, "cancelled"),
        "module key other".to_owned(),
        "module_name key module_name".to_owned(),
    ];
    assert_eq!(contents(&state), expected);
}

#[test]
fn ended_jobs_come_in_the_order_in_which_they_ended() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let jobs = (1..=20).map(|number| job(number, JobState::Completed)).collect();
    state.checkpoint(&checkpoint_at(1), &Changes { jobs, ..Changes::default() }).unwrap();
    let mut times = Vec::new();
    state
        .each_ended_since(LogTime::from_ms(9_990), |id, at, _| {
            assert_eq!(id, job_id(10_000 - at.as_ms()));
            times.push(at.as_ms());
            Ok::<_, StorageError>(())
        })
        .unwrap();
    assert_eq!(times, (9_990..=9_999).collect::<Vec<_>>());
}

#[test]
fn callers_error_ends_the_walk() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.checkpoint(&checkpoint_at(1), &some_changes()).unwrap();
    let mut seen = 0;
    let result = state.each_live_job(|_| {
        seen += 1;
        Err(StorageError::NoCheckpoint { path: dir.path().to_owned() })
    });
    assert!(matches!(result, Err(StorageError::NoCheckpoint { .. })));
    assert_eq!(seen, 1);
}

/// A state whose file may have this many pages.
fn limited(dir: &Path, pages_max: u32) -> StateDb {
    drop(StateDb::open(dir).unwrap());
    let database = Database::open(dir, &STATE).unwrap();
    database.connection().execute_batch(&format!("PRAGMA max_page_count = {pages_max}")).unwrap();
    let path = dir.join(STATE.file);
    let readers = crate::storage::readers::Readers::new(&path);
    let open = RwLock::new(Ok(Open { writer: Mutex::new(database), readers }));
    StateDb { inner: Arc::new(Inner { dir: dir.to_owned(), path, open }) }
}

#[test]
fn checkpoint_that_does_not_fit_changes_nothing_and_is_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let state = limited(dir.path(), 30);
    state.checkpoint(&checkpoint_at(7), &some_changes()).unwrap();
    let before = contents(&state);
    let jobs = (1..=2000).map(|number| job(number, JobState::Ready)).collect();
    let error = state.checkpoint(&checkpoint_at(8), &Changes { jobs, ..some_changes() }).unwrap_err();
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    let error = state.checkpoint(&checkpoint_at(8), &some_changes()).unwrap_err();
    assert!(matches!(error, StorageError::Stopped { .. }), "{error}");
    assert_eq!(contents(&state), before);
    drop(state);
    assert_eq!(contents(&StateDb::open(dir.path()).unwrap()), before);
}

#[test]
fn damaged_row_is_named_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.checkpoint(&checkpoint_at(7), &some_changes()).unwrap();
    let path = dir.path().join("state.db");
    tamper(&path, "UPDATE jobs SET queue = 'other' WHERE enqueued_at = 1");
    tamper(&path, "UPDATE items SET key = 'other' WHERE kind = 'module'");
    tamper(&path, "UPDATE meta SET value = x'01' WHERE key = 'header'");
    let errors = [
        (state.job(job_id(1)).unwrap_err(), job_id(1).to_string()),
        (state.each_live_job(|_| Ok::<_, StorageError>(())).unwrap_err(), job_id(1).to_string()),
        (state.each_row(Table::Module, |_, _| Ok::<_, StorageError>(())).unwrap_err(), "module".to_owned()),
        (state.header().unwrap_err(), "header".to_owned()),
    ];
    for (error, named) in errors {
        assert!(matches!(error, StorageError::Corrupt { .. }));
        assert!(error.to_string().contains(&named) && error.to_string().contains("state.db"), "{error}");
    }
}

#[test]
fn newer_or_missing_state_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(StateDb::open(dir.path()).unwrap());
    let path = dir.path().join("state.db");
    let crc = crate::storage::database::crc32(&[b"format", b"9"]);
    tamper(&path, &format!("UPDATE meta SET value = CAST('9' AS BLOB), crc = {crc} WHERE key = 'format'"));
    let error = StateDb::open(dir.path()).err().unwrap();
    assert!(matches!(error, StorageError::NewerFormat { found: 9, .. }), "{error}");
    fs::remove_file(&path).unwrap();
    let error = StateDb::open(dir.path()).err().unwrap();
    assert!(matches!(error, StorageError::Missing { .. }), "{error}");
}
