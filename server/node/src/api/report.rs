//! What workers report of the jobs that they hold.

use super::request::{Answer, mismatch};
use super::session::Session;
use super::{Api, bounds, known};
use bytes::Bytes;
use jobraft_core::command::{Command, Outcome};
use jobraft_protocol::{Completion, Failure, LeaseRef, Progress, Response, WorkerId, limits};

/// Extends leases, and takes in how far jobs are.
pub(super) async fn extend(
    api: &Api,
    leases: Vec<LeaseRef>,
    lease_ms: u64,
    mut progress: Vec<(LeaseRef, Progress)>,
) -> Answer {
    bounds::lease_ms(lease_ms)?;
    bounds::progress(&mut progress)?;
    if leases.is_empty() && progress.is_empty() {
        return Ok(Response::Extended(Vec::new()));
    }
    match api.consensus.propose(Command::Extend { leases, lease_ms, progress }).await? {
        Outcome::Extended(results) => Ok(Response::Extended(results)),
        other => Err(mismatch("extend", &other)),
    }
}

/// Leaves bytes for the next attempt.
pub(super) async fn checkpoint(api: &Api, lease: LeaseRef, data: Bytes) -> Answer {
    bounds::size("checkpoint", data.len(), limits::CHECKPOINT_BYTES_MAX)?;
    done(api, Command::Checkpoint { lease, data }).await
}

/// Ends jobs well, each with what is to be done in the same step. What is out of bounds, one of them or what all bring together,
/// refuses all.
pub(super) async fn complete(api: &Api, completions: Vec<(LeaseRef, Completion)>) -> Answer {
    if completions.is_empty() {
        return Err(bounds::invalid("no completion is given: give one at least"));
    }
    let bytes = completions.iter().map(|(_, completion)| completion.result.len() + completion.log.len()).sum();
    bounds::size("results and logs", bytes, limits::BULK_BYTES_MAX)?;
    bounds::new_jobs(completions.iter().flat_map(|(_, completion)| &completion.jobs))?;
    for (_, completion) in &completions {
        bounds::size("result", completion.result.len(), limits::RESULT_BYTES_MAX)?;
        bounds::size("log", completion.log.len(), limits::LOG_TAIL_BYTES_MAX)?;
        bounds::writes(&completion.state)?;
    }
    let (mut commands, mut ended) = (Vec::with_capacity(completions.len()), 0);
    for (lease, completion) in completions {
        let known = known::known(&api.consensus, &completion.jobs).await?;
        ended += known.len();
        known::bounded(ended)?;
        commands.push(Command::Complete { lease, completion, known });
    }
    let answers = api.consensus.propose_all(commands).await?.into_iter().map(|answer| match answer? {
        Outcome::Done => Ok(()),
        other => Err(mismatch("complete", &other)),
    });
    Ok(Response::Acted(answers.collect()))
}

/// Ends an attempt badly.
pub(super) async fn fail(api: &Api, lease: LeaseRef, mut failure: Failure) -> Answer {
    bounds::size("log", failure.log.len(), limits::LOG_TAIL_BYTES_MAX)?;
    bounds::cut(&mut failure.message, limits::FAILURE_MESSAGE_BYTES_MAX);
    match api.consensus.propose(Command::Fail { lease, failure }).await? {
        Outcome::Failed { state, retry_at } => Ok(Response::Failed { state, retry_at }),
        other => Err(mismatch("fail", &other)),
    }
}

/// Gives a job back, to wait for a while if so wished.
pub(super) async fn release(api: &Api, lease: LeaseRef, delay_ms: u64) -> Answer {
    bounds::ms("delay_ms", delay_ms, limits::DELAY_MS_MAX)?;
    done(api, Command::Release { lease, delay_ms }).await
}

/// Gives back all that a worker holds, and pushes nothing more to it on this session.
pub(super) async fn disconnect(session: &Session, worker: WorkerId) -> Answer {
    session.unsubscribe(worker);
    done(&session.api, Command::Disconnect { worker }).await
}

/// Proposes what is only done or refused.
pub(super) async fn done(api: &Api, command: Command) -> Answer {
    match api.consensus.propose(command).await? {
        Outcome::Done => Ok(Response::Done),
        other => Err(mismatch("report", &other)),
    }
}
