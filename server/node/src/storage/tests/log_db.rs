use super::{all, append, at, done, purge, record, records, tamper, truncate};
use crate::seal::Seal;
use crate::storage::database::Database;
use crate::storage::log_db::LOG;
use crate::storage::{LogDb, LogRecord, LogRecovered, StorageError};
use bytes::Bytes;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

fn reopen(dir: &Path, log: LogDb) -> (LogDb, LogRecovered) {
    log.close();
    LogDb::open(dir).unwrap()
}

#[test]
fn reopened_log_has_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (log, recovered) = LogDb::open(dir.path()).unwrap();
    assert_eq!(recovered, LogRecovered::default());
    append(&log, records(0..=9)).unwrap();
    append(&log, records(10..=99)).unwrap();
    let (saved, result) = done();
    log.save_vote(b"vote".to_vec(), saved);
    result.recv().unwrap().unwrap();
    log.save_committed(b"old".to_vec());
    log.save_committed(b"committed".to_vec());
    let (log, recovered) = reopen(dir.path(), log);
    assert_eq!(all(&log), records(0..=99));
    assert_eq!(recovered.vote.as_deref(), Some(&b"vote"[..]));
    assert_eq!(recovered.committed.as_deref(), Some(&b"committed"[..]));
    assert_eq!((recovered.purged, recovered.last), (None, Some(at(99))));
}

#[test]
fn appends_that_wait_share_one_fsync_and_are_acknowledged_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    // The writer is held in a `done` until all the others wait.
    let (entered, has_entered) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    log.append(
        records(0..=0),
        Box::new(move |_| {
            entered.send(()).unwrap();
            let _ = released.recv();
        }),
    );
    has_entered.recv().unwrap();
    let before = log.commits();
    let (acknowledge, acknowledged) = mpsc::channel();
    for index in 1..=100 {
        let acknowledge = acknowledge.clone();
        log.append(records(index..=index), Box::new(move |result| acknowledge.send((index, result.is_ok())).unwrap()));
    }
    release.send(()).unwrap();
    for index in 1..=100 {
        assert_eq!(acknowledged.recv().unwrap(), (index, true));
    }
    assert_eq!(log.commits() - before, 1);
}

#[test]
fn a_log_that_is_not_asked_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (log, _) = LogDb::open(dir.path()).unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!(log.commits(), 0);
    }
}

#[test]
fn read_respects_range_and_bytes_and_gives_at_least_one() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(1..=20)).unwrap();
    assert_eq!(log.read(5, 8, usize::MAX).unwrap(), records(5..=7));
    assert_eq!(log.read(5, 20, 0).unwrap(), records(5..=5));
    let two = record(5).body.len() + record(6).body.len();
    assert_eq!(log.read(5, 20, two).unwrap(), records(5..=6));
    assert_eq!(log.read(21, u64::MAX, usize::MAX).unwrap(), []);
}

#[test]
fn truncate_then_append_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=9)).unwrap();
    truncate(&log, Some(4)).unwrap();
    let mut other = record(5);
    other.term = 2;
    other.body = Bytes::from_static(b"other");
    append(&log, vec![other.clone()]).unwrap();
    let (log, recovered) = reopen(dir.path(), log);
    assert_eq!(all(&log), [records(0..=4), vec![other]].concat());
    assert_eq!(recovered.last.unwrap().term, 2);
    truncate(&log, None).unwrap();
    append(&log, records(0..=1)).unwrap();
    assert_eq!(all(&log), records(0..=1));
}

#[test]
fn purged_records_are_gone_at_once_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=3000)).unwrap();
    purge(&log, 2500).unwrap();
    purge(&log, 7).unwrap();
    assert_eq!(all(&log), records(2501..=3000));
    let (log, recovered) = reopen(dir.path(), log);
    assert_eq!((recovered.purged, recovered.last), (Some(at(2500)), Some(at(3000))));
    append(&log, records(3001..=3001)).unwrap();
    assert_eq!(all(&log), records(2501..=3001));
    purge(&log, 3001).unwrap();
    let (_, recovered) = reopen(dir.path(), log);
    assert_eq!(recovered.last, Some(at(3001)));
}

#[test]
fn purge_past_the_end_lets_the_log_go_on_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=9)).unwrap();
    purge(&log, 100).unwrap();
    append(&log, records(101..=110)).unwrap();
    let (log, recovered) = reopen(dir.path(), log);
    assert_eq!((recovered.purged, recovered.last), (Some(at(100)), Some(at(110))));
    assert_eq!(all(&log), records(101..=110));
}

fn wait_until_shrunk(dir: &Path) {
    let started = Instant::now();
    while fs::metadata(dir.join("log.db")).unwrap().len() > 18 << 20 {
        assert!(started.elapsed() < Duration::from_secs(60), "the file does not shrink");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn room_that_a_former_process_left_free_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=9)).unwrap();
    drop(log);
    let filler = "CREATE TABLE filler (bytes);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
         INSERT INTO filler SELECT zeroblob(1048576) FROM n;
         DROP TABLE filler;";
    tamper(&dir.path().join("log.db"), filler);
    let (log, _) = LogDb::open(dir.path()).unwrap();
    wait_until_shrunk(dir.path());
    assert_eq!(all(&log), records(0..=9));
}

/// A record of 1 MiB.
fn large(index: u64) -> Vec<LogRecord> {
    vec![LogRecord { body: Bytes::from(vec![1; 1 << 20]), ..record(index) }]
}

#[test]
fn room_that_a_log_takes_from_one_purge_to_the_next_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    (0..60).for_each(|index| append(&log, large(index)).unwrap());
    purge(&log, 34).unwrap();
    // What was purged is removed little by little.
    let mut commits = 0;
    while commits != log.commits() {
        commits = log.commits();
        thread::sleep(Duration::from_millis(100));
    }
    log.clone().close();
    let bytes = fs::metadata(dir.path().join("log.db")).unwrap().len();
    assert!(bytes >= 60 << 20, "{bytes} bytes are left");
    assert_eq!(all(&log).len(), 25);
}

#[test]
fn large_purge_gives_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    (0..60).for_each(|index| append(&log, large(index)).unwrap());
    purge(&log, 58).unwrap();
    // On its own: nothing else is written.
    wait_until_shrunk(dir.path());
    assert!(fs::metadata(dir.path().join("log.db-wal")).unwrap().len() <= 64 << 20);
    assert_eq!(all(&log).len(), 1);
}

#[test]
fn purge_index_keeps_the_longest_tail_that_fits() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    assert_eq!(log.purge_index_keeping(0), None);
    append(&log, records(10..=19)).unwrap();
    let size = record(10).body.len() as u64;
    assert_eq!(log.purge_index_keeping(10 * size), None);
    assert_eq!(log.purge_index_keeping(10 * size - 1), Some(10));
    assert_eq!(log.purge_index_keeping(3 * size), Some(16));
    assert_eq!(log.purge_index_keeping(0), Some(19));
    let (log, _) = reopen(dir.path(), log);
    assert_eq!(log.purge_index_keeping(3 * size), Some(16));
}

#[test]
fn gap_stops_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=1)).unwrap();
    assert_eq!(append(&log, records(3..=3)).unwrap_err().kind(), ErrorKind::InvalidInput);
    append(&log, records(2..=2)).unwrap_err();
    assert_eq!(all(&log), records(0..=1));
}

#[test]
fn full_disk_fails_every_write_waiting_and_later_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(dir.path(), &LOG).unwrap();
    db.connection().execute_batch("PRAGMA max_page_count = 30").unwrap();
    let (log, _) = LogDb::start(db, Seal::none()).unwrap();
    let acknowledged = (0..).take_while(|&index| append(&log, records(index..=index)).is_ok()).count() as u64;
    assert!(acknowledged > 0);
    let error = append(&log, records(acknowledged..=acknowledged)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    let (saved, result) = done();
    log.save_vote(b"vote".to_vec(), saved);
    result.recv().unwrap().unwrap_err();
    let (log, recovered) = reopen(dir.path(), log);
    assert_eq!(recovered.vote, None);
    assert_eq!(all(&log), records(0..=acknowledged - 1));
}

#[test]
fn closed_log_refuses_writes_and_still_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=1)).unwrap();
    log.clone().close();
    append(&log, records(2..=2)).unwrap_err();
    assert_eq!(all(&log), records(0..=1));
}

#[test]
fn directory_that_is_a_file_is_a_typed_error() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("group-0");
    fs::write(&path, "").unwrap();
    let error = LogDb::open(&path).err().unwrap();
    assert!(matches!(error, StorageError::Database { .. } | StorageError::Io { .. }), "{error}");
}

#[test]
fn newer_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    LogDb::open(dir.path()).unwrap().0.close();
    let crc = crate::storage::database::crc32(&[b"format", b"2"]);
    tamper(
        &dir.path().join("log.db"),
        &format!("UPDATE meta SET value = CAST('2' AS BLOB), crc = {crc} WHERE key = 'format'"),
    );
    let error = LogDb::open(dir.path()).err().unwrap();
    assert!(matches!(error, StorageError::NewerFormat { found: 2, supported: 1, .. }), "{error}");
}
