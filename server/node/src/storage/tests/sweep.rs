use super::{checkpoint_at, contents, copy_files, job, job_id, list, tamper};
use crate::storage::sweep::PINNED_MAX;
use crate::storage::{Due, StateDb, StorageError, SweepOutcome};
use jobraft_core::command::{Changes, Horizon, JobRow};
use jobraft_protocol::{JobFilter, JobState, LogTime};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

const NEVER: LogTime = LogTime::from_ms(u64::MAX);

/// The `seq`-th job of `queue` to end, at second `seq`.
fn ended(number: u64, queue: &str, state: JobState, seq: u64) -> JobRow {
    JobRow {
        queue: queue.parse().unwrap(),
        finished_at: Some(LogTime::from_ms(seq * 1_000)),
        ended_seq: Some(seq),
        body: format!("{queue} {state} {seq}").into_bytes().into(),
        ..job(number, state)
    }
}

fn horizon(queue: &str, state: JobState, from_s: u64, above: u64) -> Horizon {
    Horizon { queue: queue.parse().unwrap(), state, from: LogTime::from_ms(from_s * 1_000), above }
}

/// A sweep where nothing is pinned.
fn sweep(
    state: &StateDb,
    horizons: &[Horizon],
    before: LogTime,
    rows_max: usize,
) -> Result<SweepOutcome, StorageError> {
    let mut due: Vec<_> = horizons.iter().cloned().map(Due::from).collect();
    state.sweep(&mut due, &HashSet::new(), before, rows_max)
}

fn put(state: &StateDb, jobs: Vec<JobRow>) {
    state.checkpoint(&checkpoint_at(1), &Changes { jobs, ..Changes::default() }).unwrap();
}

/// Ten completed and ten dead jobs of each of two queues, and live ones. Each of the completed has a run of its own.
fn with_jobs(dir: &Path) -> StateDb {
    let state = StateDb::open(dir).unwrap();
    put(&state, vec![job(1, JobState::Ready), job(2, JobState::Leased)]);
    for seq in 1..=10 {
        let of_queue = |(place, queue): (u64, &str)| {
            let completed = ended(1_000 + place * 100 + seq, queue, JobState::Completed, seq);
            [completed, ended(2_000 + place * 100 + seq, queue, JobState::Dead, seq)]
        };
        put(&state, (0..).zip(["a", "b"]).flat_map(of_queue).collect());
    }
    state
}

fn left(state: &StateDb, prefix: &str) -> Vec<u64> {
    let all = list(state, &JobFilter::default());
    let mut left: Vec<_> = all.iter().filter_map(|body| body.strip_prefix(prefix)?.trim().parse().ok()).collect();
    left.sort_unstable();
    left
}

#[test]
fn what_is_too_old_or_too_many_goes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    let horizons = [
        horizon("a", JobState::Completed, 4, 0),
        horizon("a", JobState::Dead, 0, 7),
        horizon("b", JobState::Dead, 3, 5),
    ];
    let outcome = sweep(&state, &horizons, NEVER, 1_000).unwrap();
    assert_eq!(outcome, SweepOutcome { removed: 3 + 7 + 5, done: 3, more: false });
    assert_eq!(left(&state, "a completed"), (4..=10).collect::<Vec<_>>());
    assert_eq!(left(&state, "a dead"), [8, 9, 10]);
    assert_eq!(left(&state, "b dead"), [6, 7, 8, 9, 10]);
    assert_eq!(left(&state, "b completed"), (1..=10).collect::<Vec<_>>());
    assert_eq!(left(&state, "ready"), [1]);
    assert_eq!(sweep(&state, &horizons, NEVER, 1_000).unwrap().removed, 0);
    drop(state);
    assert_eq!(left(&StateDb::open(dir.path()).unwrap(), "a dead"), [8, 9, 10]);
}

#[test]
fn a_step_is_bounded_and_says_how_far_it_got() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    let horizons = [horizon("a", JobState::Completed, 6, 0), horizon("b", JobState::Completed, 6, 0)];
    assert_eq!(sweep(&state, &horizons, NEVER, 3).unwrap(), SweepOutcome { removed: 3, done: 0, more: true });
    assert_eq!(left(&state, "a completed"), (4..=10).collect::<Vec<_>>());
    assert_eq!(sweep(&state, &horizons, NEVER, 3).unwrap(), SweepOutcome { removed: 3, done: 1, more: true });
    assert_eq!(sweep(&state, &horizons, NEVER, 4).unwrap(), SweepOutcome { removed: 4, done: 2, more: false });
    assert_eq!(left(&state, "b completed"), (6..=10).collect::<Vec<_>>());
}

#[test]
fn a_step_is_bounded_in_bytes_too() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let large = |seq| JobRow { body: vec![b'x'; 5 << 20].into(), ..ended(seq, "a", JobState::Completed, seq) };
    put(&state, (1..=3).map(large).collect());
    let horizons = [horizon("a", JobState::Completed, 100, 0)];
    assert_eq!(sweep(&state, &horizons, NEVER, 100).unwrap(), SweepOutcome { removed: 2, done: 0, more: true });
    assert_eq!(sweep(&state, &horizons, NEVER, 100).unwrap(), SweepOutcome { removed: 1, done: 1, more: false });
}

#[test]
fn a_row_whose_id_is_remembered_stays_however_little_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    let nothing = [horizon("a", JobState::Completed, 1_000, 1_000), horizon("a", JobState::Dead, 1_000, 1_000)];
    // All ids were made far later than the jobs ended.
    let made = job_id(1_005).minted_at();
    assert_eq!(sweep(&state, &nothing, made, 100).unwrap(), SweepOutcome { removed: 4, done: 2, more: false });
    assert_eq!(left(&state, "a completed"), (5..=10).collect::<Vec<_>>());
    assert_eq!(left(&state, "a dead"), (1..=10).collect::<Vec<_>>());
    // And by when they ended.
    let ids_of_old = [0, 1].map(|number| jobraft_protocol::JobId::new(LogTime::from_ms(1), [number; 10]));
    let jobs = (1..).zip(ids_of_old).map(|(seq, id)| JobRow { id, ..ended(1, "c", JobState::Expired, seq) });
    put(&state, jobs.collect());
    let nothing = [horizon("c", JobState::Expired, 1_000, 1_000)];
    assert_eq!(sweep(&state, &nothing, LogTime::from_ms(2_000), 100).unwrap().removed, 1);
    assert_eq!(left(&state, "c expired"), [2]);
}

#[test]
fn what_is_pinned_stays_is_not_counted_and_is_looked_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    // Of queue a, the first two, the fifth and the last of those that completed.
    let pinned: HashSet<_> = [1, 2, 5, 10].map(|seq| job_id(1_000 + seq)).into();
    let mut due: Vec<_> =
        [horizon("a", JobState::Completed, 1_000, 0), horizon("b", JobState::Completed, 3, 0)].map(Due::from).into();
    let mut step = |rows_max| state.sweep(&mut due, &pinned, NEVER, rows_max).unwrap();
    assert_eq!(step(3), SweepOutcome { removed: 3, done: 0, more: true });
    assert_eq!(left(&state, "a completed"), [1, 2, 5, 7, 8, 9, 10]);
    // What was removed behind a pinned one is not looked for from the beginning again: damage there would show.
    tamper(&dir.path().join("state.db"), "UPDATE runs SET crc = crc + 1 WHERE queue = 'a' AND ended_seq = 1");
    assert_eq!(step(1_000), SweepOutcome { removed: 3 + 2, done: 2, more: false });
    tamper(&dir.path().join("state.db"), "UPDATE runs SET crc = crc - 1 WHERE queue = 'a' AND ended_seq = 1");
    assert_eq!(left(&state, "a completed"), [1, 2, 5, 10]);
    assert_eq!(left(&state, "b completed"), (3..=10).collect::<Vec<_>>());
    // Pinned no longer, they go.
    assert_eq!(sweep(&state, &[horizon("a", JobState::Completed, 1_000, 0)], NEVER, 10).unwrap().removed, 4);
}

#[test]
fn a_step_passes_over_so_many_pinned_rows_and_the_next_goes_on_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let count = PINNED_MAX as u64 + 10;
    put(&state, (1..=count).map(|seq| ended(seq, "a", JobState::Completed, seq)).collect());
    let pinned = (1..count).map(job_id).collect();
    let mut due = [horizon("a", JobState::Completed, 1_000_000, 0).into()];
    let mut step = || state.sweep(&mut due, &pinned, NEVER, 1_000).unwrap();
    assert_eq!(step(), SweepOutcome { removed: 0, done: 0, more: true });
    assert_eq!(step(), SweepOutcome { removed: 1, done: 1, more: false });
    assert_eq!(left(&state, "a completed").len(), PINNED_MAX + 9);
}

#[test]
fn a_job_that_came_back_to_life_is_not_swept() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    put(&state, vec![JobRow { queue: "a".parse().unwrap(), ..job(2_001, JobState::Ready) }]);
    let nothing = [horizon("a", JobState::Dead, 1_000, 1_000)];
    assert_eq!(sweep(&state, &nothing, NEVER, 100).unwrap().removed, 9);
    assert!(state.job(job_id(2_001)).unwrap().is_some());
}

#[test]
fn kill_between_any_two_steps_of_a_sweep_leaves_whole_steps() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    let horizons = [horizon("a", JobState::Completed, 8, 0), horizon("a", JobState::Dead, 9, 0)];
    let mut steps = 0;
    loop {
        let more = sweep(&state, &horizons, NEVER, 2).unwrap().more;
        let copy = tempfile::tempdir().unwrap();
        copy_files(dir.path(), copy.path());
        let survivor = StateDb::open(copy.path()).unwrap();
        assert_eq!(contents(&survivor), contents(&state));
        // It goes on from where it was.
        while sweep(&survivor, &horizons, NEVER, 3).unwrap().more {}
        assert_eq!(left(&survivor, "a completed"), [8, 9, 10]);
        assert_eq!(left(&survivor, "a dead"), [9, 10]);
        steps += 1;
        if !more {
            break;
        }
    }
    assert!(steps >= 7, "{steps} steps");
}

#[test]
fn torn_last_step_of_a_sweep_is_no_step() {
    let dir = tempfile::tempdir().unwrap();
    let state = with_jobs(dir.path());
    let wal = dir.path().join("state.db-wal");
    let (before, old_bytes) = (contents(&state), fs::metadata(&wal).unwrap().len());
    sweep(&state, &[horizon("a", JobState::Completed, 100, 0)], NEVER, 100).unwrap();
    let (after, new_bytes) = (contents(&state), fs::metadata(&wal).unwrap().len());
    assert!(before != after && new_bytes > old_bytes);
    for part in 0..=8 {
        let copy = tempfile::tempdir().unwrap();
        copy_files(dir.path(), copy.path());
        let kept = old_bytes + (new_bytes - old_bytes) * part / 8;
        fs::File::options().write(true).open(copy.path().join("state.db-wal")).unwrap().set_len(kept).unwrap();
        let expected = if part == 8 { &after } else { &before };
        assert_eq!(&contents(&StateDb::open(copy.path()).unwrap()), expected, "{part} eighths");
    }
}

#[test]
fn damaged_row_stops_a_sweep_and_every_later_write() {
    for damage in ["finished_at = 0", "ended_seq = 0", "body = x'00'"] {
        let dir = tempfile::tempdir().unwrap();
        let state = with_jobs(dir.path());
        tamper(&dir.path().join("state.db"), &format!("UPDATE jobs SET {damage} WHERE queue = 'b' AND ended_seq = 5"));
        let horizons = [horizon("a", JobState::Dead, 3, 0), horizon("b", JobState::Dead, 7, 0)];
        let error = sweep(&state, &horizons, NEVER, 100).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        // All or nothing.
        let dead_of_a =
            JobFilter { queues: vec!["a".parse().unwrap()], states: vec![JobState::Dead], ..JobFilter::default() };
        assert_eq!(list(&state, &dead_of_a).len(), 10);
        let error = state.checkpoint(&checkpoint_at(9), &Changes::default()).unwrap_err();
        assert!(matches!(error, StorageError::Stopped { .. }), "{error}");
    }
}

/// What the state takes on disk.
fn bytes_on_disk(dir: &Path) -> (u64, u64) {
    let bytes = |name: &str| fs::metadata(dir.join(name)).map_or(0, |file| file.len());
    (bytes("state.db"), bytes("state.db-wal"))
}

#[test]
fn room_of_what_was_swept_goes_back_to_the_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let large = |seq| JobRow { body: vec![b'x'; 20_000].into(), ..ended(seq, "a", JobState::Completed, seq) };
    for part in 0..10 {
        put(&state, (part * 200 + 1..=part * 200 + 200).map(large).collect());
    }
    let live = (10_000..10_100).map(|number| job(number, JobState::Ready)).collect();
    put(&state, live);
    let live =
        |state: &StateDb| list(state, &JobFilter { states: vec![JobState::Ready], ..JobFilter::default() }).len();
    let all = [horizon("a", JobState::Completed, 1_990, 0)];
    while sweep(&state, &all, NEVER, 100).unwrap().more {}
    let (before, _) = bytes_on_disk(dir.path());
    assert!(before > 30 << 20, "{before} bytes");
    let mut steps = 0;
    while state.give_back(512).unwrap() {
        steps += 1;
    }
    assert!(steps > 5, "only {steps} steps");
    let (after, wal) = bytes_on_disk(dir.path());
    // What is in use, and what is kept free.
    assert!(after < 6 << 20, "{after} bytes");
    assert!(wal <= 64 << 20, "{wal} bytes of WAL");
    assert_eq!((left(&state, "x").len(), live(&state)), (0, 100));
    assert_eq!(list(&state, &JobFilter { states: vec![JobState::Completed], ..JobFilter::default() }).len(), 11);
    assert!(!state.give_back(512).unwrap());
    // A snapshot shrinks like its original.
    let snapshot = state.snapshot_to(&dir.path().join("snapshot")).unwrap();
    state.install(&snapshot.path).unwrap();
    put(&state, (3_001..=3_400).map(large).collect());
    let all = [horizon("a", JobState::Completed, 100_000, 0)];
    while sweep(&state, &all, NEVER, 100).unwrap().more {}
    while state.give_back(512).unwrap() {}
    assert!(bytes_on_disk(dir.path()).0 < 6 << 20);
    assert_eq!(live(&state), 100);
}

#[test]
fn little_free_room_is_kept_for_what_comes_next() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let large = |seq| JobRow { body: vec![b'x'; 20_000].into(), ..ended(seq, "a", JobState::Completed, seq) };
    put(&state, (1..=150).map(large).collect());
    while sweep(&state, &[horizon("a", JobState::Completed, 1_000, 0)], NEVER, 100).unwrap().more {}
    let pages = || {
        let connection = rusqlite::Connection::open(dir.path().join("state.db")).unwrap();
        connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let before = pages();
    assert!(!state.give_back(512).unwrap());
    assert_eq!(pages(), before);
}

#[test]
fn constant_load_leaves_a_file_of_constant_size() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let mut sizes = Vec::new();
    for round in 1..=60_u64 {
        let jobs = (round * 100..round * 100 + 100)
            .map(|seq| JobRow { body: vec![b'x'; 3_000].into(), ..ended(seq, "a", JobState::Completed, seq) });
        put(&state, jobs.collect());
        let kept = [horizon("a", JobState::Completed, 0, (round * 100).saturating_sub(500))];
        while sweep(&state, &kept, NEVER, 64).unwrap().more {}
        while state.give_back(64).unwrap() {}
        sizes.push(bytes_on_disk(dir.path()));
    }
    let total = |(file, wal): (u64, u64)| file + wal;
    assert!(total(sizes[59]) <= total(sizes[29]) + (1 << 20), "{sizes:?}");
    // And what shares a run with them.
    assert!((599..599 + 64).contains(&list(&state, &JobFilter::default()).len()));
}
