//! Whole clusters of Jobraft under faults.

pub mod disk;
pub mod simulated;
pub mod vfs;
