//! The state at every crash point.

use crate::state_model::{Op, Run, State, run, script, snapshot};
use crate::variants::each_survivor;
use jobraft_core::command::Table;
use jobraft_node::storage::StateDb;
use jobraft_protocol::JobState;
use simulation::disk::{Disk, scratch};
use simulation::vfs;
use std::path::Path;

fn crashed_at(disk: &Disk, step: u64, snapshot: (&Path, &State)) -> Run {
    disk.cut_power_at(step);
    let Ok(db) = StateDb::open(disk.path()) else {
        return Run { states: vec![State::default()], acknowledged: 0 };
    };
    run(&db, &script(), Some(snapshot))
}

fn check(directory: &Path, run: &Run, how: &str) {
    let db = StateDb::open(directory).unwrap_or_else(|error| panic!("{error}\n{how}"));
    let found = State::read(&db).unwrap_or_else(|error| panic!("{error}\n{how}"));
    let wanted = &run.states[run.acknowledged..];
    assert!(wanted.contains(&found), "found {found:#?}\nwanted one of {wanted:#?}\n{how}");
    let more = Op::Checkpoint(vec![(99, JobState::Ready)], vec![(Table::State, "after", true)], vec![]);
    assert_eq!(crate::state_model::run(&db, &[more], None).acknowledged, 1, "{how}");
}

#[test]
fn every_crash_point_of_the_state_leaves_a_whole_checkpoint() {
    vfs::install();
    let elsewhere = scratch().unwrap();
    let (path, content) = snapshot(&elsewhere.path().join("snapshot"));
    let fresh = || {
        let directory = scratch().unwrap();
        let disk = Disk::new(&directory.path().join("disk")).unwrap();
        (directory, disk)
    };
    let steps = {
        let (_directory, disk) = fresh();
        let run = crashed_at(&disk, u64::MAX, (&path, &content));
        assert_eq!(run.acknowledged + 1, run.states.len());
        disk.steps()
    };
    let mut looked_at = 0;
    for step in 0..steps {
        let (_directory, disk) = fresh();
        let run = crashed_at(&disk, step, (&path, &content));
        looked_at += each_survivor(&disk, |directory, how| check(directory, &run, how));
    }
    println!("{looked_at} disks after {steps} crash points");
    assert!(steps > 60 && looked_at as u64 > 3 * steps);
}
