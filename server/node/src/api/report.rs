//! What workers report of the jobs that they hold.

use super::request::{Answer, mismatch};
use super::session::Session;
use super::{Api, bounds};
use jobraft_core::command::{Command, Outcome};
use jobraft_protocol::{Completion, Failure, LeaseRef, Response, WorkerId, limits};

/// Extends leases.
pub(super) async fn extend(api: &Api, leases: Vec<LeaseRef>, lease_ms: u64) -> Answer {
    bounds::bulk("leases", leases.len(), limits::EXTEND_LEASES_MAX)?;
    bounds::lease_ms(lease_ms)?;
    if leases.is_empty() {
        return Ok(Response::Extended(Vec::new()));
    }
    match api.consensus.propose(Command::Extend { leases, lease_ms }).await? {
        Outcome::Extended(results) => Ok(Response::Extended(results)),
        other => Err(mismatch("extend", &other)),
    }
}

/// Ends a job well.
pub(super) async fn complete(api: &Api, lease: LeaseRef, completion: Completion) -> Answer {
    bounds::size("result", completion.result.len(), limits::RESULT_BYTES_MAX)?;
    bounds::size("log", completion.log.len(), limits::LOG_TAIL_BYTES_MAX)?;
    done(api, Command::Complete { lease, completion }).await
}

/// Ends an attempt badly.
pub(super) async fn fail(api: &Api, lease: LeaseRef, mut failure: Failure) -> Answer {
    bounds::size("log", failure.log.len(), limits::LOG_TAIL_BYTES_MAX)?;
    bounds::cut(&mut failure.message, limits::FAILURE_MESSAGE_BYTES_MAX);
    match api.consensus.propose(Command::Fail { lease, failure }).await? {
        Outcome::Failed { state, retry_at } => {
            if let Some(at) = retry_at {
                api.dispatcher.due_at(at);
            }
            Ok(Response::Failed { state, retry_at })
        }
        other => Err(mismatch("fail", &other)),
    }
}

/// Gives a job back.
pub(super) async fn release(api: &Api, lease: LeaseRef) -> Answer {
    done(api, Command::Release { lease }).await
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
