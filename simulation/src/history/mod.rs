//! Histories: what the clients of a cluster asked, when, and what they were answered.

pub mod operation;
pub mod record;

pub use operation::{Call, Operation, Outcome, Seen, mark};
pub use record::{Ask, History, Recorder};
