//! Progress, on its way to the cluster: the latest of each job, sent for all of them together, once a second at most.

use super::Shared;
use crate::sync::lock;
use jobraft_protocol::{LeaseRef, Progress};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;

/// The least time between two sendings.
const PERIOD: Duration = Duration::from_secs(1);

/// What jobs said of themselves and has not been sent.
#[derive(Debug, Default)]
pub(crate) struct ProgressBoard {
    unsent: Mutex<HashMap<LeaseRef, Progress>>,
    news: Notify,
}

impl ProgressBoard {
    pub(crate) fn set(&self, lease: LeaseRef, progress: Progress) {
        lock(&self.unsent).insert(lease, progress);
        self.news.notify_one();
    }

    /// Takes what was not sent of one job.
    pub(super) fn take(&self, lease: &LeaseRef) -> Option<Progress> {
        lock(&self.unsent).remove(lease)
    }

    /// Takes all that was not sent; waits until there is some.
    async fn take_all(&self) -> Vec<(LeaseRef, Progress)> {
        loop {
            let unsent: Vec<_> = lock(&self.unsent).drain().collect();
            if !unsent.is_empty() {
                return unsent;
            }
            self.news.notified().await;
        }
    }
}

/// Sends progress for ever. What cannot be sent is dropped: there will be newer.
pub(super) async fn sending(shared: &Shared) {
    loop {
        let progress = shared.progress.take_all().await;
        if let Err(error) = shared.client.tell_progress(&progress).await {
            tracing::debug!(%error, "progress not told");
        }
        tokio::time::sleep(PERIOD).await;
    }
}
