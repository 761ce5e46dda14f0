use super::{checkpoint_at, contents, copy_files, job, job_id, some_changes, tamper};
use crate::storage::{SnapshotFile, StateDb, StorageError};
use jobraft_core::command::Changes;
use jobraft_protocol::JobState;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A state with some content, and a snapshot of it beside.
fn with_snapshot() -> (TempDir, StateDb, SnapshotFile) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    state.checkpoint(&checkpoint_at(7), &some_changes()).unwrap();
    let snapshot = state.snapshot_to(&dir.path().join("snapshot")).unwrap();
    (dir, state, snapshot)
}

/// A state that holds nothing of what [`some_changes`] makes, with its last checkpoint still in the WAL.
fn other_state(dir: &Path) -> StateDb {
    let state = StateDb::open(dir).unwrap();
    let jobs = (100..400).map(|number| job(number, JobState::Ready)).collect();
    state.checkpoint(&checkpoint_at(3), &Changes { jobs, ..Changes::default() }).unwrap();
    state
}

#[test]
fn snapshot_equals_the_original_and_installs_elsewhere() {
    let (_dir, original, snapshot) = with_snapshot();
    assert_eq!(snapshot.meta, checkpoint_at(7));
    let bytes = fs::read(&snapshot.path).unwrap();
    assert_eq!(bytes.len() as u64, snapshot.bytes);
    assert_eq!(<[u8; 32]>::from(Sha256::digest(&bytes)), snapshot.sha256);
    let elsewhere = tempfile::tempdir().unwrap();
    let state = StateDb::open(elsewhere.path()).unwrap();
    assert_eq!(state.install(&snapshot.path).unwrap(), checkpoint_at(7));
    assert_eq!(contents(&state), contents(&original));
    state.checkpoint(&checkpoint_at(8), &some_changes()).unwrap();
    drop(state);
    assert_eq!(StateDb::open(elsewhere.path()).unwrap().meta().unwrap(), Some(checkpoint_at(8)));
    assert!(snapshot.path.exists());
}

#[test]
fn snapshot_holds_what_was_checkpointed_before_it_and_nothing_after() {
    let (dir, state, snapshot) = with_snapshot();
    let before = contents(&state);
    state
        .checkpoint(&checkpoint_at(8), &Changes { jobs: vec![job(50, JobState::Ready)], ..Changes::default() })
        .unwrap();
    let later = state.snapshot_to(&dir.path().join("later")).unwrap();
    assert_eq!(later.meta, checkpoint_at(8));
    state.install(&snapshot.path).unwrap();
    assert_eq!(contents(&state), before);
}

#[test]
fn install_replaces_wholly_with_a_write_ahead_log_beside() {
    let (_dir, original, snapshot) = with_snapshot();
    let elsewhere = tempfile::tempdir().unwrap();
    let state = other_state(elsewhere.path());
    assert!(fs::metadata(elsewhere.path().join("state.db-wal")).unwrap().len() > 0);
    contents(&state);
    state.install(&snapshot.path).unwrap();
    assert_eq!(contents(&state), contents(&original));
    assert_eq!(state.job(job_id(100)).unwrap(), None);
    // And so it stays, for clones and after a kill.
    let copy = tempfile::tempdir().unwrap();
    copy_files(elsewhere.path(), copy.path());
    assert_eq!(contents(&StateDb::open(copy.path()).unwrap()), contents(&original));
}

#[test]
fn clones_see_what_one_of_them_installed() {
    let (_dir, original, snapshot) = with_snapshot();
    let elsewhere = tempfile::tempdir().unwrap();
    let state = other_state(elsewhere.path());
    let clone = state.clone();
    contents(&clone);
    state.install(&snapshot.path).unwrap();
    assert_eq!(contents(&clone), contents(&original));
}

#[test]
fn kill_at_any_step_of_an_install_leaves_the_old_or_the_new_state() {
    let (_dir, original, snapshot) = with_snapshot();
    let elsewhere = tempfile::tempdir().unwrap();
    let state = other_state(elsewhere.path());
    let (old, new) = (contents(&state), contents(&original));
    let killed = |name: &str| {
        let copy: PathBuf = snapshot.path.with_file_name(name);
        copy_files(elsewhere.path(), &copy);
        let survivor = StateDb::open(&copy).unwrap();
        assert!(!copy.join("state.db.incoming").exists());
        contents(&survivor)
    };
    let incoming = state.stage(&snapshot.path).unwrap();
    assert_eq!(killed("staged"), old);
    let before = std::mem::replace(&mut *state.inner.open.write().unwrap(), Err("killed".to_owned())).unwrap();
    state.detach(before).unwrap();
    assert_eq!(killed("detached"), old);
    fs::rename(incoming, elsewhere.path().join("state.db")).unwrap();
    assert_eq!(killed("renamed"), new);
}

#[test]
fn unfit_snapshot_is_refused_and_the_state_stays() {
    let elsewhere = tempfile::tempdir().unwrap();
    let state = other_state(elsewhere.path());
    let before = contents(&state);
    let of_format = |format: &str| {
        let crc = crate::storage::database::crc32(&[b"format", format.as_bytes()]);
        format!("UPDATE meta SET value = CAST('{format}' AS BLOB), crc = {crc} WHERE key = 'format'")
    };
    let (newer, older) = (of_format("6"), of_format("4"));
    type Expected = fn(&StorageError) -> bool;
    let damages: [(&str, Expected); 7] = [
        (&newer, |error| matches!(error, StorageError::NewerFormat { .. })),
        (&older, |error| matches!(error, StorageError::OlderFormat { .. })),
        ("CREATE TRIGGER t AFTER INSERT ON jobs BEGIN DELETE FROM jobs; END", is_corrupt),
        ("UPDATE jobs SET body = x'00' WHERE enqueued_at = 3", is_corrupt),
        ("UPDATE items SET crc = 0", is_corrupt),
        ("DELETE FROM meta WHERE key = 'checkpoint'", |error| matches!(error, StorageError::NoCheckpoint { .. })),
        ("DROP TABLE meta", is_corrupt),
    ];
    for (damage, is_expected) in damages {
        let (_dir, _state, snapshot) = with_snapshot();
        tamper(&snapshot.path, damage);
        let error = state.install(&snapshot.path).unwrap_err();
        assert!(is_expected(&error), "{damage}: {error}");
        assert_eq!(contents(&state), before);
    }
    state.checkpoint(&checkpoint_at(4), &some_changes()).unwrap();
}

fn is_corrupt(error: &StorageError) -> bool {
    matches!(error, StorageError::Corrupt { .. })
}

#[test]
fn snapshot_cut_short_or_overwritten_is_refused() {
    let (_dir, state, snapshot) = with_snapshot();
    let whole = fs::read(&snapshot.path).unwrap();
    let before = contents(&state);
    let cut = &whole[..whole.len() - 4096];
    let mut overwritten = whole.clone();
    overwritten[4096..8192].fill(0xA5);
    for bytes in [cut, &overwritten, b"", b"short"] {
        fs::write(&snapshot.path, bytes).unwrap();
        state.install(&snapshot.path).unwrap_err();
        assert_eq!(contents(&state), before);
    }
}

#[test]
fn snapshot_before_the_first_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let error = state.snapshot_to(&dir.path().join("snapshot")).unwrap_err();
    assert!(matches!(error, StorageError::NoCheckpoint { .. }), "{error}");
}

#[test]
fn damaged_state_makes_no_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let state = other_state(dir.path());
    tamper(&dir.path().join("state.db"), "UPDATE jobs SET body = x'00' WHERE rowid = 7");
    let error = state.snapshot_to(&dir.path().join("snapshot")).unwrap_err();
    assert!(is_corrupt(&error), "{error}");
}

#[test]
fn reads_and_checkpoints_go_on_during_snapshots_and_installs() {
    let (dir, state, snapshot) = with_snapshot();
    std::thread::scope(|scope| {
        let readers =
            [0, 1].map(|_| scope.spawn(|| (0..50).for_each(|_| assert!(state.job(job_id(2)).unwrap().is_some()))));
        for round in 0..5 {
            state.checkpoint(&checkpoint_at(10 + round), &some_changes()).unwrap();
            state.snapshot_to(&dir.path().join("another")).unwrap();
            state.install(&snapshot.path).unwrap();
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
    assert_eq!(state.meta().unwrap(), Some(checkpoint_at(7)));
}
