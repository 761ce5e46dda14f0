//! The replicated state machine: what every node computes alike from the same log.
//!
//! [`Core::apply`] takes an [`Entry`] and answers each of its [`Command`]s. It is pure: no clock (time comes with the
//! entry), no randomness, no I/O, no async, and nothing that depends on the order of a hash table. Whoever feeds the
//! same entries to two cores gets the same answers and the same [`Core::state_hash`] from both, also when one of them
//! was restored from a checkpoint in between.
//!
//! | Module | What it holds |
//! |---|---|
//! | [`command`] | entries, commands, outcomes, events, checkpoint rows: the contract with the rest of the node |
//! | [`transition`] | the states of a job and the table of legal steps between them |
//! | `core` | the state, `apply`, time and timers |
//! | `enqueue`, `lease`, `report`, `act`, `configure` | the commands |
//! | `admission` | whether jobs may come to be |
//! | `group`, `bucket`, `waits`, `batch`, `schedule` | many jobs together: turns and limits, dependencies, batches, ticks |
//! | `ownership` | whose things are and to which queue they belong, for the node to ask |
//! | `job`, `jobs`, `id_table`, `payload`, `task`, `queue`, `index`, `keys`, `ended`, `recent`, `retention`, `workers`, `values`, `catalog`, `tokens` | the parts of the state |
//! | `record`, `checkpoint`, `resting`, `restore`, `state_hash` | how it rests on disk, is read there, comes back, and is compared |
//!
//! What is deliberately absent: any knowledge of Raft, of connections, and of whether this node leads.

pub mod command;
pub mod planted;
pub mod transition;

mod act;
mod admission;
mod backoff;
mod batch;
mod bucket;
mod catalog;
mod checkpoint;
mod configure;
mod core;
mod ended;
mod enqueue;
mod group;
mod id_table;
mod index;
mod job;
mod jobs;
mod keys;
mod lease;
mod namespaces;
mod ownership;
mod payload;
mod queue;
mod recent;
mod record;
mod report;
mod resting;
mod restore;
mod retention;
mod schedule;
mod secrets;
mod state_hash;
mod task;
mod tokens;
mod values;
mod waits;
mod workers;

pub use crate::checkpoint::TakenChanges;
pub use crate::core::Core;
pub use command::*;
pub use ownership::{LeaseOwner, WorkOn, WorkerOwner};
pub use payload::payload;
pub use record::identity;
pub use resting::{RestingJob, UnwrittenJob};
pub use restore::{LiveRecord, Restore, RestoreError};
pub use tokens::TokenStanding;
