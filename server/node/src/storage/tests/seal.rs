use super::{all, append, checkpoint_at, contents, job, record, records, some_changes};
use crate::seal::Seal;
use crate::seal::tests::key_file;
use crate::storage::{LogDb, StateDb, StorageError, reseal};
use jobraft_core::command::Changes;
use jobraft_protocol::JobState;
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn seal_of(dir: &Path, keys: &[u8]) -> Arc<Seal> {
    if keys.is_empty() { Seal::none() } else { Seal::load(&key_file(dir, keys)).unwrap() }
}

/// Writes some records and a checkpoint.
fn write(dir: &Path, keys: &[u8], from: u64, checkpoint: u64) {
    let (log, _) = LogDb::open_sealed(dir, seal_of(dir, keys)).unwrap();
    append(&log, records(from..=from + 9)).unwrap();
    log.close();
    let state = StateDb::open_sealed(dir, seal_of(dir, keys)).unwrap();
    let more = Changes { jobs: vec![job(100 + checkpoint, JobState::Ready)], ..some_changes() };
    state.checkpoint(&checkpoint_at(checkpoint), &more).unwrap();
}

/// What is read with these keys.
fn read(dir: &Path, keys: &[u8]) -> (Vec<super::LogRecord>, Vec<String>) {
    let (log, _) = LogDb::open_sealed(dir, seal_of(dir, keys)).unwrap();
    let records = all(&log);
    log.close();
    (records, contents(&StateDb::open_sealed(dir, seal_of(dir, keys)).unwrap()))
}

/// How often a text is in the databases, whatever else there may be in their files.
fn found(dir: &Path, text: &str) -> usize {
    let files = fs::read_dir(dir).unwrap().flatten().map(|entry| fs::read(entry.path()).unwrap());
    files.map(|bytes| bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()).sum()
}

/// Of the log and of a job.
const CANARIES: [&str; 2] = ["entry 3 entry 3", "ready 107"];

#[test]
fn what_is_sealed_is_read_with_its_key_and_is_nowhere_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[1], 1, 7);
    let plain = tempfile::tempdir().unwrap();
    write(plain.path(), &[], 1, 7);
    assert_eq!(read(dir.path(), &[1]), read(plain.path(), &[]));
    for canary in CANARIES {
        assert_eq!(found(dir.path(), canary), 0, "{canary}");
        assert!(found(plain.path(), canary) > 0, "{canary}");
    }
    for keys in [&[][..], &[2]] {
        let error = LogDb::open_sealed(dir.path(), seal_of(dir.path(), keys)).err().unwrap();
        assert!(matches!(error, StorageError::Sealed { .. }), "{error}");
        let state = StateDb::open_sealed(dir.path(), seal_of(dir.path(), keys)).unwrap();
        let error = super::live(&state).unwrap_err();
        assert!(matches!(error, StorageError::Sealed { .. }), "{error}");
    }
}

#[test]
fn sealing_begins_changes_its_key_and_ends_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    write(path, &[], 1, 7);
    // From here on, and what was there before is still read.
    write(path, &[1], 11, 8);
    let wanted = read(path, &[1]);
    assert_eq!(wanted.0, records(1..=20));
    assert!(found(path, CANARIES[0]) > 0 && found(path, CANARIES[1]) > 0);

    let done = reseal(path, &seal_of(path, &[1]), |_| ()).unwrap();
    assert!(done.written >= 10 && done.rows > done.written, "{done:?}");
    assert_eq!((found(path, CANARIES[0]), found(path, CANARIES[1])), (0, 0));
    assert_eq!(read(path, &[1]), wanted);
    assert_eq!(reseal(path, &seal_of(path, &[1]), |_| ()).unwrap().written, 0, "there is nothing left to do");

    // Another key takes its place: for what is written, then for all.
    write(path, &[2, 1], 21, 9);
    let error = reseal(path, &seal_of(path, &[2]), |_| ()).unwrap_err();
    assert!(matches!(error, StorageError::Sealed { .. }), "{error}");
    reseal(path, &seal_of(path, &[2, 1]), |_| ()).unwrap();
    assert_eq!(read(path, &[2]).0, records(1..=30));

    // And without.
    let error = reseal(path, &Seal::none(), |_| ()).unwrap_err();
    assert!(matches!(error, StorageError::Sealed { .. }), "{error}");
}

#[test]
fn a_snapshot_is_sealed_like_what_it_is_of() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(from.path(), &[1], 1, 7);
    let state = StateDb::open_sealed(from.path(), seal_of(from.path(), &[1])).unwrap();
    let snapshot = state.snapshot_to(&to.path().join("snapshot")).unwrap();
    assert_eq!(found(to.path(), CANARIES[1]), 0);
    let other = StateDb::open_sealed(to.path(), seal_of(from.path(), &[2, 1])).unwrap();
    other.install(&snapshot.path).unwrap();
    assert_eq!(contents(&other), contents(&state));
}

#[test]
fn a_record_that_was_put_in_anothers_place_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open_sealed(dir.path(), seal_of(dir.path(), &[1])).unwrap();
    append(&log, vec![record(1), record(2)]).unwrap();
    log.close();
    let connection = rusqlite::Connection::open(dir.path().join("log.db")).unwrap();
    let body: Vec<u8> = connection.query_row("SELECT body FROM log WHERE idx = 1", [], |row| row.get(0)).unwrap();
    let crc = super::super::log_writer::record_crc(2, 1, &body);
    connection.execute("UPDATE log SET body = ?1, crc = ?2 WHERE idx = 2", (body, crc)).unwrap();
    drop(connection);
    let error = LogDb::open_sealed(dir.path(), seal_of(dir.path(), &[1])).err().unwrap();
    assert!(matches!(&error, StorageError::Corrupt { what, .. } if what.contains("record 2")), "{error}");
}
