//! What a node keeps on disk: who it is, its log, and its state.
//!
//! [`DataDir`] owns the directory and holds its lock; [`LogDb`] is the Raft log with the vote, [`StateDb`] the
//! checkpointed state machine. This is the only module that names `rusqlite`, and it knows nothing of consensus:
//! votes and memberships are opaque bytes here.
//!
//! What must hold:
//! - Whatever was reported as written is still there after a kill or a loss of power at any moment: every commit is
//!   an fsync, new files are fsynced together with their directory.
//! - A write or fsync that failed is never tried again on the same handle. The kernel may have dropped the page that
//!   it could not write, so a second success would prove nothing; the node stops and recovers from disk.
//! - Every row carries a checksum. Corruption is named by file and row and is never served, skipped or repaired.
//! - What hides rows is looked for at each opening, as far as a start can wait for it.
//! - What jobs carry is sealed before it is written, if there is a key for that ([`Seal`](crate::seal::Seal)); what is checked,
//!   compared and sent to other nodes is what is written.
//! - A format newer than this build's, or read no longer, is refused before anything is changed.
//! - What is kept no longer is removed little by little, and its room goes back to the file system.

mod backlog;
mod bodies;
mod completed;
mod data_dir;
mod database;
mod ended_rows;
mod error;
mod gather;
mod listing;
mod live_jobs;
mod log_db;
mod log_index;
mod log_queue;
mod log_run;
mod log_writer;
mod places;
mod readers;
mod reseal;
mod room;
mod runs;
mod snapshot;
mod soundness;
mod state_db;
mod state_rows;
mod sweep;
mod wal;
mod wal_copy;

pub use data_dir::{DataDir, IDENTITY};
pub use error::StorageError;
pub use log_db::{Done, LogDb, LogPosition, LogRecord, LogRecovered};
pub use reseal::{Resealed, reseal};
pub use snapshot::SnapshotFile;
pub use state_db::{CheckpointMeta, StateDb};
pub use sweep::{Due, SweepOutcome};

#[cfg(test)]
pub(crate) mod tests;
