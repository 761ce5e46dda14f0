//! What a job may do, what becomes of one that does more, and what is kept of a compiled module.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "wasm/cache.rs"]
mod cache;
#[path = "wasm/limits.rs"]
mod limits;
#[path = "wasm/sandbox.rs"]
mod sandbox;
#[path = "wasm/worker.rs"]
mod worker;
