//! Modules run in a process of their own.

/// Whether they do.
const ISOLATED: bool = true;

#[path = "cache.rs"]
mod cache;
#[path = "host.rs"]
mod host;
#[path = "limits.rs"]
mod limits;
#[path = "sandbox.rs"]
mod sandbox;
#[path = "secrets.rs"]
mod secrets;
#[path = "worker.rs"]
mod worker;
