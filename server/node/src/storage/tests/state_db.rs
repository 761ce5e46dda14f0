use super::{checkpoint_at, contents, copy_files, job, job_id, list, live, some_changes, tamper};
use crate::seal::Seal;
use crate::storage::database::Database;
use crate::storage::state_db::{Inner, Open, STATE};
use crate::storage::{StateDb, StorageError};
use bytes::Bytes;
use jobraft_core::command::{Changes, JobRow, Row, Table};
use jobraft_protocol::{BatchId, JobFilter, JobState, LogTime, UniqueKey};
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
fn live_jobs_are_read_once_each_by_id_whatever_their_size() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    // More than is read at a time, in parts that end behind large ones and between small ones.
    let size = |number: u64| if number.is_multiple_of(50) { 6 << 20 } else { 30_000 };
    // The second half is in the backlog, which is read behind the rows.
    let row = |number| JobRow {
        body: vec![number as u8 & 0x7F; size(number)].into(),
        rests: number < 200,
        ..job(number, JobState::Ready)
    };
    let changes = Changes { jobs: (0..200).rev().chain(200..400).map(row).collect(), ..Changes::default() };
    state.checkpoint(&checkpoint_at(7), &changes).unwrap();
    let read = live(&state).unwrap();
    assert_eq!(read.len(), 400);
    for (number, body) in (0..).zip(read) {
        assert_eq!((body.len(), body[0]), (size(number), number as u8 & 0x7F));
    }
    let enough = || StorageError::corrupt(dir.path(), "enough");
    let refused = state.each_live_job(|body| Ok(body.len()), |_| Err(enough()));
    assert!(matches!(refused, Err(StorageError::Corrupt { .. })));
    let refused = state.each_live_job(|_| Err::<(), _>(enough()), |()| Ok(()));
    assert!(matches!(refused, Err(StorageError::Corrupt { .. })));
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
        jobs: vec![job(1, JobState::Cancelled), job(3, JobState::Ready), job(5, JobState::Dead)],
        deleted: Vec::new(),
        rows: vec![
            Row { table: Table::Queue, key: "key".to_owned(), body: None },
            Row { table: Table::Module, key: "key".to_owned(), body: Some(b"other".to_vec()) },
        ],
    };
    state.checkpoint(&checkpoint_at(9), &changes).unwrap();
    let expected = [
        format!("{:?}", Some(checkpoint_at(9))),
        format!("{:?}", Some(b"second")),
        "live ready 3".to_owned(),
        "live scheduled 4".to_owned(),
        "ended completed 2".to_owned(),
        "ended cancelled 1".to_owned(),
        "ended dead 5".to_owned(),
        "to be retried: dead 5".to_owned(),
        "module key other".to_owned(),
        "module_name key module_name".to_owned(),
        "unique_key key unique_key".to_owned(),
        "worker key worker".to_owned(),
        "state key state".to_owned(),
        "tombstone key tombstone".to_owned(),
        "group key group".to_owned(),
        "batch key batch".to_owned(),
        "schedule key schedule".to_owned(),
        "token key token".to_owned(),
        "namespace key namespace".to_owned(),
        "module_holder key module_holder".to_owned(),
        "secret key secret".to_owned(),
    ];
    assert_eq!(contents(&state), expected);
}

#[test]
fn checkpoint_writes_a_job_before_it_deletes_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.checkpoint(&checkpoint_at(7), &some_changes()).unwrap();
    let changes = Changes {
        jobs: vec![job(1, JobState::Cancelled), job(9, JobState::Cancelled)],
        deleted: vec![job_id(1), job_id(9), job_id(3), job_id(77)],
        ..Changes::default()
    };
    state.checkpoint(&checkpoint_at(8), &changes).unwrap();
    for gone in [1, 3, 9] {
        assert_eq!(state.job(job_id(gone)).unwrap(), None, "job {gone}");
    }
    assert!(state.job(job_id(2)).unwrap().is_some() && state.job(job_id(4)).unwrap().is_some());
    // And no index names them any more.
    assert_eq!(list(&state, &JobFilter::default()), ["completed 2", "scheduled 4"]);
    assert!(!contents(&state).concat().contains("dead"));
}

#[test]
fn each_way_a_row_can_change_is_found_in_every_index() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let keyed = |row: JobRow, key: &str| JobRow { key: Some(UniqueKey::new(key).unwrap()), ..row };
    let moved = JobRow { queue: "other".parse().unwrap(), ..job(1, JobState::Ready) };
    let of_batch = |row: JobRow, number| JobRow { batch: Some(BatchId(job_id(number))), ..row };
    // Live, a step further, moved, with a key, with another, of a batch, of another, of none, ended, back to life, ended in
    // another way.
    let life = [
        job(1, JobState::Scheduled),
        job(1, JobState::Leased),
        moved,
        keyed(job(1, JobState::Ready), "a"),
        keyed(job(1, JobState::Leased), "b"),
        of_batch(keyed(job(1, JobState::Leased), "b"), 8),
        of_batch(keyed(job(1, JobState::Ready), "b"), 9),
        keyed(job(1, JobState::Leased), "b"),
        of_batch(keyed(job(1, JobState::Dead), "b"), 8),
        keyed(job(1, JobState::Ready), "b"),
        keyed(job(1, JobState::Completed), "b"),
    ];
    for (index, row) in (1..).zip(life) {
        let body = format!("{} 1", row.state);
        let by_state = JobFilter { states: vec![row.state], ..JobFilter::default() };
        let by_queue = JobFilter { queues: vec![row.queue.clone()], ..by_state.clone() };
        let by_key = JobFilter { key: row.key.clone(), ..JobFilter::default() };
        let by_batch = JobFilter { batch: row.batch, ..JobFilter::default() };
        let (in_8, in_9) = (row.batch == Some(BatchId(job_id(8))), row.batch == Some(BatchId(job_id(9))));
        state.checkpoint(&checkpoint_at(index), &Changes { jobs: vec![row], ..Changes::default() }).unwrap();
        for filter in [by_state, by_queue, by_key, by_batch] {
            assert_eq!(list(&state, &filter), [body.as_str()], "{filter:?}");
        }
        let a = JobFilter { key: Some(UniqueKey::new("a").unwrap()), ..JobFilter::default() };
        assert_eq!(list(&state, &a).len(), usize::from(index == 4));
        for (number, is_in) in [(8, in_8), (9, in_9)] {
            let batch = JobFilter { batch: Some(BatchId(job_id(number))), ..JobFilter::default() };
            assert_eq!(list(&state, &batch).len(), usize::from(is_in));
        }
        tamper(
            &dir.path().join("state.db"),
            "SELECT CASE integrity_check WHEN 'ok' THEN 1 ELSE abs(-9223372036854775808) END FROM pragma_integrity_check",
        );
    }
}

#[test]
fn the_steps_of_live_jobs_write_their_rows_and_no_index() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let large = |number, state| JobRow {
        key: Some(UniqueKey::new(&format!("key {number}")).unwrap()),
        batch: Some(BatchId(job_id(number % 7))),
        body: vec![b'x'; 1_500].into(),
        ..job(number, state)
    };
    let jobs = (0..5_000).map(|number| large(number, JobState::Ready)).collect();
    state.checkpoint(&checkpoint_at(1), &Changes { jobs, ..Changes::default() }).unwrap();
    drop(state);
    // From here on, the WAL is empty.
    let state = StateDb::open(dir.path()).unwrap();
    let jobs: Vec<_> = (0..200).map(|number| large(number * 25, JobState::Leased)).collect();
    let steps = jobs.len() as u64;
    state.checkpoint(&checkpoint_at(2), &Changes { jobs, ..Changes::default() }).unwrap();
    let pages = fs::metadata(dir.path().join("state.db-wal")).unwrap().len() / 4_096;
    assert!((steps..steps + 8).contains(&pages), "{pages} pages for {steps} steps");
}

#[test]
fn jobs_of_all_queues_that_ended_since_a_time_are_read_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let states = [JobState::Completed, JobState::Dead, JobState::Cancelled, JobState::Expired];
    let row = |number: u64| {
        let place = number as usize;
        JobRow {
            queue: ["a", "b", "c"][place % 3].parse().unwrap(),
            finished_at: Some(LogTime::from_ms(1_000 + number / 4)),
            ended_seq: Some(number + 1),
            ..job(1_000 - number, states[place / 3 % 4])
        }
    };
    // In several checkpoints, so that there is more than one run of a queue.
    for index in 0..4 {
        let jobs = (index * 200..index * 200 + 200).map(row).collect();
        state.checkpoint(&checkpoint_at(index), &Changes { jobs, ..Changes::default() }).unwrap();
    }
    for since in [0, 1_000, 1_007, 1_120, 1_199, 1_200] {
        let since = LogTime::from_ms(since);
        let wanted = (0..800).map(row).filter(|row| row.finished_at >= Some(since));
        let mut wanted: Vec<_> = wanted.map(|row| row.body.to_vec()).collect();
        let mut found = Vec::new();
        let ended = |body: &[u8]| {
            found.push(body.to_vec());
            Ok::<_, StorageError>(())
        };
        state.each_ended_since(since, ended).unwrap();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "since {since}");
    }
}

#[test]
fn callers_error_ends_the_walk() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.checkpoint(&checkpoint_at(1), &some_changes()).unwrap();
    let mut seen = 0;
    let stop = |()| {
        seen += 1;
        Err(StorageError::NoCheckpoint { path: dir.path().to_owned() })
    };
    let result = state.each_live_job(|_| Ok(()), stop);
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
    StateDb { inner: Arc::new(Inner { dir: dir.to_owned(), path, open, seal: Seal::none() }) }
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
        (live(&state).unwrap_err(), job_id(1).to_string()),
        (state.each_row(Table::Module, |_, _| Ok::<_, StorageError>(())).unwrap_err(), "module".to_owned()),
        (state.header().unwrap_err(), "header".to_owned()),
    ];
    for (error, named) in errors {
        assert!(matches!(error, StorageError::Corrupt { .. }));
        assert!(error.to_string().contains(&named) && error.to_string().contains("state.db"), "{error}");
    }
}

#[test]
fn each_column_of_a_job_is_covered_by_its_checksum() {
    for change in [
        "queue = 'other'",
        "space = 'other'",
        "space = ''",
        "state = 'completed'",
        "live = 1",
        "enqueued_at = 9",
        "finished_at = 9",
        "finished_at = NULL",
        "ended_seq = 9",
        "ended_seq = NULL",
        "task = 'other'",
        "key = ''",
        "batch = x''",
        "batch = id",
        "error = 'other'",
        "error = NULL",
        "body = x'00'",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDb::open(dir.path()).unwrap();
        let row = JobRow { error: Some(String::new()), ..job(1, JobState::Dead) };
        state.checkpoint(&checkpoint_at(7), &Changes { jobs: vec![row], ..Changes::default() }).unwrap();
        assert!(state.job(job_id(1)).unwrap().is_some());
        tamper(&dir.path().join("state.db"), &format!("UPDATE jobs SET {change}"));
        let error = state.job(job_id(1)).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{change}: {error}");
    }
}

#[test]
fn state_of_a_development_version_is_refused_and_left_alone() {
    for format in [1, 2, 3, 4] {
        refused_as_of_a_development_version(format);
    }
}

fn refused_as_of_a_development_version(format: u64) {
    let dir = tempfile::tempdir().unwrap();
    drop(StateDb::open(dir.path()).unwrap());
    let path = dir.path().join("state.db");
    let crc = crate::storage::database::crc32(&[b"format", format.to_string().as_bytes()]);
    tamper(&path, &format!("UPDATE meta SET value = CAST('{format}' AS BLOB), crc = {crc} WHERE key = 'format'"));
    let before = fs::read(&path).unwrap();
    let error = StateDb::open(dir.path()).err().unwrap();
    assert!(matches!(error, StorageError::OlderFormat { found, oldest: 5, .. } if found == format), "{error}");
    assert!(error.to_string().contains("development version of Jobraft before 0.1"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
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
