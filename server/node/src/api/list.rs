//! Lists of jobs.

use super::request::Answer;
use super::room::Room;
use super::{Api, bounds};
use crate::auth;
use crate::tls::Identity;
use jobraft_core::Core;
use jobraft_protocol::{Consistency, Error, JobFilter, JobId, JobPage, QueueName, Response, limits};

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

/// Lists jobs of queues that the client covers, a page of them.
pub(super) async fn jobs(api: &Api, identity: &Identity, listing: Listing, room: &mut Room) -> Answer {
    let Listing { mut filter, after, oldest_first, limit, consistency } = listing;
    filter.check().map_err(bounds::invalid)?;
    let limit = limit.clamp(1, limits::LIST_JOBS_MAX);
    api.fresh(consistency).await?;
    let is_divided = api.consensus.read(Core::is_divided);
    filter.namespace = is_divided.then(|| identity.namespace());
    if auth::limited(identity).is_some() && filter.queues.is_empty() {
        filter.queues = covered(api, identity)?;
        if filter.queues.is_empty() {
            return Ok(Response::Jobs(JobPage::default()));
        }
    }
    room.reserve(limit as usize * SUMMARY_BYTES_MAX).await;
    let fresh = consistency == Consistency::Linearizable;
    Ok(Response::Jobs(api.consensus.list_jobs(filter, after, oldest_first, limit, fresh).await?))
}

/// The queues that there are and that a client covers. What it names itself has been looked at before.
fn covered(api: &Api, identity: &Identity) -> Result<Vec<QueueName>, Error> {
    let queues = api.consensus.read(Core::queues).into_iter().map(|stats| stats.queue);
    let covered: Vec<QueueName> = queues.filter(|queue| identity.covers(queue.as_str())).collect();
    if covered.len() > limits::FILTER_VALUES_MAX {
        let message =
            format!("{} queues are covered, at most {} at once: name them", covered.len(), limits::FILTER_VALUES_MAX);
        return Err(bounds::invalid(message));
    }
    Ok(covered)
}
