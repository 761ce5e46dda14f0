//! Lists of jobs: read from `state.db`, after a checkpoint if they are to be linearizable.

use super::Consensus;
use super::state_machine::{StateError, StateMachine};
use crate::machine;
use jobraft_protocol::{Error, ErrorCode, JobFilter, JobId, JobPage, limits};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore};

/// Lists that are read at the same time: more would only fight for the disk, and for the state.
const LISTS_MAX: usize = 2;
/// Lists that wait; further ones are refused with `overloaded`.
const LISTS_WAITING_MAX: usize = 256;
const RETRY_AFTER_MS: u64 = 500;

/// Who reads lists.
pub(super) struct Lists {
    /// Those that are read.
    reading: Arc<Semaphore>,
    /// Those, and those that wait.
    admitted: Semaphore,
    /// Held while a checkpoint is made for a list: whoever waits for it shares the next one.
    refreshing: Mutex<()>,
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            reading: Arc::new(Semaphore::new(LISTS_MAX)),
            admitted: Semaphore::new(LISTS_MAX + LISTS_WAITING_MAX),
            refreshing: Mutex::default(),
        }
    }
}

impl Consensus {
    /// A page of the jobs that `filter` wants, by id, from the one behind `after` on: at most `limit`, and at most
    /// [`limits::LIST_JOBS_MAX`]. As of the last checkpoint here, or, if it is to be `fresh`, of a moment after the
    /// call: after [`Consensus::barrier`] that makes it linearizable.
    ///
    /// # Errors
    /// `overloaded` if too many wait, `internal` if the disk cannot be read or written.
    pub async fn list_jobs(
        &self,
        filter: JobFilter,
        after: Option<JobId>,
        oldest_first: bool,
        limit: u32,
        fresh: bool,
    ) -> Result<JobPage, Error> {
        let lists = &self.inner.lists;
        let overloaded = |_| {
            let message = format!("{LISTS_WAITING_MAX} lists of jobs wait already");
            Error::new(ErrorCode::Overloaded, message).retry_after_ms(RETRY_AFTER_MS)
        };
        let _admitted = lists.admitted.try_acquire().map_err(overloaded)?;
        if fresh {
            lists.refresh(&self.inner.state).await.map_err(|error| self.checkpoint_failed(error))?;
        }
        let reading = lists.reading.clone().acquire_owned().await;
        let reading = reading.map_err(|_| Error::new(ErrorCode::ShuttingDown, "the node is stopping"))?;
        let jobs_max = limit.clamp(1, limits::LIST_JOBS_MAX) as usize;
        let state = self.inner.state.clone();
        let page = machine::blocking(move || {
            let page = state.list_jobs(&filter, after, oldest_first, jobs_max);
            // Even if nobody waits for the page any more, it was read until here.
            drop(reading);
            page
        });
        let failed = |error: String| {
            tracing::error!(%error, "could not list jobs");
            Error::new(ErrorCode::Internal, "the node could not read its jobs; its log says more")
        };
        page.await.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    fn checkpoint_failed(&self, error: StateError) -> Error {
        tracing::error!(%error, "could not make a checkpoint for a list of jobs");
        let raft = self.inner.raft.clone();
        // The next one fails as well: so openraft hears of it, and the node stops.
        tokio::spawn(async move { raft.trigger().snapshot().await });
        Error::new(ErrorCode::Internal, "the node could not write what it knows; its log says more")
    }
}

impl Lists {
    /// Waits until `state.db` holds everything that had been applied when this was called.
    async fn refresh(&self, state: &StateMachine) -> Result<(), StateError> {
        let wanted = state.applied();
        if state.checkpointed() >= wanted {
            return Ok(());
        }
        let _one_for_all = self.refreshing.lock().await;
        if state.checkpointed() >= wanted {
            return Ok(());
        }
        let this = state.clone();
        match machine::blocking(move || this.checkpoint()).await {
            Ok(made) => made.map(drop).map_err(StateError::from),
            Err(panicked) => Err(StateError::Defect(panicked.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::consensus::types::{LogEntry, log_id};
    use crate::storage::StateDb;
    use openraft::entry::RaftEntry;

    #[tokio::test]
    async fn those_who_wait_for_a_checkpoint_share_it() {
        let directory = tempfile::tempdir().unwrap();
        let db = StateDb::open(directory.path()).unwrap();
        let state = StateMachine::load(db, directory.path().to_path_buf(), Arc::new(|_, _| {})).unwrap();
        let apply = |index| state.apply_or_stop(&LogEntry::new_blank(log_id(1, index)), true).map(drop).unwrap();
        let lists = Arc::new(Lists::default());
        apply(1);
        lists.refresh(&state).await.unwrap();
        assert_eq!(state.checkpointed(), Some(log_id(1, 1)));

        apply(2);
        let under_way = lists.refreshing.lock().await;
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let (lists, state) = (Arc::clone(&lists), state.clone());
                tokio::spawn(async move { lists.refresh(&state).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|one| !one.is_finished()));
        state.checkpoint().unwrap();
        // Nobody asked for this one.
        apply(3);
        drop(under_way);
        for one in waiting {
            one.await.unwrap().unwrap();
        }
        assert_eq!(state.checkpointed(), Some(log_id(1, 2)));
        lists.refresh(&state).await.unwrap();
        assert_eq!(state.checkpointed(), Some(log_id(1, 3)));
    }
}
