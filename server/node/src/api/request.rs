//! Which handler a request goes to.

use super::room::Room;
use super::session::Session;
use super::{
    act, batch, cluster, enqueue, fleet, group, job, known, lease, list, module, queue, report, schedule, settings,
    state,
};
use crate::auth;
use jobraft_core::command::Outcome;
use jobraft_protocol::{Completion, Error, ErrorCode, NewJob, Request, Response, limits};

/// What a request is answered.
pub(super) type Answer = Result<Response, Error>;

/// Answers what needs no waiting, on the reader's own time.
pub(super) fn at_once(session: &Session, request: &Request) -> Option<Answer> {
    if let Err(forbidden) = auth::decide(&session.client.identity, request) {
        return Some(Err(forbidden));
    }
    match request {
        Request::AddCredits { worker, credits } => Some(lease::add_credits(session, *worker, *credits)),
        Request::Unsubscribe { worker } => Some(lease::unsubscribe(session, *worker)),
        Request::ClusterStatus => Some(cluster::status(&session.api)),
        _ => None,
    }
}

/// Answers everything else. The reader has authorized it: see [`at_once`]. What may be answered by much takes `room` first.
pub(super) async fn answer(session: &Session, request: Request, room: &mut Room) -> Answer {
    let api = &session.api;
    match request {
        Request::Enqueue { jobs, all_or_none } => enqueue::enqueue(api, jobs, all_or_none).await,
        Request::CreateBatch { batch } => batch::create(api, batch).await,
        Request::SealBatch { batch, cancel } => batch::seal(api, batch, cancel).await,
        Request::GetBatch { batch, consistency, wait_ms } => batch::get(session, batch, consistency, wait_ms).await,
        Request::ListBatches { after, limit, consistency } => batch::list(api, after, limit, consistency, room).await,
        Request::ListGroups { queue, after, limit, consistency } => {
            group::list(api, group::Listing { queue, after, limit, consistency }, room).await
        }
        Request::ListSchedules { after, limit, consistency } => {
            schedule::list(api, after, limit, consistency, room).await
        }
        Request::GetSchedule { name, next, consistency } => schedule::get(api, name, next, consistency, room).await,
        Request::RunSchedule { name, job } => schedule::run(api, name, job).await,
        Request::RegisterWorker { info } => fleet::register(api, info).await,
        Request::Heartbeat { worker } => fleet::heartbeat(api, worker).await,
        Request::Lease { worker, queues, weights, max, lease_ms, wait_ms } => {
            lease::lease(session, lease::wish(worker, queues, weights, max, lease_ms)?, wait_ms).await
        }
        Request::Subscribe { worker, queues, weights, lease_ms, credits } => {
            lease::subscribe(session, lease::wish(worker, queues, weights, credits, lease_ms)?).await
        }
        Request::Extend { leases, lease_ms, progress } => report::extend(api, leases, lease_ms, progress).await,
        Request::Checkpoint { lease, data } => report::checkpoint(api, lease, data).await,
        Request::Complete { lease, completion } => report::complete(api, lease, completion).await,
        Request::Fail { lease, failure } => report::fail(api, lease, failure).await,
        Request::Release { lease, delay_ms } => report::release(api, lease, delay_ms).await,
        Request::Disconnect { worker } => report::disconnect(session, worker).await,
        Request::Act { jobs, action, only_in } => act::act(api, jobs, action, only_in).await,
        Request::ListJobs { filter, after, oldest_first, limit, consistency } => {
            list::jobs(api, list::Listing { filter, after, oldest_first, limit, consistency }, room).await
        }
        Request::Configure { settings } => settings::configure(api, settings).await,
        Request::GetSettings { consistency } => settings::get(api, consistency).await,
        Request::ListWorkers { after, limit, consistency } => fleet::list(api, after, limit, consistency, room).await,
        Request::OrderWorker { worker, order } => fleet::order(api, worker, order).await,
        Request::GetState { key, consistency } => state::get(api, &key, consistency).await,
        Request::ListState { prefix, after, limit, consistency } => {
            state::list(api, state::Listing { prefix, after, limit, consistency }, room).await
        }
        Request::GetJob { job, consistency, wait_ms } => job::get(session, job, consistency, wait_ms, room).await,
        Request::ListQueues { consistency } => queue::list(api, consistency, room).await,
        Request::ListModules { consistency } => module::list(api, consistency, room).await,
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
        Request::Enqueue { jobs, .. } => new_jobs_bytes(jobs),
        Request::CreateBatch { batch } => {
            let callbacks = [&batch.on_complete, &batch.on_failure].into_iter().flatten();
            let callbacks = callbacks.map(|job| new_jobs_bytes(std::slice::from_ref(job.as_ref())));
            size_of_val(batch.as_ref()) + new_jobs_bytes(&batch.jobs) + callbacks.sum::<usize>()
        }
        Request::Complete { completion, .. } => {
            let Completion { result, log, jobs, state } = completion;
            let values = state.iter().map(|write| write.value.as_ref().map_or(0, |value| value.len()));
            result.len() + log.len() + new_jobs_bytes(jobs) + size_of_val(state.as_slice()) + values.sum::<usize>()
        }
        Request::Fail { failure, .. } => failure.message.len() + failure.log.len(),
        Request::Extend { leases, progress, .. } => {
            let messages = progress.iter().map(|(_, progress)| progress.message.len());
            size_of_val(leases.as_slice()) + size_of_val(progress.as_slice()) + messages.sum::<usize>()
        }
        Request::Checkpoint { data, .. } => data.len(),
        // Those of so few queues as are allowed take little, and may wait long: they must not keep others out.
        Request::Lease { queues, weights, .. } | Request::Subscribe { queues, weights, .. } => {
            let many = queues.len().max(weights.len()) > limits::WORKER_QUEUES_MAX;
            if many { size_of_val(queues.as_slice()) + size_of_val(weights.as_slice()) } else { 0 }
        }
        Request::RegisterWorker { info } => info.name.len() + info.agent.len() + size_of_val(info.queues.as_slice()),
        Request::Act { jobs, action, .. } => act::weight_bytes(jobs, action),
        Request::Configure { settings } => settings::weight_bytes(settings),
        Request::ListJobs { filter, .. } => {
            let texts = [&filter.task, &filter.error].into_iter().flatten().map(String::len);
            size_of_val(filter.queues.as_slice()) + size_of_val(filter.states.as_slice()) + texts.sum::<usize>()
        }
        Request::ListState { prefix, .. } => prefix.len(),
        _ => 0,
    }
}

fn new_jobs_bytes(jobs: &[NewJob]) -> usize {
    jobs.iter().map(|job| size_of_val(job) + job.payload.len()).sum::<usize>() + known::weight_bytes(jobs)
}

/// The state machine answered a command with what belongs to another one: a defect.
pub(super) fn mismatch(command: &str, outcome: &Outcome) -> Error {
    tracing::error!(command, ?outcome, "a command was answered by what belongs to another one; please report this");
    Error::new(ErrorCode::Internal, "a defect of Jobraft: the node's log says more")
}
