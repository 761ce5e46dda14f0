//! The replicated state machine.

pub mod command;
