//! What a request names of which only the state knows whose it is, or to which queue it belongs: looked up before
//! anything is proposed.
//!
//! The leader's state is what the log says up to some entry. What is refused for want of something is looked up once more
//! behind a barrier, so that a new leader refuses nobody for what it has not applied yet. What nobody knows yet is
//! refused as well: numbers of workers and tokens can be guessed, and might come true before the entry does.

use super::{Api, fleet, known, schedule};
use crate::auth::{self, Need, Stored};
use crate::tls::Identity;
use jobraft_core::{Core, LeaseOwner, WorkerOwner};
use jobraft_protocol::{Error, ErrorCode, Grant, JobId, LeaseRef, QueueName, ScheduleName, WorkerId};

/// Decides whether `identity` may touch what is looked up.
pub(super) async fn check(api: &Api, identity: &Identity, need: Need<'_>) -> Result<(), Error> {
    match need.stored {
        Stored::OwnWorker(worker) => certain(api, |core| own_worker(core, identity, worker)).await?,
        Stored::OwnLeases(leases) => {
            let leases: Vec<LeaseRef> = leases.collect();
            certain(api, |core| leases.iter().try_for_each(|lease| own_lease(core, identity, *lease))).await?;
        }
        stored => {
            if let Some(grant) = auth::limited(identity) {
                covered(api, identity, grant, stored).await?;
            }
        }
    }
    if auth::limited(identity).is_some() {
        covered_jobs(api, identity, need.after).await?;
    }
    Ok(())
}

/// Decides whether what is looked up belongs to queues that are covered.
async fn covered(api: &Api, identity: &Identity, grant: &Grant, stored: Stored<'_>) -> Result<(), Error> {
    match stored {
        Stored::Nothing | Stored::Answer | Stored::OwnWorker(_) | Stored::OwnLeases(_) => Ok(()),
        Stored::Worker(worker) => certain(api, |core| covered_worker(core, identity, grant, worker)).await,
        Stored::Jobs(jobs) => covered_jobs(api, identity, jobs.iter().copied()).await,
        Stored::Schedules(schedules) => {
            let schedules: Vec<(&ScheduleName, bool)> = schedules.collect();
            // What is not there here may be elsewhere: a schedule is put rarely enough for a barrier each time.
            api.consensus.barrier().await?;
            api.consensus.read(|core| {
                schedules.iter().try_for_each(|(name, must_be)| covered_schedule(core, identity, name, *must_be))
            })
        }
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
        WorkerOwner::Of(owner) if identity.is_owner(owner) => Ok(()),
        WorkerOwner::Of(_) => {
            let message = format!("{identity} may not use worker {worker}: somebody else registered it");
            Err(Error::new(ErrorCode::Forbidden, message))
        }
        // Refused by the state machine, or done already, as the request has it.
        WorkerOwner::Past => Ok(()),
        WorkerOwner::Unknown => Err(fleet::unknown(worker)),
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

/// Whether a worker serves some queues, and none that is not covered.
pub(super) fn covers_worker(grant: &Grant, queues: &[QueueName]) -> bool {
    !queues.is_empty() && queues.iter().all(|queue| grant.covers(queue.as_str()))
}

fn covered_worker(core: &Core, identity: &Identity, grant: &Grant, worker: WorkerId) -> Result<(), Error> {
    match core.worker_queues(worker) {
        Some(queues) if covers_worker(grant, queues) => Ok(()),
        Some(_) => Err(auth::not_covered(identity, grant, &format!("worker {worker}"))),
        None => Err(fleet::unknown(worker)),
    }
}

fn covered_schedule(core: &Core, identity: &Identity, name: &ScheduleName, must_be: bool) -> Result<(), Error> {
    match core.schedule_queue(name) {
        Some(queue) => auth::covered(identity, queue.as_str(), || format!("schedule {name}")),
        None if must_be => Err(schedule::unknown(name)),
        None => Ok(()),
    }
}

/// Those that are not known are none of anybody's.
async fn covered_jobs(api: &Api, identity: &Identity, jobs: impl Iterator<Item = JobId>) -> Result<(), Error> {
    let mut jobs: Vec<JobId> = jobs.collect();
    if jobs.is_empty() {
        return Ok(());
    }
    jobs.sort_unstable();
    jobs.dedup();
    let check = |job: JobId, queue: &QueueName| auth::covered(identity, queue.as_str(), || format!("job {job}"));
    api.consensus.barrier().await?;
    let mut ended = Vec::new();
    api.consensus.read(|core| {
        jobs.iter().try_for_each(|&job| match core.queue_of(job) {
            Some(queue) => check(job, queue),
            None => {
                ended.push(job);
                Ok(())
            }
        })
    })?;
    known::bounded(ended.len())?;
    for job in ended {
        if let Some(view) = api.consensus.job(job).await? {
            check(job, &view.queue)?;
        }
    }
    Ok(())
}
