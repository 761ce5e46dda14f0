//! Runs uploaded modules: plain WASI commands (preview 1, or its predecessor `wasi_unstable`).
//!
//! # What a module sees
//! - **stdin**: the job's payload. **stdout**: the job's result. **stderr**: the job's log, of which the end is kept.
//! - **arguments**: `["job"]`. **environment**: the secrets that are granted to the module, as `NAME=value`, and nothing else.
//!   **file system, network**: none; nothing is preopened.
//! - **randomness**: yes. Standard libraries need it to seed their hash maps, and it tells nothing about the host.
//! - **clocks**: many toolchains do not link without them, so they exist but tell nothing: the wall clock stands still
//!   at the time at which the job was enqueued (the same for each attempt), the monotonic clock at zero. Sleeping
//!   works, in real time. A job whose language cannot do with a clock that stands still (one that *polls* the clock to
//!   sleep, as Go does) needs [`Clocks::Real`], which whoever runs the worker may grant.
//! - **exit code**: 0 is success, 75 (`EX_TEMPFAIL`) asks for a retry, 65 (`EX_DATAERR`) says that no retry can help,
//!   any other is a failure that the job's retry policy decides about.
//!
//! # What must hold
//! - Whatever a module does harms its own job alone. Each job has a fresh store, with limits ([`WasmLimits`]) on memory,
//!   tables, stack and output; memory beyond the limit ends the attempt at once, so that a module which ignores the
//!   refusal cannot spin until its time is up.
//! - No guest code runs past the lease: a busy guest is interrupted every tick (10 ms) and checks the deadline, the run
//!   timeout and cancellation; one that sleeps in a host call is dropped with the call. No host call has an effect
//!   outside the job's own buffers, so there is nothing left to deny.
//! - Guests run on threads of their own, so that busy ones cannot keep a worker from its heartbeats.
//! - Modules are compiled in a child process with limits on memory and CPU time ([`compile_main`]), one at a time: a small
//!   module can take minutes and gigabytes to compile. Machine code never comes from the network: each machine
//!   compiles for itself and keeps the outcome in a private directory, under the module's SHA-256 and all that the code
//!   depends on. It is loaded from memory, after its checksum was compared, never mapped from a file that could
//!   change.
//! - [`WasmExecutor::isolated`] runs guests in another process ([`host_main`]) which holds nothing of the worker's, no key and
//!   no connection, and of which the kernel takes next to no calls. The worker keeps what needs rights: it fetches modules,
//!   has them compiled, and decides when to stop. It believes that process no more than it must, and outlives it.
//! - A job's secrets are asked for when its attempt begins, under its lease, and are gone with the attempt; a process that runs
//!   guests has those of the jobs that run in it. In the job's log and in the message of its failure, `***` stands for each of
//!   their values before either leaves the executor; the worker sees to that, whatever such a process does. Values of less
//!   than 4 bytes are left, since to hide them would shred every text, and so is what a module encodes or takes apart: this
//!   is there for accidents. A job's **result** is its own: a module that writes a secret there gives it to all who may read
//!   results.

mod artifacts;
mod capture;
mod clock;
mod compile_main;
mod compiler;
mod config;
#[cfg_attr(not(target_os = "linux"), path = "no_confinement.rs")]
mod confinement;
mod disk_cache;
mod engine;
mod executor;
mod guest;
mod guests;
mod host;
mod host_main;
mod host_process;
mod hosts;
mod in_process;
mod isolated;
mod loader;
mod machine_code;
mod masking;
mod modules;
mod recent;
mod secrets;
mod ticker;
mod verdict;
mod watch;
mod wire;

pub use compile_main::compile_main;
pub use config::{ChildCommand, Clocks, WasmConfig, WasmLimits};
pub use executor::{WasmError, WasmExecutor};
pub use host_main::host_main;
