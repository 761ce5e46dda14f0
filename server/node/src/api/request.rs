//! Which handler a request goes to.

use super::session::Session;
use super::{cluster, enqueue, job, lease, module, queue, report};
use crate::auth;
use jobraft_core::command::Outcome;
use jobraft_protocol::{Error, ErrorCode, Request, Response};

/// What a request is answered.
pub(super) type Answer = Result<Response, Error>;

/// Answers what needs no waiting, on the reader's own time.
pub(super) fn at_once(session: &Session, request: &Request) -> Option<Answer> {
    if let Err(forbidden) = auth::decide(&session.identity, request) {
        return Some(Err(forbidden));
    }
    match request {
        Request::AddCredits { worker, credits } => Some(lease::add_credits(session, *worker, *credits)),
        Request::Unsubscribe { worker } => Some(lease::unsubscribe(session, *worker)),
        Request::ClusterStatus => Some(cluster::status(&session.api)),
        _ => None,
    }
}

/// Answers everything else. The reader has authorized it: see [`at_once`].
pub(super) async fn answer(session: &Session, request: Request) -> Answer {
    let api = &session.api;
    match request {
        Request::Enqueue { jobs } => enqueue::enqueue(api, jobs).await,
        Request::RegisterWorker { name } => lease::register(api, name).await,
        Request::Lease { worker, queues, max, lease_ms, wait_ms } => {
            lease::lease(session, lease::wish(worker, queues, max, lease_ms)?, wait_ms).await
        }
        Request::Subscribe { worker, queues, lease_ms, credits } => {
            lease::subscribe(session, lease::wish(worker, queues, credits, lease_ms)?).await
        }
        Request::Extend { leases, lease_ms } => report::extend(api, leases, lease_ms).await,
        Request::Complete { lease, completion } => report::complete(api, lease, completion).await,
        Request::Fail { lease, failure } => report::fail(api, lease, failure).await,
        Request::Release { lease } => report::release(api, lease).await,
        Request::Disconnect { worker } => report::disconnect(session, worker).await,
        Request::Cancel { job, reason } => job::cancel(api, job, reason).await,
        Request::GetJob { job, consistency, wait_ms } => job::get(session, job, consistency, wait_ms).await,
        Request::ListQueues { consistency } => queue::list(api, consistency).await,
        Request::ListModules { consistency } => module::list(api, consistency).await,
        Request::ResolveModule { module } => module::resolve(api, &module).await,
        Request::AddNode { node, address, learner } => cluster::add_node(api, node, address, learner).await,
        Request::RemoveNode { node } => cluster::remove_node(api, node).await,
        Request::TransferLeader { to } => cluster::transfer_leader(api, to).await,
        Request::AddCredits { worker, credits } => lease::add_credits(session, worker, credits),
        Request::Unsubscribe { worker } => lease::unsubscribe(session, worker),
        Request::ClusterStatus => cluster::status(api),
    }
}

/// How many bytes a request makes the node hold while it is under way, beyond a small, fixed number.
pub(super) fn weight_bytes(request: &Request) -> usize {
    match request {
        Request::Enqueue { jobs } => jobs.iter().map(|job| size_of_val(job) + job.payload.len()).sum(),
        Request::Complete { completion, .. } => completion.result.len() + completion.log.len(),
        Request::Fail { failure, .. } => failure.message.len() + failure.log.len(),
        Request::Extend { leases, .. } => size_of_val(leases.as_slice()),
        Request::Lease { queues, .. } | Request::Subscribe { queues, .. } => size_of_val(queues.as_slice()),
        Request::Cancel { reason: text, .. } | Request::RegisterWorker { name: text } => text.len(),
        _ => 0,
    }
}

/// The state machine answered a command with what belongs to another one: a defect.
pub(super) fn mismatch(command: &str, outcome: &Outcome) -> Error {
    tracing::error!(command, ?outcome, "a command was answered by what belongs to another one; please report this");
    Error::new(ErrorCode::Internal, "a defect of Jobraft: the node's log says more")
}
