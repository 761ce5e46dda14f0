//! Executors: how a worker runs tasks that are not native handlers of its own program.
//!
//! Each executor is a cargo feature. There is one so far: [`wasm`] (feature `wasm`, on by default) runs uploaded
//! modules in a sandbox that grants nothing but input, output, the secrets meant for them, and a bounded share of memory
//! and time.

#[cfg(feature = "wasm")]
pub mod wasm;
