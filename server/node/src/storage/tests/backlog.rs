use super::{
    assert_damage_is_never_served, checkpoint_at, completed, contents, count, delete, job, job_id, left, list, put,
    tamper,
};
use crate::seal::Seal;
use crate::seal::tests::key_file;
use crate::storage::places::Places;
use crate::storage::runs::Holds;
use crate::storage::{StateDb, StorageError, reseal};
use jobraft_core::command::{Changes, JobRow};
use jobraft_protocol::{BatchId, JobFilter, JobState};
use std::path::Path;

/// A job that waits, and has no row yet.
fn new(number: u64) -> JobRow {
    JobRow { rests: false, ..job(number, JobState::Ready) }
}

/// Jobs 1 to 100, new in one checkpoint: those to 64 in one run, the others in the next.
fn with_jobs(dir: &Path) -> StateDb {
    let state = StateDb::open(dir).unwrap();
    put(&state, (1..=100).map(new).collect());
    state
}

/// The numbers of those that a start would find live.
fn live(state: &StateDb) -> Vec<u64> {
    let number = |body: &Vec<u8>| std::str::from_utf8(body).unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut live: Vec<u64> = super::live(state).unwrap().iter().map(number).collect();
    live.sort_unstable();
    live
}

/// How many jobs have a row of their own, how many a place in the backlog, and in how many runs.
fn rows(dir: &Path) -> [i64; 3] {
    ["jobs", "waiting", "backlog"].map(|table| count(dir, table))
}

#[test]
fn jobs_that_begin_to_wait_share_rows() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let of_queue = |number: u64| ["mail", "video"][number as usize % 2].parse().unwrap();
    put(&state, (1..=200).map(|number| JobRow { queue: of_queue(number), ..new(number) }).collect());
    assert_eq!(rows(dir.path()), [0, 200, 4]);
    assert_eq!((left(&state), live(&state)), ((1..=200).collect(), (1..=200).collect()));
    // Others have rows of their own: those that are looked for by more than their id, or may have one already.
    let others = [
        JobRow { key: Some("k".parse().unwrap()), ..new(301) },
        JobRow { batch: Some(BatchId(job_id(1))), ..new(302) },
        JobRow { rests: true, ..new(303) },
        JobRow { state: JobState::Scheduled, ..new(304) },
    ];
    put(&state, others.to_vec());
    assert_eq!(rows(dir.path()), [4, 200, 4]);
    assert_eq!(live(&state).len(), 204);
    assert_eq!(state.job(job_id(250)).unwrap(), None);
}

#[test]
fn whatever_becomes_of_a_job_it_leaves_its_run_and_the_last_takes_the_run_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    put(&state, vec![completed(1), job(2, JobState::Leased), job(3, JobState::Dead), job(4, JobState::Ready)]);
    delete(&state, vec![job_id(5), job_id(1_000)]);
    assert_eq!(rows(dir.path()), [3, 95, 2]);
    let expected: Vec<u64> = (1..=100).filter(|number| *number != 5).collect();
    assert_eq!(left(&state), expected);
    let is_live = |number: &u64| ![1, 3, 5].contains(number);
    assert_eq!(live(&state), (1..=100).filter(is_live).collect::<Vec<_>>());
    put(&state, (6..=64).map(completed).collect());
    assert_eq!(rows(dir.path()), [3, 36, 1]);
    drop(state);
    // Which is looked at as a whole.
    let state = StateDb::open(dir.path()).unwrap();
    assert_eq!((left(&state), live(&state).len()), (expected, 38));
    // In the checkpoint that would have written it, too.
    let changes = Changes { jobs: vec![new(200)], deleted: vec![job_id(200)], ..Changes::default() };
    state.checkpoint(&checkpoint_at(2), &changes).unwrap();
    assert_eq!((left(&state).len(), rows(dir.path())), (99, [3, 36, 1]));
}

#[test]
fn a_job_that_ended_and_lives_again_leaves_its_run_once() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    // Others of the run are read ahead.
    let dead = (1..=20).map(|number| job(number, JobState::Dead));
    put(&state, dead.chain([job(20, JobState::Ready)]).collect());
    assert_eq!((rows(dir.path()), left(&state).len()), ([20, 80, 2], 100));
    drop(state);
    // Which compares what the run counts with what it has.
    assert_eq!(live(&StateDb::open(dir.path()).unwrap()), (20..=100).collect::<Vec<_>>());
}

#[test]
fn those_that_stay_behind_get_rows_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    // More than a quarter is left.
    put(&state, (1..=47).map(completed).collect());
    assert_eq!(rows(dir.path()), [0, 53, 2]);
    put(&state, vec![completed(48)]);
    assert_eq!(rows(dir.path()), [16, 36, 1]);
    assert_eq!((left(&state).len(), live(&state)), (100, (49..=100).collect()));
    put(&state, (49..=100).map(completed).collect());
    assert_eq!((rows(dir.path()), left(&state).len()), ([0, 0, 0], 100));
}

#[test]
fn a_job_that_is_new_twice_stands_in_the_last_run_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    put(&state, (1..=64).map(|number| new(if number == 1 { 70 } else { 1_000 + number })).collect());
    assert_eq!((rows(dir.path()), left(&state).len()), ([0, 163, 3], 163));
    drop(state);
    assert_eq!(live(&StateDb::open(dir.path()).unwrap()).len(), 163);
}

#[test]
fn places_are_told_in_whatever_order_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    put(&state, (1..=600).filter(|number: &u64| !number.is_multiple_of(3)).map(new).collect());
    let (path, connection) = (Path::new("state.db"), rusqlite::Connection::open(dir.path().join("state.db")).unwrap());
    let is_there = |number: u64| (1..=600).contains(&number) && !number.is_multiple_of(3);
    let upwards: Vec<u64> = (0..=610).collect();
    let downwards = upwards.iter().rev().copied().collect();
    let here_and_there = upwards.iter().map(|number| number * 263 % 611).collect();
    let some_together = upwards.iter().map(|number| number % 50 + number / 50 * 7).collect();
    for order in [upwards, downwards, here_and_there, some_together] {
        let mut places = Places::of(&connection, Holds::Ready, path).unwrap();
        for number in &order {
            let run = places.run_of(job_id(*number)).unwrap();
            assert_eq!(run.is_some(), is_there(*number), "{number} in {order:?}");
        }
    }
    let mut places = Places::of(&connection, Holds::Ready, path).unwrap();
    for number in 1..=600 {
        assert_eq!(places.run_of(job_id(number)).unwrap().is_some(), is_there(number));
        places.forget(job_id(number));
        assert_eq!(places.run_of(job_id(number)).unwrap(), None, "what is gone is not told of again");
    }
}

#[test]
fn damage_to_the_backlog_or_to_what_tells_of_it_is_never_served() {
    let damages = [
        ("UPDATE backlog SET body = x'01' || substr(body, 2) || x'00' WHERE run = 1", true),
        ("UPDATE backlog SET queue = 'video'", true),
        ("UPDATE backlog SET run = 9 WHERE run = 1", true),
        ("DELETE FROM backlog WHERE run = 1", true),
        ("UPDATE waiting SET run = 2", true),
        // What was lost or came back is found by those who look at all.
        ("UPDATE backlog SET jobs = 9 WHERE run = 1", false),
        ("DELETE FROM waiting WHERE id = (SELECT min(id) FROM waiting)", false),
        ("INSERT INTO waiting (id, run) SELECT zeroblob(16), 1", false),
        ("UPDATE waiting SET space = 's' WHERE run = 1", false),
    ];
    for (damage, shows_at_once) in damages {
        assert_damage_is_never_served(with_jobs, damage, shows_at_once);
    }
}

#[test]
fn a_run_that_counts_less_than_leaves_it_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    tamper(&dir.path().join("state.db"), "UPDATE backlog SET jobs = 1 WHERE run = 1");
    let changes = Changes { jobs: vec![completed(1), completed(2)], ..Changes::default() };
    let error = state.checkpoint(&checkpoint_at(2), &changes).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
}

#[test]
fn the_backlog_is_sealed_and_resealed_and_is_no_run_of_completed_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let open =
        |keys: &[u8]| StateDb::open_sealed(dir.path(), Seal::load(&key_file(dir.path(), keys)).unwrap()).unwrap();
    drop(with_jobs(dir.path()));
    let state = open(&[1]);
    let before = contents(&state);
    drop(state);
    let done = reseal(dir.path(), &Seal::load(&key_file(dir.path(), &[1])).unwrap(), |_| ()).unwrap();
    assert_eq!(done.written, 2);
    let state = open(&[1]);
    assert_eq!(contents(&state), before);
    // What gets a row of its own is sealed again.
    put(&state, (1..=48).map(completed).collect());
    assert_eq!((list(&state, &JobFilter::default()).len(), rows(dir.path())), (100, [16, 36, 1]));
    drop(state);
    let file = std::fs::read(dir.path().join("state.db")).unwrap();
    for canary in [&b"ready 49"[..], b"ready 100", b"completed 8"] {
        assert!(!file.windows(canary.len()).any(|window| window == canary));
    }
    let swap = "UPDATE runs SET body = (SELECT body FROM backlog), queue = 'mail', ended_seq = 0, finished_at = 0;
         UPDATE runs SET crc = (SELECT crc FROM backlog), run = 2; UPDATE completed SET run = 2";
    tamper(&dir.path().join("state.db"), swap);
    let error = open(&[1]).job(job_id(1)).unwrap_err();
    assert!(error.to_string().contains("run 2 does not open with its key"), "{error}");
}
