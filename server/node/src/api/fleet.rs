//! Workers: who there is, that they are alive, what they are told to do.

use super::request::{Answer, mismatch};
use super::room::{PAGE_BYTES_MAX, Room, page, worker_bytes};
use super::{Api, bounds, reach, report};
use crate::tls::Identity;
use jobraft_core::command::{Command, Outcome};
use jobraft_protocol::{
    Consistency, Error, ErrorCode, JobId, Response, WorkerId, WorkerInfo, WorkerOrder, WorkerView, limits,
};

/// The most that a worker takes in a list, about: the names of its queues, and the jobs that are shown.
const WORKER_BYTES_MAX: usize = 32 * 1024;

/// Mints a worker incarnation, which belongs to whoever asks for it.
pub(super) async fn register(api: &Api, identity: &Identity, info: WorkerInfo) -> Answer {
    bounds::label("worker's name", &info.name)?;
    bounds::label("worker's agent", &info.agent)?;
    bounds::count("queues", info.queues.len(), limits::WORKER_QUEUES_MAX)?;
    let info = WorkerInfo { owner: identity.owner(), namespace: identity.namespace(), ..info };
    match api.consensus.propose(Command::RegisterWorker { info }).await? {
        Outcome::Registered(worker) => Ok(Response::Registered(worker)),
        other => Err(mismatch("register", &other)),
    }
}

/// Hears that a worker is alive, and says what it has been told to do.
pub(super) async fn heartbeat(api: &Api, worker: WorkerId) -> Answer {
    heard(api, worker).await.map(Response::Order)
}

/// Notes that a worker was heard of; returns what it has been told to do. Only the leader notes it, without a place in the
/// log; it tells the others now and then.
pub(super) async fn heard(api: &Api, worker: WorkerId) -> Result<WorkerOrder, Error> {
    {
        let leadership = api.consensus.leadership();
        let now = leadership.borrow();
        if !now.is_leader {
            return Err(now.not_leader());
        }
    }
    let order = || api.consensus.read(|core| core.worker_order(worker));
    let known = if let Some(order) = order() {
        order
    } else {
        // A new leader may not have applied everything yet, and a worker that is refused registers again.
        api.consensus.barrier().await?;
        order().ok_or_else(|| unknown(worker))?
    };
    api.dispatcher.heard(worker);
    Ok(known)
}

/// The refusal of a worker that this cluster does not know.
pub(super) fn unknown(worker: WorkerId) -> Error {
    Error::new(ErrorCode::NotFound, format!("no worker {worker} in this cluster: register first"))
}

/// Lists workers of the client's namespace that serve no queue that the client does not cover, a page of them.
pub(super) async fn list(
    api: &Api,
    identity: &Identity,
    after: Option<WorkerId>,
    limit: u32,
    consistency: Consistency,
    room: &mut Room,
) -> Answer {
    let limit = limit.clamp(1, limits::WORKER_LIST_MAX) as usize;
    api.fresh(consistency).await?;
    room.reserve(PAGE_BYTES_MAX + WORKER_BYTES_MAX).await;
    let is_shown = |worker: &WorkerView| reach::covers_worker(identity, &worker.info);
    let workers = api.consensus.read(|core| {
        let is_covered = |job: &JobId| core.queue_of(*job).is_some_and(|queue| identity.covers(queue.as_str()));
        let shown = core.workers(after).filter(is_shown).take(limit).map(|mut worker| {
            // It may lease from others than it said.
            worker.jobs.retain(is_covered);
            worker
        });
        page(shown, worker_bytes, PAGE_BYTES_MAX)
    });
    Ok(Response::Workers(workers))
}

/// Tells a worker what to do.
pub(super) async fn order(api: &Api, worker: WorkerId, order: WorkerOrder) -> Answer {
    report::done(api, Command::OrderWorker { worker, order }).await
}
