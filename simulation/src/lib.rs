//! Whole clusters of Jobraft under faults.

pub mod disk;
pub mod vfs;
