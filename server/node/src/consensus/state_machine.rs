//! openraft's state machine on top of [`Core`] and `state.db`.
//!
//! Applying changes memory only. A *checkpoint* writes what changed, with the applied log id and membership, to
//! `state.db` in one transaction; to openraft a checkpoint is a snapshot, so that the log may be purged behind it.
//! The copy of `state.db` that a follower far behind needs is made only when one does.

use super::service::INSTALLING;
use super::types::{Answers, LogEntry, LogId, SnapshotMeta, StoredMembership, TypeConfig, log_id};
use crate::storage::{CheckpointMeta, StateDb, StorageError};
use futures_util::{Stream, StreamExt};
use jobraft_core::command::{Changes, Event, Table};
use jobraft_core::{Core, RestoreError};
use jobraft_protocol::{JobId, JobView};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::type_config::alias::SnapshotOf;
use openraft::{EntryPayload, OptionalSend};
use std::collections::HashMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Hears what happened, after each entry. Must not block.
pub(crate) type Observer = Arc<dyn Fn(Vec<Event>) + Send + Sync>;

/// What a snapshot is made of.
pub(crate) enum SnapshotData {
    /// The last checkpoint: to be copied from `state.db` when it is sent.
    Checkpoint(StateDb),
    /// A copy received from the leader.
    Received(PathBuf),
}

/// The state machine. Clones share everything.
#[derive(Clone)]
pub(crate) struct StateMachine {
    shared: Arc<Shared>,
}

struct Shared {
    applied: Mutex<Applied>,
    /// Rows on their way to `state.db`, which neither memory nor disk can answer for.
    departing: Mutex<HashMap<JobId, Vec<u8>>>,
    /// Where copies are made.
    directory: PathBuf,
    /// One checkpoint at a time.
    checkpointing: Mutex<()>,
    db: StateDb,
    observer: Observer,
}

struct Applied {
    core: Core,
    last: Option<LogId>,
    membership: StoredMembership,
    /// What the last checkpoint holds.
    checkpoint: Option<LogId>,
}

/// Why the state cannot be loaded or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("state.db holds what this software cannot read: {0}")]
    Restore(#[from] RestoreError),
    #[error("state.db holds a malformed membership: {0}")]
    Membership(String),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Applied {
    fn load(db: &StateDb) -> Result<Self, StateError> {
        let Some(meta) = db.meta()? else {
            return Ok(Self {
                core: Core::new(),
                last: None,
                membership: StoredMembership::default(),
                checkpoint: None,
            });
        };
        let membership =
            ciborium::from_reader(&meta.membership[..]).map_err(|e| StateError::Membership(e.to_string()))?;
        let mut restore = Core::restore(&db.header()?.unwrap_or_default())?;
        for table in Table::ALL {
            db.each_row(table, |key, body| restore.row(table, key, body).map_err(StateError::from))?;
        }
        db.each_live_job(|body| restore.job(body).map_err(StateError::from))?;
        db.each_ended_since(restore.remember_since(), |_id, _finished_at, body| {
            restore.remember(body).map_err(StateError::from)
        })?;
        let last = Some(log_id(meta.term, meta.index));
        Ok(Self { core: restore.finish()?, last, membership, checkpoint: last })
    }

    fn meta(&self) -> Option<CheckpointMeta> {
        let last = self.last?;
        let mut membership = Vec::new();
        ciborium::into_writer(&self.membership, &mut membership)
            .expect("a membership is plain data, which CBOR can hold");
        Some(CheckpointMeta { index: last.index, term: last.leader_id.term, membership })
    }
}

impl StateMachine {
    /// Loads what the last checkpoint holds.
    pub(crate) fn load(db: StateDb, directory: PathBuf, observer: Observer) -> Result<Self, StateError> {
        let applied = Mutex::new(Applied::load(&db)?);
        let shared =
            Shared { applied, departing: Mutex::default(), directory, checkpointing: Mutex::default(), db, observer };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Reads the state as of the last applied entry.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Core) -> T) -> T {
        read(&lock(&self.shared.applied).core)
    }

    /// What the last checkpoint holds.
    pub(crate) fn checkpointed(&self) -> Option<LogId> {
        lock(&self.shared.applied).checkpoint
    }

    /// A job, wherever it is: in memory, on its way to disk, or on disk. Blocks on the disk at worst.
    pub(crate) fn job(&self, id: JobId) -> Result<Option<JobView>, StateError> {
        if let Some(view) = self.read(|core| core.view(id)) {
            return Ok(Some(view));
        }
        // A row leaves memory before it departs, and departs before it is on disk: asked in this order, one of them has it.
        if let Some(body) = lock(&self.shared.departing).get(&id) {
            return Ok(Some(Core::view_row(body)?));
        }
        match self.shared.db.job(id)? {
            Some(body) => Ok(Some(Core::view_row(&body)?)),
            None => Ok(None),
        }
    }

    /// Makes a checkpoint: afterwards `state.db` holds, durably, everything applied before. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk fails; the changes are then lost to memory, and the node has to stop and recover from its log. When
    /// an entry was applied in part: on disk, it would be applied again on top of itself.
    pub(crate) fn checkpoint(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        let _one_at_a_time = lock(&self.shared.checkpointing);
        let (meta, changes, covered) = {
            let half_applied = |_| StorageError::Stopped {
                path: self.shared.directory.clone(),
                reason: "a defect left the state half-changed".to_owned(),
            };
            let mut applied = self.shared.applied.lock().map_err(half_applied)?;
            let covered = SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership.clone() };
            let Some(meta) = applied.meta() else { return Ok(None) };
            if applied.last == applied.checkpoint {
                return Ok(Some(covered));
            }
            let changes: Changes = applied.core.take_changes();
            let ended = changes.jobs.iter().filter(|row| row.state.is_terminal());
            *lock(&self.shared.departing) = ended.map(|row| (row.id, row.body.clone())).collect();
            (meta, changes, covered)
        };
        self.shared.db.checkpoint(&meta, &changes)?;
        lock(&self.shared.departing).clear();
        lock(&self.shared.applied).checkpoint = covered.last_log_id;
        tracing::info!(index = meta.index, jobs = changes.jobs.len(), "checkpoint made");
        Ok(Some(covered))
    }

    /// A panic is a defect, which openraft would notice no sooner than at the next entry: the node stops at once instead.
    fn apply_or_stop(&self, entry: &LogEntry) -> io::Result<Answers> {
        let applied = std::panic::catch_unwind(AssertUnwindSafe(|| self.apply_entry(entry)));
        let defect = |_| io::Error::other(format!("a defect of Jobraft: applying log entry {} panicked", entry.log_id));
        applied.map_err(defect)?
    }

    fn apply_entry(&self, entry: &LogEntry) -> io::Result<Answers> {
        let mut applied = lock(&self.shared.applied);
        let mut events = Vec::new();
        let mut answers = Answers::default();
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(proposal) => {
                let done = applied.core.apply(proposal.entry().map_err(io::Error::other)?);
                answers.outcomes = done.outcomes;
                events = done.events;
            }
            EntryPayload::Membership(membership) => {
                applied.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            }
        }
        applied.last = Some(entry.log_id);
        drop(applied);
        (self.shared.observer)(events);
        Ok(answers)
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = lock(&self.shared.applied);
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let answers = self.apply_or_stop(&entry)?;
            if let Some(responder) = responder {
                responder.send(answers);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let (this, announced) = (self.clone(), meta.last_log_id);
        let install = move || {
            let file = match snapshot {
                SnapshotData::Received(file) => file,
                SnapshotData::Checkpoint(db) => {
                    let path = this.shared.directory.join(INSTALLING);
                    db.snapshot_to(&path).map_err(io::Error::other)?.path
                }
            };
            let _no_checkpoint_meanwhile = lock(&this.shared.checkpointing);
            this.shared.db.install(&file).map_err(io::Error::other)?;
            let loaded = Applied::load(&this.shared.db).map_err(io::Error::other)?;
            if loaded.last != announced {
                let what = format!("the snapshot holds {:?}, not {announced:?} as announced", loaded.last);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            tracing::info!(index = loaded.last.map(|id| id.index), "installed a snapshot");
            *lock(&this.shared.applied) = loaded;
            std::fs::remove_file(&file)
        };
        tokio::task::spawn_blocking(install).await.map_err(io::Error::other)?
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotData>>> {
        let db = self.shared.db.clone();
        let meta = tokio::task::spawn_blocking(move || db.meta()).await.map_err(io::Error::other)?;
        let Some(meta) = meta.map_err(io::Error::other)? else { return Ok(None) };
        let last_membership = ciborium::from_reader(&meta.membership[..]).map_err(io::Error::other)?;
        let meta = SnapshotMeta { last_log_id: Some(log_id(meta.term, meta.index)), last_membership };
        Ok(Some(Snapshot { meta, snapshot: SnapshotData::Checkpoint(self.shared.db.clone()) }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotData>> {
        let this = self.clone();
        let made = tokio::task::spawn_blocking(move || this.checkpoint()).await.map_err(io::Error::other)?;
        let meta = made.map_err(io::Error::other)?.unwrap_or_default();
        Ok(Snapshot { meta, snapshot: SnapshotData::Checkpoint(self.shared.db.clone()) })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use openraft::entry::RaftEntry;

    #[test]
    fn a_panic_while_applying_is_an_error_and_a_state_changed_in_part_never_reaches_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let load = |observer: Observer| {
            StateMachine::load(StateDb::open(directory.path()).unwrap(), directory.path().to_path_buf(), observer)
        };
        let state = load(Arc::new(|_| panic!("a defect"))).unwrap();
        let error = state.apply_or_stop(&LogEntry::new_blank(log_id(1, 1))).unwrap_err();
        assert!(error.to_string().contains("defect"), "{error}");
        // The entry itself was whole: it was an observer that panicked, after the lock was gone.
        assert_eq!(state.checkpoint().unwrap().unwrap().last_log_id, Some(log_id(1, 1)));

        state.apply_or_stop(&LogEntry::new_blank(log_id(1, 2))).unwrap_err();
        let half_applied = AssertUnwindSafe(|| state.read(|_| panic!("a defect")));
        std::panic::catch_unwind(half_applied).unwrap_err();
        assert!(matches!(state.checkpoint(), Err(StorageError::Stopped { .. })));
        assert_eq!(state.shared.db.meta().unwrap().unwrap().index, 1);
    }
}
