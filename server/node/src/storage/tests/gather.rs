use crate::storage::StorageError;
use crate::storage::database::{Database, Kind, open_read_only};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

pub(super) const KIND: Kind = Kind {
    file: "test.db",
    format: 1,
    format_min: 1,
    schema: "CREATE TABLE pages (id INTEGER PRIMARY KEY, body BLOB NOT NULL);",
    // A few pages: what a transaction writes goes to the WAL long before it ends, and is read back from there.
    cache_kib: 16,
};

pub(super) fn put(connection: &Connection, ids: Range<i64>, byte: u8) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO pages VALUES (?1, ?2)")?;
    for id in ids {
        statement.execute((id, vec![byte; 3_000]))?;
    }
    Ok(())
}

/// How many rows hold which byte alone, in order of the bytes.
fn bytes(connection: &Connection) -> rusqlite::Result<Vec<(u8, i64)>> {
    let mut statement = connection.prepare("SELECT body FROM pages ORDER BY id")?;
    let bodies = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    let mut counts = BTreeMap::new();
    for body in bodies {
        let body = body?;
        assert_eq!(body, vec![body[0]; 3_000]);
        *counts.entry(body[0]).or_default() += 1;
    }
    Ok(counts.into_iter().collect())
}

#[test]
fn what_was_kept_is_read_by_its_writer_overwritten_and_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = Database::open(dir.path(), &KIND).unwrap();
    let reader = open_read_only(database.path()).unwrap();
    let failed = |error| StorageError::database(Path::new("test.db"))(error);
    database
        .write(|transaction| {
            put(transaction, 0..500, 1).map_err(failed)?;
            assert_eq!(bytes(transaction).unwrap(), [(1, 500)]);
            assert_eq!(bytes(&reader).unwrap(), [], "seen before it was committed");
            // Pages that lie in the WAL already.
            put(transaction, 100..300, 2).map_err(failed)?;
            assert_eq!(bytes(transaction).unwrap(), [(1, 300), (2, 200)]);
            Ok(())
        })
        .unwrap();
    assert_eq!(bytes(&reader).unwrap(), [(1, 300), (2, 200)]);

    let transaction = database.connection().unchecked_transaction().unwrap();
    put(&transaction, 0..500, 3).unwrap();
    transaction.rollback().unwrap();
    assert_eq!(bytes(database.connection()).unwrap(), [(1, 300), (2, 200)]);
    database.write(|transaction| put(transaction, 0..1, 4).map_err(failed)).unwrap();
    assert_eq!(bytes(&reader).unwrap(), [(1, 299), (2, 200), (4, 1)]);

    // The file as a crash would leave it: all is in the WAL.
    let copy = tempfile::tempdir().unwrap();
    for file in ["test.db", "test.db-wal", "test.db.created"] {
        fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let database = Database::open(copy.path(), &KIND).unwrap();
    assert_eq!(bytes(database.connection()).unwrap(), [(1, 299), (2, 200), (4, 1)]);
}
