//! How workers come by jobs: fetches that wait, and subscriptions that are pushed to.

use super::request::{Answer, mismatch};
use super::session::Session;
use super::{Api, bounds};
use crate::dispatch::Wish;
use jobraft_core::command::{Command, Outcome};
use jobraft_protocol::{Error, LeasedJob, QueueName, Response, WorkerId, limits};
use std::time::Duration;

/// Mints a worker incarnation.
pub(super) async fn register(api: &Api, name: String) -> Answer {
    bounds::label("worker's name", &name)?;
    match api.consensus.propose(Command::RegisterWorker { name }).await? {
        Outcome::Registered(worker) => Ok(Response::Registered(worker)),
        other => Err(mismatch("register", &other)),
    }
}

/// Checks what a worker asks for.
pub(super) fn wish(worker: WorkerId, queues: Vec<QueueName>, credits: u32, lease_ms: u64) -> Result<Wish, Error> {
    bounds::queues(&queues)?;
    bounds::lease_ms(lease_ms)?;
    Ok(Wish { worker, queues, credits, lease_ms })
}

/// Leases jobs, waiting up to `wait_ms` for the first.
pub(super) async fn lease(session: &Session, wish: Wish, wait_ms: u64) -> Answer {
    let api = &session.api;
    if wish.credits == 0 {
        return Err(bounds::invalid("max is 0: ask for one job at least"));
    }
    let wish = Wish { credits: wish.credits.min(limits::LEASE_JOBS_MAX), ..wish };
    let jobs = if wait_ms == 0 {
        propose(api, wish).await?
    } else {
        let wait = Duration::from_millis(wait_ms.min(limits::WAIT_MS_MAX));
        api.dispatcher.lease(&api.consensus, wish, wait, &session.closed).await?
    };
    Ok(Response::Leased(jobs))
}

/// Leases what is ready now.
async fn propose(api: &Api, wish: Wish) -> Result<Vec<LeasedJob>, Error> {
    let Wish { worker, queues, credits, lease_ms } = wish;
    match api.consensus.propose(Command::Lease { worker, queues, max: credits, lease_ms }).await? {
        Outcome::Leased(jobs) => {
            if let Some(at) = jobs.iter().map(|job| job.expires_at).min() {
                api.dispatcher.due_at(at);
            }
            Ok(jobs)
        }
        other => Err(mismatch("lease", &other)),
    }
}

/// Pushes jobs from now on.
pub(super) async fn subscribe(session: &Session, wish: Wish) -> Answer {
    let api = &session.api;
    // A lease of nothing: the state machine has a word on the worker, once, while there is somebody to be told.
    propose(api, Wish { credits: 0, ..wish.clone() }).await?;
    session.subscribe(wish.worker, || api.dispatcher.subscribe(&api.consensus, wish, session.pushes()))?;
    Ok(Response::Done)
}

/// Lets more be pushed.
pub(super) fn add_credits(session: &Session, worker: WorkerId, credits: u32) -> Answer {
    let api = &session.api;
    api.dispatcher.add_credits(&api.consensus, session.subscription(worker)?, credits)?;
    Ok(Response::Done)
}

/// Pushes no more.
pub(super) fn unsubscribe(session: &Session, worker: WorkerId) -> Answer {
    session.unsubscribe(worker);
    Ok(Response::Done)
}
