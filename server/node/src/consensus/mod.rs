//! Consensus: openraft over our storage and transport. The only place that names openraft.
//!
//! What must hold: a command is answered only after its entry is on disk on a majority and applied here; a linearizable
//! read reflects everything answered before it began; log time is stamped here and never goes back; the first entry
//! of a term says that it is.

mod barrier;
mod checkpointer;
mod clock;
mod handle;
mod leadership;
mod listing;
mod log_store;
mod membership;
mod network;
mod proposer;
mod record;
mod service;
mod state_machine;
mod status;
mod types;
mod upkeep;
mod wire;
mod witness;

#[cfg(test)]
mod state_machine_tests;
#[cfg(test)]
mod storage_suite;

pub use handle::{Consensus, ConsensusError, ConsensusOptions};
pub use leadership::Leadership;
pub(crate) use proposer::{CommandResults, Waiting};
pub use record::check_record;
pub(crate) use service::clear_unfinished;
pub use state_machine::RowPart;
pub(crate) use state_machine::StateMachine;
pub use types::Member;
pub use wire::check_message;
pub use witness::{Place, Pulse, StateHash, Witness};

/// openraft, with our types.
pub(crate) type Raft = openraft::Raft<types::TypeConfig, StateMachine>;
