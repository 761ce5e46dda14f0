//! What goes to a WAL is gathered: a write that fails late must not be lost.

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

fn put_rows(connection: &Connection) {
    for _ in 0..50 {
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
    put_rows(&connection);
    disk.leave_room(Some(0));
    let failed = connection.execute("INSERT INTO rows SELECT id + 1000, body FROM rows", []).unwrap_err();
    assert_eq!(failed.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    disk.leave_room(None);
    assert!(!connection.is_autocommit(), "the statement alone was undone");
    connection.execute_batch("COMMIT").unwrap_err();
    drop(connection);
    assert_eq!(count(&disk), 0);
}

#[test]
fn what_a_rollback_left_is_not_written_over_a_later_commit() {
    let (_directory, disk) = new_disk();
    let (first, second) = (connect(&disk), connect(&disk));
    // Nothing of it, and of the WAL before it, is read back: it is still kept.
    let rolled_back = "PRAGMA wal_checkpoint; BEGIN; INSERT INTO rows (body) VALUES (randomblob(100000)); ROLLBACK";
    first.execute_batch(rolled_back).unwrap();
    second.execute_batch("BEGIN").unwrap();
    put_rows(&second);
    second.execute_batch("COMMIT").unwrap();
    drop(first);
    drop(second);
    assert_eq!(count(&disk), 50);
}
