//! Batches: created, sealed, read, listed, waited for.

use super::request::{Answer, mismatch};
use super::room::{LIST_BYTES_MAX, Room};
use super::session::Session;
use super::wait::wait;
use super::{Api, bounds, known};
use crate::tls::Identity;
use jobraft_core::command::{Command, Outcome};
use jobraft_protocol::{BatchId, BatchView, Consistency, Error, ErrorCode, NewBatch, Response, limits};

/// The most that a batch takes in a list, about.
const BATCH_BYTES_MAX: usize = 1024;
const _: () = assert!(limits::BATCH_LIST_MAX as usize * BATCH_BYTES_MAX <= LIST_BYTES_MAX, "a page fits into a frame");

/// Creates a batch with its first jobs.
pub(super) async fn create(api: &Api, identity: &Identity, batch: Box<NewBatch>) -> Answer {
    let callbacks = [&batch.on_complete, &batch.on_failure].into_iter().flatten().map(AsRef::as_ref);
    bounds::new_jobs(&batch.jobs)?;
    for callback in callbacks.clone() {
        bounds::new_jobs(std::slice::from_ref(callback))?;
    }
    let known = known::known(&api.consensus, batch.jobs.iter().chain(callbacks)).await?;
    propose(api, Command::CreateBatch { batch, known, namespace: identity.namespace() }).await
}

/// Lets a batch take no more jobs.
pub(super) async fn seal(api: &Api, batch: BatchId, cancel: bool) -> Answer {
    propose(api, Command::SealBatch { batch, cancel }).await
}

async fn propose(api: &Api, command: Command) -> Answer {
    match api.consensus.propose(command).await? {
        Outcome::Batch(view) => Ok(Response::Batch(view)),
        other => Err(mismatch("batch", &other)),
    }
}

/// Reads a batch, waiting up to `wait_ms` for its end.
pub(super) async fn get(session: &Session, batch: BatchId, consistency: Consistency, wait_ms: u64) -> Answer {
    let api = &session.api;
    // Before the batch is read: an end in between is not missed.
    let watched = (wait_ms > 0).then(|| api.dispatcher.batches().watch(batch));
    let mut found = view(api, batch, consistency).await?;
    if let Some(watched) = watched
        && !found.state.has_ended()
    {
        wait(session, watched, consistency, wait_ms).await;
        found = view(api, batch, consistency).await?;
    }
    Ok(Response::Batch(Box::new(found)))
}

async fn view(api: &Api, batch: BatchId, consistency: Consistency) -> Result<BatchView, Error> {
    api.fresh(consistency).await?;
    let found = api.consensus.read(|core| core.batch(batch));
    found.ok_or_else(|| unknown(batch))
}

/// The refusal of a batch that this cluster does not know.
pub(super) fn unknown(batch: BatchId) -> Error {
    Error::new(ErrorCode::NotFound, format!("no batch {batch}: it never was, or ended long ago"))
}

/// Lists batches from the newest back, a page of them.
pub(super) async fn list(
    api: &Api,
    identity: &Identity,
    after: Option<BatchId>,
    limit: u32,
    consistency: Consistency,
    room: &mut Room,
) -> Answer {
    let limit = limit.clamp(1, limits::BATCH_LIST_MAX) as usize;
    api.fresh(consistency).await?;
    room.reserve(limit * BATCH_BYTES_MAX).await;
    Ok(Response::Batches(api.consensus.read(|core| core.batches(&identity.namespace(), after, limit))))
}
