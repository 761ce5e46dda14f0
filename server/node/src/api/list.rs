//! Lists of jobs.

use super::request::Answer;
use super::room::Room;
use super::{Api, bounds};
use jobraft_protocol::{Consistency, JobFilter, JobId, Response, limits};

/// The most that a job takes in a list, about: names, keys, a message of progress, an error, some of the jobs that it came
/// after.
const SUMMARY_BYTES_MAX: usize = 3 * 1024;

/// What is asked for.
pub(super) struct Listing {
    pub(super) filter: JobFilter,
    pub(super) after: Option<JobId>,
    pub(super) oldest_first: bool,
    pub(super) limit: u32,
    pub(super) consistency: Consistency,
}

/// Lists jobs, a page of them.
pub(super) async fn jobs(api: &Api, listing: Listing, room: &mut Room) -> Answer {
    let Listing { filter, after, oldest_first, limit, consistency } = listing;
    filter.check().map_err(bounds::invalid)?;
    let limit = limit.clamp(1, limits::LIST_JOBS_MAX);
    api.fresh(consistency).await?;
    room.reserve(limit as usize * SUMMARY_BYTES_MAX).await;
    let fresh = consistency == Consistency::Linearizable;
    Ok(Response::Jobs(api.consensus.list_jobs(filter, after, oldest_first, limit, fresh).await?))
}
