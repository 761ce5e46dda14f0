//! What the state machine is told of jobs that others come after: it does not know those that ended a while ago, whose rows
//! are on disk. It believes what it is told only as far as it knows nothing better.

use crate::consensus::{Consensus, RowPart};
use jobraft_core::command::Target;
use jobraft_protocol::{Error, ErrorCode, JobId, NewJob};
use std::collections::HashSet;

/// Jobs that ended which those of one request come after, at most: the row of each is read, and travels with the command.
const ENDED_MAX: usize = 10_000;
/// The most that is told of one of them, about.
const IDENTITY_BYTES_MAX: usize = 512;

/// What is known of the jobs that these come after, as far as those have ended and are not among them.
pub(super) async fn known<'a>(
    consensus: &Consensus,
    jobs: impl IntoIterator<Item = &'a NewJob> + Clone,
) -> Result<Vec<Target>, Error> {
    let named: HashSet<JobId> = jobs.clone().into_iter().flat_map(named).collect();
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let own = jobs.into_iter().map(|job| job.id).collect();
    Box::pin(read(consensus, &named, own)).await
}

async fn read(consensus: &Consensus, named: &HashSet<JobId>, own: HashSet<JobId>) -> Result<Vec<Target>, Error> {
    {
        let leadership = consensus.leadership();
        let now = leadership.borrow();
        if !now.is_leader {
            // It would be refused in the end; nothing need be read for that.
            return Err(now.not_leader());
        }
    }
    let mut ended: Vec<JobId> = named.difference(&own).copied().collect();
    consensus.read(|core| ended.retain(|job| !core.is_live(*job)));
    bounded(ended.len())?;
    ended.sort_unstable();
    // One that nobody knows is left out: the state machine says so.
    let rows = consensus.rows(ended, RowPart::Identity).await?;
    Ok(rows.into_iter().map(|(job, row)| Target { job, row: Some(row) }).collect())
}

/// Whether the jobs of one request may come after so many that have ended.
pub(super) fn bounded(ended: usize) -> Result<(), Error> {
    if ended <= ENDED_MAX {
        return Ok(());
    }
    let message =
        format!("these jobs come after {ended} others that have ended, at most {ENDED_MAX} at once; split them");
    Err(Error::new(ErrorCode::TooMany, message))
}

/// How many bytes these jobs make the node hold for what they come after.
pub(super) fn weight_bytes<'a>(jobs: impl IntoIterator<Item = &'a NewJob>) -> usize {
    let named = jobs.into_iter().map(|job| named(job).count()).sum::<usize>();
    named * size_of::<JobId>() + named.min(ENDED_MAX) * IDENTITY_BYTES_MAX
}

fn named(job: &NewJob) -> impl Iterator<Item = JobId> {
    job.after.iter().flat_map(|after| after.jobs.iter().copied())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::testing::Bench;
    use super::*;
    use jobraft_protocol::{After, Completion, JobAction, OnFailure, Request, Response, Start};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_ended_is_told_and_neither_what_lives_nor_what_nobody_knows_nor_what_comes_with_it() {
        let bench = Bench::start().await;
        let mut session = bench.session().await;
        let worker = session.register().await;
        let mut ended = Vec::new();
        for round in 0..3 {
            let lease = session.hold(worker).await;
            let completion = Completion { result: vec![7; 10_000].into(), ..Completion::default() };
            assert_eq!(session.complete(lease, completion).await, Ok(()));
            ended.push(lease.job);
            if round == 0 {
                // A fresh list writes a checkpoint: that row leaves memory.
                let list = Request::ListJobs {
                    filter: Default::default(),
                    after: None,
                    oldest_first: true,
                    limit: 1,
                    consistency: Default::default(),
                };
                assert!(matches!(session.ask(list).await, Ok(Response::Jobs(_))));
            }
        }
        let live = session.enqueue(Start::Now).await;
        assert_eq!(session.act(&ended[2..], JobAction::Delete).await, [Ok(())]);
        let (unknown, own) = (session.job(Start::Now).id, session.job(Start::Now));
        let after = |jobs: &[JobId]| Some(After { jobs: jobs.to_vec(), on_failure: OnFailure::Wait });
        let first = NewJob { after: after(&[ended[1], ended[0], live, unknown, ended[2]]), ..session.job(Start::Now) };
        let second = NewJob { after: after(&[ended[1], own.id]), ..session.job(Start::Now) };
        let jobs = [first, second, own];
        let known = known(bench.node.consensus(), &jobs).await.unwrap();
        assert_eq!(known.iter().map(|target| target.job).collect::<Vec<_>>(), ended[..2]);
        let bytes: usize = known.iter().map(|target| target.row.as_ref().unwrap().len()).sum();
        assert!(bytes < 2 * IDENTITY_BYTES_MAX && weight_bytes(&jobs) > bytes, "{bytes} bytes");
    }
}
