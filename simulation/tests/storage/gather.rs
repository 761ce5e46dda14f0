//! What goes to a WAL and to its database is gathered: a write that fails late must not be lost.

use jobraft_node::storage::LogDb;
use rusqlite::{Connection, OpenFlags};
use simulation::disk::{Disk, scratch};
use simulation::vfs;
use tempfile::TempDir;

fn new_disk() -> (TempDir, Disk) {
    vfs::install();
    let directory = scratch().unwrap();
    let disk = Disk::new(&directory.path().join("disk")).unwrap();
    // The VFS is there once something was opened.
    LogDb::open(disk.path()).unwrap().0.close();
    (directory, disk)
}

/// A connection whose transactions go to the WAL long before they end.
fn connect(disk: &Disk) -> Connection {
    let path = disk.path().join("other.db");
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), c"jobraft").unwrap();
    let prepare = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = 4;
                   CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, body BLOB NOT NULL);";
    connection.execute_batch(prepare).unwrap();
    connection
}

/// Rows that go to a file in one write.
const FEW: i64 = 10;

/// Rows of about a page each.
fn put_rows(connection: &Connection, count: i64) {
    for _ in 0..count {
        connection.execute("INSERT INTO rows (body) VALUES (randomblob(3000))", []).unwrap();
    }
}

fn count(disk: &Disk) -> i64 {
    let connection = Connection::open(disk.path().join("other.db")).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    connection.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).unwrap()
}

/// A statement that fails is undone alone where SQLite can, and then its transaction may still be committed. What could not
/// be written may be of a statement before.
#[test]
fn a_transaction_of_which_a_part_was_lost_is_not_committed() {
    let (_directory, disk) = new_disk();
    let connection = connect(&disk);
    connection.execute_batch("BEGIN").unwrap();
    put_rows(&connection, 50);
    disk.leave_room(Some(0));
    let failed = connection.execute("INSERT INTO rows SELECT id + 1000, body FROM rows", []).unwrap_err();
    assert_eq!(failed.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    disk.leave_room(None);
    assert!(!connection.is_autocommit(), "the statement alone was undone");
    connection.execute_batch("COMMIT").unwrap_err();
    drop(connection);
    assert_eq!(count(&disk), 0);
}

/// A copy that ends before the WAL does is not fsynced, and SQLite takes its last write for done.
#[test]
fn a_copy_of_which_a_part_was_lost_is_read_by_nobody_and_its_wal_stays() {
    let (_directory, disk) = new_disk();
    let (writer, reader, copier) = (connect(&disk), connect(&disk), connect(&disk));
    put_rows(&writer, FEW);
    reader.execute_batch("BEGIN; SELECT count(*) FROM rows").unwrap();
    put_rows(&writer, FEW);
    let copy = |connection: &Connection| {
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
    };
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    put_rows(&writer, 1);
    disk.leave_room(Some(0));
    let (was_busy, pages, copied) = copy(&copier).unwrap();
    assert!(was_busy == 0 && 0 < copied && copied < pages, "{copied} of {pages} pages are said to be copied");
    disk.leave_room(None);
    let lost = |error: rusqlite::Error| assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    let sum = "SELECT count(*), sum(length(body)) FROM rows";
    let before: (i64, i64) = reader.query_row(sum, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(before, (FEW, FEW * 3_000), "who began before reads on in the WAL");
    reader.execute_batch("COMMIT").unwrap();
    writer.execute_batch("COMMIT").expect("it is durable, and was visible to who read then");
    // Whoever asks from then on, as long as one has it open.
    drop(copier);
    for connection in [&writer, &reader] {
        lost(connection.query_row(sum, [], |_| Ok(())).unwrap_err());
        lost(connection.execute("INSERT INTO rows (body) VALUES (zeroblob(3000))", []).unwrap_err());
        lost(copy(connection).unwrap_err());
    }
    let path = disk.path().join("other.db");
    let late = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), c"jobraft");
    lost(late.and_then(|late| late.query_row("SELECT count(*) FROM rows", [], |_| Ok(()))).unwrap_err());
    drop((writer, reader));
    let connection = connect(&disk);
    copy(&connection).unwrap();
    drop(connection);
    assert_eq!(count(&disk), 2 * FEW + 1);
}

#[test]
fn what_a_copy_brings_is_in_the_database_when_others_may_read_it_there() {
    let (_directory, disk) = new_disk();
    let (writer, reader, copier) = (connect(&disk), connect(&disk), connect(&disk));
    put_rows(&writer, FEW);
    reader.execute_batch("BEGIN; SELECT count(*) FROM rows").unwrap();
    put_rows(&writer, FEW);
    copier.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
    reader.execute_batch("COMMIT").unwrap();
    let sum = "SELECT count(*) FROM rows WHERE length(hex(body)) = 6000";
    for connection in [&reader, &copier, &connect(&disk)] {
        assert_eq!(connection.query_row(sum, [], |row| row.get::<_, i64>(0)).unwrap(), 2 * FEW);
    }
}

/// As when a database is made or copied as a snapshot: SQLite undoes on the disk what failed, and may go on.
#[test]
fn what_fails_apart_from_copies_and_wals_is_undone() {
    let (_directory, disk) = new_disk();
    let path = disk.path().join("other.db");
    let connection = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), c"jobraft").unwrap();
    connection.execute_batch("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB NOT NULL); BEGIN").unwrap();
    put_rows(&connection, FEW);
    disk.leave_room(Some(0));
    connection.execute_batch("COMMIT").unwrap_err();
    let _ = connection.execute_batch("ROLLBACK");
    disk.leave_room(None);
    put_rows(&connection, 1);
    drop(connection);
    assert_eq!(count(&disk), 1);
}

#[test]
fn what_a_rollback_left_is_not_written_over_a_later_commit() {
    let (_directory, disk) = new_disk();
    let (first, second) = (connect(&disk), connect(&disk));
    // Nothing of it, and of the WAL before it, is read back: it is still kept.
    let rolled_back = "PRAGMA wal_checkpoint; BEGIN; INSERT INTO rows (body) VALUES (randomblob(100000)); ROLLBACK";
    first.execute_batch(rolled_back).unwrap();
    second.execute_batch("BEGIN").unwrap();
    put_rows(&second, 50);
    second.execute_batch("COMMIT").unwrap();
    drop(first);
    drop(second);
    assert_eq!(count(&disk), 50);
}
