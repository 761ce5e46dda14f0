//! Clients that keep a cluster busy, and write down all that they see.
//!
//! They speak the client protocol over an endpoint that is handed to them, take every chance from a seeded generator and
//! all time from tokio's clock, and start no thread: so the same clients run against a simulated cluster and a real one.
//! Each is a task that asks one thing at a time; several of them make the load.
//!
//! ```text
//! let recorder = Recorder::new();
//! let site = Site { endpoint, config, addresses, recorder: recorder.clone() };
//! for client in workload::clients(&site, &plan, seed) { host.spawn(client); }   // or tokio::spawn
//! … faults happen, and are told: recorder.history().fault("crash") …
//! workload::finish(&site, seed, patience).await?;                               // waiting work drains, and is read
//! let verdict = history::judge(&recorder.history(), &demands);
//! ```
//!
//! A client that loses its connection, or waits longer than its patience, leaves the operation open for ever and goes on
//! elsewhere: nobody knows whether it was done.

pub mod plan;

mod call;
mod finish;
mod operator;
mod producer;
mod seat;
mod session;
mod worker;

#[cfg(test)]
mod requests;
#[cfg(test)]
mod tests;

pub use finish::{Unfinished, finish};
pub use plan::{Plan, Site, clients};
