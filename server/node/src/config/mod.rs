//! A node's configuration: typed, validated TOML.
//!
//! Every error names the file, the line and the key. Nothing is guessed: an unknown key is refused, for it is most
//! often a known one misspelt. Relative paths start from the configuration file's directory, so that a node can be
//! started from anywhere. Samples with comments are in `config/` at the root of the repository.

mod error;
mod file;
mod source;
mod suggestion;

#[cfg(test)]
mod tests;

pub use crate::cron::nearest;
pub use error::ConfigError;
pub use source::Source;

use crate::tls::TlsFiles;
use jobraft_protocol::{NodeAddress, NodeId, Signer};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The largest configuration file; a larger one is refused.
pub const FILE_BYTES_MAX: usize = 256 * 1024;
/// The longest name of a cluster.
pub const CLUSTER_NAME_BYTES_MAX: usize = 64;
/// A cluster's name unless the file says otherwise.
pub const CLUSTER_NAME_DEFAULT: &str = "jobraft";
/// Bytes of one file of the audit log, unless the configuration says otherwise.
pub const AUDIT_FILE_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// Files of the audit log, unless the configuration says otherwise.
pub const AUDIT_FILES_DEFAULT: usize = 8;
/// The most files of the audit log.
pub const AUDIT_FILES_MAX: usize = 1_000;
/// The most nodes that can form a cluster at its first start.
pub const INITIAL_MEMBERS_MAX: usize = 9;

/// Everything that a node must be told.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Who it is; never used by another node of the cluster, not even after removal.
    pub node_id: NodeId,
    /// Where it listens; port 0 lets the system choose (tests).
    pub listen: SocketAddr,
    /// Where clients and peers reach it.
    pub advertise: NodeAddress,
    /// Where its data live.
    pub data_dir: PathBuf,
    /// The name of its cluster.
    pub cluster: String,
    /// Who forms the cluster at the very first start. Empty: the node waits until it is added to one.
    pub initial_members: BTreeMap<NodeId, NodeAddress>,
    /// Its certificate and whom it trusts.
    pub tls: TlsFiles,
    /// What it logs, and how.
    pub log: LogConfig,
    /// What its audit log has, and where that is.
    pub audit: AuditConfig,
    /// The file with the keys under which what jobs carry is sealed on disk; `None`: it is not.
    pub key_file: Option<PathBuf>,
    /// The file with the keys under which secrets for jobs are sealed, the same on each node; `None`: there can be none.
    pub secrets_key_file: Option<PathBuf>,
    /// Whose signature a module must have to be taken; empty: nobody's.
    pub signers: BTreeSet<Signer>,
}

/// What the audit log has, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Where.
    pub to: AuditTarget,
    /// What.
    pub record: AuditScope,
    /// Bytes of one file; then the next one is begun.
    pub file_bytes_max: u64,
    /// Files that are kept, the one that is written included.
    pub files_max: usize,
}

impl AuditConfig {
    /// The name of the file in the data directory, unless said otherwise.
    pub const FILE: &'static str = "audit.log";

    /// None.
    #[must_use]
    pub const fn off() -> Self {
        let (file_bytes_max, files_max) = (AUDIT_FILE_BYTES_DEFAULT, AUDIT_FILES_DEFAULT);
        Self { to: AuditTarget::Off, record: AuditScope::Changes, file_bytes_max, files_max }
    }

    /// Changes and refusals, in a data directory.
    #[must_use]
    pub fn in_directory(data_dir: &Path) -> Self {
        Self { to: AuditTarget::File(data_dir.join(Self::FILE)), ..Self::off() }
    }
}

/// Where the audit log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// Nowhere.
    Off,
    /// To the process's stdout, for those who collect that.
    Stdout,
    /// To a file, which is rotated.
    File(PathBuf),
}

/// What the audit log has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditScope {
    /// Connections, changes to anything but the course of jobs, and all that was refused.
    #[default]
    Changes,
    /// Every request.
    All,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Levels, in the syntax of `tracing_subscriber::EnvFilter`: `info`, `warn,jobraft_node=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Human }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

impl NodeConfig {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Any [`ConfigError`]; each names the file, and the line and the key where there is one.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::from_source(&Source::read(file)?)
    }

    /// Checks a configuration that has been read already.
    ///
    /// # Errors
    /// As for [`NodeConfig::load`].
    pub fn from_source(source: &Source) -> Result<Self, ConfigError> {
        file::NodeFile::check(source)
    }
}
