//! How workers come by jobs: fetches that wait, and subscriptions that are pushed to.

use super::request::Answer;
use super::session::Session;
use super::{Api, bounds, fleet};
use crate::dispatch::{Strides, Wish};
use jobraft_core::command::Command;
use jobraft_protocol::{Error, ErrorCode, LeasedJob, QueueName, Response, WorkerId, limits};
use std::collections::BTreeSet;
use std::time::Duration;

/// Checks what a worker asks for.
pub(super) fn wish(
    worker: WorkerId,
    mut queues: Vec<QueueName>,
    weights: Vec<u32>,
    credits: u32,
    lease_ms: u64,
) -> Result<Wish, Error> {
    bounds::queues(&queues)?;
    bounds::weights(&queues, &weights)?;
    bounds::lease_ms(lease_ms)?;
    if weights.is_empty() {
        let mut seen = BTreeSet::new();
        queues.retain(|queue| seen.insert(queue.clone()));
    }
    Ok(Wish { worker, queues, weights, credits, lease_ms })
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
        fleet::heard(api, wish.worker).await?;
        let Ok(_place) = session.client.fetches.try_acquire() else {
            let message =
                format!("{} leases wait on this connection already: subscribe", limits::CONNECTION_FETCHES_MAX);
            return Err(Error::new(ErrorCode::TooMany, message));
        };
        let wait = Duration::from_millis(wait_ms.min(limits::WAIT_MS_MAX));
        api.dispatcher.lease(&api.consensus, wish, wait, &session.closed).await?
    };
    Ok(Response::Leased(jobs))
}

/// Leases what is ready now.
async fn propose(api: &Api, wish: Wish) -> Result<Vec<LeasedJob>, Error> {
    let Wish { worker, queues, weights, credits, lease_ms } = wish;
    let (queues, shares) =
        if weights.is_empty() { (queues, Vec::new()) } else { shares(api, queues, &weights, credits) };
    api.consensus.lease(Command::Lease { worker, queues, shares, max: credits, lease_ms }).await
}

/// Divides what is ready by weight, for one who does not wait: by chance, since nobody remembers what it got before. If
/// nothing seems to be ready, the state machine has the last word.
fn shares(api: &Api, queues: Vec<QueueName>, weights: &[u32], max: u32) -> (Vec<QueueName>, Vec<u32>) {
    let ready: Vec<usize> = api.consensus.read(|core| queues.iter().map(|queue| core.ready_count(queue)).collect());
    let picked = Strides::at_random(weights).pick(&ready, max as usize);
    if picked.is_empty() {
        return (queues, Vec::new());
    }
    picked.into_iter().map(|(place, count)| (queues[place].clone(), u32::try_from(count).unwrap_or(max))).unzip()
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
