//! Storage on disks that fail: whatever was acknowledged is there, and damage is named.
//!
//! Crash points and damage are sampled; `STORAGE_EVERYWHERE=1` looks at all of them, which takes hours.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests, which say how much they looked at")]

mod damage;
mod disk;
mod faults;
mod gather;
mod log_crash;
mod log_model;
mod node;
mod state_crash;
mod state_model;
mod variants;
