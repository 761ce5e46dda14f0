//! What the parts of a running worker share: its settings, its identity, and word of its subscription.

use super::handler::Tasks;
use super::progress::ProgressBoard;
use super::report::Counts;
use super::table::Table;
use crate::client::{Client, backoff};
use crate::error::SdkError;
use crate::sync::lock;
use jobraft_protocol::limits::CANCEL_GRACE_MS_MAX;
use jobraft_protocol::{CancelNotice, LeaderHint, LeaseRef, LogTime, Push, WorkerId, WorkerInfo, WorkerOrder};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

/// The pause between two attempts to register, once the growing ones are used up.
const PAUSE: Duration = Duration::from_secs(1);

/// How long before its end a lease of this length is taken for lost.
fn margin(lease: Duration) -> Duration {
    (lease / 20).min(Duration::from_secs(1))
}

/// What the parts of a running worker share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) info: WorkerInfo,
    /// One for each queue, or none.
    pub(super) weights: Vec<u32>,
    pub(super) lease: Duration,
    pub(super) tasks: Arc<Tasks>,
    pub(super) table: Arc<Table>,
    /// Where the jobs' code runs.
    pub(super) runtime: Handle,
    pub(super) drain: CancellationToken,
    pub(super) progress: Arc<ProgressBoard>,
    pub(super) counts: Counts,
    pub(super) worker: Mutex<WorkerId>,
    /// What the cluster tells this incarnation to do.
    pub(super) order: Mutex<WorkerOrder>,
    /// The cluster does not know this incarnation any more.
    pub(super) forgotten: Notify,
    pub(super) pushes: mpsc::Sender<Push>,
    /// The subscription's end, as pushed.
    pub(super) ended: Mutex<Option<Option<LeaderHint>>>,
    pub(super) ended_told: Notify,
}

impl Shared {
    pub(super) fn worker(&self) -> WorkerId {
        *lock(&self.worker)
    }

    /// Registers, as often as it takes, and sees to it that pushes come here.
    pub(super) async fn register(&self) -> Result<(), SdkError> {
        let mut pauses = backoff();
        let worker = loop {
            match self.client.register_worker(self.info.clone()).await {
                Ok(worker) => break worker,
                Err(error) if error.retryable() => {
                    tracing::warn!(%error, "not registered; trying again");
                    tokio::time::sleep(pauses.next().unwrap_or(PAUSE)).await;
                }
                Err(error) => return Err(error),
            }
        };
        let subscribers = &self.client.router().subscribers;
        let before = std::mem::replace(&mut *lock(&self.worker), worker);
        subscribers.remove(before);
        subscribers.add(worker, self.pushes.clone());
        *lock(&self.order) = WorkerOrder::Run;
        Ok(())
    }

    /// Follows an order. That a worker that is not to run gets no jobs is the leader's doing; what is left is to end.
    pub(super) fn ordered(&self, order: WorkerOrder) {
        let before = std::mem::replace(&mut *lock(&self.order), order);
        if before != order {
            tracing::info!(worker = %self.worker(), %order, "told by the cluster");
        }
        if order == WorkerOrder::Stop {
            self.drain.cancel();
        }
    }

    /// When a lease that ends at `end`, granted at `granted_at` or later, must be taken for lost: a little early, for
    /// stopping takes time too.
    pub(super) fn deadline(&self, end: LogTime, granted_at: Instant) -> Instant {
        let deadline = self.client.deadline_of(end, granted_at, self.lease);
        deadline.checked_sub(margin(self.lease)).unwrap_or(deadline)
    }

    /// Asks a cancelled job to stop. Its lease ends with the grace at the latest, whatever is said of it afterwards; the
    /// job is stopped a little earlier, as at the end of any lease.
    pub(super) fn cancel(&self, lease: &LeaseRef, notice: CancelNotice) {
        let now = Instant::now();
        let end = self.client.deadline_of(notice.hard_at, now, Duration::from_millis(CANCEL_GRACE_MS_MAX));
        let grace = end.saturating_duration_since(now);
        self.table.cancel(lease, notice.reason, now + (grace - margin(grace)));
    }

    /// Waits for word that the subscription is over.
    pub(super) async fn ended(&self) -> Option<LeaderHint> {
        loop {
            if let Some(hint) = lock(&self.ended).take() {
                return hint;
            }
            self.ended_told.notified().await;
        }
    }

    /// A new subscription is not ended by the word on an old one.
    pub(super) fn forget_ended(&self) {
        lock(&self.ended).take();
    }
}
