//! Clients that work: they fetch or are pushed jobs, finish them in every way there is, let leases run out, and come too
//! late on purpose.

use super::plan::{self, Plan, queues};
use super::seat::{Answer, Seat};
use crate::history::{Call, Outcome, mark};
use jobraft_protocol::{
    Completion, ErrorCode, Failure, JobId, LeaseRef, LeasedJob, Push, Request, Response, StateKey, StateWrite,
    WorkerId, WorkerInfo, limits,
};
use rand::RngExt as _;
use std::collections::BTreeSet;
use std::time::Duration;

/// Leases that are remembered, to be reported late.
const STALE_MAX: usize = 16;
/// How long a worker waits for a push.
const PUSH_WAIT: Duration = Duration::from_millis(300);

/// One worker's life with the cluster.
struct Life {
    worker: WorkerId,
    /// When it first subscribed, and on which session: from then on jobs may be pushed.
    pushed_since: Option<(u64, u64)>,
    is_subscribed: bool,
    lease_ms: u64,
    /// All jobs that it ever had.
    had: BTreeSet<JobId>,
}

pub(super) async fn work(mut seat: Seat, plan: Plan) {
    let mut life: Option<Life> = None;
    let mut stale: Vec<LeaseRef> = Vec::new();
    for _ in 0..plan.steps {
        seat.rest(plan.pause_ms_max).await;
        let Some(mut now) = (match life.take() {
            Some(life) => Some(life),
            None => register(&mut seat, &plan).await,
        }) else {
            continue;
        };
        if seat.chance(5) {
            seat.ask(Request::Heartbeat { worker: now.worker }).await;
        }
        for job in take(&mut seat, &mut now).await {
            treat(&mut seat, &now, &job, &mut stale).await;
        }
        if !stale.is_empty() && seat.chance(15) {
            let lease = stale[seat.rng.random_range(0..stale.len())];
            report(&mut seat, lease, None).await;
        }
        if seat.chance(4) {
            disconnect(&mut seat, now).await;
        } else {
            life = Some(now);
        }
    }
    if let Some(now) = life {
        disconnect(&mut seat, now).await;
    }
}

async fn register(seat: &mut Seat, plan: &Plan) -> Option<Life> {
    let info = WorkerInfo { name: format!("worker-{}", seat.client()), queues: queues(), ..WorkerInfo::default() };
    let lease_ms = seat.rng.random_range(limits::LEASE_MS_MIN..=plan.lease_ms_max.max(limits::LEASE_MS_MIN));
    match seat.ask(Request::RegisterWorker { info }).await {
        Answer::Done(Response::Registered(worker)) => {
            Some(Life { worker, pushed_since: None, is_subscribed: false, lease_ms, had: BTreeSet::new() })
        }
        _ => None,
    }
}

/// Jobs, by asking for them or by being pushed them.
async fn take(seat: &mut Seat, life: &mut Life) -> Vec<LeasedJob> {
    let Life { worker, lease_ms, .. } = *life;
    let mut taken = Vec::new();
    if let Some((called, session)) = life.pushed_since {
        let goes_on = session == seat.sessions() && seat.has_session();
        let wait = if goes_on && life.is_subscribed { PUSH_WAIT } else { Duration::ZERO };
        // What came before a session ended is there all the same.
        for push in seat.pushes(wait).await {
            match push {
                Push::Leased { worker: to, jobs } if to == worker => {
                    note(seat, life, called, &jobs);
                    taken.extend(jobs);
                }
                Push::SubscriptionEnded { leader, .. } => seat.leave(leader.as_ref()),
                _ => {}
            }
        }
        if !goes_on {
            seat.history().unseen_leases(called);
            (life.pushed_since, life.is_subscribed) = (None, false);
        } else if life.is_subscribed && !taken.is_empty() {
            let credits = u32::try_from(taken.len()).unwrap_or(u32::MAX);
            seat.ask(Request::AddCredits { worker, credits }).await;
        } else if life.is_subscribed && seat.chance(10) {
            seat.ask(Request::Unsubscribe { worker }).await;
            life.is_subscribed = false;
        }
        if life.is_subscribed || !taken.is_empty() {
            return taken;
        }
    }
    let called = seat.history().tick();
    if seat.chance(25) {
        let credits = seat.rng.random_range(1..4);
        let subscribe = Request::Subscribe { worker, queues: queues(), weights: Vec::new(), lease_ms, credits };
        match seat.ask(subscribe).await {
            Answer::Done(_) => {
                let session = seat.sessions();
                life.pushed_since = life.pushed_since.filter(|former| former.1 == session).or(Some((called, session)));
                life.is_subscribed = true;
            }
            Answer::Unknown => seat.history().unseen_leases(called),
            Answer::Refused(_) | Answer::Unsent => {}
        }
        return taken;
    }
    let (max, wait_ms) = (seat.rng.random_range(1..4), seat.rng.random_range(0..500));
    let weights = if seat.chance(20) { vec![3, 2, 1] } else { Vec::new() };
    match seat.ask(Request::Lease { worker, queues: queues(), weights, max, lease_ms, wait_ms }).await {
        Answer::Done(Response::Leased(jobs)) => {
            note(seat, life, called, &jobs);
            taken = jobs;
        }
        Answer::Unknown => seat.history().unseen_leases(called),
        _ => {}
    }
    taken
}

fn note(seat: &Seat, life: &mut Life, called: u64, jobs: &[LeasedJob]) {
    life.had.extend(jobs.iter().map(|job| job.id));
    let mut history = seat.history();
    for job in jobs {
        history.leased(seat.client(), called, life.worker, life.lease_ms, job.id, Outcome::from(job));
    }
}

/// Does something with a job that was leased.
async fn treat(seat: &mut Seat, life: &Life, job: &LeasedJob, stale: &mut Vec<LeaseRef>) {
    let lease = job.lease();
    stale.push(lease);
    let excess = stale.len().saturating_sub(STALE_MAX);
    stale.drain(..excess);
    seat.rest(60).await;
    if seat.chance(20) {
        let data: [u8; 8] = seat.rng.random();
        let ask = seat.begin(job.id, Call::Checkpoint { token: lease.token, data: mark(&data) });
        let answer = seat.ask(Request::Checkpoint { lease, data: data.to_vec().into() }).await;
        seat.end(ask, &answer, |_| Some(Outcome::Done));
    }
    if seat.chance(20) {
        extend(seat, lease, life.lease_ms).await;
    }
    match seat.rng.random_range(0..100) {
        0..70 => report(seat, lease, Some(job)).await,
        70..82 => fail(seat, lease).await,
        82..90 => release(seat, lease).await,
        // It is left to run out, and perhaps reported too late.
        _ => {}
    }
}

async fn extend(seat: &mut Seat, lease: LeaseRef, lease_ms: u64) {
    let ask = seat.begin(lease.job, Call::Extend { token: lease.token, lease_ms });
    let answer = seat.ask(Request::Extend { leases: vec![lease], lease_ms, progress: Vec::new() }).await;
    seat.end(ask, &answer, |response| match response {
        Response::Extended(extended) => match extended.first()? {
            Ok(extended) => {
                let to_stop = extended.cancel.is_some();
                Some(Outcome::Extended { expires_at: extended.expires_at, to_stop })
            }
            Err(error) => Some(super::call::refusal(error.code)),
        },
        _ => None,
    });
}

/// Completes a job, at times with children and values, at times twice.
async fn report(seat: &mut Seat, lease: LeaseRef, job: Option<&LeasedJob>) {
    let result: [u8; 8] = seat.rng.random();
    let mut completion = Completion { result: result.to_vec().into(), ..Completion::default() };
    if job.is_some()
        && seat.chance(12)
        && let Some(id) = seat.new_id()
    {
        completion.jobs.push(plan::job(id, 0, "child"));
    }
    if seat.chance(10) {
        let key = StateKey::new(&format!("value-{}", seat.rng.random_range(0..3))).expect("it is a key");
        completion.state.push(StateWrite { key, value: Some(result.to_vec().into()), if_version: None });
    }
    let children: Vec<_> =
        completion.jobs.iter().map(|child| seat.begin(child.id, Call::Enqueue(Box::new(child.clone())))).collect();
    let call = Call::Complete { token: lease.token, result: mark(&result) };
    let (mut is_done, mut is_open) = (false, false);
    for _ in 0..if seat.chance(10) { 2 } else { 1 } {
        let ask = seat.begin(lease.job, call.clone());
        let answer = match seat.ask(Request::Complete { completions: vec![(lease, completion.clone())] }).await {
            Answer::Done(Response::Acted(mut answers)) => match answers.pop() {
                Some(Ok(())) => Answer::Done(Response::Done),
                Some(Err(error)) => Answer::Refused(error),
                None => panic!("a completion was not answered"),
            },
            other => other,
        };
        seat.end(ask, &answer, |_| Some(Outcome::Done));
        is_done |= matches!(answer, Answer::Done(_));
        is_open |= matches!(answer, Answer::Unknown);
    }
    if is_done || !is_open {
        let outcome = if is_done { Outcome::Done } else { Outcome::Untold(ErrorCode::LeaseLost) };
        let mut history = seat.history();
        children.into_iter().for_each(|child| history.answer(child, outcome.clone()));
    }
}

async fn fail(seat: &mut Seat, lease: LeaseRef) {
    let retryable = seat.chance(80);
    let failure = if retryable { Failure::retryable("again") } else { Failure::final_error("never") };
    let ask = seat.begin(lease.job, Call::Fail { token: lease.token, retryable });
    let answer = seat.ask(Request::Fail { lease, failure }).await;
    seat.end(ask, &answer, |response| match response {
        Response::Failed { state, .. } => Some(Outcome::Failed { state: *state }),
        _ => None,
    });
}

async fn release(seat: &mut Seat, lease: LeaseRef) {
    let delay_ms = if seat.chance(50) { 0 } else { seat.rng.random_range(1..2_000) };
    let ask = seat.begin(lease.job, Call::Release { token: lease.token, delay_ms });
    let answer = seat.ask(Request::Release { lease, delay_ms }).await;
    seat.end(ask, &answer, |_| Some(Outcome::Done));
}

/// Goes away: what it holds is given back at once.
async fn disconnect(seat: &mut Seat, life: Life) {
    if let Some((called, _)) = life.pushed_since {
        seat.history().unseen_leases(called);
    }
    let worker = life.worker;
    let asks: Vec<_> = life.had.iter().map(|job| seat.begin(*job, Call::Disconnect { worker })).collect();
    let answer = seat.ask(Request::Disconnect { worker }).await;
    for ask in asks {
        seat.end(ask, &answer, |_| Some(Outcome::Done));
    }
}
