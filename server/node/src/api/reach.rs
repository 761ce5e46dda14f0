//! What a request names of which only the state knows whose it is, or to which queue it belongs: looked up before
//! anything is proposed.
//!
//! The leader's state is what the log says up to some entry. What is refused for want of something is looked up once more
//! behind a barrier, so that a new leader refuses nobody for what it has not applied yet. What nobody knows yet is
//! refused as well: numbers of workers and tokens can be guessed, and might come true before the entry does.

use super::{Api, batch, fleet, known, schedule};
use crate::auth::{self, Need, Stored};
use crate::tls::Identity;
use jobraft_core::{Core, LeaseOwner, WorkerOwner};
use jobraft_protocol::{BatchId, Error, ErrorCode, JobId, LeaseRef, QueueName, ScheduleName, WorkerId, WorkerInfo};

/// Decides whether `identity` may touch what is looked up.
pub(super) async fn check(api: &Api, identity: &Identity, need: Need<'_>) -> Result<(), Error> {
    match need.stored {
        Stored::OwnWorker(worker) => certain(api, |core| own_worker(core, identity, worker)).await?,
        Stored::OwnLeases(leases) => {
            let leases: Vec<LeaseRef> = leases.collect();
            certain(api, |core| leases.iter().try_for_each(|lease| own_lease(core, identity, *lease))).await?;
        }
        Stored::Worker(worker) => certain(api, |core| covered_worker(core, identity, worker)).await?,
        Stored::Batch(batch) => certain(api, |core| own_batch(core, identity, batch)).await?,
        Stored::Jobs(jobs) => covered_jobs(api, identity, jobs.iter().copied()).await?,
        // Their queues are in the namespace in which their names are.
        Stored::Schedules(schedules) if auth::limited(identity).is_some() => {
            let schedules: Vec<(&ScheduleName, bool)> = schedules.collect();
            // What is not there here may be elsewhere: a schedule is put rarely enough for a barrier each time.
            api.consensus.barrier().await?;
            api.consensus.read(|core| {
                schedules.iter().try_for_each(|(name, must_be)| covered_schedule(core, identity, name, *must_be))
            })?;
        }
        Stored::Nothing | Stored::Answer | Stored::Schedules(_) => {}
    }
    covered_jobs(api, identity, need.after).await
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
        WorkerOwner::Of(owner) if identity.is_owner(owner) => worker_is_there(core, identity, worker),
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
        LeaseOwner::Held(owner) if identity.is_owner(owner) => match core.queue_of(lease.job) {
            Some(queue) if !identity.is_there(queue.as_str()) => {
                Err(auth::elsewhere(identity, &format!("job {}", lease.job)))
            }
            _ => Ok(()),
        },
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

/// Whether a worker is in a client's namespace, and, if the client is limited within it, serves some queues and none that is
/// not covered.
pub(super) fn covers_worker(identity: &Identity, info: &WorkerInfo) -> bool {
    let serves_covered = || !info.queues.is_empty() && info.queues.iter().all(|queue| identity.covers(queue.as_str()));
    info.namespace == identity.namespace() && (auth::limited(identity).is_none() || serves_covered())
}

fn covered_worker(core: &Core, identity: &Identity, worker: WorkerId) -> Result<(), Error> {
    match (core.worker_info(worker), auth::limited(identity)) {
        (Some(info), _) if covers_worker(identity, info) => Ok(()),
        (Some(info), Some(grant)) if info.namespace == identity.namespace() => {
            Err(auth::not_covered(identity, grant, &format!("worker {worker}")))
        }
        (Some(_), _) => Err(auth::elsewhere(identity, &format!("worker {worker}"))),
        (None, _) => Err(fleet::unknown(worker)),
    }
}

fn worker_is_there(core: &Core, identity: &Identity, worker: WorkerId) -> Result<(), Error> {
    match core.worker_info(worker) {
        Some(info) if info.namespace != identity.namespace() => {
            Err(auth::elsewhere(identity, &format!("worker {worker}")))
        }
        _ => Ok(()),
    }
}

fn own_batch(core: &Core, identity: &Identity, batch: BatchId) -> Result<(), Error> {
    match core.batch_namespace(batch) {
        Some(namespace) if *namespace == identity.namespace() => Ok(()),
        Some(_) => Err(auth::elsewhere(identity, &format!("batch {batch}"))),
        None => Err(batch::unknown(batch)),
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
    // Returns those that do not live as far as is known here.
    let look = |jobs: Vec<JobId>| {
        api.consensus.read(|core| {
            let mut others = Vec::new();
            for job in jobs {
                match core.queue_of(job) {
                    Some(queue) => check(job, queue)?,
                    None => others.push(job),
                }
            }
            Ok::<_, Error>(others)
        })
    };
    let is_limited = auth::limited(identity).is_some();
    // A job may be moved to another queue, but stays in its namespace.
    if !is_limited {
        jobs = look(jobs)?;
    }
    if jobs.is_empty() {
        return Ok(());
    }
    api.consensus.barrier().await?;
    if !is_limited && !api.consensus.read(Core::is_divided) {
        return Ok(());
    }
    let ended = look(jobs)?;
    known::bounded(ended.len())?;
    for job in ended {
        if let Some(view) = api.consensus.job(job).await? {
            check(job, &view.queue)?;
        }
    }
    Ok(())
}
