//! Carrying out an order: the lease is proposed, and what it gives goes where it was wanted, or back.

use super::demands::Resumed;
use super::wish::Order;
use super::{Dispatcher, Outgoing, lock};
use crate::consensus::{CommandResults, Consensus};
use jobraft_core::command::Command;
use jobraft_protocol::{Error, LeaderHint, LeasedJob, Push, QueueName, Retry, ServerFrame, WorkerId};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The pause after a lease that could not be proposed and may be later.
const PAUSE: Duration = Duration::from_millis(200);

/// For how long a queue is left alone that gives nothing although it seems to have something.
const REST: Duration = Duration::from_millis(100);

/// Where a demand is served.
#[derive(Clone)]
pub(super) enum Sink {
    /// By the answer to a fetch: once.
    Answer(Arc<Mutex<Option<Answer>>>),
    /// By pushes on a session.
    Push(mpsc::Sender<Outgoing>),
}

/// What a fetch waits for.
pub(super) type Answer = oneshot::Sender<Result<Vec<LeasedJob>, Error>>;

/// Proposes a lease, unless it was `foreseen` and is proposed already, and delivers what it gives.
pub(super) async fn carry_out(
    dispatcher: Dispatcher,
    consensus: Consensus,
    order: Order,
    foreseen: Option<oneshot::Receiver<CommandResults>>,
) {
    let Order { demand, worker, .. } = order;
    let is_foreseen = foreseen.is_some();
    let jobs = match foreseen {
        Some(asked) => consensus.leased(asked).await,
        None => consensus.lease(order.lease()).await,
    };
    // What was reserved is free again before anything waits for the client.
    let (sink, freed) = dispatcher.demands().settle(demand, jobs.iter().flatten().map(|job| &job.queue));
    // What was foreseen need not come, and is no sign then.
    if let Ok(jobs) = &jobs
        && !(is_foreseen && jobs.is_empty())
    {
        let resting = dispatcher.demands().brought(&freed, jobs.iter().map(|job| &job.queue));
        rest(&dispatcher, resting);
    }
    dispatcher.changed(&freed);
    match (jobs, sink) {
        (Ok(jobs), Some(sink)) => {
            if !jobs.is_empty()
                && let Err(jobs) = deliver(sink, worker, jobs).await
            {
                dispatcher.unsubscribe(demand);
                give_back(&consensus, jobs).await;
            }
        }
        (Ok(jobs), None) => give_back(&consensus, jobs).await,
        (Err(error), Some(sink @ Sink::Answer(_))) => {
            dispatcher.unsubscribe(demand);
            end(sink, worker, &error);
        }
        (Err(error), Some(sink)) if error.code.retry() == Retry::Never => {
            tracing::warn!(%worker, %error, "a subscription cannot be served");
            dispatcher.unsubscribe(demand);
            end(sink, worker, &error);
        }
        // If it is leadership that was lost, the demand ends below.
        (Err(_), Some(_)) => tokio::time::sleep(PAUSE).await,
        (Err(_), None) => {}
    }
    let resumed = dispatcher.demands().resume(demand);
    match resumed {
        Resumed::Waits(queues) => dispatcher.changed(&queues),
        Resumed::Ended(worker, sink) => end(sink, worker, &consensus.leadership().borrow().not_leader()),
        Resumed::Gone => {}
    }
}

/// Leaves queues alone for a while.
fn rest(dispatcher: &Dispatcher, queues: Vec<QueueName>) {
    if queues.is_empty() {
        return;
    }
    tracing::debug!(?queues, "queues with ready jobs gave none");
    let dispatcher = dispatcher.clone();
    tokio::spawn(async move {
        tokio::time::sleep(REST).await;
        dispatcher.demands().wake_queues(&queues);
        dispatcher.changed(&queues);
    });
}

/// Hands jobs on; gives them back if nobody is there any more.
async fn deliver(sink: Sink, worker: WorkerId, jobs: Vec<LeasedJob>) -> Result<(), Vec<LeasedJob>> {
    match sink {
        Sink::Answer(answer) => match take(&answer) {
            Some(answer) => answer.send(Ok(jobs)).map_err(Result::unwrap_or_default),
            None => Err(jobs),
        },
        Sink::Push(pushes) => {
            let sent = pushes.send(ServerFrame::Push(Push::Leased { worker, jobs }).into()).await;
            sent.map_err(|unsent| match unsent.0.frame {
                ServerFrame::Push(Push::Leased { jobs, .. }) => jobs,
                _ => Vec::new(),
            })
        }
    }
}

/// Tells a demand that it is over. Never waits: a session whose frames do not move is told by its end.
pub(super) fn end(sink: Sink, worker: WorkerId, error: &Error) {
    match sink {
        Sink::Answer(answer) => {
            if let Some(answer) = take(&answer) {
                // Whoever waited may have gone.
                let _ = answer.send(Err(error.clone()));
            }
        }
        Sink::Push(pushes) => {
            let leader: Option<LeaderHint> = error.leader.clone();
            let ended = ServerFrame::Push(Push::SubscriptionEnded { worker, leader });
            if let Err(mpsc::error::TrySendError::Full(ended)) = pushes.try_send(ended.into()) {
                tokio::spawn(async move { pushes.send(ended).await.is_ok() });
            }
        }
    }
}

fn take(answer: &Mutex<Option<Answer>>) -> Option<Answer> {
    lock(answer).take()
}

/// Releases jobs that could not be handed over; those that cannot be released come back when their leases run out.
pub(crate) async fn give_back(consensus: &Consensus, jobs: Vec<LeasedJob>) {
    if jobs.is_empty() {
        return;
    }
    tracing::debug!(jobs = jobs.len(), "giving back jobs whose worker has gone");
    let releases = jobs.iter().map(|job| Command::Release { lease: job.lease(), delay_ms: 0 });
    let error = match consensus.propose_all(releases.collect()).await {
        Ok(answers) => answers.into_iter().find_map(Result::err),
        Err(error) => Some(error),
    };
    if let Some(error) = error {
        tracing::debug!(%error, "some jobs were not given back; their leases run out");
    }
}
