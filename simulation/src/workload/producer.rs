//! Clients that enqueue: one job or many, each on its own or all or none, again when nobody knows, and twice on purpose.

use super::plan::{self, Plan};
use super::seat::{Answer, Seat};
use crate::history::{Ask, Call, Outcome};
use jobraft_protocol::{
    After, BatchId, Consistency, ErrorCode, GroupKey, NewBatch, NewJob, OnConflict, OnFailure, Request, Response,
    Start, Unique, UniqueKey, UniqueScope,
};
use rand::RngExt as _;

/// Jobs that are remembered, to be enqueued again or waited for.
const REMEMBERED_MAX: usize = 32;
/// Keys that jobs contend for: few, so that they do.
const KEYS: u32 = 6;

pub(super) async fn produce(mut seat: Seat, plan: Plan) {
    let mut known: Vec<NewJob> = Vec::new();
    let mut open: Vec<NewJob> = Vec::new();
    for _ in 0..plan.steps {
        seat.rest(plan.pause_ms_max).await;
        if seat.chance(6) {
            batch(&mut seat).await;
            continue;
        }
        let again = (!open.is_empty() && seat.chance(60)).then(|| open.remove(0));
        let jobs = match again {
            // Nobody knows whether it was enqueued: the same id makes it the same job.
            Some(job) => vec![job],
            None => {
                let count = if seat.chance(70) { 1 } else { seat.rng.random_range(2..6) };
                (0..count).filter_map(|_| new_job(&mut seat, &known)).collect()
            }
        };
        if jobs.is_empty() {
            seat.connect().await;
            continue;
        }
        let all_or_none = jobs.len() > 1 && seat.chance(30);
        let is_known = enqueue(&mut seat, &jobs, all_or_none).await;
        if !is_known {
            open.extend(jobs.iter().cloned());
        }
        known.extend(jobs);
        let excess = known.len().saturating_sub(REMEMBERED_MAX);
        known.drain(..excess);
    }
}

/// Enqueues; says whether it is known what came of it.
pub(super) async fn enqueue(seat: &mut Seat, jobs: &[NewJob], all_or_none: bool) -> bool {
    let asks: Vec<Ask> = jobs.iter().map(|job| seat.begin(job.id, Call::Enqueue(Box::new(job.clone())))).collect();
    let answer = seat.ask(Request::Enqueue { jobs: jobs.to_vec(), all_or_none }).await;
    match &answer {
        Answer::Done(Response::Enqueued(outcomes)) => {
            let mut history = seat.history();
            for (ask, outcome) in asks.into_iter().zip(outcomes) {
                history.answer(ask, Outcome::from(outcome));
            }
        }
        Answer::Done(_) | Answer::Unknown => return false,
        Answer::Refused(error) => {
            asks.into_iter().for_each(|ask| seat.history().answer(ask, Outcome::Untold(error.code)))
        }
        Answer::Unsent => {
            let untold = || Outcome::Untold(ErrorCode::Unavailable);
            asks.into_iter().for_each(|ask| seat.history().answer(ask, untold()));
            return false;
        }
    }
    true
}

/// Creates a batch with a few jobs and a callback; at times it stays open for a while. Nobody knows when the callback comes.
async fn batch(seat: &mut Seat) {
    let Some((id, callback)) = seat.new_id().zip(seat.new_id()) else { return };
    let ids: Vec<_> = (0..seat.rng.random_range(1..4)).filter_map(|_| seat.new_id()).collect();
    let jobs: Vec<NewJob> = ids.into_iter().map(|job| plan::job(job, 1, "part")).collect();
    let callback = plan::job(callback, 2, "callback");
    let open = seat.chance(30);
    let batch =
        NewBatch { on_complete: Some(Box::new(callback.clone())), open, ..NewBatch::new(BatchId(id), jobs.clone()) };
    let parts: Vec<_> = jobs.iter().map(|job| seat.begin(job.id, Call::Enqueue(Box::new(job.clone())))).collect();
    let called_back = seat.begin(callback.id, Call::Enqueue(Box::new(callback)));
    let answer = seat.ask(Request::CreateBatch { batch: Box::new(batch) }).await;
    parts.into_iter().for_each(|part| seat.end(part, &answer, |_| Some(Outcome::Done)));
    seat.end(called_back, &answer, |_| None);
    if open {
        seat.ask(Request::SealBatch { batch: BatchId(id), cancel: false }).await;
    }
    seat.ask(Request::GetBatch { batch: BatchId(id), consistency: Consistency::Linearizable, wait_ms: 0 }).await;
}

/// A job with whatever can be asked for, or one of those that there are.
fn new_job(seat: &mut Seat, known: &[NewJob]) -> Option<NewJob> {
    if !known.is_empty() && seat.chance(8) {
        return Some(known[seat.rng.random_range(0..known.len())].clone());
    }
    let id = seat.new_id()?;
    let place = seat.rng.random_range(0..3);
    // Every other one is so large that it leaves memory while its job waits.
    let length = if seat.rng.random() { 8 } else { 200 };
    let mut job = plan::job(id, place, vec![seat.rng.random::<u8>(); length]);
    job.backoff = Some(plan::backoff(seat.rng.random_range(0..1_500)));
    let rng = &mut seat.rng;
    job.priority = rng.random_bool(0.3).then(|| rng.random_range(0..10));
    job.max_attempts = rng.random_bool(0.5).then(|| rng.random_range(1..5));
    job.max_crashes = rng.random_bool(0.3).then(|| rng.random_range(1..4));
    job.ttl_ms = rng.random_bool(0.08).then(|| rng.random_range(500..8_000));
    job.start_deadline_ms = rng.random_bool(0.05).then(|| rng.random_range(500..8_000));
    if rng.random_bool(0.25) {
        job.start = Start::AfterMs(rng.random_range(1..3_000));
    }
    if rng.random_bool(0.3) {
        job.group = Some(GroupKey::new(&format!("group-{}", rng.random_range(0..3))).expect("it is a key"));
    }
    if rng.random_bool(0.3) {
        job.unique = Some(claim(rng.random_range(0..KEYS), rng.random_range(0..4), rng.random_bool(0.5)));
    } else if rng.random_bool(0.12)
        && let Some(before) = known.get(rng.random_range(0..known.len().max(1)))
    {
        let on_failure = OnFailure::ALL[rng.random_range(0..3)];
        job.after = Some(After { jobs: vec![before.id], on_failure });
    }
    Some(job)
}

/// A claim to one of few keys. Of one key all jobs replace its holder, or none does.
fn claim(key: u32, scope: usize, is_strict: bool) -> Unique {
    let scope =
        [UniqueScope::Waiting, UniqueScope::UntilStarted, UniqueScope::UntilDone, UniqueScope::ForMs(4_000)][scope];
    let on_conflict = match (key == 0, is_strict) {
        (true, payload) => OnConflict::Replace { payload, start: true },
        (false, true) => OnConflict::Reject,
        (false, false) => OnConflict::ReturnExisting,
    };
    Unique { key: UniqueKey::new(&format!("key-{key}")).expect("it is a key"), scope, on_conflict }
}
