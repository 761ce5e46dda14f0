//! What a job may do, what becomes of one that does more, and what is kept of a compiled module: the same, whether modules
//! run in the worker's process or in one of their own. And what is different there.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::duplicate_mod, reason = "what holds in one process holds in the other")]

#[path = "wasm/in_process.rs"]
mod in_process;
#[path = "wasm/isolated.rs"]
mod isolated;
