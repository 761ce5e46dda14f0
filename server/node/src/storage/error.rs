//! Why storage cannot do what was asked.

use crate::seal::Unopened;
use jobraft_protocol::NodeId;
use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

/// Why storage cannot do what was asked. All are final for the handle that gave them: no call succeeds by being
/// repeated, and a handle that failed to write answers [`StorageError::Stopped`] from then on.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process, or another handle of this one, uses the directory or a database in it.
    #[error("{} is in use by {}; stop that one first or choose another directory", path.display(), owner(*pid))]
    InUse {
        /// What is in use.
        path: PathBuf,
        /// By whom, as far as is known.
        pid: Option<u32>,
    },
    /// The data belong to another cluster.
    #[error("{} holds data of cluster {found:?}, not of {expected:?}; correct the cluster's name or choose another directory", path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster that its data belong to.
        found: String,
        /// The cluster that was asked for.
        expected: String,
    },
    /// The data belong to another node.
    #[error("{} holds data of node {found}, not of node {expected}; correct the node's id or choose another directory", path.display())]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// The node that its data belong to.
        found: NodeId,
        /// The node that was asked for.
        expected: NodeId,
    },
    /// A later version of Jobraft wrote this.
    #[error("{} has format {found}, and this build reads up to {supported}; run the version that wrote it, or a later one", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that this build reads.
        supported: u64,
    },
    /// A version of Jobraft wrote this whose format is read no longer.
    #[error("{} has format {found}: a development version of Jobraft before 0.1 made it, and formats before {oldest} are no longer read; start the node with an empty data directory, or go on with the version that made it", path.display())]
    OlderFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The oldest format that this build reads.
        oldest: u64,
    },
    /// The identity is there but cannot be understood.
    #[error("{} cannot be understood ({reason}); restore it from a backup, or remove the node and add it under a new id with an empty directory", path.display())]
    IdentityUnreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that must be there, because it was there before, is not. Going on without it could break promises
    /// that the node has made to others.
    #[error("{} is missing although the node has made it before; restore it from a backup, or remove the node and add it under a new id with an empty directory", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// What is stored is not what was written.
    #[error("{} is corrupt: {what}; remove the node and add it under a new id with an empty directory, the others hold what it held", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Which part, and how it shows.
        what: String,
    },
    /// A row is sealed under a key that is not there.
    #[error("{} has rows that are sealed under key {key}: have storage.key_file name a file that has this key", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// By what the key is known.
        key: String,
    },
    /// No room left.
    #[error("{} cannot grow: the disk or quota is full; make room and start the node again", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Nothing can be written there.
    #[error("{} cannot be written: it or its file system is read-only; mount it writable, or see why the kernel no longer does, and start the node again", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot use {}: {source}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// There is nothing to take a snapshot of.
    #[error("{} holds no checkpoint yet; make one first", path.display())]
    NoCheckpoint {
        /// The database.
        path: PathBuf,
    },
    /// An earlier write failed, or the handle was closed.
    #[error("{} takes no more writes: {reason}; the node has to be started again", path.display())]
    Stopped {
        /// The database.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// A caller asked for what would break the data. Nothing was written; this is a bug.
    #[error("{} refuses what it was told to write (a bug in jobraft): {what}", path.display())]
    Refused {
        /// The database.
        path: PathBuf,
        /// What was wrong.
        what: String,
    },
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl StorageError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path: path.to_owned() },
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path: path.to_owned() },
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }

    pub(super) fn database(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |source| {
            let path = path.to_owned();
            match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Self::DiskFull { path },
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                    Self::Corrupt { path, what: source.to_string() }
                }
                Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::InUse { path, pid: None },
                _ => Self::Database { path, source },
            }
        }
    }

    /// Whether what is stored cannot be had any more, so that whoever found it must not go on.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::Database { source, .. } => source.sqlite_error_code() == Some(ErrorCode::SystemIoFailure),
            _ => false,
        }
    }

    /// What a body is to storage that does not open: `what` it is, in which file.
    pub(super) fn unopened<W: FnOnce() -> String>(path: &Path, what: W) -> impl FnOnce(Unopened) -> Self + use<'_, W> {
        move |unopened| match unopened {
            Unopened::NoKey(key) => Self::Sealed { path: path.to_owned(), key },
            Unopened::Damaged => Self::corrupt(path, format!("{} does not open with its key", what())),
        }
    }

    pub(super) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into() }
    }
}

/// For callers that speak `io::Error`, such as a consensus library.
impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        let kind = match &error {
            StorageError::Io { source, .. } => source.kind(),
            StorageError::DiskFull { .. } => io::ErrorKind::StorageFull,
            StorageError::ReadOnly { .. } => io::ErrorKind::ReadOnlyFilesystem,
            StorageError::Corrupt { .. } | StorageError::IdentityUnreadable { .. } => io::ErrorKind::InvalidData,
            StorageError::Missing { .. } => io::ErrorKind::NotFound,
            StorageError::Refused { .. } => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
