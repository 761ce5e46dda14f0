use crate::storage::StorageError;
use crate::storage::database::{Database, Kind, open_read_only, unsigned};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

const KIND: Kind = Kind {
    file: "test.db",
    format: 1,
    format_min: 1,
    schema: "CREATE TABLE pages (id INTEGER PRIMARY KEY, body BLOB NOT NULL);",
    cache_kib: 1 << 10,
};
/// As many as make a WAL long.
const MANY: u64 = 4_000;

/// Writes so many rows of a page each.
fn write(database: &mut Database, rows: u64) -> Result<(), StorageError> {
    database.write(|transaction| {
        for _ in 0..rows {
            transaction
                .execute("INSERT INTO pages (body) VALUES (zeroblob(3000))", [])
                .map_err(StorageError::database(Path::new("test.db")))?;
        }
        Ok(())
    })
}

#[test]
fn a_long_wal_is_copied_while_more_is_written_and_then_starts_over() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = |file: &str| fs::metadata(dir.path().join(file)).unwrap().len();
    let mut database = Database::open(dir.path(), &KIND).unwrap();
    write(&mut database, MANY).unwrap();
    assert!(bytes("test.db") < MANY * 3_000);
    database.wrote_pages(MANY).unwrap();
    write(&mut database, 10).unwrap();
    let longest = bytes("test.db-wal");
    while bytes("test.db") < MANY * 3_000 {
        thread::sleep(Duration::from_millis(1));
    }
    database.settle().unwrap();
    write(&mut database, 100).unwrap();
    assert_eq!(bytes("test.db-wal"), longest, "it started over");
    let reader = open_read_only(database.path()).unwrap();
    let count = reader.query_row("SELECT count(*) FROM pages", [], |row| unsigned(row, 0)).unwrap();
    assert_eq!(count, MANY + 110);
    drop(reader);
    database.close().unwrap();
}

#[test]
fn what_a_copy_fails_of_stops_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path(), &KIND).unwrap();
    write(&mut database, 10).unwrap();
    fs::rename(dir.path().join("test.db"), dir.path().join("moved.db")).unwrap();
    database.wrote_pages(MANY).unwrap();
    let refused = loop {
        match database.wrote_pages(0) {
            Ok(()) => thread::sleep(Duration::from_millis(1)),
            Err(error) => break error.to_string(),
        }
    };
    assert!(refused.contains("test.db"), "{refused}");
    assert!(matches!(write(&mut database, 1), Err(StorageError::Stopped { .. })));
    assert!(matches!(database.close(), Err(StorageError::Stopped { .. })));
}
