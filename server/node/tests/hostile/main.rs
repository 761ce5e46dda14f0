//! Attacks on a node, by clients with a certificate and by strangers without. Each time the node's memory stays under a
//! bound that is stated, and an honest client is served meanwhile.
//!
//! The node is a process of its own, this very program once more ([`target`]), which counts what it has allocated
//! ([`allocations`]): so what the attacker holds is not counted, and the figures hardly vary. Nothing here depends on how
//! fast the machine is: floods end when the node takes no more, and time limits only end a test that hangs. Attacks run one
//! after the other.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stdout, reason = "the node's process talks to the test's, and figures are shown")]

mod allocations;
mod attacker;
mod connections;
mod frames;
mod honest;
mod readers;
mod target;
mod uploads;

/// Of memory.
const MIB: usize = 1024 * 1024;
