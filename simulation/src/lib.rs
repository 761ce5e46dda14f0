//! Whole clusters of Jobraft under faults.

pub mod disk;
#[cfg(target_os = "linux")]
pub mod disk_faults;
pub mod history;
#[cfg(target_os = "linux")]
pub mod network;
#[cfg(target_os = "linux")]
pub mod real;
pub mod simulated;
pub mod vfs;
pub mod workload;
