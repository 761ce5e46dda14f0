//! The SDK against nodes that the tests play: real QUIC, real certificates, every answer chosen by the test.

#![expect(clippy::unwrap_used, reason = "tests")]

mod client;
mod jobs;
mod node;
mod predecessors;
mod schedules;
mod signing;
mod together;
mod worker;
mod workflows;
