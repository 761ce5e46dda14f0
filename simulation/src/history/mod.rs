//! Histories: what the clients of a cluster asked, when, and what they were answered; and whether any order explains it.
//!
//! A [`History`] is recorded while a cluster runs under faults. [`judge`] then asks of each job, and of each unique key,
//! whether its operations can be put in one order, within the times of asking and answering, that the sequential
//! specification permits: linearizability (Herlihy, Wing: "Linearizability: a correctness condition for concurrent
//! objects", 1990), which is local, so that jobs can be looked at one by one. The search is that of Wing and Gong
//! ("Testing and verifying concurrent objects", 1993) with the memory of Lowe ("Testing for linearizability", 2017), as
//! Athalye's checker *Porcupine* has it: partitions, and a set of what was taken together with the state it led to.
//!
//! What must hold here: nothing that the cluster may do is ever called a violation (the specification is compared with the
//! real state machine); a history that is too small, too large, or without the faults it was to have is *insufficient*, and
//! never passes. An operation whose outcome nobody knows stays open: it may have happened at any time since, or never.
//!
//! | Module | |
//! |---|---|
//! | [`operation`] | what was asked and answered |
//! | [`record`] | the history while it grows |
//! | `window` | between which log times each operation happened |
//! | `search` | the search for an order |
//! | `life`, `act` | the specification of one job; `drift` is what happens to it by itself |
//! | `claim` | the specification of one unique key and of the jobs that want it; `reclaim` is how they take it again |
//! | `checks` | what must hold across jobs |
//! | [`verdict`] | what comes of it |

pub mod operation;
pub mod record;
pub mod verdict;

mod act;
mod checks;
mod claim;
mod drift;
mod judge;
mod life;
mod reclaim;
mod search;
mod window;

#[cfg(test)]
mod core_tests;
#[cfg(test)]
mod tests;

pub use judge::judge;
pub use operation::{Call, Operation, Outcome, Seen, mark};
pub use record::{Ask, History, Recorder};
pub use verdict::{Demands, Figures, Verdict, Violation};
