//! One job: read it, wait for its end.

use super::request::Answer;
use super::room::{JOB_BYTES_MAX, Room};
use super::session::Session;
use super::wait::wait;
use super::{Api, visible};
use crate::tls::Identity;
use jobraft_protocol::{Consistency, Error, ErrorCode, JobId, JobView, Response};

/// Reads a job, waiting up to `wait_ms` for its end.
pub(super) async fn get(
    session: &Session,
    job: JobId,
    consistency: Consistency,
    wait_ms: u64,
    room: &mut Room,
) -> Answer {
    let (api, identity) = (&session.api, &*session.client.identity);
    if wait_ms == 0 {
        return view(api, identity, job, consistency, room).await.map(response);
    }
    // Before the job is read: what ends in between is not missed.
    let watched = api.dispatcher.ended().watch(job);
    let found = view(api, identity, job, consistency, room).await?;
    if found.state.is_terminal() {
        return Ok(response(found));
    }
    drop(found);
    room.release();
    wait(session, watched, consistency, wait_ms).await;
    view(api, identity, job, consistency, room).await.map(response)
}

async fn view(
    api: &Api,
    identity: &Identity,
    job: JobId,
    consistency: Consistency,
    room: &mut Room,
) -> Result<JobView, Error> {
    api.fresh(consistency).await?;
    room.reserve(JOB_BYTES_MAX).await;
    let found = api.consensus.job(job).await?;
    let mut found = found
        .ok_or_else(|| Error::new(ErrorCode::NotFound, format!("no job {job}: it never was, or ended long ago")))?;
    visible::job(api, identity, &mut found)?;
    Ok(found)
}

fn response(view: JobView) -> Response {
    Response::Job(Box::new(view))
}
