//! Histories that are right pass; each kind of wrong one is caught.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use jobraft_protocol::{
    ErrorCode, FencingToken, JobId, JobState, LogTime, NewJob, OnConflict, Start, Task, Unique, UniqueScope, WorkerId,
};

const LEASE_MS: u64 = 10_000;
/// When the first entry was stamped.
const BEGIN: u64 = 1_000_000;

fn id(number: u8) -> JobId {
    JobId::new(LogTime::from_ms(BEGIN), [number; 10])
}

fn new(number: u8) -> NewJob {
    NewJob::new(id(number), "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "")
}

fn keyed(number: u8, scope: UniqueScope, on_conflict: OnConflict) -> NewJob {
    NewJob { unique: Some(Unique { key: "k".parse().unwrap(), scope, on_conflict }), ..new(number) }
}

/// A history told by one client at a time.
#[derive(Default)]
struct Story(History);

impl Story {
    fn then(&mut self, job: u8, call: Call, outcome: Outcome) -> &mut Self {
        let ask = self.0.ask(1, id(job), call);
        self.0.answer(ask, outcome);
        self
    }

    fn unknown(&mut self, job: u8, call: Call) -> &mut Self {
        self.0.ask(2, id(job), call);
        self
    }

    fn enqueue(&mut self, new: NewJob, outcome: Outcome) -> &mut Self {
        let ask = self.0.ask(1, new.id, Call::Enqueue(Box::new(new)));
        self.0.answer(ask, outcome);
        self
    }

    fn created(&mut self, job: u8) -> &mut Self {
        self.enqueue(new(job), Outcome::Created)
    }

    /// Leased at `at` after the beginning.
    fn leased(&mut self, job: u8, token: u64, attempt: u32, at: u64) -> &mut Self {
        let called = self.0.tick();
        let outcome = Outcome::Leased {
            token: FencingToken(token),
            attempt,
            expires_at: LogTime::from_ms(BEGIN + at + LEASE_MS),
            enqueued_at: LogTime::from_ms(BEGIN),
            checkpoint: 0,
        };
        self.0.leased(3, called, WorkerId(1), LEASE_MS, id(job), outcome);
        self
    }

    fn complete(&mut self, job: u8, token: u64, outcome: Outcome) -> &mut Self {
        self.then(job, complete(token), outcome)
    }

    fn fail(&mut self, job: u8, token: u64, state: JobState) -> &mut Self {
        self.then(job, Call::Fail { token: FencingToken(token), retryable: true }, Outcome::Failed { state })
    }

    fn seen(&mut self, job: u8, state: JobState, attempt: u32) -> &mut Self {
        self.then(job, Call::Get, view(state, attempt))
    }

    fn judged(&self) -> Verdict {
        judge(&self.0, &Demands::default())
    }

    #[track_caller]
    fn passes(&self) {
        let verdict = self.judged();
        assert!(verdict.is_passed(), "{verdict}");
    }

    #[track_caller]
    fn is_caught(&self) -> Violation {
        match self.judged() {
            Verdict::Violated(violation) => *violation,
            other => panic!("not caught: {other}"),
        }
    }
}

fn complete(token: u64) -> Call {
    Call::Complete { token: FencingToken(token), result: mark(b"result") }
}

fn view(state: JobState, attempt: u32) -> Outcome {
    let time = LogTime::from_ms(BEGIN);
    Outcome::View(Box::new(Seen {
        state,
        attempt,
        lease: None,
        to_stop: false,
        enqueued_at: time,
        run_at: if state == JobState::Scheduled { time.plus_ms(15_000) } else { time },
        finished_at: state.is_terminal().then(|| time.plus_ms(15_000)),
        result: if state == JobState::Completed { mark(b"result") } else { 0 },
    }))
}

fn cancel(grace_ms: u64) -> Call {
    Call::Cancel { grace_ms, only_in: Vec::new() }
}

const LOST: Outcome = Outcome::Refused(ErrorCode::LeaseLost);

#[test]
fn a_whole_life_passes() {
    let mut story = Story::default();
    story.created(1).enqueue(new(1), Outcome::Existing).seen(1, JobState::Ready, 0).leased(1, 1, 1, 100);
    story.fail(1, 1, JobState::Scheduled).fail(1, 1, JobState::Scheduled).seen(1, JobState::Scheduled, 1);
    story.leased(1, 2, 2, 15_000).complete(1, 2, Outcome::Done).complete(1, 2, Outcome::Done).complete(1, 1, LOST);
    story.seen(1, JobState::Completed, 2).passes();
}

#[test]
fn a_worker_that_was_lost_uses_up_no_attempt() {
    let mut story = Story::default();
    story.created(1).leased(1, 1, 1, 0).leased(1, 2, 1, LEASE_MS).complete(1, 1, LOST).complete(1, 2, Outcome::Done);
    story.passes();
    let mut story = Story::default();
    story.created(1).leased(1, 1, 1, 0).leased(1, 2, 2, LEASE_MS).is_caught();
}

#[test]
fn what_nobody_knows_of_may_have_happened_or_not() {
    let mut done = Story::default();
    done.created(1).leased(1, 1, 1, 0).unknown(1, complete(1)).seen(1, JobState::Completed, 1).passes();
    let mut lost = Story::default();
    lost.created(1).leased(1, 1, 1, 0).unknown(1, complete(1)).leased(1, 2, 1, LEASE_MS).passes();
    let mut came = Story::default();
    came.unknown(1, Call::Enqueue(Box::new(new(1)))).enqueue(new(1), Outcome::Existing).passes();
    let mut both = Story::default();
    both.created(1).leased(1, 1, 1, 0).unknown(1, complete(1)).seen(1, JobState::Completed, 1).leased(1, 2, 1, 20_000);
    both.is_caught();
}

#[test]
fn a_stale_read_is_caught() {
    let mut story = Story::default();
    story.created(1).leased(1, 1, 1, 0).complete(1, 1, Outcome::Done).seen(1, JobState::Ready, 0);
    let violation = story.is_caught();
    assert_eq!((violation.operations.len(), violation.explained.len()), (4, 3), "{violation}");
}

#[test]
fn a_read_that_overlaps_a_write_may_see_either() {
    for state in [JobState::Ready, JobState::Cancelled] {
        let mut story = Story::default();
        story.created(1);
        let cancelling = story.0.ask(2, id(1), cancel(0));
        story.seen(1, state, 0);
        story.0.answer(cancelling, Outcome::Done);
        story.passes();
    }
}

#[test]
fn a_lost_enqueue_is_caught() {
    let mut story = Story::default();
    story.created(1).then(1, Call::Get, Outcome::Refused(ErrorCode::NotFound)).is_caught();
}

#[test]
fn a_second_creation_is_caught() {
    Story::default().created(1).created(1).is_caught();
}

#[test]
fn what_was_said_not_to_be_done_and_was_is_caught() {
    let mut story = Story::default();
    story.enqueue(new(1), Outcome::Untold(ErrorCode::NotLeader)).seen(1, JobState::Ready, 0).is_caught();
}

#[test]
fn a_double_lease_is_caught() {
    let mut story = Story::default();
    story.created(1).leased(1, 1, 1, 0).leased(1, 2, 1, LEASE_MS - 1).is_caught();
}

#[test]
fn a_lease_that_ends_too_soon_is_caught() {
    let mut story = Story::default();
    story.created(1).created(2).leased(1, 1, 1, 0).complete(1, 1, LOST).leased(2, 2, 1, LEASE_MS - 1).is_caught();
    let mut late = Story::default();
    late.created(1).created(2).leased(1, 1, 1, 0).complete(1, 1, LOST).leased(2, 2, 1, LEASE_MS).passes();
}

#[test]
fn a_stale_token_that_is_accepted_is_caught() {
    let mut story = Story::default();
    story.created(1).leased(1, 1, 1, 0).leased(1, 2, 1, LEASE_MS).complete(1, 1, Outcome::Done).is_caught();
}

#[test]
fn tokens_that_go_back_are_caught() {
    let mut story = Story::default();
    story.created(1).leased(1, 7, 1, 0).leased(1, 6, 1, LEASE_MS).is_caught();
}

#[test]
fn a_job_that_is_completed_twice_is_caught() {
    let mut story = Story::default();
    story.created(1).leased(1, 1, 1, 0).complete(1, 1, Outcome::Done).leased(1, 2, 2, 20_000).is_caught();
}

#[test]
fn another_result_than_the_completed_one_is_caught() {
    let mut story = Story::default();
    let other = Call::Complete { token: FencingToken(1), result: mark(b"other") };
    story.created(1).leased(1, 1, 1, 0).then(1, other, Outcome::Done).seen(1, JobState::Completed, 1).is_caught();
}

#[test]
fn a_checkpoint_that_is_lost_is_caught() {
    let mut story = Story::default();
    let checkpoint = Call::Checkpoint { token: FencingToken(1), data: 42 };
    story.created(1).leased(1, 1, 1, 0).then(1, checkpoint, Outcome::Done).leased(1, 2, 1, LEASE_MS).is_caught();
}

#[test]
fn a_failure_is_known_no_longer_once_its_job_expired() {
    for (at, passes) in [(5_000, true), (4_999, false)] {
        let mut story = Story::default();
        let enqueue = NewJob { start_deadline_ms: Some(5_000), ..new(1) };
        story.created(2).enqueue(enqueue, Outcome::Created).leased(1, 1, 1, 0).fail(1, 1, JobState::Scheduled);
        let again = Call::Fail { token: FencingToken(1), retryable: true };
        story.then(1, again, LOST).leased(2, 2, 1, at);
        assert_eq!(story.judged().is_passed(), passes, "{at}: {}", story.judged());
    }
}

#[test]
fn an_attempt_too_many_is_caught() {
    let once = NewJob { max_attempts: Some(1), ..new(1) };
    let mut story = Story::default();
    story.enqueue(once.clone(), Outcome::Created).leased(1, 1, 1, 0).fail(1, 1, JobState::Dead).passes();
    let mut story = Story::default();
    story.enqueue(once, Outcome::Created).leased(1, 1, 1, 0).fail(1, 1, JobState::Scheduled).is_caught();
}

#[test]
fn a_death_before_its_time_is_caught() {
    Story::default().created(1).leased(1, 1, 1, 0).fail(1, 1, JobState::Dead).is_caught();
    Story::default().created(1).leased(1, 1, 1, 0).seen(1, JobState::Dead, 0).is_caught();
}

#[test]
fn a_lease_before_its_time_is_caught() {
    let delayed = NewJob { start: Start::AfterMs(5_000), ..new(1) };
    Story::default().enqueue(delayed.clone(), Outcome::Created).leased(1, 1, 1, 5_000).passes();
    Story::default().enqueue(delayed, Outcome::Created).leased(1, 1, 1, 4_999).is_caught();
}

#[test]
fn a_cancelled_job_that_runs_is_caught() {
    Story::default().created(1).then(1, cancel(0), Outcome::Done).leased(1, 1, 1, 0).is_caught();
    let mut story = Story::default();
    story.created(1).leased(1, 1, 1, 0).then(1, cancel(1_000), Outcome::Done).complete(1, 1, Outcome::Done).passes();
    let mut story = Story::default();
    story
        .created(1)
        .leased(1, 1, 1, 0)
        .then(1, cancel(1_000), Outcome::Done)
        .fail(1, 1, JobState::Scheduled)
        .is_caught();
}

#[test]
fn a_token_that_two_jobs_have_is_caught() {
    let mut story = Story::default();
    story.created(1).created(2).leased(1, 1, 1, 0).leased(2, 1, 1, 0).is_caught();
    let mut story = Story::default();
    story.created(1).created(2).leased(1, 2, 1, 0).leased(2, 1, 1, 10).is_caught();
}

#[test]
fn a_lease_of_a_worker_that_has_gone_is_caught() {
    let mut story = Story::default();
    story.created(1).leased(1, 1, 1, 0).then(1, Call::Disconnect { worker: WorkerId(1) }, Outcome::Done);
    story.leased(1, 2, 1, 100);
    assert!(story.is_caught().what.contains("had gone"));
}

#[test]
fn log_time_that_goes_back_is_caught() {
    let mut story = Story::default();
    story.created(1).created(2).leased(1, 1, 1, 500).leased(2, 2, 1, 400);
    assert!(story.is_caught().what.contains("log time went back"));
}

#[test]
fn a_key_is_held_until_its_scope_ends() {
    let done = |number| keyed(number, UniqueScope::UntilDone, OnConflict::ReturnExisting);
    let mut story = Story::default();
    story.enqueue(done(1), Outcome::Created).enqueue(done(2), Outcome::Duplicate(id(1))).leased(1, 1, 1, 0);
    story.enqueue(done(3), Outcome::Duplicate(id(1))).complete(1, 1, Outcome::Done);
    story.enqueue(done(4), Outcome::Created).passes();
}

#[test]
fn a_key_that_is_released_early_is_caught() {
    let done = |number| keyed(number, UniqueScope::UntilDone, OnConflict::ReturnExisting);
    let mut story = Story::default();
    story.enqueue(done(1), Outcome::Created).leased(1, 1, 1, 0).enqueue(done(2), Outcome::Created).is_caught();
    let period = |number| keyed(number, UniqueScope::ForMs(60_000), OnConflict::Reject);
    let mut story = Story::default();
    story.enqueue(period(1), Outcome::Created).leased(1, 1, 1, 0).complete(1, 1, Outcome::Done);
    story.enqueue(period(2), Outcome::Created).created(3).leased(3, 2, 1, 50_000).is_caught();
}

#[test]
fn a_job_replaces_one_of_its_own_queue_alone() {
    let replace = OnConflict::Replace { payload: true, start: true };
    let in_queue = |number, queue: &str| NewJob {
        queue: queue.parse().unwrap(),
        ..keyed(number, UniqueScope::UntilDone, replace)
    };
    let conflict = || Outcome::Refused(ErrorCode::Conflict);
    let begun = || {
        let mut story = Story::default();
        story.enqueue(in_queue(1, "q"), Outcome::Created);
        story
    };
    begun().enqueue(in_queue(2, "q"), Outcome::Replaced(id(1))).enqueue(in_queue(3, "r"), conflict()).passes();
    begun().enqueue(in_queue(2, "r"), Outcome::Replaced(id(1))).is_caught();
    begun().enqueue(in_queue(2, "q"), conflict()).is_caught();
    // Where it was moved to, nobody says.
    let moved = Call::Amend { only_in: Vec::new(), waiting_only: true };
    begun().then(1, moved, Outcome::Done).enqueue(in_queue(2, "r"), Outcome::Replaced(id(1))).passes();
}

#[test]
fn a_key_that_is_released_late_is_caught() {
    let started = |number| keyed(number, UniqueScope::UntilStarted, OnConflict::Reject);
    let conflict = || Outcome::Refused(ErrorCode::Conflict);
    let mut story = Story::default();
    story.enqueue(started(1), Outcome::Created).enqueue(started(2), conflict()).leased(1, 1, 1, 0);
    story.enqueue(started(3), Outcome::Created).passes();
    let mut story = Story::default();
    story.enqueue(started(1), Outcome::Created).leased(1, 1, 1, 0).enqueue(started(3), conflict()).is_caught();
}

fn waits(number: u8) -> NewJob {
    keyed(number, UniqueScope::Waiting, OnConflict::ReturnExisting)
}

fn until_done(number: u8) -> NewJob {
    keyed(number, UniqueScope::UntilDone, OnConflict::ReturnExisting)
}

#[test]
fn a_key_is_taken_again_when_a_lease_is_found_to_have_run_out() {
    let mut story = Story::default();
    story.created(9).enqueue(waits(1), Outcome::Created).leased(1, 1, 1, 0);
    story.enqueue(keyed(2, UniqueScope::ForMs(12_000), OnConflict::Reject), Outcome::Created).leased(2, 2, 1, 100);
    story.enqueue(until_done(3), Outcome::Duplicate(id(1))).passes();
    story.leased(9, 3, 1, 11_999);
    assert!(story.is_caught().what.contains("unique key"));
}

#[test]
fn a_key_whose_period_is_over_is_taken_again_by_a_job_that_failed() {
    let mut story = Story::default();
    story.created(9).enqueue(waits(1), Outcome::Created).leased(1, 1, 1, 0);
    story.enqueue(keyed(2, UniqueScope::ForMs(5_000), OnConflict::Reject), Outcome::Created).leased(2, 2, 1, 100);
    story.leased(9, 3, 1, 5_000).fail(1, 1, JobState::Scheduled);
    story.enqueue(until_done(4), Outcome::Duplicate(id(1))).passes();
}

#[test]
fn a_job_that_came_back_while_another_held_the_key_waits_without() {
    let ready = Call::Amend { only_in: vec![JobState::Ready], waiting_only: true };
    for (cancelled_by, outcome, passes) in [
        (10_000, Outcome::Created, true),
        (10_000, Outcome::Duplicate(id(1)), true),
        // By then its lease had not run out: it found the key free.
        (9_999, Outcome::Created, false),
        (9_999, Outcome::Duplicate(id(1)), true),
    ] {
        let mut story = Story::default();
        story.created(9).enqueue(waits(1), Outcome::Created).leased(1, 1, 1, 0);
        story.enqueue(until_done(2), Outcome::Created).then(2, cancel(0), Outcome::Done);
        story.leased(9, 2, 1, cancelled_by);
        story.then(1, ready.clone(), Outcome::Done).enqueue(until_done(4), outcome);
        assert_eq!(story.judged().is_passed(), passes, "{cancelled_by}: {}", story.judged());
    }
}

#[test]
fn a_job_that_found_its_key_taken_takes_it_when_its_time_comes() {
    let mut story = Story::default();
    story.enqueue(waits(1), Outcome::Created).leased(1, 1, 1, 0).enqueue(until_done(2), Outcome::Created);
    story.fail(1, 1, JobState::Scheduled).then(2, cancel(0), Outcome::Done);
    story.enqueue(until_done(3), Outcome::Duplicate(id(1))).passes();
    let mut story = Story::default();
    story.enqueue(waits(1), Outcome::Created).leased(1, 1, 1, 0).enqueue(until_done(2), Outcome::Created);
    let release = Call::Release { token: FencingToken(1), delay_ms: 0 };
    story.then(1, release, Outcome::Done).then(2, cancel(0), Outcome::Done);
    story.enqueue(until_done(3), Outcome::Duplicate(id(1))).is_caught();
}

#[test]
fn a_run_without_its_faults_or_with_too_little_work_is_insufficient() {
    let mut story = Story::default();
    story.created(1).leased(1, 1, 1, 0);
    let kinds = [("complete".to_owned(), 1)].into();
    let faults: std::collections::BTreeMap<String, u64> = [("crash".to_owned(), 1)].into();
    let demands = [
        Demands { operations: 3, ..Demands::default() },
        Demands { jobs: 2, ..Demands::default() },
        Demands { kinds, ..Demands::default() },
        Demands { faults: faults.clone(), ..Demands::default() },
    ];
    for demands in demands {
        assert!(matches!(judge(&story.0, &demands), Verdict::Insufficient { .. }), "{demands:?}");
    }
    story.0.fault("crash");
    assert!(judge(&story.0, &Demands { operations: 2, jobs: 1, faults, ..Demands::default() }).is_passed());
}

#[test]
fn a_verdict_can_be_written_and_read() {
    let mut story = Story::default();
    story.created(1).created(1);
    let verdict = story.judged();
    let text = serde_json::to_string(&verdict).unwrap();
    assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
}
