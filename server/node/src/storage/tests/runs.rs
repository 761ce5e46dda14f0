use super::{assert_damage_is_never_served, checkpoint_at, completed, contents, count, delete, job, job_id, left, put};
use crate::seal::Seal;
use crate::seal::tests::key_file;
use crate::storage::{Due, StateDb, reseal};
use jobraft_core::command::{Changes, Horizon, JobRow};
use jobraft_protocol::{JobState, LogTime};
use std::collections::HashSet;
use std::path::Path;

/// Jobs 1 to 100, completed between two checkpoints.
fn with_jobs(dir: &Path) -> StateDb {
    let state = StateDb::open(dir).unwrap();
    put(&state, (1..=100).map(completed).collect());
    state
}

fn sweep(state: &StateDb, above: u64, pinned: &[u64], rows_max: usize) -> (usize, bool) {
    let from = LogTime::from_ms(0);
    let horizon = Horizon { queue: "mail".parse().unwrap(), state: JobState::Completed, from, above };
    let pinned = pinned.iter().copied().map(job_id).collect::<HashSet<_>>();
    let outcome = state.sweep(&mut [Due::from(horizon)], &pinned, LogTime::from_ms(u64::MAX), rows_max).unwrap();
    (outcome.removed, outcome.more)
}

#[test]
fn completed_jobs_of_a_queue_share_rows() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let of_queue = |number: u64| ["mail", "video"][number as usize % 2].parse().unwrap();
    put(&state, (1..=200).map(|number| JobRow { queue: of_queue(number), ..completed(number) }).collect());
    assert_eq!(count(dir.path(), "runs"), 4);
    assert_eq!(left(&state), (1..=200).collect::<Vec<_>>());
    // However large they are.
    let large = |number| JobRow { body: vec![b'x'; 40_000].into(), ..completed(number) };
    put(&state, (301..=303).map(large).collect());
    assert_eq!(count(dir.path(), "runs"), 7);
    assert_eq!(state.job(job_id(302)).unwrap().unwrap().len(), 40_000);
    assert_eq!(state.job(job_id(250)).unwrap(), None);
}

#[test]
fn a_job_that_lived_in_a_row_of_its_own_leaves_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    put(&state, (1..=10).map(|number| job(number, JobState::Leased)).collect());
    put(&state, (2..=9).map(completed).collect());
    assert_eq!((count(dir.path(), "jobs"), count(dir.path(), "completed")), (2, 8));
    assert_eq!(left(&state), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_job_that_is_put_again_stands_in_the_last_run_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    put(&state, vec![completed(3), completed(70)]);
    assert_eq!(left(&state), (1..=100).collect::<Vec<_>>());
    assert_eq!((count(dir.path(), "completed"), count(dir.path(), "runs")), (100, 3));
    // Among as many as are put at once, too.
    put(&state, (1..=64).map(|number| completed(if number == 1 { 70 } else { 1_000 + number })).collect());
    assert_eq!((count(dir.path(), "completed"), left(&state).len()), (163, 163));
    drop(state);
    assert_eq!(left(&StateDb::open(dir.path()).unwrap()).len(), 163);
}

#[test]
fn what_is_deleted_leaves_its_run_and_the_last_takes_the_run_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    delete(&state, vec![job_id(3), job_id(70), job_id(4), job_id(1_000)]);
    let expected: Vec<u64> = (1..=100).filter(|number| ![3, 4, 70].contains(number)).collect();
    assert_eq!(left(&state), expected);
    delete(&state, (1..=64).map(job_id).collect());
    assert_eq!((count(dir.path(), "runs"), left(&state)[0]), (1, 65));
    drop(state);
    // Which is looked at as a whole.
    assert_eq!(left(&StateDb::open(dir.path()).unwrap()).len(), 35);
    // In the checkpoint that would have written it, too.
    let state = StateDb::open(dir.path()).unwrap();
    let changes = Changes { jobs: vec![completed(200)], deleted: vec![job_id(200)], ..Changes::default() };
    state.checkpoint(&checkpoint_at(2), &changes).unwrap();
    assert_eq!((left(&state).len(), count(dir.path(), "completed")), (35, 35));
}

#[test]
fn a_run_is_swept_with_the_last_of_its_jobs_and_leaves_those_that_are_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    assert_eq!(sweep(&state, 63, &[], 1_000), (0, false));
    assert_eq!(left(&state).len(), 100);
    // A step begins no run that is beyond its bound, and ends the one that it began.
    assert_eq!(sweep(&state, 100, &[5, 64], 1), (62, true));
    assert_eq!(left(&state), [5, 64].into_iter().chain(65..=100).collect::<Vec<_>>());
    assert_eq!(sweep(&state, 100, &[5, 64], 1_000), (36, false));
    assert_eq!((left(&state), count(dir.path(), "runs")), (vec![5, 64], 1));
    assert_eq!(sweep(&state, 100, &[5, 64], 1_000), (0, false));
    assert_eq!(sweep(&state, 100, &[64], 1_000), (1, false));
    assert_eq!(sweep(&state, 100, &[], 1_000), (1, false));
    assert_eq!((count(dir.path(), "runs"), count(dir.path(), "completed")), (0, 0));
}

#[test]
fn damage_to_a_run_or_to_what_tells_of_it_is_never_served() {
    let damages = [
        ("UPDATE runs SET body = x'01' || substr(body, 2) || x'00' WHERE run = 1", true),
        ("UPDATE runs SET queue = 'video'", true),
        ("UPDATE runs SET ended_seq = 9 WHERE run = 1", true),
        ("UPDATE runs SET finished_at = 9 WHERE run = 1", true),
        ("UPDATE runs SET run = 9 WHERE run = 1", true),
        ("DELETE FROM runs WHERE run = 1", true),
        ("UPDATE completed SET run = 2", true),
        // What was lost is found by those who look at all.
        ("DELETE FROM completed WHERE id = (SELECT min(id) FROM completed)", false),
        ("INSERT INTO completed (id, run) SELECT zeroblob(16), 1", false),
        ("UPDATE completed SET key = 'k' WHERE run = 1", false),
        ("UPDATE completed SET space = 's' WHERE run = 1", false),
    ];
    for (damage, shows_at_once) in damages {
        assert_damage_is_never_served(with_jobs, damage, shows_at_once);
    }
}

#[test]
fn runs_are_sealed_resealed_and_bound_to_their_place() {
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
    // What is rewritten is sealed again.
    delete(&state, vec![job_id(7)]);
    assert_eq!(left(&state).len(), 99);
    drop(state);
    let file = std::fs::read(dir.path().join("state.db")).unwrap();
    let canary = b"completed 8";
    assert!(!file.windows(canary.len()).any(|window| window == canary));

    let connection = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
    let read = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    let other = read("SELECT body FROM runs WHERE run = 2");
    let crc = crate::storage::runs::run_crc(1, "mail", (64, LogTime::from_ms(64)), &other);
    connection.execute("UPDATE runs SET body = ?1, crc = ?2 WHERE run = 1", (other, crc)).unwrap();
    drop(connection);
    let error = open(&[1]).job(job_id(1)).unwrap_err();
    assert!(error.to_string().contains("run 1 does not open with its key"), "{error}");
}
