//! The product as its users have it: real processes, real sockets, real faults.
//!
//! Each test starts what it needs in a directory of its own, on ports of its own, and leaves nothing behind. Nothing is
//! waited for by time alone: each wait is for a condition, with a deadline ([`support::DEADLINE`]) that only a broken
//! product or a hopelessly busy machine misses.

#![expect(clippy::unwrap_used, reason = "tests")]

mod apply;
mod at_rest;
mod bad_input;
mod bad_start;
mod batches;
mod bench;
mod bulk;
mod ca_passphrase;
mod certificates;
mod cli;
mod cluster_faults;
mod fleet;
mod hostile_jobs;
mod intruder;
mod isolate;
mod life;
mod limits;
mod load;
mod membership;
mod namespaces;
mod queues;
mod schedules;
mod secrets;
mod signatures;
mod support;
mod terminal;
mod together_faults;
mod tokens;
