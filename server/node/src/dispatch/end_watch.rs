//! Who waits for the end of something on this node, leader or not: of a job, or of a batch.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Those whose end somebody waits for. Bounded by the requests under way, each of which waits for one at most.
#[derive(Clone)]
pub(crate) struct EndWatch<I> {
    /// Dropping a sender says that it has ended.
    waiting: Arc<Mutex<HashMap<I, watch::Sender<()>>>>,
}

impl<I> Default for EndWatch<I> {
    fn default() -> Self {
        Self { waiting: Arc::default() }
    }
}

impl<I: Copy + Eq + Hash> EndWatch<I> {
    /// Begins to wait. Whoever reads the thing after this call misses nothing: it has ended by then, or
    /// [`Watched::ended`] will resolve.
    pub(crate) fn watch(&self, id: I) -> Watched<I> {
        let ended = self.lock().entry(id).or_insert_with(|| watch::Sender::new(())).subscribe();
        Watched { watch: self.clone(), id, ended: Some(ended) }
    }

    /// Wakes whoever waits for one of these.
    pub(super) fn ended(&self, ids: impl Iterator<Item = I>) {
        let mut waiting = self.lock();
        if !waiting.is_empty() {
            ids.for_each(|id| drop(waiting.remove(&id)));
        }
    }
}

impl<I> EndWatch<I> {
    fn lock(&self) -> MutexGuard<'_, HashMap<I, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for an end; dropped, it leaves nothing behind.
pub(crate) struct Watched<I: Eq + Hash> {
    watch: EndWatch<I>,
    id: I,
    ended: Option<watch::Receiver<()>>,
}

impl<I: Eq + Hash> Watched<I> {
    /// Resolves when it has ended, after the call of [`EndWatch::watch`].
    pub(crate) async fn ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            // Nothing is ever sent: this ends when the sender goes.
            while ended.changed().await.is_ok() {}
        }
    }
}

impl<I: Eq + Hash> Drop for Watched<I> {
    fn drop(&mut self) {
        self.ended = None;
        let mut waiting = self.watch.lock();
        if waiting.get(&self.id).is_some_and(|sender| sender.receiver_count() == 0) {
            waiting.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobraft_protocol::{JobId, LogTime};

    #[tokio::test]
    async fn all_who_wait_for_a_job_wake_at_its_end_and_nothing_is_left() {
        let watch = EndWatch::default();
        let (job, other) = (JobId::new(LogTime::ZERO, [1; 10]), JobId::new(LogTime::ZERO, [2; 10]));
        let (mut one, mut two, three) = (watch.watch(job), watch.watch(job), watch.watch(other));
        watch.ended([job].into_iter());
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
