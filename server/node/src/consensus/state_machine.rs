//! openraft's state machine on top of [`Core`] and `state.db`.
//!
//! Applying changes memory only. A *checkpoint* writes what changed, with the applied log id and membership, to
//! `state.db` in one transaction; to openraft a checkpoint is a snapshot, so that the log may be purged behind it.
//! The copy of `state.db` that a follower far behind needs is made only when one does.
//!
//! What the core keeps no longer is swept from `state.db` between checkpoints: see [`super::upkeep`].

use super::service::INSTALLING;
use super::types::{Answers, LogEntry, LogId, SnapshotMeta, StoredMembership, TypeConfig, log_id};
use super::upkeep::Upkeep;
use super::witness::{Place, Witness};
use crate::machine;
use crate::storage::{CheckpointMeta, StateDb, StorageError};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jobraft_core::command::{Departed, Event, Table};
use jobraft_core::planted::{Bug, is_planted};
use jobraft_core::{Core, Leased, LiveRecord, RestingJob, RestoreError, TakenChanges};
use jobraft_protocol::{JobFilter, JobId, JobPage, JobView, LeasedJob, LogTime, cbor, limits};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::type_config::alias::SnapshotOf;
use openraft::{EntryPayload, OptionalSend};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Jobs that changed since the last checkpoint from which on one is asked for before its time: they are kept in memory until
/// then, and their rows are pages of SQLite's cache. Far more than wait at once on a cluster that keeps up: a job that has
/// ended by then is written once.
pub(super) const CHECKPOINT_JOBS: usize = 32_768;
/// The same for the bytes of their payloads and results.
pub(super) const CHECKPOINT_BYTES: u64 = 64 << 20;
/// Payloads that leave memory at a time, while no entry is applied.
const RESTED_AT_ONCE: usize = 1_024;

/// Hears what happened, after each entry, and when the next thing falls due then. Must not block.
pub(crate) type Observer = Arc<dyn Fn(Vec<Event>, Option<LogTime>) + Send + Sync>;

/// What a snapshot is made of.
pub(crate) enum SnapshotData {
    /// The last checkpoint: to be copied from `state.db` when it is sent.
    Checkpoint(StateDb),
    /// A copy received from the leader.
    Received(PathBuf),
}

/// How much of an ended job's row an entry needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowPart {
    /// All of it: to let the job live again.
    Whole,
    /// What tells which job it is and how it ended: [`jobraft_core::identity`].
    Identity,
}

/// The state machine. Clones share everything.
#[derive(Clone)]
pub(crate) struct StateMachine {
    shared: Arc<Shared>,
}

struct Shared {
    applied: Mutex<Applied>,
    /// What a checkpoint under way writes: it tells of jobs that memory does not answer for any more, and the disk not yet.
    departing: Mutex<Arc<TakenChanges>>,
    /// Where copies are made.
    directory: PathBuf,
    /// One checkpoint, sweep or installation at a time.
    upkeep: Mutex<Upkeep>,
    /// Told when a checkpoint should not wait for its time.
    pressure: Notify,
    /// Told when a reader found what is not what was written.
    damage: Notify,
    db: StateDb,
    observer: Observer,
    witness: Option<Arc<dyn Witness>>,
}

struct Applied {
    core: Core,
    last: Option<LogId>,
    membership: StoredMembership,
    /// What the last checkpoint holds.
    checkpoint: Option<LogId>,
    /// Whether all of `state.db` was examined before it was believed.
    is_examined: bool,
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
    #[error("a defect of Jobraft: {0}")]
    Defect(String),
    #[error("job {0} is not in state.db, which a snapshot is about to replace")]
    Replaced(JobId),
    #[error("job {0} lives, and is not in state.db")]
    Missing(JobId),
}

fn place(id: LogId) -> Place {
    Place { term: id.leader_id.term, index: id.index }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Applied {
    fn load(db: &StateDb) -> Result<Self, StateError> {
        let Some(meta) = db.meta()? else {
            // Nothing is there, or it is hidden.
            db.examine()?;
            return Ok(Self {
                core: Core::new(),
                last: None,
                membership: StoredMembership::default(),
                checkpoint: None,
                is_examined: true,
            });
        };
        let membership = cbor::read(&meta.membership).map_err(|error| StateError::Membership(error.to_string()))?;
        let mut restore = Core::restore(&db.header()?.unwrap_or_default())?;
        for table in Table::ALL {
            db.each_row(table, |key, body| restore.row(table, key, body).map_err(StateError::from))?;
        }
        let is_examined = db.is_small()?;
        let (examined, lives) = machine::both(
            || if is_examined { db.examine() } else { Ok(()) },
            || {
                let decode = |body: &[u8]| LiveRecord::decode(body).map_err(StateError::from);
                db.each_live_job(decode, |job| restore.job(job).map_err(StateError::from))
            },
        );
        // What damage hid is nothing to go by.
        examined?;
        lives?;
        db.each_ended_since(restore.remember_since(), |body| restore.remember(body).map_err(StateError::from))?;
        db.each_dead(|body| restore.dead(body).map_err(StateError::from))?;
        // Each has its memory full of rows that are in the core now.
        db.close_idle();
        let last = Some(log_id(meta.term, meta.index));
        Ok(Self { core: restore.finish()?, last, membership, checkpoint: last, is_examined })
    }

    fn show(&self, witness: Option<&dyn Witness>, db: &StateDb) {
        if let (Some(witness), Some(last)) = (witness, self.last) {
            witness.restored(place(last), &|| self.state_hash(db).map_err(|error| error.to_string()));
        }
    }

    fn state_hash(&self, db: &StateDb) -> Result<[u8; 32], StateError> {
        db.read_jobs(|read| {
            self.core.state_hash_with(|id| Ok(jobraft_core::payload(&read(id)?.ok_or(StateError::Replaced(id))?)?))
        })
    }

    fn meta(&self) -> Option<CheckpointMeta> {
        let last = self.last?;
        let mut membership = Vec::new();
        cbor::write(&self.membership, &mut membership).expect("a membership is plain data, which CBOR can hold");
        Some(CheckpointMeta { index: last.index, term: last.leader_id.term, membership })
    }
}

impl StateMachine {
    /// Loads what the last checkpoint holds.
    pub(crate) fn load(db: StateDb, directory: PathBuf, observer: Observer) -> Result<Self, StateError> {
        let witness = machine::simulated().and_then(|machine| machine.witness());
        let loaded = Applied::load(&db)?;
        loaded.show(witness.as_deref(), &db);
        let shared = Shared {
            applied: Mutex::new(loaded),
            departing: Mutex::default(),
            directory,
            upkeep: Mutex::default(),
            pressure: Notify::new(),
            damage: Notify::new(),
            db,
            observer,
            witness,
        };
        let this = Self { shared: Arc::new(shared) };
        this.examine();
        Ok(this)
    }

    /// Examines what was too large for that while it was loaded, beside all else: that no live job is missing is known.
    fn examine(&self) {
        if lock(&self.shared.applied).is_examined {
            return;
        }
        let this = self.clone();
        machine::aside(move || {
            let examined = this.shared.db.examine().map_err(StateError::from);
            // It says itself what it finds.
            if this.heed(examined).is_ok() {
                lock(&this.shared.applied).is_examined = true;
                this.shared.db.close_idle();
            }
        });
    }

    /// Reads the state as of the last applied entry.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Core) -> T) -> T {
        read(&lock(&self.shared.applied).core)
    }

    /// The last entry applied.
    pub(crate) fn applied(&self) -> Option<LogId> {
        lock(&self.shared.applied).last
    }

    /// What the last checkpoint holds.
    pub(crate) fn checkpointed(&self) -> Option<LogId> {
        lock(&self.shared.applied).checkpoint
    }

    /// Waits until so much has changed that a checkpoint should be made before its time.
    pub(crate) async fn pressure(&self) {
        self.shared.pressure.notified().await;
    }

    /// Waits until a reader finds damage. Nothing is written to the state any more then, and the node must stop.
    pub(crate) async fn damage(&self) {
        self.shared.damage.notified().await;
    }

    /// Ends all writing if a read found damage: what is written on top of it could not be told from what is right.
    fn heed<T>(&self, read: Result<T, StateError>) -> Result<T, StateError> {
        read.inspect_err(|error| {
            let is_damage = match error {
                StateError::Storage(error) => error.is_damage(),
                StateError::Restore(_) | StateError::Membership(_) | StateError::Missing(_) => true,
                StateError::Defect(_) | StateError::Replaced(_) => false,
            };
            if is_damage {
                tracing::error!(%error, "what was read from state.db is damaged; the node stops");
                lock(&self.shared.upkeep).fail(error);
                self.shared.damage.notify_one();
            }
        })
    }

    /// A job, wherever it is: in memory, on its way to disk, or on disk. Blocks on the disk at worst.
    pub(crate) fn job(&self, id: JobId) -> Result<Option<JobView>, StateError> {
        self.heed(self.find_job(id))
    }

    fn find_job(&self, id: JobId) -> Result<Option<JobView>, StateError> {
        loop {
            // In one look: a checkpoint takes what is known of deletions out of the core.
            let (view, rests, is_gone) = self.read(|core| (core.view(id), core.payload_rests(id), core.is_gone(id)));
            let Some(mut view) = view.filter(|_| !is_gone) else {
                let body = if is_gone { None } else { self.resting(id)? };
                let job = body.map(|body| self.kept(&body)).transpose()?.flatten();
                return Ok(job.map(RestingJob::into_view));
            };
            if rests {
                let payload = self.payload(id)?;
                // Else it may be that of another time.
                if self.read(|core| core.view(id).as_ref() != Some(&view) || !core.payload_rests(id)) {
                    continue;
                }
                view.payload = payload.ok_or(StateError::Replaced(id))?;
            }
            return Ok(Some(view));
        }
    }

    /// The payload in the row of a job.
    fn payload(&self, id: JobId) -> Result<Option<Bytes>, StateError> {
        let body = self.shared.db.job(id)?;
        Ok(body.map(|body| jobraft_core::payload(&body)).transpose()?)
    }

    /// Leased jobs with their payloads. Blocks on the disk.
    pub(crate) fn complete(&self, leased: Leased) -> Result<Vec<LeasedJob>, StateError> {
        self.heed(self.shared.db.read_jobs(|read| {
            leased.complete(|id| match read(id)? {
                Some(body) => Ok(Some(jobraft_core::payload(&body)?)),
                // A leader's state is replaced by no snapshot.
                None if self.read(|core| core.payload_rests(id)) => Err(StateError::Missing(id)),
                None => Ok(None),
            })
        }))
    }

    /// [`Core::state_hash`]. Blocks on the disk.
    pub(crate) fn state_hash(&self) -> Result<[u8; 32], StateError> {
        lock(&self.shared.applied).state_hash(&self.shared.db)
    }

    /// The row's body of a job that has ended; `None` if it has not, is not known, or is kept no longer. Blocks on the
    /// disk at worst.
    pub(crate) fn row(&self, id: JobId, part: RowPart) -> Result<Option<Bytes>, StateError> {
        self.heed(self.whole_row(id).and_then(|row| {
            let Some(row) = row else { return Ok(None) };
            Ok(Some(match part {
                RowPart::Whole => row,
                RowPart::Identity => jobraft_core::identity(&row)?.into(),
            }))
        }))
    }

    fn whole_row(&self, id: JobId) -> Result<Option<Bytes>, StateError> {
        let (row, is_elsewhere) = self.read(|core| (core.row(id), core.is_live(id) || core.is_gone(id)));
        if let Some(row) = row {
            return Ok(row.body(|| self.payload(id))?.map(Bytes::from));
        }
        if is_elsewhere {
            return Ok(None);
        }
        let Some(body) = self.resting(id)? else { return Ok(None) };
        let job = self.kept(&body)?;
        Ok(job.filter(|job| job.view().state.is_terminal()).map(|_| body))
    }

    /// The row of a job that memory did not answer for.
    fn resting(&self, id: JobId) -> Result<Option<Bytes>, StateError> {
        // A row leaves memory before it departs, and departs before it is on disk: asked in this order, one of them has it.
        let departing = Arc::clone(&lock(&self.shared.departing));
        match departing.departed(id) {
            Some(Departed::Ended(job)) => return Ok(job.body(|| self.payload(id))?.map(Bytes::from)),
            Some(Departed::Deleted) => return Ok(None),
            None => {}
        }
        Ok(self.shared.db.job(id)?.map(Bytes::from))
    }

    /// The job of a row that was read, if it can still be read. A row may be large: the state is not held while it is decoded.
    fn kept(&self, body: &[u8]) -> Result<Option<RestingJob>, RestoreError> {
        let job = RestingJob::decode(body)?;
        Ok(self.read(|core| core.keeps(&job)).then_some(job))
    }

    /// A page of the jobs that `filter` wants, as of the last checkpoint. Blocks on the disk.
    pub(crate) fn list_jobs(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        oldest_first: bool,
        jobs_max: usize,
    ) -> Result<JobPage, StateError> {
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        let next = self.shared.db.list_jobs(filter, after, oldest_first, limits::LIST_ROWS_MAX, |body| {
            bytes += body.len();
            // Asked one by one, so that entries are applied in between. A job that is kept no longer is passed over.
            jobs.extend(self.kept(body)?.map(RestingJob::into_summary));
            Ok::<_, StateError>(jobs.len() >= jobs_max || bytes >= limits::LIST_ROW_BYTES_MAX)
        });
        Ok(JobPage { next: self.heed(next)?, jobs })
    }

    /// Makes a checkpoint: afterwards `state.db` holds, durably, everything applied before. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk fails, now or earlier; the changes are then lost to memory, and the node has to stop and recover from
    /// its log. When an entry was applied in part: on disk, it would be applied again on top of itself.
    pub(crate) fn checkpoint(&self) -> Result<Option<SnapshotMeta>, StorageError> {
        let mut upkeep = lock(&self.shared.upkeep);
        upkeep.check(&self.shared.directory)?;
        let (meta, taken, covered) = {
            let half_applied = |_| StorageError::Stopped {
                path: self.shared.directory.clone(),
                reason: "a defect left the state half-changed".to_owned(),
            };
            let mut applied = self.shared.applied.lock().map_err(half_applied)?;
            let covered = SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership.clone() };
            let Some(mut meta) = applied.meta() else { return Ok(None) };
            if is_planted(Bug::PurgeBeforeCheckpoint) {
                applied.checkpoint = applied.last;
            }
            if is_planted(Bug::CheckpointWithoutItsPosition)
                && let Some(before) = applied.checkpoint
            {
                (meta.index, meta.term) = (before.index, before.leader_id.term);
            }
            upkeep.plan(&applied.core);
            if applied.last == applied.checkpoint {
                return Ok(Some(covered));
            }
            let taken = Arc::new(applied.core.take_changes());
            *lock(&self.shared.departing) = Arc::clone(&taken);
            (meta, taken, covered)
        };
        let changes = upkeep.note(self.shared.db.encode(&taken))?;
        upkeep.note(self.shared.db.checkpoint(&meta, &changes))?;
        *lock(&self.shared.departing) = Arc::default();
        lock(&self.shared.applied).checkpoint = covered.last_log_id;
        for written in taken.waiting().chunks(RESTED_AT_ONCE) {
            lock(&self.shared.applied).core.let_payloads_rest(written);
        }
        tracing::debug!(index = meta.index, jobs = changes.jobs.len(), "checkpoint made");
        Ok(Some(covered))
    }

    /// Removes some of what was kept no longer at the last checkpoint, and gives some of its room back; says whether there
    /// is more to do. Blocks on the disk, but not for long.
    ///
    /// # Errors
    /// When the disk fails, now or earlier; the node has to stop.
    pub(crate) fn sweep(&self) -> Result<bool, StorageError> {
        let mut upkeep = lock(&self.shared.upkeep);
        upkeep.check(&self.shared.directory)?;
        let swept = upkeep.sweep(&self.shared.db);
        upkeep.note(swept)
    }

    /// A panic is a defect, which openraft would notice no sooner than at the next entry: the node stops at once instead.
    pub(super) fn apply_or_stop(&self, entry: &LogEntry, is_answered: bool) -> io::Result<Answers> {
        let applied = std::panic::catch_unwind(AssertUnwindSafe(|| self.apply_entry(entry, is_answered)));
        let defect = |_| io::Error::other(format!("a defect of Jobraft: applying log entry {} panicked", entry.log_id));
        applied.map_err(defect)?
    }

    fn apply_entry(&self, entry: &LogEntry, is_answered: bool) -> io::Result<Answers> {
        let commands = match &entry.payload {
            EntryPayload::Normal(proposal) => Some(proposal.take_entry().map_err(io::Error::other)?),
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        };
        let mut applied = lock(&self.shared.applied);
        let mut events = Vec::new();
        let mut answers = Answers::default();
        if let Some(commands) = &commands {
            if is_answered {
                let done = applied.core.apply(commands);
                (answers.outcomes, events) = (done.outcomes, done.events);
            } else {
                events = applied.core.follow(commands);
            }
            let core = &applied.core;
            if core.changed_jobs() >= CHECKPOINT_JOBS || core.changed_bytes() >= CHECKPOINT_BYTES {
                self.shared.pressure.notify_one();
            }
        }
        if let EntryPayload::Membership(membership) = &entry.payload {
            applied.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
        }
        applied.last = Some(entry.log_id);
        if let Some(witness) = &self.shared.witness {
            let hash = || applied.state_hash(&self.shared.db).map_err(|error| error.to_string());
            witness.applied(place(entry.log_id), commands.as_ref(), &hash);
        }
        let next_timer = applied.core.next_timer();
        drop(applied);
        (self.shared.observer)(events, next_timer);
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
            let answers = self.apply_or_stop(&entry, responder.is_some())?;
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
            let mut upkeep = lock(&this.shared.upkeep);
            this.shared.db.install(&file).map_err(io::Error::other)?;
            let loaded = Applied::load(&this.shared.db).map_err(io::Error::other)?;
            if loaded.last != announced {
                let what = format!("the snapshot holds {:?}, not {announced:?} as announced", loaded.last);
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            tracing::info!(index = loaded.last.map(|id| id.index), "installed a snapshot");
            // What was planned was of the state before.
            *upkeep = Upkeep::default();
            loaded.show(this.shared.witness.as_deref(), &this.shared.db);
            *lock(&this.shared.applied) = loaded;
            drop(upkeep);
            this.examine();
            std::fs::remove_file(&file)
        };
        machine::blocking(install).await.map_err(io::Error::other)?
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotData>>> {
        let db = self.shared.db.clone();
        let meta = machine::blocking(move || db.meta()).await.map_err(io::Error::other)?;
        let Some(meta) = meta.map_err(io::Error::other)? else { return Ok(None) };
        let last_membership = cbor::read(&meta.membership).map_err(io::Error::other)?;
        let meta = SnapshotMeta { last_log_id: Some(log_id(meta.term, meta.index)), last_membership };
        Ok(Some(Snapshot { meta, snapshot: SnapshotData::Checkpoint(self.shared.db.clone()) }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotData>> {
        let this = self.clone();
        let made = machine::blocking(move || this.checkpoint()).await.map_err(io::Error::other)?;
        let meta = made.map_err(io::Error::other)?.unwrap_or_default();
        Ok(Snapshot { meta, snapshot: SnapshotData::Checkpoint(self.shared.db.clone()) })
    }
}
