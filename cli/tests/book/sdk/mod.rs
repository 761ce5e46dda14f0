//! The programs that the pages include; each is run against a real node, and what it does is looked at.
//!
//! What stands between `ANCHOR` and `ANCHOR_END` is what readers see.

mod access;
mod atomic;
mod backpressure;
mod certificates;
mod control;
mod deadlines;
mod fleet;
mod introduction;
mod leases;
mod limits;
mod listing;
mod namespaces;
mod operations;
mod resumable;
mod retention;
mod retries;
mod schedules;
mod scheduling;
mod secrets;
mod states;
mod tokens;
mod unique;
mod wasm;
mod workflows;

use jobraft_sdk::{Client, Worker};

/// The worker that a page's commands give jobs to, besides that of `jobraft dev`: the one that it shows.
pub(crate) fn worker(page: &str, client: &Client) -> Option<Worker> {
    Some(match page {
        "introduction" => introduction::worker(client).unwrap(),
        "retries" => retries::worker(client),
        "atomic" => atomic::shipping(client).unwrap(),
        "resumable" => resumable::worker(client),
        "control" => control::worker(client),
        "schedules" => schedules::worker(client),
        "workflows" => workflows::worker(client),
        _ => return None,
    })
}
