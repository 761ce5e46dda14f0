//! The end of a run: when faults have ceased, waiting work drains, and every job is read once more.

use super::operator::{get, reopen, unschedule};
use super::plan::{self, Plan, Site, clients};
use super::producer::enqueue;
use super::seat::{Answer, Seat};
use jobraft_protocol::{ErrorCode, JobId, JobState, Response};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The number of the client that finishes.
const CLIENT: u32 = u32::MAX;

/// What was not finished in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} jobs did not end within {patience:?}, {} among them", .jobs.len(), .jobs.first().map(ToString::to_string).unwrap_or_default())]
pub struct Unfinished {
    /// The jobs.
    pub jobs: Vec<JobId>,
    /// How long was waited.
    pub patience: Duration,
}

/// Lets workers go on until every job that anybody knows of has ended, or waits for one that has not completed and may
/// never; then reads each once more. To be called when faults have ceased and the clients have ended.
///
/// # Errors
/// [`Unfinished`] if that takes longer than `patience`: work is stranded.
pub async fn finish(site: &Site, seed: u64, patience: Duration) -> Result<(), Unfinished> {
    let until = Instant::now() + patience;
    let mut seat = Seat::new(site.clone(), CLIENT, seed);
    while !(reopen(&mut seat).await && unschedule(&mut seat).await) && Instant::now() < until {}
    let known =
        || -> BTreeSet<JobId> { site.recorder.history().operations.iter().map(|operation| operation.job).collect() };
    for round in 1.. {
        let plan = Plan { producers: 0, workers: 1, operators: 0, steps: 12, pause_ms_max: 5, lease_ms_max: 1_500 };
        for worker in clients(site, &plan, seed.wrapping_add(round)) {
            worker.await;
        }
        let mut left = Vec::new();
        for job in known() {
            if !is_over(&mut seat, job).await {
                left.push(job);
            }
        }
        if left.is_empty() {
            break;
        }
        if Instant::now() >= until {
            return Err(Unfinished { jobs: left, patience });
        }
        sleep(Duration::from_millis(200)).await;
    }
    // One more job, which tells what log time it is: nothing before it came later.
    for _ in 0..20 {
        let Some(id) = seat.new_id() else {
            seat.connect().await;
            continue;
        };
        if enqueue(&mut seat, &[plan::job(id, 0, "last")], false).await {
            get(&mut seat, id, 0).await;
            break;
        }
    }
    Ok(())
}

async fn is_over(seat: &mut Seat, job: JobId) -> bool {
    match get(seat, job, 0).await {
        Answer::Done(Response::Job(view)) => {
            // Behind one that is dead, or that waits so itself, it may wait for ever.
            let may_wait = view.after.iter().any(|before| before.ended != Some(JobState::Completed));
            view.state.is_terminal() || (view.state == JobState::Blocked && may_wait)
        }
        Answer::Refused(error) => error.code == ErrorCode::NotFound,
        _ => false,
    }
}
