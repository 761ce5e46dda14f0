//! Enqueue.

use super::request::{Answer, mismatch};
use super::{Api, bounds};
use jobraft_core::command::{Command, Outcome};
use jobraft_protocol::{LogTime, NewJob, Response, Start, limits};

/// Puts jobs into their queues.
pub(super) async fn enqueue(api: &Api, jobs: Vec<NewJob>) -> Answer {
    if jobs.is_empty() {
        return Err(bounds::invalid("no job is given: give one at least"));
    }
    bounds::bulk("jobs", jobs.len(), limits::BULK_JOBS_MAX)?;
    let bytes = jobs.iter().map(|job| job.payload.len()).sum();
    bounds::bulk("bytes of payload", bytes, limits::BULK_BYTES_MAX)?;
    let due_at = jobs.iter().filter_map(|job| due_at(api, job.start)).min();
    let outcome = api.consensus.propose(Command::Enqueue { jobs }).await?;
    if let Some(at) = due_at {
        api.dispatcher.due_at(at);
    }
    match outcome {
        Outcome::Enqueued(outcomes) => Ok(Response::Enqueued(outcomes)),
        other => Err(mismatch("enqueue", &other)),
    }
}

/// About when a delayed job falls due.
fn due_at(api: &Api, start: Start) -> Option<LogTime> {
    match start {
        Start::Now => None,
        Start::AfterMs(ms) => Some(api.consensus.log_time().plus_ms(ms)),
        Start::At(at) => Some(at),
    }
}
