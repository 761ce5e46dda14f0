//! Whole clusters of Jobraft under faults.

pub mod disk;
pub mod history;
pub mod simulated;
pub mod vfs;
pub mod workload;
