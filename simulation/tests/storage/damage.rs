//! Flipped bits and cut files: named, or harmless; never silently different.

use crate::log_model::{self, Log};
use crate::state_model::{self, State};
use crate::variants::everywhere;
use jobraft_node::storage::{LogDb, StateDb, StorageError};
use simulation::disk::scratch;
use simulation::vfs;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use tempfile::TempDir;

/// Bits flipped in each file, unless all are asked for.
const FLIPS: usize = 400;
/// Lengths to which each file is cut, unless all are asked for.
const CUTS: usize = 60;

/// A database as a kill or an orderly end left it.
struct Left<T> {
    directory: TempDir,
    /// What it held after each step.
    states: Vec<T>,
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn log(is_killed: bool) -> Left<Log> {
    vfs::install();
    let (running, directory) = (scratch().unwrap(), scratch().unwrap());
    let (log, _) = LogDb::open(running.path()).unwrap();
    let mut script = log_model::script();
    script.truncate(11);
    let run = log_model::run(&log, &script);
    if is_killed {
        copy_files(running.path(), directory.path());
    }
    log.close();
    if !is_killed {
        copy_files(running.path(), directory.path());
    }
    Left { directory, states: run.states }
}

fn state(is_killed: bool) -> Left<State> {
    vfs::install();
    let (running, directory) = (scratch().unwrap(), scratch().unwrap());
    let db = StateDb::open(running.path()).unwrap();
    let run = state_model::run(&db, &state_model::script()[..4], None);
    if is_killed {
        copy_files(running.path(), directory.path());
    }
    drop(db);
    if !is_killed {
        copy_files(running.path(), directory.path());
    }
    Left { directory, states: run.states }
}

fn read_log(directory: &Path) -> Result<Log, String> {
    let (log, recovered) = LogDb::open(directory).map_err(named)?;
    Log::read(&log, &recovered)
}

fn read_state(directory: &Path) -> Result<State, String> {
    StateDb::open(directory).and_then(|db| State::read(&db)).map_err(named)
}

/// Damage names the file that has it.
fn named(error: StorageError) -> String {
    let text = error.to_string();
    assert!(text.contains(".db"), "{text}");
    text
}

/// Damages `file` in every way that `damage` knows, and compares what is read then.
fn each<T: PartialEq + std::fmt::Debug>(
    left: &Left<T>,
    file: &str,
    ways: impl Iterator<Item = usize>,
    damage: impl Fn(&mut Vec<u8>, usize),
    read: impl Fn(&Path) -> Result<T, String>,
    allows: impl Fn(&[T], &T) -> bool,
) {
    let whole = fs::read(left.directory.path().join(file)).unwrap();
    let (mut found, mut harmless, mut silent) = (0, 0, Vec::new());
    for way in ways {
        let directory = scratch().unwrap();
        copy_files(left.directory.path(), directory.path());
        let mut bytes = whole.clone();
        damage(&mut bytes, way);
        fs::write(directory.path().join(file), bytes).unwrap();
        match catch_unwind(AssertUnwindSafe(|| read(directory.path()))) {
            Ok(Ok(content)) if allows(&left.states, &content) => harmless += 1,
            Ok(Ok(_)) => silent.push(way),
            Ok(Err(_)) => found += 1,
            Err(_) => panic!("reading {file} damaged at {way} panicked"),
        }
    }
    println!("{file}: {found} found, {harmless} harmless of {} bytes", whole.len());
    assert!(silent.is_empty(), "{file}: silently different when damaged at {silent:?}");
    assert!(found > 0, "{file}: no damage was found");
}

/// Some of `0..count`, at strides that hit every bit of a byte and every part of a page; and all of the first ones.
fn sample(count: usize, wanted: usize, first: usize) -> impl Iterator<Item = usize> {
    let stride = if everywhere() { 1 } else { (count / wanted).max(1) | 1 };
    let dense = if everywhere() { 0 } else { first };
    (0..dense).step_by(3).chain((dense..count).step_by(stride))
}

#[expect(clippy::ptr_arg, reason = "damage like `Vec::truncate`")]
fn flip(bytes: &mut Vec<u8>, bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

fn bits(left: &TempDir, file: &str) -> impl Iterator<Item = usize> {
    let bytes = fs::metadata(left.path().join(file)).unwrap().len() as usize;
    sample(bytes * 8, FLIPS, 8 * 112)
}

fn lengths(left: &TempDir, file: &str) -> impl Iterator<Item = usize> {
    sample(fs::metadata(left.path().join(file)).unwrap().len() as usize, CUTS, 0)
}

fn is_last<T: PartialEq>(states: &[T], found: &T) -> bool {
    states.last() == Some(found)
}

/// What a file cut between two transactions says is what it said once: it cannot be told from writes that never came.
fn was_once<T: PartialEq>(states: &[T], found: &T) -> bool {
    states.contains(found)
}

#[test]
fn a_flipped_bit_of_the_log_is_named_or_harmless() {
    let left = log(false);
    each(&left, "log.db", bits(&left.directory, "log.db"), flip, read_log, is_last);
}

#[test]
fn a_flipped_bit_of_the_log_s_wal_is_named_or_harmless() {
    let left = log(true);
    each(&left, "log.db-wal", bits(&left.directory, "log.db-wal"), flip, read_log, is_last);
}

#[test]
fn a_flipped_bit_of_the_state_is_named_or_harmless() {
    let left = state(false);
    each(&left, "state.db", bits(&left.directory, "state.db"), flip, read_state, is_last);
}

#[test]
fn a_flipped_bit_of_the_state_s_wal_is_named_or_harmless() {
    let left = state(true);
    each(&left, "state.db-wal", bits(&left.directory, "state.db-wal"), flip, read_state, is_last);
}

#[test]
fn a_cut_database_is_named_or_harmless() {
    let left = log(false);
    each(&left, "log.db", lengths(&left.directory, "log.db"), Vec::truncate, read_log, is_last);
    let left = state(false);
    each(&left, "state.db", lengths(&left.directory, "state.db"), Vec::truncate, read_state, is_last);
}

#[test]
fn a_cut_wal_loses_whole_transactions_at_its_end_at_most() {
    let left = log(true);
    let cut = |states: &[Log], found: &Log| was_once(states, found);
    let cuts = lengths(&left.directory, "log.db-wal");
    let count = each_cut(&left, "log.db-wal", cuts, read_log, cut);
    let left = state(true);
    let cuts = lengths(&left.directory, "state.db-wal");
    let count = count + each_cut(&left, "state.db-wal", cuts, read_state, was_once);
    assert!(count > 0);
}

fn each_cut<T: PartialEq + std::fmt::Debug>(
    left: &Left<T>,
    file: &str,
    cuts: impl Iterator<Item = usize>,
    read: impl Fn(&Path) -> Result<T, String>,
    allows: impl Fn(&[T], &T) -> bool,
) -> usize {
    let whole = fs::read(left.directory.path().join(file)).unwrap();
    let mut count = 0;
    for cut in cuts {
        let directory = scratch().unwrap();
        copy_files(left.directory.path(), directory.path());
        fs::write(directory.path().join(file), &whole[..cut]).unwrap();
        let found = read(directory.path()).unwrap_or_else(|error| panic!("{file} cut to {cut}: {error}"));
        assert!(allows(&left.states, &found), "{file} cut to {cut}: {found:?}");
        count += 1;
    }
    count
}
