//! What the state machine is told of jobs that others come after: it does not know those that ended a while ago, whose rows
//! are on disk. It believes what it is told only as far as it knows nothing better.

use super::Api;
use crate::consensus::RowPart;
use jobraft_core::command::Target;
use jobraft_protocol::{Error, ErrorCode, JobId, NewJob};
use std::collections::HashSet;

/// Jobs that ended which those of one request come after, at most: the row of each is read, and travels with the command.
const ENDED_MAX: usize = 10_000;
/// The most that is told of one of them, about.
const IDENTITY_BYTES_MAX: usize = 512;

/// What is known of the jobs that these come after, as far as those have ended and are not among them.
pub(super) async fn known<'a>(
    api: &Api,
    jobs: impl IntoIterator<Item = &'a NewJob> + Clone,
) -> Result<Vec<Target>, Error> {
    let named: HashSet<JobId> = jobs.clone().into_iter().flat_map(named).collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let own: HashSet<JobId> = jobs.into_iter().map(|job| job.id).collect();
    let mut ended: Vec<JobId> = named.difference(&own).copied().collect();
    api.consensus.read(|core| ended.retain(|job| !core.is_live(*job)));
    if ended.len() > ENDED_MAX {
        let message = format!(
            "these jobs come after {} others that have ended, at most {ENDED_MAX} at once; split them",
            ended.len()
        );
        return Err(Error::new(ErrorCode::TooMany, message));
    }
    ended.sort_unstable();
    // One that nobody knows is left out: the state machine says so.
    let rows = api.consensus.rows(ended, RowPart::Identity).await?;
    Ok(rows.into_iter().map(|(job, row)| Target { job, row: Some(row) }).collect())
}

/// How many bytes these jobs make the node hold for what they come after.
pub(super) fn weight_bytes(jobs: &[NewJob]) -> usize {
    let named = jobs.iter().map(|job| named(job).count()).sum::<usize>();
    named * size_of::<JobId>() + named.min(ENDED_MAX) * IDENTITY_BYTES_MAX
}

fn named(job: &NewJob) -> impl Iterator<Item = JobId> {
    job.after.iter().flat_map(|after| after.jobs.iter().copied())
}
