//! The state machine, looked at from where openraft stands.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::state_machine::{CHECKPOINT_BYTES, CHECKPOINT_JOBS, Observer, RowPart, StateError, StateMachine};
use super::types::{LogEntry, Proposal, log_id};
use crate::storage::tests::{break_index, tamper};
use crate::storage::{StateDb, StorageError};
use jobraft_core::command::{Command, Entry, Outcome, Target};
use jobraft_core::{Leased, RestingJob};
use jobraft_protocol::{
    After, Completion, EnqueueOutcome, Failure, JobAction, JobFilter, JobId, JobState, LeaseRef, LogTime, NewJob,
    OnFailure, QueueName, QueueSetting, Retention, Setting, Start, Task, TaskName, WorkerInfo, limits,
};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tempfile::TempDir;

const START_MS: u64 = 1_700_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn at(after_ms: u64) -> LogTime {
    LogTime::from_ms(START_MS + after_ms)
}

/// A job made at `at`.
fn job_id(at: LogTime, number: u64) -> JobId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    JobId::new(at, random)
}

fn queue() -> QueueName {
    "mail".parse().unwrap()
}

/// Large enough to leave memory.
fn payload(id: JobId) -> Vec<u8> {
    format!("payload of {id}. ").repeat(3).into_bytes()
}

fn new_job(id: JobId) -> NewJob {
    let task = Task::Handler(TaskName::new("send").unwrap());
    NewJob::new(id, queue(), task, payload(id))
}

/// A state machine that is fed one entry after the other, and remembers them.
struct Node {
    state: StateMachine,
    db: StateDb,
    directory: TempDir,
    log: Vec<LogEntry>,
}

fn enqueue(jobs: Vec<NewJob>) -> Command {
    Command::Enqueue { jobs, all_or_none: false, known: vec![] }
}

fn load(db: StateDb, directory: &Path) -> Result<StateMachine, StateError> {
    StateMachine::load(db, directory.to_path_buf(), Arc::new(|_, _| {}))
}

/// What a start says that the database does not examine beforehand.
fn start(directory: &Path) -> Result<StateMachine, StateError> {
    load(StateDb::open_unexamined(directory).unwrap(), directory)
}

fn open(directory: &Path) -> (StateDb, StateMachine) {
    let db = StateDb::open(directory).unwrap();
    let state = load(db.clone(), directory).unwrap();
    (db, state)
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (db, state) = open(directory.path());
        Self { state, db, directory, log: Vec::new() }
    }

    fn apply(&mut self, at: LogTime, commands: Vec<Command>) -> Vec<Outcome> {
        let proposal = Proposal::new(Entry { at, leader_change: false, commands }).unwrap();
        let entry = LogEntry::new(log_id(1, self.log.len() as u64 + 1), EntryPayload::Normal(proposal));
        self.log.push(entry.clone());
        let answers = self.state.apply_or_stop(&entry, true).unwrap();
        answers.outcomes.into_iter().map(Result::unwrap).collect()
    }

    fn enqueue(&mut self, at: LogTime, ids: &[JobId]) {
        self.apply(at, vec![enqueue(ids.iter().copied().map(new_job).collect())]);
    }

    /// Leases what is ready to a new worker: one that was not heard of for long is forgotten.
    fn lease_all(&mut self, at: LogTime) -> Leased {
        let registered = self.apply(at, vec![Command::RegisterWorker { info: WorkerInfo::default() }]);
        let [Outcome::Registered(worker)] = registered[..] else { panic!("not registered") };
        let lease = Command::Lease { worker, queues: vec![queue()], shares: vec![], max: 100, lease_ms: 30_000 };
        let outcomes = self.apply(at, vec![lease]);
        let Some(Outcome::Leased(leased)) = outcomes.into_iter().next() else { panic!("not leased") };
        leased
    }

    /// Completes what is ready.
    fn complete_all(&mut self, at: LogTime) {
        let leased = self.lease_all(at);
        let complete = |lease: LeaseRef| Command::Complete { lease, completion: Completion::default(), known: vec![] };
        self.apply(at, leased.jobs.iter().map(|job| complete(job.lease())).collect());
    }

    /// What would be there after a kill now, and the rest of the log.
    fn after_a_kill(&self) -> (TempDir, StateDb, StateMachine) {
        let copy = tempfile::tempdir().unwrap();
        for file in fs::read_dir(self.directory.path()).unwrap().map(Result::unwrap) {
            if !file.file_name().to_string_lossy().ends_with("-shm") {
                fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
            }
        }
        let (db, state) = open(copy.path());
        let checkpoint = state.checkpointed();
        for entry in self.log.iter().filter(|entry| Some(entry.log_id) > checkpoint) {
            state.apply_or_stop(entry, true).unwrap();
        }
        (copy, db, state)
    }

    fn sweep_all(&self) {
        while self.state.sweep().unwrap() {}
    }
}

#[test]
fn a_panic_while_applying_is_an_error_and_a_state_changed_in_part_never_reaches_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let db = StateDb::open(directory.path()).unwrap();
    let observer: Observer = Arc::new(|_, _| panic!("a defect"));
    let state = StateMachine::load(db.clone(), directory.path().to_path_buf(), observer).unwrap();
    let error = state.apply_or_stop(&LogEntry::new_blank(log_id(1, 1)), true).unwrap_err();
    assert!(error.to_string().contains("defect"), "{error}");
    // The entry itself was whole: it was an observer that panicked, after the lock was gone.
    assert_eq!(state.checkpoint().unwrap().unwrap().last_log_id, Some(log_id(1, 1)));

    state.apply_or_stop(&LogEntry::new_blank(log_id(1, 2)), true).unwrap_err();
    let half_applied = AssertUnwindSafe(|| state.read(|_| panic!("a defect")));
    std::panic::catch_unwind(half_applied).unwrap_err();
    assert!(matches!(state.checkpoint(), Err(StorageError::Stopped { .. })));
    assert_eq!(db.meta().unwrap().unwrap().index, 1);
}

#[test]
fn an_ended_job_is_found_in_memory_and_on_disk_and_its_row_given_out() {
    let mut node = Node::new();
    let ids = [1, 2].map(|number| job_id(at(0), number));
    node.enqueue(at(10), &ids[..1]);
    node.complete_all(at(20));
    node.enqueue(at(30), &ids[1..]);
    for round in 0..2 {
        let [ended, live] = ids.map(|id| node.state.job(id).unwrap().unwrap());
        assert_eq!((ended.state, live.state), (JobState::Completed, JobState::Ready));
        let row = node.state.row(ids[0], RowPart::Whole).unwrap().unwrap();
        assert_eq!(RestingJob::decode(&row).unwrap().into_view(), ended, "round {round}");
        for other in [ids[1], job_id(at(0), 3)] {
            assert_eq!(node.state.row(other, RowPart::Whole).unwrap(), None);
        }
        node.state.checkpoint().unwrap();
    }
}

#[test]
fn a_payload_that_rests_is_given_with_its_job_wherever_that_is() {
    let mut node = Node::new();
    let ids = [1, 2, 3, 4].map(|number| job_id(at(0), number));
    let [completed, dead, deleted, waits] = ids;
    node.enqueue(at(10), &ids[..3]);
    node.state.checkpoint().unwrap();
    node.enqueue(at(11), &ids[3..]);
    let check = |node: &Node, rest: [bool; 4]| {
        let (_copy, _db, survivor) = node.after_a_kill();
        assert_eq!(survivor.state_hash().unwrap(), node.state.state_hash().unwrap());
        for (id, rests) in ids.into_iter().zip(rest) {
            assert_eq!(node.state.read(|core| core.payload_rests(id)), rests, "{id}");
            for state in [&node.state, &survivor] {
                assert_eq!(state.job(id).unwrap().unwrap().payload, payload(id));
            }
        }
    };
    check(&node, [true, true, true, false]);

    let leased = node.lease_all(at(20));
    assert_eq!(leased.at_rest, ids[..3], "the others are in memory");
    let jobs = node.state.complete(leased.clone()).unwrap();
    assert!(jobs.iter().all(|job| job.payload == payload(job.id)));
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
    check(&node, [true, true, true, false]);
    // Rows are written anew with what the former ones had.
    node.state.checkpoint().unwrap();
    check(&node, [true, true, true, false]);

    let lease = |id| jobs.iter().find(|job| job.id == id).unwrap().lease();
    let failure = Failure { retryable: false, ..Failure::retryable("broken") };
    node.apply(
        at(30),
        vec![
            Command::complete(lease(completed), Completion::default()),
            Command::Fail { lease: lease(dead), failure },
            Command::Release { lease: lease(deleted), delay_ms: 0 },
            Command::Release { lease: lease(waits), delay_ms: 0 },
        ],
    );
    check(&node, [true, true, true, false]);
    let row = node.state.row(dead, RowPart::Whole).unwrap().unwrap();
    assert_eq!(RestingJob::decode(&row).unwrap().view().payload, payload(dead));
    node.state.checkpoint().unwrap();
    check(&node, [false, false, true, true]);
    assert_eq!(node.state.row(dead, RowPart::Whole).unwrap().unwrap(), row);

    let act = |job, row, action| {
        let targets = vec![Target { job, row }];
        Command::Act { targets, action, only_in: vec![], by: String::new() }
    };
    node.apply(at(40), vec![act(dead, Some(row), JobAction::Retry)]);
    check(&node, [false, false, true, true]);
    node.state.checkpoint().unwrap();
    check(&node, [false, true, true, true]);

    node.apply(at(50), vec![act(deleted, None, JobAction::Delete)]);
    assert_eq!(node.state.job(deleted).unwrap(), None);
    node.state.checkpoint().unwrap();
    let left = node.state.complete(leased).unwrap();
    assert_eq!(left.iter().map(|job| job.id).collect::<Vec<_>>(), [completed, dead, waits], "its lease is over");
}

#[test]
fn an_ended_job_is_never_out_of_sight_while_checkpoints_are_made() {
    let mut node = Node::new();
    let is_over = AtomicBool::new(false);
    let state = node.state.clone();
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                state.checkpoint().unwrap();
            }
        });
        let (state, is_over) = (&state, &is_over);
        let watching = scope.spawn(move || {
            for id in ended {
                for _ in 0..20 {
                    let view = state.job(id).ok().flatten();
                    let found = view.is_some_and(|view| view.payload == payload(id))
                        && state.row(id, RowPart::Whole).ok().flatten().is_some();
                    if !found {
                        is_over.store(true, Ordering::Relaxed);
                        panic!("job {id} is out of sight");
                    }
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        for number in 0..60 {
            let id = job_id(at(number), number);
            node.enqueue(at(number), &[id]);
            if number % 2 == 0 {
                // Its payload leaves memory before it ends.
                node.state.checkpoint().unwrap();
            }
            node.complete_all(at(number));
            if sender.send(id).is_err() {
                break;
            }
        }
        drop(sender);
        watching.join().unwrap();
    });
}

#[test]
fn a_job_whose_deletion_was_answered_is_never_read_again_while_a_checkpoint_is_made() {
    let mut node = Node::new();
    for number in 0..20 {
        let id = job_id(at(number), number);
        // Reading a large row takes a while, in which a checkpoint begins.
        let job = NewJob { payload: vec![7; limits::PAYLOAD_BYTES_DEFAULT].into(), ..new_job(id) };
        node.apply(at(number), vec![enqueue(vec![job])]);
        node.complete_all(at(number));
        node.state.checkpoint().unwrap();
        let row = node.state.row(id, RowPart::Identity).unwrap();
        let delete = Command::Act {
            targets: vec![Target { job: id, row }],
            action: JobAction::Delete,
            only_in: vec![],
            by: String::new(),
        };
        assert_eq!(node.apply(at(number), vec![delete]), [Outcome::Acted(vec![Ok(())])]);
        let is_over = AtomicBool::new(false);
        let (state, is_begun) = (&node.state, Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                is_begun.wait();
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(state.job(id).unwrap().map(|view| view.state), None);
                    assert_eq!(state.row(id, RowPart::Identity).unwrap(), None);
                }
            });
            is_begun.wait();
            std::thread::sleep(Duration::from_millis(1));
            state.checkpoint().unwrap();
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_job_that_ended_and_is_not_kept_is_not_read_as_its_row_was_before() {
    let mut node = Node::new();
    let nothing = QueueSetting::KeepCompleted(Some(Retention::for_ms(0)));
    node.apply(at(0), vec![Command::Configure { settings: vec![Setting::Queue(queue(), nothing)] }]);
    let id = job_id(at(0), 1);
    node.enqueue(at(10), &[id]);
    node.state.checkpoint().unwrap();
    node.complete_all(at(20));
    for _ in 0..2 {
        assert_eq!(node.state.job(id).unwrap().map(|view| view.state), None);
        node.state.checkpoint().unwrap();
    }
}

#[test]
fn a_list_holds_what_was_applied_before_its_checkpoint() {
    let mut node = Node::new();
    let ids: Vec<_> = (0..5).map(|number| job_id(at(0), number)).collect();
    node.enqueue(at(10), &ids);
    let list = |node: &Node, states: &[JobState], after, limit| {
        let filter = JobFilter { states: states.to_vec(), ..JobFilter::default() };
        let page = node.state.list_jobs(&filter, after, true, limit).unwrap();
        (page.jobs.into_iter().map(|job| job.id).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(list(&node, &[], None, 10), (vec![], None));
    node.state.checkpoint().unwrap();
    assert_eq!(list(&node, &[], None, 10), (ids.clone(), None));
    assert_eq!(list(&node, &[], None, 2), (ids[..2].to_vec(), Some(ids[1])));
    assert_eq!(list(&node, &[], Some(ids[1]), 10), (ids[2..].to_vec(), None));
    node.complete_all(at(20));
    assert_eq!(list(&node, &[JobState::Ready], None, 10), (ids.clone(), None));
    node.state.checkpoint().unwrap();
    assert_eq!(list(&node, &[JobState::Ready], None, 10), (vec![], None));
    assert_eq!(list(&node, &[JobState::Completed], None, 10), (ids, None));
}

#[test]
fn a_page_reads_so_many_bytes_and_says_where_to_go_on_also_past_jobs_that_are_not_kept() {
    let mut node = Node::new();
    let ids: Vec<_> = (0..70).map(|number| job_id(at(0), number)).collect();
    for &id in &ids {
        let job = NewJob { payload: vec![7; limits::PAYLOAD_BYTES_DEFAULT].into(), ..new_job(id) };
        node.apply(at(10), vec![enqueue(vec![job])]);
    }
    let pages = |node: &Node| {
        let (mut after, mut pages) = (None, Vec::new());
        loop {
            let page = node.state.list_jobs(&JobFilter::default(), after, true, 100).unwrap();
            pages.push(page.jobs.len());
            after = page.next;
            if after.is_none() {
                return pages;
            }
        }
    };
    node.state.checkpoint().unwrap();
    assert_eq!(pages(&node), [64, 6]);
    // One lease has not room for all of them.
    (0..10).for_each(|_| node.complete_all(at(20)));
    node.apply(at(3 * DAY_MS), vec![]);
    node.state.checkpoint().unwrap();
    assert_eq!(pages(&node), [0, 0]);
}

#[test]
fn nothing_goes_that_the_last_checkpoint_still_needs() {
    let mut node = Node::new();
    let id = job_id(at(0), 1);
    node.enqueue(at(10), &[id]);
    node.complete_all(at(20));
    node.state.checkpoint().unwrap();
    // In memory it is kept no longer; on disk it is still the moment at which it ended.
    node.apply(at(3 * DAY_MS), vec![]);
    // Once for what was planned by then, once for what might be planned since.
    node.sweep_all();
    node.sweep_all();
    assert!(node.db.job(id).unwrap().is_some());
    node.state.checkpoint().unwrap();
    node.sweep_all();
    // The first plan was of the checkpoint before.
    node.state.checkpoint().unwrap();
    node.sweep_all();
    assert_eq!(node.db.job(id).unwrap(), None);
}

#[test]
fn what_a_live_job_came_after_is_swept_once_that_job_is_gone_and_not_before() {
    let mut node = Node::new();
    let ids = [1, 2, 3].map(|number| job_id(at(0), number));
    node.enqueue(at(10), &ids[..2]);
    node.complete_all(at(20));
    let after = Some(After { jobs: vec![ids[0]], on_failure: OnFailure::Wait });
    let next = NewJob { after, queue: "other".parse().unwrap(), ..new_job(ids[2]) };
    assert_eq!(node.apply(at(30), vec![enqueue(vec![next])]), [Outcome::Enqueued(vec![EnqueueOutcome::Created])]);
    let sweep = |node: &Node| {
        // Once for what was planned before.
        for _ in 0..2 {
            node.state.checkpoint().unwrap();
            while {
                let more = node.state.sweep().unwrap();
                let (_copy, _db, survivor) = node.after_a_kill();
                assert_eq!(survivor.state_hash().unwrap(), node.state.state_hash().unwrap());
                assert_eq!(survivor.job(ids[0]).unwrap(), node.state.job(ids[0]).unwrap());
                more
            } {}
        }
        [0, 1].map(|place| node.db.job(ids[place]).unwrap().is_some())
    };
    node.apply(at(3 * DAY_MS), vec![]);
    assert_eq!(sweep(&node), [true, false]);
    assert_eq!(node.state.job(ids[0]).unwrap().unwrap().state, JobState::Completed);
    let targets = vec![Target { job: ids[2], row: None }];
    let delete = Command::Act { targets, action: JobAction::Delete, only_in: vec![], by: String::new() };
    assert_eq!(node.apply(at(3 * DAY_MS), vec![delete]), [Outcome::Acted(vec![Ok(())])]);
    assert_eq!(sweep(&node), [false, false]);
    assert_eq!(node.state.job(ids[0]).unwrap(), None);
}

#[test]
fn kill_at_any_point_of_a_sweep_loses_nothing_that_the_log_refers_to() {
    // Nothing is kept but for the ids that are remembered, for some minutes; ids may be made ahead of time.
    const ROUND_MS: u64 = 150_000;
    const AHEAD_MS: u64 = 30_000;
    let mut node = Node::new();
    let nothing = QueueSetting::KeepCompleted(Some(Retention::for_ms(0)));
    node.apply(at(0), vec![Command::Configure { settings: vec![Setting::Queue(queue(), nothing)] }]);
    let ids =
        |round: u64| -> Vec<_> { (0..20).map(|number| job_id(at(round * ROUND_MS + AHEAD_MS), number)).collect() };
    let hash = |state: &StateMachine| state.state_hash().unwrap();
    let mut swept = 0;
    for round in 0..12 {
        let now = |ms| at(round * ROUND_MS + ms);
        node.enqueue(now(0), &ids(round));
        node.complete_all(now(1));
        if round % 4 != 1 {
            node.state.checkpoint().unwrap();
        }
        if let Some(before) = round.checked_sub(2) {
            // Just remembered yet, also when the log is replayed; soon no more.
            let jobs = ids(before).into_iter().map(new_job).collect();
            let outcomes = node.apply(now(2), vec![enqueue(jobs)]);
            assert_eq!(outcomes, [Outcome::Enqueued(vec![EnqueueOutcome::Existing; 20])]);
        }
        node.apply(now(ROUND_MS - 1), vec![]);
        let before = node.db.job(ids(0)[0]).unwrap().is_some();
        // Once for what was planned before.
        for _ in 0..2 {
            while {
                let more = node.state.sweep().unwrap();
                let (_copy, _db, survivor) = node.after_a_kill();
                assert_eq!(hash(&survivor), hash(&node.state), "round {round}");
                more
            } {}
        }
        swept += u32::from(before && node.db.job(ids(0)[0]).unwrap().is_none());
    }
    assert_eq!(swept, 1);
}

#[test]
fn damage_found_by_a_sweep_stops_checkpoints_too() {
    let mut node = Node::new();
    let id = job_id(at(0), 1);
    node.enqueue(at(10), &[id]);
    node.complete_all(at(20));
    node.apply(at(3 * DAY_MS), vec![]);
    node.state.checkpoint().unwrap();
    tamper(&node.directory.path().join("state.db"), "UPDATE runs SET finished_at = 1");
    assert!(matches!(node.state.sweep(), Err(StorageError::Corrupt { .. })));
    // Even one with nothing to write: it is how openraft hears of it.
    assert!(matches!(node.state.checkpoint(), Err(StorageError::Stopped { .. })));
    assert!(matches!(node.state.sweep(), Err(StorageError::Stopped { .. })));
}

#[test]
fn a_start_examines_also_what_it_does_not_load() {
    for hides_the_checkpoint in [false, true] {
        let mut node = Node::new();
        node.enqueue(at(10), &[job_id(at(0), 1)]);
        node.complete_all(at(20));
        // Long over: no start needs its row.
        node.apply(at(DAY_MS), vec![]);
        node.state.checkpoint().unwrap();
        let (copy, db, state) = node.after_a_kill();
        drop((db, state));
        tamper(&copy.path().join("state.db"), "UPDATE runs SET finished_at = 1");
        if hides_the_checkpoint {
            tamper(&copy.path().join("state.db"), "DELETE FROM meta WHERE key = 'checkpoint'");
        }
        let error = start(copy.path()).err().unwrap().to_string();
        assert!(error.contains("checksum"), "{error}");
    }
}

#[tokio::test]
async fn a_row_that_is_missed_when_its_job_is_leased_stops_the_node() {
    let mut node = Node::new();
    node.enqueue(at(10), &[1, 2].map(|number| job_id(at(0), number)));
    node.state.checkpoint().unwrap();
    tamper(&node.directory.path().join("state.db"), "DELETE FROM waiting WHERE id = (SELECT max(id) FROM waiting)");
    let leased = node.lease_all(at(20));
    let error = node.state.complete(leased).unwrap_err().to_string();
    assert!(error.contains("is not in state.db"), "{error}");
    tokio::time::timeout(Duration::from_secs(60), node.state.damage()).await.unwrap();
    assert!(matches!(node.state.checkpoint(), Err(StorageError::Stopped { .. })));
}

#[test]
fn a_live_job_whose_row_is_gone_is_missed() {
    let mut node = Node::new();
    node.enqueue(at(10), &[1, 2, 3].map(|number| job_id(at(0), number)));
    node.state.checkpoint().unwrap();
    let (copy, db, state) = node.after_a_kill();
    drop((db, state));
    let hidden = "DELETE FROM waiting WHERE id = (SELECT max(id) FROM waiting); UPDATE backlog SET jobs = 2";
    tamper(&copy.path().join("state.db"), hidden);
    let error = start(copy.path()).err().unwrap().to_string();
    assert!(error.contains("3 jobs live, and 2 have rows"), "{error}");
}

#[tokio::test]
async fn a_large_state_is_examined_while_the_node_serves_and_damage_stops_it() {
    let mut node = Node::new();
    for number in 0..300 {
        let payload = vec![7; limits::PAYLOAD_BYTES_DEFAULT].into();
        node.apply(at(number), vec![enqueue(vec![NewJob { payload, ..new_job(job_id(at(0), number)) }])]);
    }
    node.state.checkpoint().unwrap();
    for is_damaged in [false, true] {
        let (copy, db, state) = node.after_a_kill();
        assert!(!db.is_small().unwrap());
        drop((db, state));
        if is_damaged {
            // No start reads it.
            break_index(&copy.path().join("state.db"), "jobs_batch");
        }
        let state = start(copy.path()).unwrap();
        let damage = tokio::time::timeout(Duration::from_secs(if is_damaged { 60 } else { 2 }), state.damage()).await;
        assert_eq!(damage.is_ok(), is_damaged);
        assert_eq!(state.checkpoint().is_err(), is_damaged, "nothing is written on top of damage");
    }
}

/// Whether no checkpoint is asked for before its time.
async fn waits(node: &Node) -> bool {
    tokio::time::timeout(Duration::from_millis(50), node.state.pressure()).await.is_err()
}

/// Enqueues jobs in entries of a thousand, less than one too few for a checkpoint before its time.
fn almost_a_checkpoint(node: &mut Node) {
    for round in 0..CHECKPOINT_JOBS as u64 / 1_000 {
        let ids: Vec<_> = (0..1_000).map(|number| job_id(at(0), round * 1_000 + number)).collect();
        node.enqueue(at(round), &ids);
    }
}

#[tokio::test]
async fn a_checkpoint_is_asked_for_before_its_time_once_much_has_changed() {
    let mut node = Node::new();
    almost_a_checkpoint(&mut node);
    assert!(waits(&node).await);
    node.complete_all(at(99));
    assert!(waits(&node).await, "steps of jobs that changed before are written no second time");
    let ids: Vec<_> = (0..1_000).map(|number| job_id(at(0), 1_000_000 + number)).collect();
    node.enqueue(at(99), &ids);
    assert!(!waits(&node).await);
    node.apply(at(100), vec![]);
    assert!(!waits(&node).await, "the one before may have come while a checkpoint was under way");
    node.state.checkpoint().unwrap();
    node.apply(at(101), vec![]);
    assert!(waits(&node).await);
}

#[tokio::test]
async fn a_few_jobs_that_hold_much_ask_for_a_checkpoint_too() {
    let mut node = Node::new();
    let large = |number| NewJob { payload: vec![7; 256 << 10].into(), ..new_job(job_id(at(0), number)) };
    let count = CHECKPOINT_BYTES / (256 << 10);
    (1..count).for_each(|number| drop(node.apply(at(1), vec![enqueue(vec![large(number)])])));
    assert!(waits(&node).await);
    node.apply(at(1), vec![enqueue(vec![large(count)])]);
    assert!(!waits(&node).await);
}

#[tokio::test]
async fn what_falls_due_counts_towards_a_checkpoint_though_no_command_did_it() {
    let mut node = Node::new();
    let count = CHECKPOINT_JOBS as u64 / 1_000;
    let later = (0..(count + 1) * 1_000)
        .map(|number| NewJob { start: Start::AfterMs(1_000), ..new_job(job_id(at(9), number)) });
    for jobs in later.collect::<Vec<_>>().chunks(1_000) {
        node.apply(at(10), vec![enqueue(jobs.to_vec())]);
        node.state.checkpoint().unwrap();
    }
    assert!(waits(&node).await);
    for _ in 0..count {
        node.apply(at(2_000), vec![]);
    }
    assert!(waits(&node).await);
    node.apply(at(2_000), vec![]);
    assert!(!waits(&node).await);
}
