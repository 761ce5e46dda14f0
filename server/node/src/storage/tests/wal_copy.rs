use super::gather::{KIND, put};
use crate::storage::StorageError;
use crate::storage::database::{Database, open_read_only, unsigned};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// As many as make a WAL long.
const MANY: u64 = 4_000;

/// Writes rows of a page each.
fn write(database: &mut Database, ids: Range<i64>) -> Result<(), StorageError> {
    database.write(|transaction| put(transaction, ids, 7).map_err(StorageError::database(Path::new("test.db"))))
}

#[test]
fn a_long_wal_is_copied_while_more_is_written_and_then_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = |file: &str| fs::metadata(dir.path().join(file)).unwrap().len();
    let mut database = Database::open(dir.path(), &KIND).unwrap();
    write(&mut database, 0..4_000).unwrap();
    assert!(bytes("test.db") < MANY * 3_000);
    database.wrote_pages(MANY).unwrap();
    write(&mut database, 4_000..4_010).unwrap();
    let longest = bytes("test.db-wal");
    while bytes("test.db") < MANY * 3_000 {
        thread::sleep(Duration::from_millis(1));
    }
    database.settle().unwrap();
    write(&mut database, 4_010..4_110).unwrap();
    assert_eq!(bytes("test.db-wal"), longest, "it started over");
    let reader = open_read_only(database.path()).unwrap();
    let count = reader.query_row("SELECT count(*) FROM pages", [], |row| unsigned(row, 0)).unwrap();
    assert_eq!(count, MANY + 110);
    drop(reader);
    database.close().unwrap();
}

/// A database whose WAL is being copied, in vain: only a connection that is open already still finds its file.
fn copied_in_vain(dir: &Path) -> Database {
    let mut database = Database::open(dir, &KIND).unwrap();
    write(&mut database, 0..10).unwrap();
    fs::rename(dir.join("test.db"), dir.join("moved.db")).unwrap();
    database.wrote_pages(MANY).unwrap();
    database
}

#[test]
fn what_a_copy_fails_of_stops_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = copied_in_vain(dir.path());
    let refused = (0..60_000).find_map(|_| {
        thread::sleep(Duration::from_millis(1));
        database.wrote_pages(0).err()
    });
    let refused = refused.expect("it failed, by a connection of its own").to_string();
    assert!(refused.contains("test.db"), "{refused}");
    assert!(matches!(write(&mut database, 0..1), Err(StorageError::Stopped { .. })));
    assert!(matches!(database.close(), Err(StorageError::Stopped { .. })));
}

#[test]
fn a_writer_waits_for_a_copy_that_its_wal_outgrows_and_when_it_closes() {
    let dir = tempfile::tempdir().unwrap();
    assert!(copied_in_vain(dir.path()).wrote_pages(3 * MANY).is_err());
    let dir = tempfile::tempdir().unwrap();
    assert!(copied_in_vain(dir.path()).close().is_err());
}
