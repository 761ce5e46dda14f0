//! Placeholder of the history module.
pub mod operation;
pub mod record;
pub use operation::{Call, Operation, Outcome, Seen, mark};
pub use record::{Ask, History, Recorder};
