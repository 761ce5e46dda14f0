//! What a request names of which only the state knows whose it is, or to which queue it belongs: looked up before
//! anything is proposed.
//!
//! The leader's state is what the log says up to some entry. What is refused for want of something is looked up once more
//! behind a barrier, so that a new leader refuses nobody for what it has not applied yet.

use super::Api;
use crate::auth::{self, Stored};
use crate::tls::Identity;
use jobraft_core::{Core, LeaseOwner};
use jobraft_protocol::{Error, ErrorCode, Grant, JobId, LeaseRef, ScheduleName, WorkerId};

/// Decides whether `identity` may touch what is looked up.
pub(super) async fn check(api: &Api, identity: &Identity, stored: Stored<'_>) -> Result<(), Error> {
    match stored {
        Stored::Nothing | Stored::Answer => Ok(()),
        Stored::OwnWorker(worker) => certain(api, |core| own_worker(core, identity, worker)).await,
        Stored::OwnLeases(leases) => {
            let leases: Vec<LeaseRef> = leases.collect();
            certain(api, |core| leases.iter().try_for_each(|lease| own_lease(core, identity, *lease))).await
        }
        Stored::Worker(worker) => match auth::limited(identity) {
            Some(grant) => certain(api, |core| covered_worker(core, identity, grant, worker)).await,
            None => Ok(()),
        },
        Stored::Jobs(jobs) => match auth::limited(identity) {
            Some(_) => covered_jobs(api, identity, jobs).await,
            None => Ok(()),
        },
        Stored::Schedules(schedules) => match auth::limited(identity) {
            Some(_) => {
                let schedules: Vec<&ScheduleName> = schedules.collect();
                certain(api, |core| schedules.iter().try_for_each(|name| covered_schedule(core, identity, name))).await
            }
            None => Ok(()),
        },
    }
}

/// What the state says, or, if that is a refusal, what it says once it is fresh.
async fn certain(api: &Api, check: impl Fn(&Core) -> Result<(), Error>) -> Result<(), Error> {
    if api.consensus.read(&check).is_ok() {
        return Ok(());
    }
    api.consensus.barrier().await?;
    api.consensus.read(&check)
}

fn own_worker(core: &Core, identity: &Identity, worker: WorkerId) -> Result<(), Error> {
    match core.worker_owner(worker) {
        Some(owner) if identity.is_owner(owner) => Ok(()),
        Some(_) => Err(foreign_worker(identity, worker)),
        // Refused by the state machine, or done already, as the request has it.
        None => Ok(()),
    }
}

fn own_lease(core: &Core, identity: &Identity, lease: LeaseRef) -> Result<(), Error> {
    match core.lease_owner(lease) {
        LeaseOwner::Held(owner) if identity.is_owner(owner) => Ok(()),
        LeaseOwner::Past => Ok(()),
        LeaseOwner::Held(_) => {
            let message = format!("{identity} may not report on job {}: a worker of somebody else holds it", lease.job);
            Err(Error::new(ErrorCode::Forbidden, message))
        }
        LeaseOwner::Unknown => {
            let message = format!("no lease of job {} was granted under token {}", lease.job, lease.token);
            Err(Error::new(ErrorCode::LeaseLost, message))
        }
    }
}

fn covered_worker(core: &Core, identity: &Identity, grant: &Grant, worker: WorkerId) -> Result<(), Error> {
    let queues = core.worker_queues(worker).unwrap_or_default();
    match queues.iter().find(|queue| !grant.covers(queue.as_str())) {
        Some(queue) => {
            auth::covered(identity, queue.as_str(), || format!("worker {worker}, which serves other queues"))
        }
        None => Ok(()),
    }
}

fn covered_schedule(core: &Core, identity: &Identity, name: &ScheduleName) -> Result<(), Error> {
    match core.schedule_queue(name) {
        Some(queue) => auth::covered(identity, queue.as_str(), || format!("schedule {name}")),
        None => Ok(()),
    }
}

/// Those that are not known are none of anybody's.
async fn covered_jobs(api: &Api, identity: &Identity, jobs: &[JobId]) -> Result<(), Error> {
    api.consensus.barrier().await?;
    for &job in jobs {
        let live = api.consensus.read(|core| core.queue_of(job).cloned());
        let queue = match live {
            Some(queue) => Some(queue),
            None => api.consensus.job(job).await?.map(|view| view.queue),
        };
        if let Some(queue) = queue {
            auth::covered(identity, queue.as_str(), || format!("job {job}"))?;
        }
    }
    Ok(())
}

fn foreign_worker(identity: &Identity, worker: WorkerId) -> Error {
    let message = format!("{identity} may not use worker {worker}: somebody else registered it");
    Error::new(ErrorCode::Forbidden, message)
}
