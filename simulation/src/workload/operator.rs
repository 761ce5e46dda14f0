//! Clients that look at jobs and at the cluster, call jobs off, bring them back, and set queues.

use super::plan::{Plan, queue};
use super::seat::{Answer, Seat};
use crate::history::{Ask, Call, Outcome, Seen};
use jobraft_protocol::{
    Consistency, JobAction, JobFilter, JobId, JobState, QueueMode, QueueSetting, Request, Response, Setting,
};
use rand::RngExt as _;

pub(super) async fn operate(mut seat: Seat, plan: Plan) {
    for _ in 0..plan.steps {
        seat.rest(plan.pause_ms_max).await;
        match seat.rng.random_range(0..100) {
            0..40 => {
                if let Some(job) = any_job(&mut seat) {
                    let wait_ms = if seat.chance(20) { 500 } else { 0 };
                    get(&mut seat, job, wait_ms).await;
                }
            }
            40..70 => act(&mut seat).await,
            70..75 => pause(&mut seat).await,
            _ => look(&mut seat).await,
        }
    }
}

/// Opens every queue again, whoever closed it; says whether all are.
pub(super) async fn reopen(seat: &mut Seat) -> bool {
    let open = |place| Setting::Queue(queue(place), QueueSetting::Mode(QueueMode::Open));
    let settings = (0..3).map(open).collect();
    matches!(seat.ask(Request::Configure { settings }).await, Answer::Done(_))
}

/// One of the jobs that anybody knows of, rather a late one.
fn any_job(seat: &mut Seat) -> Option<JobId> {
    let back = seat.rng.random_range(0..200_usize);
    let history = seat.history();
    let place = history.operations.len().checked_sub(1)?.saturating_sub(back);
    history.operations.get(place).map(|operation| operation.job)
}

/// Reads a job; says how it stands.
pub(super) async fn get(seat: &mut Seat, job: JobId, wait_ms: u64) -> Answer {
    let ask = seat.begin(job, Call::Get);
    let answer = seat.ask(Request::GetJob { job, consistency: Consistency::Linearizable, wait_ms }).await;
    seat.end(ask, &answer, |response| match response {
        Response::Job(view) => Some(Outcome::View(Box::new(Seen::from(view.as_ref())))),
        _ => None,
    });
    answer
}

async fn act(seat: &mut Seat) {
    let count = if seat.chance(80) { 1 } else { seat.rng.random_range(2..5) };
    let mut jobs: Vec<JobId> = (0..count).filter_map(|_| any_job(seat)).collect();
    jobs.sort_unstable();
    jobs.dedup();
    if jobs.is_empty() {
        return;
    }
    let only_in = if seat.chance(20) { vec![JobState::Ready, JobState::Scheduled, JobState::Dead] } else { Vec::new() };
    let (action, call) = match seat.rng.random_range(0..10) {
        0..3 => {
            let grace_ms = if seat.chance(50) { 0 } else { seat.rng.random_range(1..2_000) };
            let call = Call::Cancel { grace_ms, only_in: only_in.clone() };
            (JobAction::Cancel { reason: "called off".to_owned(), grace_ms }, call)
        }
        3..6 => (JobAction::Retry, Call::Retry { only_in: only_in.clone() }),
        6 => (JobAction::Delete, Call::Delete { only_in: only_in.clone() }),
        7 => {
            let action = JobAction::Move { queue: queue(seat.rng.random_range(0..3)) };
            (action, Call::Amend { only_in: only_in.clone(), waiting_only: true })
        }
        _ => {
            let action = JobAction::Prioritize { priority: seat.rng.random_range(0..10) };
            (action, Call::Amend { only_in: only_in.clone(), waiting_only: false })
        }
    };
    let asks: Vec<Ask> = jobs.iter().map(|job| seat.begin(*job, call.clone())).collect();
    let answer = seat.ask(Request::Act { jobs, action, only_in }).await;
    for (place, ask) in asks.into_iter().enumerate() {
        seat.end(ask, &answer, |response| match response {
            Response::Acted(acted) => super::call::part(acted.get(place)?),
            _ => None,
        });
    }
}

/// Closes a queue for a while.
async fn pause(seat: &mut Seat) {
    let place = seat.rng.random_range(0..3);
    let mode = |mode| vec![Setting::Queue(queue(place), QueueSetting::Mode(mode))];
    seat.ask(Request::Configure { settings: mode(QueueMode::Paused) }).await;
    seat.rest(500).await;
    seat.ask(Request::Configure { settings: mode(QueueMode::Open) }).await;
}

/// Asks for what there is to look at; that an answer comes is all that is asked of it here.
async fn look(seat: &mut Seat) {
    let consistency = if seat.chance(50) { Consistency::Linearizable } else { Consistency::Stale };
    let request = match seat.rng.random_range(0..7) {
        0 => Request::ListQueues { consistency },
        1 => Request::ListWorkers { after: None, limit: 100, consistency },
        2 => Request::ClusterStatus,
        3 => Request::GetSettings { consistency },
        4 => Request::ListState { prefix: String::new(), after: None, limit: 100, consistency },
        5 => Request::ListGroups { queue: queue(0), after: None, limit: 100, consistency },
        _ => {
            let filter = JobFilter { queues: vec![queue(1)], ..JobFilter::default() };
            Request::ListJobs { filter, after: None, oldest_first: false, limit: 100, consistency }
        }
    };
    seat.ask(request).await;
}
