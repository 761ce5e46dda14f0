//! The state machine as of its last checkpoint, in `state.db`.
//!
//! A checkpoint is one transaction: the rows that changed and the log position that they stand for. Live jobs are
//! here to be loaded again at the next start; ended ones are nowhere else. What a row's body says is the state
//! machine's business.

use super::bodies::Bodies;
use super::database::{Database, Kind, lock, meta, put_meta};
use super::readers::Readers;
use super::state_rows::{
    JOB_COLUMNS, check_rows, checked_item, checked_job, is_in_run, open_item, put_items, put_jobs, remove_jobs,
};
use super::{StorageError, soundness};
use crate::seal::Seal;
use jobraft_core::TakenChanges;
use jobraft_core::command::{Changes, Table};
use jobraft_protocol::JobId;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// `jobs` has all that are in no run. It keeps its rowid: rows are too large for the primary key's tree, and an update
/// finds its page in two short walks. Each row stands in `jobs_id` and in `jobs_live`, or else in `jobs_ended` and `jobs_rare`;
/// only rarer rows stand in more. The columns of `jobs_live` hardly ever change, so that the steps of a live job touch no index
/// (see `put_jobs`). Completed jobs are in `runs`, and `completed` tells in which; jobs that have waited for a worker since their
/// first checkpoint are in `backlog`, and `waiting` tells in which run of it.
///
/// | Index | Serves |
/// |---|---|
/// | `jobs_id` | a job; lists of jobs in all states |
/// | `jobs_live` | loading; lists of live jobs, those of other queues passed over without their rows |
/// | `jobs_ended` | retention; loading what ended lately |
/// | `jobs_rare` | lists of dead, cancelled and expired jobs; loading dead ones |
/// | `jobs_key`, `completed_key` | lists of the jobs with a unique key |
/// | `jobs_batch`, `completed_batch` | lists of the jobs of a batch |
/// | `jobs_space`, `completed_space`, `waiting_space` | lists of the jobs of a namespace other than the default one |
/// | `runs_ended` | retention; loading what was completed lately |
pub(super) const STATE: Kind = Kind {
    file: "state.db",
    format: 5,
    format_min: 5,
    schema: "CREATE TABLE jobs (
                 id BLOB NOT NULL, queue TEXT NOT NULL, space TEXT, state TEXT NOT NULL, live INTEGER NOT NULL,
                 enqueued_at INTEGER NOT NULL, finished_at INTEGER, ended_seq INTEGER, task TEXT NOT NULL, key TEXT,
                 batch BLOB, error TEXT, crc INTEGER NOT NULL, body BLOB NOT NULL);
             CREATE UNIQUE INDEX jobs_id ON jobs (id);
             CREATE INDEX jobs_live ON jobs (id, queue) WHERE live = 1;
             CREATE INDEX jobs_ended ON jobs (queue, state, ended_seq) WHERE live = 0;
             CREATE INDEX jobs_rare ON jobs (state, id) WHERE live = 0;
             CREATE INDEX jobs_key ON jobs (key, id) WHERE key IS NOT NULL;
             CREATE INDEX jobs_batch ON jobs (batch, id) WHERE batch IS NOT NULL;
             CREATE INDEX jobs_space ON jobs (space, id) WHERE space IS NOT NULL;
             CREATE TABLE runs (
                 run INTEGER PRIMARY KEY, queue TEXT NOT NULL, ended_seq INTEGER NOT NULL, finished_at INTEGER NOT NULL,
                 crc INTEGER NOT NULL, body BLOB NOT NULL);
             CREATE INDEX runs_ended ON runs (queue, ended_seq);
             CREATE TABLE backlog (
                 run INTEGER PRIMARY KEY, queue TEXT NOT NULL, jobs INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
             CREATE TABLE waiting (id BLOB NOT NULL PRIMARY KEY, run INTEGER NOT NULL, space TEXT) WITHOUT ROWID;
             CREATE INDEX waiting_space ON waiting (space, id) WHERE space IS NOT NULL;
             CREATE TABLE completed (
                 id BLOB NOT NULL PRIMARY KEY, run INTEGER NOT NULL, space TEXT, key TEXT, batch BLOB) WITHOUT ROWID;
             CREATE INDEX completed_key ON completed (key, id) WHERE key IS NOT NULL;
             CREATE INDEX completed_batch ON completed (batch, id) WHERE batch IS NOT NULL;
             CREATE INDEX completed_space ON completed (space, id) WHERE space IS NOT NULL;
             CREATE TABLE items (
                 kind TEXT NOT NULL, key TEXT NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL,
                 PRIMARY KEY (kind, key)) WITHOUT ROWID;",
    cache_kib: 32 << 10,
};

/// Pages that one changed row dirties, at most, in its table and the indexes, apart from its body. A job in a run dirties far less
/// than one.
pub(super) const PAGES_PER_ROW: u64 = 6;
pub(super) const PAGE_BYTES: u64 = 4096;

const META_CHECKPOINT: &str = "checkpoint";
pub(super) const META_HEADER: &str = "header";

/// What a checkpoint stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointMeta {
    /// The last log index applied.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The membership as of that index, opaque to storage.
    pub membership: Vec<u8>,
}

/// The checkpointed state. Clones share it. All methods block on the disk.
#[derive(Clone)]
pub struct StateDb {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) dir: PathBuf,
    pub(super) path: PathBuf,
    /// Readers hold it shared for as long as they read; a snapshot is installed alone. An error is why there is no
    /// database open any more.
    pub(super) open: RwLock<Result<Open, String>>,
    pub(super) seal: Arc<Seal>,
}

pub(super) struct Open {
    /// Dropped first: the connection that closes last copies the WAL, and only the writer can.
    pub(super) readers: Readers,
    pub(super) writer: Mutex<Database>,
}

impl Open {
    /// To be examined.
    pub(super) fn new(dir: &Path) -> Result<Self, StorageError> {
        let database = Database::open_unexamined(dir, &STATE)?;
        Ok(Self { readers: Readers::new(database.path()), writer: Mutex::new(database) })
    }

    pub(super) fn examine(&self, path: &Path, seal: &Seal) -> Result<(), StorageError> {
        self.readers.read(|connection| {
            soundness::check(connection, path)?;
            if soundness::is_small(connection, path)? { check_rows(connection, path, seal) } else { Ok(()) }
        })
    }
}

impl StateDb {
    /// Opens the state in `dir`, making it if it never was there, and removes what an interrupted
    /// [`StateDb::install`] left.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`], [`StorageError::NewerFormat`], [`StorageError::Missing`], or what SQLite and the
    /// file system refuse.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let state = Self::open_unexamined(dir)?;
        state.examine()?;
        Ok(state)
    }

    /// The same for one who calls [`StateDb::examine`], and relies on nothing that was read before that has succeeded.
    ///
    /// # Errors
    /// As [`StateDb::open`].
    pub fn open_unexamined(dir: &Path) -> Result<Self, StorageError> {
        Self::open_sealed(dir, Seal::none())
    }

    /// The same of one whose bodies are sealed.
    ///
    /// # Errors
    /// As [`StateDb::open`]. That a key is missing shows only when a body is read.
    pub fn open_sealed(dir: &Path, seal: Arc<Seal>) -> Result<Self, StorageError> {
        super::snapshot::remove_incoming(dir)?;
        let open = RwLock::new(Ok(Open::new(dir)?));
        let state = Self { inner: Arc::new(Inner { dir: dir.to_owned(), path: dir.join(STATE.file), open, seal }) };
        // Damage here would otherwise show only once the log has been replayed onto it.
        state.meta()?;
        Ok(state)
    }

    /// Whether it is so small that a start can wait until all of it is examined.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn is_small(&self) -> Result<bool, StorageError> {
        self.read(|connection| soundness::is_small(connection, &self.inner.path))
    }

    /// Looks for damage, in what is not [small](Self::is_small) in its structure alone.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] with what was found, or what SQLite refuses.
    pub fn examine(&self) -> Result<(), StorageError> {
        self.with_open(|open| open.examine(&self.inner.path, &self.inner.seal))
    }

    /// What the last checkpoint stands for; `None` before the first.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] and what SQLite refuses, as with every read here.
    pub fn meta(&self) -> Result<Option<CheckpointMeta>, StorageError> {
        self.read(|connection| checkpoint_meta(connection, &self.inner.path))
    }

    /// The header of the last checkpoint.
    ///
    /// # Errors
    /// As [`StateDb::meta`].
    pub fn header(&self) -> Result<Option<Vec<u8>>, StorageError> {
        self.read(|connection| meta(connection, &self.inner.path, META_HEADER))
    }

    /// Changes as rows. Payloads that rest are read from the rows that these replace.
    ///
    /// # Errors
    /// As [`StateDb::meta`]; a row that is not there is damage.
    pub fn encode(&self, taken: &TakenChanges) -> Result<Changes, StorageError> {
        let (path, seal) = (&self.inner.path, &self.inner.seal);
        self.with_open(|open| {
            // By the connection that writes: it needs the pages of these rows next.
            let database = lock(&open.writer);
            together(database.connection(), path, |connection| {
                let bodies = Bodies::new(connection, seal, path)?;
                taken.encode(|id| {
                    let body = bodies.live(id)?;
                    let body = body.ok_or_else(|| StorageError::corrupt(path, format!("job {id} is not there")))?;
                    jobraft_core::payload(&body).map_err(|error| StorageError::corrupt(path, error.to_string()))
                })
            })
        })
    }

    /// Writes a checkpoint: all of it, durable on return, or nothing.
    ///
    /// # Errors
    /// Whatever failed; nothing can be written after that.
    pub fn checkpoint(&self, checkpoint: &CheckpointMeta, changes: &Changes) -> Result<(), StorageError> {
        let path = &self.inner.path;
        self.with_open(|open| {
            let mut database = lock(&open.writer);
            database.write(|transaction| {
                put_meta(transaction, path, META_HEADER, &changes.header)?;
                put_meta(transaction, path, META_CHECKPOINT, &encode_meta(checkpoint))?;
                put_jobs(transaction, &changes.jobs, &self.inner.seal, path)?;
                remove_jobs(transaction, &changes.deleted, &self.inner.seal, path)?;
                put_items(transaction, &changes.rows, &self.inner.seal).map_err(StorageError::database(path))
            })?;
            let in_runs = changes.jobs.iter().filter(|job| is_in_run(job)).count();
            let rows = changes.jobs.len() - in_runs + changes.deleted.len() + changes.rows.len() + 2;
            let bytes: usize = changes.jobs.iter().map(|job| job.body.len()).sum();
            database.wrote_pages(rows as u64 * PAGES_PER_ROW + in_runs as u64 + bytes as u64 / PAGE_BYTES)
        })
    }

    /// Closes connections that nobody reads by, with what they keep in memory.
    pub fn close_idle(&self) {
        let open = self.inner.open.read().unwrap_or_else(PoisonError::into_inner);
        if let Ok(open) = &*open {
            open.readers.close_idle();
        }
    }

    /// Calls `f` with the key and body of every row of a small table, in the order of the keys.
    /// `f` must not call this [`StateDb`].
    ///
    /// # Errors
    /// As [`StateDb::meta`], or the first error of `f`.
    pub fn each_row<E: From<StorageError>>(
        &self,
        table: Table,
        mut f: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = &self.inner.path;
        let failed = StorageError::database(path);
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT kind, key, crc, body FROM items WHERE kind = ?1 ORDER BY key")
                .map_err(&failed)?;
            let mut rows = statement.query([table.as_str()]).map_err(&failed)?;
            while let Some(row) = rows.next().map_err(&failed)? {
                let (kind, key, body) = checked_item(row, path)?;
                f(key, &open_item(kind, key, body, &self.inner.seal, path)?)?;
            }
            Ok(())
        })
    }

    /// The body of a job, live or ended, as of the last checkpoint.
    ///
    /// # Errors
    /// As [`StateDb::meta`].
    pub fn job(&self, id: JobId) -> Result<Option<Vec<u8>>, StorageError> {
        self.read_jobs(|read| read(id))
    }

    /// The same for many, as of one checkpoint: `f` is given what reads one.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn read_jobs<T, E: From<StorageError>>(
        &self,
        f: impl FnOnce(&dyn Fn(JobId) -> Result<Option<Vec<u8>>, StorageError>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (path, seal) = (&self.inner.path, &self.inner.seal);
        self.read(|connection| {
            together(connection, path, |connection| {
                let bodies = Bodies::new(connection, seal, path)?;
                f(&|id| bodies.any(id))
            })
        })
    }

    /// Calls `f` with the bodies of the jobs that `which` selects.
    pub(super) fn each_job<E: From<StorageError>>(
        &self,
        which: &str,
        mut f: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = &self.inner.path;
        let failed = StorageError::database(path);
        self.read(|connection| {
            let sql = format!("SELECT {JOB_COLUMNS} FROM jobs {which}");
            let mut statement = connection.prepare_cached(&sql).map_err(&failed)?;
            let mut rows = statement.query([]).map_err(&failed)?;
            while let Some(row) = rows.next().map_err(&failed)? {
                f(&checked_job(row, path)?.open(&self.inner.seal, path)?)?;
            }
            Ok(())
        })
    }

    pub(super) fn read<T, E: From<StorageError>>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.with_open(|open| open.readers.read(read))
    }

    pub(super) fn with_open<T, E: From<StorageError>>(&self, f: impl FnOnce(&Open) -> Result<T, E>) -> Result<T, E> {
        match &*self.inner.open.read().unwrap_or_else(PoisonError::into_inner) {
            Ok(open) => f(open),
            Err(reason) => Err(StorageError::Stopped { path: self.inner.path.clone(), reason: reason.clone() }.into()),
        }
    }
}

/// Reads in one transaction: all is of one moment, and locks are taken once.
fn together<T, E: From<StorageError>>(
    connection: &Connection,
    path: &Path,
    read: impl FnOnce(&Connection) -> Result<T, E>,
) -> Result<T, E> {
    let failed = StorageError::database(path);
    let transaction = connection.unchecked_transaction().map_err(&failed)?;
    let value = read(&transaction)?;
    transaction.rollback().map_err(failed)?;
    Ok(value)
}

/// The checkpoint that a database holds.
pub(super) fn checkpoint_meta(connection: &Connection, path: &Path) -> Result<Option<CheckpointMeta>, StorageError> {
    let Some(bytes) = meta(connection, path, META_CHECKPOINT)? else { return Ok(None) };
    let decode = || {
        let (index, rest) = bytes.split_first_chunk()?;
        let (term, membership) = rest.split_first_chunk()?;
        let (index, term) = (u64::from_be_bytes(*index), u64::from_be_bytes(*term));
        Some(CheckpointMeta { index, term, membership: membership.to_vec() })
    };
    decode().map(Some).ok_or_else(|| StorageError::corrupt(path, "meta checkpoint is damaged"))
}

fn encode_meta(checkpoint: &CheckpointMeta) -> Vec<u8> {
    [&checkpoint.index.to_be_bytes()[..], &checkpoint.term.to_be_bytes(), &checkpoint.membership].concat()
}
