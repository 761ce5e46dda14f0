//! The log at every crash point.

use crate::log_model::{Log, Op, Run, run, script};
use crate::variants::each_survivor;
use jobraft_node::storage::{LogDb, LogRecord};
use simulation::disk::{Disk, scratch};
use simulation::vfs;
use std::path::Path;
use tempfile::TempDir;

fn new_disk() -> (TempDir, Disk) {
    vfs::install();
    let directory = scratch().unwrap();
    let disk = Disk::new(&directory.path().join("disk")).unwrap();
    (directory, disk)
}

/// The script on a disk whose power fails at `step`, if any does, and what became of it.
fn crashed_at(disk: &Disk, step: u64, script: &[Op]) -> Run {
    disk.cut_power_at(step);
    let Ok((log, _)) = LogDb::open(disk.path()) else {
        return Run { states: vec![Log::default()], acknowledged: 0, committed: Vec::new() };
    };
    let run = run(&log, script);
    log.close();
    run
}

/// Opens what a crash left, compares, and goes on.
fn check(directory: &Path, run: &Run, how: &str) {
    let (log, recovered) = LogDb::open(directory).unwrap_or_else(|error| panic!("{error}\n{how}"));
    let found = Log::read(&log, &recovered).unwrap_or_else(|error| panic!("{error}\n{how}"));
    let wanted = &run.states[run.acknowledged..];
    assert!(run.allows(&found), "found {found:#?}\nwanted one of {wanted:#?}\n{how}");
    assert!(recovered.committed.as_ref().is_none_or(|committed| run.committed.contains(committed)), "{how}");
    // A log that was recovered takes more, and keeps it.
    let next = recovered.last.map_or(1, |last| last.index + 1);
    let more = LogRecord { index: next, term: 99, body: vec![1].into() };
    let (sender, receiver) = std::sync::mpsc::channel();
    log.append(vec![more.clone()], Box::new(move |result| drop(sender.send(result))));
    receiver.recv().unwrap().unwrap_or_else(|error| panic!("{error}\n{how}"));
    assert_eq!(log.read(next, next + 1, 0).unwrap(), [more], "{how}");
}

#[test]
fn many_pages_reach_the_wal_in_few_writes() {
    let (_directory, disk) = new_disk();
    let (log, _) = LogDb::open(disk.path()).unwrap();
    let before = disk.steps();
    // Some 250 pages.
    let run = run(&log, &[Op::Append(1, 1, 1_000_000)]);
    assert_eq!(run.acknowledged, 1);
    let steps = disk.steps() - before;
    assert!(steps < 30, "{steps} writes and syncs");
}

#[test]
fn every_crash_point_of_the_log_keeps_what_was_acknowledged() {
    let script = script();
    let steps = {
        let (_directory, disk) = new_disk();
        let run = crashed_at(&disk, u64::MAX, &script);
        assert_eq!(run.acknowledged + 1, run.states.len());
        disk.steps()
    };
    let mut looked_at = 0;
    for step in 0..steps {
        let (_directory, disk) = new_disk();
        let run = crashed_at(&disk, step, &script);
        looked_at += each_survivor(&disk, |directory, how| check(directory, &run, how));
    }
    println!("{looked_at} disks after {steps} crash points");
    assert!(steps > 60 && looked_at as u64 > 3 * steps);
}

#[test]
fn failed_fsync_ends_the_log_and_loses_nothing_acknowledged() {
    for failing in 0..8 {
        let (_directory, disk) = new_disk();
        let (log, _) = LogDb::open(disk.path()).unwrap();
        let first = run(&log, &script()[..failing]);
        assert_eq!(first.acknowledged + 1, first.states.len());
        disk.fail_next_sync(None);
        let (sender, receiver) = std::sync::mpsc::channel();
        log.save_vote(vec![7], Box::new(move |result| drop(sender.send(result))));
        receiver.recv().unwrap().unwrap_err();
        // The disk works again, and nobody tries.
        let (sender, receiver) = std::sync::mpsc::channel();
        log.save_vote(vec![8], Box::new(move |result| drop(sender.send(result))));
        receiver.recv().unwrap().unwrap_err();
        log.close();
        let mut with_vote = first.states.last().unwrap().clone();
        with_vote.vote = Some(vec![7]);
        let allowed = [first.states.last().unwrap().clone(), with_vote];
        each_survivor(&disk, |directory, how| {
            let (log, recovered) = LogDb::open(directory).unwrap_or_else(|error| panic!("{error}\n{how}"));
            assert!(allowed.contains(&Log::read(&log, &recovered).unwrap()), "{how}");
        });
    }
}
