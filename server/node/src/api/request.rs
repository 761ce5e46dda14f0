//! Which handler a request goes to.

use super::room::Room;
use super::session::Session;
use super::trail::{self, Trail};
use super::{
    act, batch, bounds, cluster, enqueue, fleet, group, job, known, lease, list, module, namespace, queue, reach,
    report, schedule, secret, settings, state, token,
};
use crate::auth::{self, Need};
use jobraft_core::command::Outcome;
use jobraft_protocol::{Completion, Error, ErrorCode, NewJob, Request, Response, SecretChange, limits};
use std::future::ready;
use std::pin::Pin;

/// What a request is answered.
pub(super) type Answer = Result<Response, Error>;
/// The way to it.
pub(super) type Answering<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Answers what needs no waiting, on the reader's own time.
pub(super) async fn at_once(session: &Session, request: &Request) -> Option<Answer> {
    // Before anything but its names is looked at.
    if let Err(too_many) = bounds::counts(request) {
        return Some(Err(too_many));
    }
    let namespace = session.client.identity.namespace();
    let is_there = namespace::check(&session.api, &namespace);
    if let Err(ended) = is_there.and_then(|()| token::check(&session.api, &session.client)) {
        trail::refused(session, request, &ended).await;
        return Some(Err(ended));
    }
    if let Err(forbidden) = auth::decide(&session.client.identity, &mut Need::of(request)) {
        trail::refused(session, request, &forbidden).await;
        return Some(Err(forbidden));
    }
    match request {
        Request::AddCredits { worker, credits } => Some(lease::add_credits(session, *worker, *credits)),
        Request::Unsubscribe { worker } => Some(lease::unsubscribe(session, *worker)),
        Request::ClusterStatus => Some(cluster::status(&session.api)),
        _ => None,
    }
}

/// Answers everything else, once what it names is known to be the client's to touch. The reader has authorized the rest: see
/// [`at_once`].
pub(super) async fn answer(session: &Session, request: Request, room: &mut Room) -> Answer {
    let permitted = async {
        // Again: it may have waited for its place.
        token::check(&session.api, &session.client)?;
        reach::check(&session.api, &session.client.identity, Need::of(&request)).await
    };
    if let Err(refused) = permitted.await {
        trail::refused(session, &request, &refused).await;
        return Err(refused);
    }
    let trail = Trail::of(session, &request);
    let answer = handle(session, request, room).await;
    if let Some(trail) = trail {
        trail.end(session, &answer).await;
    }
    answer
}

/// Hands a request to its handler. What may be answered by much takes `room` first.
///
/// Of the futures each is as large as itself, not as the largest of them: thousands are made in a second, and kept.
fn handle<'a>(session: &'a Session, request: Request, room: &'a mut Room) -> Answering<'a> {
    let (api, identity) = (&session.api, &*session.client.identity);
    match request {
        Request::Enqueue { jobs, all_or_none } => Box::pin(enqueue::enqueue(api, jobs, all_or_none)),
        Request::CreateBatch { batch } => Box::pin(batch::create(api, identity, batch)),
        Request::SealBatch { batch, cancel } => Box::pin(batch::seal(api, batch, cancel)),
        Request::GetBatch { batch, consistency, wait_ms } => Box::pin(batch::get(session, batch, consistency, wait_ms)),
        Request::ListBatches { after, limit, consistency } => {
            Box::pin(batch::list(api, identity, after, limit, consistency, room))
        }
        Request::ListGroups { queue, after, limit, consistency } => {
            Box::pin(group::list(api, group::Listing { queue, after, limit, consistency }, room))
        }
        Request::ListSchedules { after, limit, consistency } => {
            Box::pin(schedule::list(api, identity, after, limit, consistency, room))
        }
        Request::GetSchedule { name, next, consistency } => {
            Box::pin(schedule::get(api, identity, name, next, consistency, room))
        }
        Request::RunSchedule { name, job } => Box::pin(schedule::run(api, name, job)),
        Request::RegisterWorker { info } => Box::pin(fleet::register(api, identity, info)),
        Request::Heartbeat { worker } => Box::pin(fleet::heartbeat(api, worker)),
        Request::Lease { worker, queues, weights, max, lease_ms, wait_ms } => {
            let wish = lease::wish(worker, queues, weights, max, lease_ms);
            Box::pin(async move { lease::lease(session, wish?, wait_ms).await })
        }
        Request::Subscribe { worker, queues, weights, lease_ms, credits } => {
            let wish = lease::wish(worker, queues, weights, credits, lease_ms);
            Box::pin(async move { lease::subscribe(session, wish?).await })
        }
        Request::Extend { leases, lease_ms, progress } => Box::pin(report::extend(api, leases, lease_ms, progress)),
        Request::Checkpoint { lease, data } => Box::pin(report::checkpoint(api, lease, data)),
        Request::Complete { completions } => Box::pin(report::complete(api, completions)),
        Request::Fail { lease, failure } => Box::pin(report::fail(api, lease, failure)),
        Request::Release { lease, delay_ms } => Box::pin(report::release(api, lease, delay_ms)),
        Request::Disconnect { worker } => Box::pin(report::disconnect(session, worker)),
        Request::Act { jobs, action, only_in } => Box::pin(act::act(api, identity, jobs, action, only_in)),
        Request::ListJobs { filter, after, oldest_first, limit, consistency } => {
            Box::pin(list::jobs(api, identity, list::Listing { filter, after, oldest_first, limit, consistency }, room))
        }
        Request::Configure { settings } => Box::pin(settings::configure(api, settings)),
        Request::GetSettings { consistency } => Box::pin(settings::get(api, consistency)),
        Request::ListWorkers { after, limit, consistency } => {
            Box::pin(fleet::list(api, identity, after, limit, consistency, room))
        }
        Request::OrderWorker { worker, order } => Box::pin(fleet::order(api, worker, order)),
        Request::GetState { key, consistency } => Box::pin(async move { state::get(api, &key, consistency).await }),
        Request::ListState { prefix, after, limit, consistency } => {
            Box::pin(state::list(api, identity, state::Listing { prefix, after, limit, consistency }, room))
        }
        Request::GetJob { job, consistency, wait_ms } => Box::pin(job::get(session, job, consistency, wait_ms, room)),
        Request::ListQueues { consistency } => Box::pin(queue::list(api, identity, consistency, room)),
        Request::ListModules { consistency } => Box::pin(module::list(api, identity, consistency, room)),
        Request::ResolveModule { module } => Box::pin(async move { module::resolve(api, identity, &module).await }),
        Request::ChangeToken { change } => Box::pin(token::change(api, identity, change)),
        Request::ListTokens { after, limit, consistency } => {
            Box::pin(token::list(api, identity, after, limit, consistency, room))
        }
        Request::ChangeSecret { change } => Box::pin(secret::change(api, identity, change)),
        Request::ListSecrets { consistency } => Box::pin(secret::list(api, identity, consistency, room)),
        Request::GetSecrets { lease } => Box::pin(secret::of_job(api, identity, lease, room)),
        Request::ChangeNamespace { change } => Box::pin(namespace::change(api, identity, change)),
        Request::ListNamespaces { after, limit, consistency } => {
            Box::pin(namespace::list(api, identity, after, limit, consistency, room))
        }
        Request::AddNode { node, address, learner } => Box::pin(cluster::add_node(api, node, address, learner)),
        Request::RemoveNode { node } => Box::pin(cluster::remove_node(api, node)),
        Request::TransferLeader { to } => Box::pin(cluster::transfer_leader(api, to)),
        Request::AddCredits { worker, credits } => Box::pin(ready(lease::add_credits(session, worker, credits))),
        Request::Unsubscribe { worker } => Box::pin(ready(lease::unsubscribe(session, worker))),
        Request::ClusterStatus => Box::pin(ready(cluster::status(api))),
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
        Request::Complete { completions } => {
            let jobs = completions.iter().flat_map(|(_, completion)| &completion.jobs);
            let own = completions.iter().map(|(_, completion)| {
                let Completion { result, log, jobs: _, state } = completion;
                let values = state.iter().map(|write| write.value.as_ref().map_or(0, |value| value.len()));
                result.len() + log.len() + size_of_val(state.as_slice()) + values.sum::<usize>()
            });
            size_of_val(completions.as_slice()) + own.sum::<usize>() + new_jobs_bytes(jobs)
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
        Request::ChangeSecret { change: SecretChange::Put { value, .. } } => value.reveal().len(),
        _ => 0,
    }
}

fn new_jobs_bytes<'a>(jobs: impl IntoIterator<Item = &'a NewJob> + Clone) -> usize {
    let own = jobs.clone().into_iter().map(|job| size_of_val(job) + job.payload.len());
    own.sum::<usize>() + known::weight_bytes(jobs)
}

/// The state machine answered a command with what belongs to another one: a defect.
pub(super) fn mismatch(command: &str, outcome: &Outcome) -> Error {
    tracing::error!(command, ?outcome, "a command was answered by what belongs to another one; please report this");
    Error::new(ErrorCode::Internal, "a defect of Jobraft: the node's log says more")
}
