//! Who waits for the end of a job on this node, leader or not.

use jobraft_protocol::JobId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The jobs whose end somebody waits for. Bounded by the requests under way, each of which waits for one at most.
#[derive(Clone, Default)]
pub(crate) struct EndWatch {
    /// Dropping a sender says that the job has ended.
    waiting: Arc<Mutex<HashMap<JobId, watch::Sender<()>>>>,
}

impl EndWatch {
    /// Begins to wait. Whoever reads the job after this call misses nothing: it has ended by then, or
    /// [`Watched::ended`] will resolve.
    pub(crate) fn watch(&self, job: JobId) -> Watched {
        let ended = self.lock().entry(job).or_insert_with(|| watch::Sender::new(())).subscribe();
        Watched { watch: self.clone(), job, ended: Some(ended) }
    }

    /// Wakes whoever waits for one of the jobs.
    pub(super) fn ended<'a>(&self, jobs: impl Iterator<Item = &'a JobId>) {
        let mut waiting = self.lock();
        if !waiting.is_empty() {
            jobs.for_each(|job| drop(waiting.remove(job)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for the end of a job; dropped, it leaves nothing behind.
pub(crate) struct Watched {
    watch: EndWatch,
    job: JobId,
    ended: Option<watch::Receiver<()>>,
}

impl Watched {
    /// Resolves when the job has ended, after the call of [`EndWatch::watch`].
    pub(crate) async fn ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            // Nothing is ever sent: this ends when the sender goes.
            while ended.changed().await.is_ok() {}
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.ended = None;
        let mut waiting = self.watch.lock();
        if waiting.get(&self.job).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobraft_protocol::LogTime;

    #[tokio::test]
    async fn all_who_wait_for_a_job_wake_at_its_end_and_nothing_is_left() {
        let watch = EndWatch::default();
        let (job, other) = (JobId::new(LogTime::ZERO, [1; 10]), JobId::new(LogTime::ZERO, [2; 10]));
        let (mut one, mut two, three) = (watch.watch(job), watch.watch(job), watch.watch(other));
        watch.ended([job].iter());
        one.ended().await;
        two.ended().await;
        assert_eq!(watch.lock().len(), 1);
        drop(three);
        assert!(watch.lock().is_empty());
        // A later wait for the same job is a new one, untouched by the end of those before.
        let later = watch.watch(job);
        drop((one, two));
        assert_eq!(watch.lock().len(), 1);
        drop(later);
        assert!(watch.lock().is_empty());
    }
}
