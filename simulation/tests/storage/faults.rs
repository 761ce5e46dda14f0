//! Disks that are full, read-only or failing.

use crate::log_model::{self, Log, Op};
use crate::state_model;
use jobraft_node::storage::{LogDb, StateDb, StorageError};
use simulation::disk::{Disk, Fate, Unsynced, scratch};
use simulation::vfs;
use tempfile::TempDir;

fn new_disk() -> (TempDir, Disk) {
    vfs::install();
    let directory = scratch().unwrap();
    let disk = Disk::new(&directory.path().join("disk")).unwrap();
    (directory, disk)
}

#[test]
fn disk_that_is_full_at_the_first_start_leaves_what_a_later_start_can_use() {
    let mut failed = 0;
    for room in (0..).map(|step| step * 2_000) {
        let (_directory, disk) = new_disk();
        disk.leave_room(Some(room));
        let opened = LogDb::open(disk.path()).and_then(|log| Ok((log, StateDb::open(disk.path())?)));
        let is_done = opened.is_ok();
        match opened {
            Ok(_) => {}
            Err(StorageError::DiskFull { .. }) => failed += 1,
            Err(error) => panic!("with {room} bytes: {error}"),
        }
        disk.leave_room(None);
        let (log, recovered) = LogDb::open(disk.path()).unwrap();
        assert_eq!(recovered, jobraft_node::storage::LogRecovered::default());
        let state = StateDb::open(disk.path()).unwrap();
        let run = log_model::run(&log, &log_model::script());
        assert_eq!(run.acknowledged + 1, run.states.len());
        assert_eq!(state_model::run(&state, &state_model::script()[..3], None).acknowledged, 3);
        if is_done {
            break;
        }
    }
    assert!(failed > 10, "{failed} disks were too small");
}

#[test]
fn disk_that_becomes_full_stops_the_writer_and_keeps_what_was_acknowledged() {
    for room in (0..60_000).step_by(7_000) {
        let (_directory, disk) = new_disk();
        let (log, _) = LogDb::open(disk.path()).unwrap();
        disk.leave_room(Some(room));
        let run = log_model::run(&log, &log_model::script());
        log.close();
        disk.leave_room(None);
        disk.crash(&mut |_: &Unsynced<'_>| Fate::Whole).unwrap();
        let (log, recovered) = LogDb::open(disk.path()).unwrap();
        assert!(run.allows(&Log::read(&log, &recovered).unwrap()), "with {room} bytes");
    }
}

/// More than is cached: it goes to the WAL long before it is committed, and is read back from there.
#[test]
fn disk_that_becomes_full_in_the_middle_of_a_large_transaction_loses_only_that() {
    let (_directory, disk) = new_disk();
    let (log, _) = LogDb::open(disk.path()).unwrap();
    assert_eq!(log_model::run(&log, &[Op::Append(3, 1, 200)]).acknowledged, 1);
    disk.leave_room(Some(3 << 20));
    let large = vec![log_model::record(4, 1, 30 << 20)];
    let (done, result) = log_model::done();
    log.append(large, done);
    assert!(result.recv().unwrap().is_err());
    disk.leave_room(None);
    let (done, result) = log_model::done();
    log.append(vec![log_model::record(4, 1, 10)], done);
    assert!(!matches!(result.recv(), Ok(Ok(()))), "it goes on behind what was lost");
    log.close();
    let (log, recovered) = LogDb::open(disk.path()).unwrap();
    assert_eq!(Log::read(&log, &recovered).unwrap().records.len(), 3);
}

#[test]
fn read_only_disk_is_named() {
    let (_directory, disk) = new_disk();
    let (log, _) = LogDb::open(disk.path()).unwrap();
    let state = StateDb::open(disk.path()).unwrap();
    assert_eq!(log_model::run(&log, &log_model::script()[..2]).acknowledged, 2);
    log.close();
    drop(state);
    disk.set_read_only(true);
    for error in [LogDb::open(disk.path()).err().unwrap(), StateDb::open(disk.path()).err().unwrap()] {
        assert!(matches!(error, StorageError::ReadOnly { .. }), "{error}");
    }
    disk.set_read_only(false);
    let (_, recovered) = LogDb::open(disk.path()).unwrap();
    assert_eq!(recovered.last.unwrap().index, 3);
}

#[test]
fn failed_fsync_of_a_checkpoint_ends_the_state_s_writer() {
    let (_directory, disk) = new_disk();
    let db = StateDb::open(disk.path()).unwrap();
    let script = state_model::script();
    let run = state_model::run(&db, &script[..2], None);
    disk.fail_next_sync(Some("state.db-wal"));
    let failed = state_model::run(&db, &script[..1], None);
    assert_eq!(failed.acknowledged, 0);
    let error = db.give_back(1).unwrap_err();
    assert!(matches!(error, StorageError::Stopped { .. }), "{error}");
    disk.crash(&mut |_: &Unsynced<'_>| Fate::Lost).unwrap();
    let db = StateDb::open(disk.path()).unwrap();
    assert_eq!(state_model::State::read(&db).unwrap(), run.states[2]);
}
