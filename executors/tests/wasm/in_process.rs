//! Modules run in the worker's process.

/// Whether they do not.
const ISOLATED: bool = false;

#[path = "cache.rs"]
mod cache;
#[path = "limits.rs"]
mod limits;
#[path = "sandbox.rs"]
mod sandbox;
#[path = "secrets.rs"]
mod secrets;
#[path = "worker.rs"]
mod worker;
