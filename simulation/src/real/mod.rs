//! Real processes: `jobraft node` as it is shipped, its certificates, a load, and what was seen of it.
//!
//! Nothing here knows faults. [`crate::disk_faults`] and [`crate::network`] make them, on what stands here:
//! - a [`Sandbox`], namespaces of this run's own, so that mounts, networks and their leftovers end with the process;
//! - a [`Cluster`] of [`Process`]es in it;
//! - a [`Load`] that notes each operation in a [`Recorder`](crate::history::Recorder), unknown outcomes included;
//! - a [`Judge`] that says whether what was noted, and what the cluster says in the end, can both be true.

pub mod binary;
pub mod clock;
pub mod cluster;
mod ending;
pub mod flags;
pub mod judge;
pub mod load;
pub mod process;
pub mod sandbox;
pub mod verdict;

pub use cluster::Cluster;
pub use ending::finish;
pub use judge::Judge;
pub use load::Load;
pub use process::Process;

pub use sandbox::Sandbox;
pub use verdict::{Report, Verdict};
