//! The disk itself: what it loses, keeps and refuses.

use rusqlite::Connection;
use simulation::disk::{Change, Disk, Fate, Unsynced, scratch};
use simulation::vfs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

fn new_disk() -> (TempDir, Disk) {
    vfs::install();
    let directory = scratch().unwrap();
    let disk = Disk::new(&directory.path().join("disk")).unwrap();
    (directory, disk)
}

/// A database in WAL mode with a table of numbers, in which `1` is durable.
fn database(disk: &Disk) -> Connection {
    let connection = Connection::open(disk.path().join("numbers.db")).unwrap();
    let sql = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
               CREATE TABLE numbers (n INTEGER PRIMARY KEY); INSERT INTO numbers VALUES (1);";
    connection.execute_batch(sql).unwrap();
    connection
}

fn numbers(disk: &Disk) -> Vec<i64> {
    let connection = Connection::open(disk.path().join("numbers.db")).unwrap();
    let mut statement = connection.prepare("SELECT n FROM numbers ORDER BY n").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn insert(connection: &Connection, number: i64) -> bool {
    connection.execute("INSERT INTO numbers VALUES (?1)", [number]).is_ok()
}

#[test]
fn what_was_synced_survives_and_the_rest_is_the_choosers() {
    for (fate, survivors) in [(Fate::Lost, vec![1]), (Fate::Whole, vec![1, 2]), (Fate::Head(100), vec![1])] {
        let (_directory, disk) = new_disk();
        let connection = database(&disk);
        connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
        assert!(insert(&connection, 2));
        let unsynced = disk.unsynced().unwrap();
        assert!(unsynced.iter().all(|(file, _)| file == Path::new("numbers.db-wal")), "{unsynced:?}");
        assert!(matches!(unsynced[0].1, Change::Written { .. }));
        disk.crash(&mut |_: &Unsynced<'_>| fate).unwrap();
        assert_eq!(numbers(&disk), survivors, "{fate:?}");
    }
}

#[test]
fn dead_handles_fail_and_leave_the_new_life_alone() {
    let (_directory, disk) = new_disk();
    let dead = database(&disk);
    disk.crash(&mut |_: &Unsynced<'_>| Fate::Lost).unwrap();
    let alive = Connection::open(disk.path().join("numbers.db")).unwrap();
    assert!(!insert(&dead, 2));
    assert!(dead.query_row("SELECT count(*) FROM numbers", [], |row| row.get::<_, i64>(0)).is_err());
    assert!(insert(&alive, 3));
    drop(dead);
    assert!(insert(&alive, 4));
    assert_eq!(numbers(&disk), [1, 3, 4]);
}

#[test]
fn power_fails_at_the_step_it_was_told_to_and_nothing_is_written_after() {
    let (_directory, disk) = new_disk();
    let connection = database(&disk);
    disk.cut_power_at(disk.steps() + 1);
    assert!(!insert(&connection, 2));
    assert!(!insert(&connection, 3));
    assert!(disk.cut_step().unwrap().starts_with("sync") || disk.cut_step().unwrap().starts_with("write"));
    assert!(Connection::open(disk.path().join("numbers.db")).is_err());
    disk.crash(&mut |_: &Unsynced<'_>| Fate::Whole).unwrap();
    assert_eq!(numbers(&disk)[0], 1);
}

#[test]
fn what_a_failed_sync_left_is_never_made_durable_by_a_later_one() {
    let (_directory, disk) = new_disk();
    let connection = database(&disk);
    disk.fail_next_sync(Some("numbers.db-wal"));
    assert!(!insert(&connection, 2));
    let abandoned = disk.unsynced().unwrap();
    assert!(!abandoned.is_empty());
    assert!(insert(&connection, 3));
    assert_eq!(disk.unsynced().unwrap(), abandoned);
    disk.crash(&mut |_: &Unsynced<'_>| Fate::Lost).unwrap();
    assert_eq!(numbers(&disk), [1, 3]);
}

#[test]
fn full_disk_takes_what_fits_and_refuses_the_rest() {
    let (_directory, disk) = new_disk();
    let connection = database(&disk);
    disk.leave_room(Some(5000));
    let refused = (2..).take_while(|&number| insert(&connection, number)).count();
    assert_eq!(refused, 1);
    disk.leave_room(None);
    assert!(insert(&connection, 9));
    assert_eq!(numbers(&disk), [1, 2, 9]);
}

#[test]
fn read_only_disk_is_read_and_not_written() {
    let (_directory, disk) = new_disk();
    let connection = database(&disk);
    disk.set_read_only(true);
    assert!(!insert(&connection, 2));
    assert_eq!(connection.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0)), Ok(1));
    disk.set_read_only(false);
    assert!(insert(&connection, 2));
}

#[test]
fn flipped_bit_stays_over_a_crash_and_syncs_are_heard() {
    let (_directory, disk) = new_disk();
    let heard = Arc::new(AtomicU64::new(0));
    let hearing = Arc::clone(&heard);
    disk.on_sync(Some(Arc::new(move |_| {
        hearing.fetch_add(1, Ordering::Relaxed);
    })));
    let connection = database(&disk);
    assert_eq!(heard.load(Ordering::Relaxed), disk.syncs());
    assert!(disk.syncs() > 0);
    let before = std::fs::read(disk.path().join("numbers.db-wal")).unwrap();
    disk.flip_bit(Path::new("numbers.db-wal"), 8 * 40 + 3).unwrap();
    disk.crash(&mut |_: &Unsynced<'_>| Fate::Lost).unwrap();
    drop(connection);
    let after = std::fs::read(disk.path().join("numbers.db-wal")).unwrap();
    let changed: Vec<_> = (0..before.len()).filter(|&at| before[at] != after[at]).collect();
    assert_eq!(changed, [40]);
    assert_eq!(before[40] ^ after[40], 1 << 3);
}

#[test]
fn same_seed_writes_the_same_bytes() {
    // In a process of its own, so that no other test draws numbers in between.
    if std::env::var_os("ALONE").is_none() {
        let test = std::env::current_exe().unwrap();
        let status = std::process::Command::new(test)
            .args(["--exact", "disk::same_seed_writes_the_same_bytes"])
            .env("ALONE", "1")
            .status();
        assert!(status.unwrap().success());
        return;
    }
    let run = |seed| {
        let (_directory, disk) = new_disk();
        vfs::seed(seed);
        let connection = database(&disk);
        let bytes = std::fs::read(disk.path().join("numbers.db-wal")).unwrap();
        drop(connection);
        bytes
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
