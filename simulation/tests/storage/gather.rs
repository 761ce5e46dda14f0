//! What goes to a WAL is gathered: a write that fails late must not be lost.

use jobraft_node::storage::LogDb;
use rusqlite::{Connection, OpenFlags};
use simulation::disk::{Disk, scratch};
use simulation::vfs;

/// A statement that fails is undone alone where SQLite can, and then its transaction may still be committed. What could not
/// be written may be of a statement before.
#[test]
fn a_transaction_of_which_a_part_was_lost_is_not_committed() {
    vfs::install();
    let directory = scratch().unwrap();
    let disk = Disk::new(&directory.path().join("disk")).unwrap();
    // The VFS is there once something was opened.
    LogDb::open(disk.path()).unwrap().0.close();
    let path = disk.path().join("other.db");
    let connection = Connection::open_with_flags_and_vfs(&path, OpenFlags::default(), c"jobraft").unwrap();
    let begin = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = 4;
                 CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB NOT NULL); BEGIN;";
    connection.execute_batch(begin).unwrap();
    let mut put = 0;
    while put < 50 {
        put += connection.execute("INSERT INTO rows (body) VALUES (randomblob(3000))", []).unwrap();
    }
    disk.leave_room(Some(0));
    let failed = connection.execute("INSERT INTO rows SELECT id + 1000, body FROM rows", []).unwrap_err();
    assert_eq!(failed.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
    disk.leave_room(None);
    assert!(!connection.is_autocommit(), "the statement alone was undone");
    connection.execute_batch("COMMIT").unwrap_err();
    drop(connection);
    let connection = Connection::open(&path).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0);
}
