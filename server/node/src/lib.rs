//! A Jobraft node: consensus, storage, transport, TLS, and the API for clients.
//!
//! The way of a write: [`transport`] decodes, [`auth`] decides, [`audit`] notes who asked, [`api`] proposes, [`consensus`]
//! makes it durable on a majority and applies it, and the answer goes back the same way. [`dispatch`] hands ready jobs to
//! whoever waits.

pub mod api;
pub mod audit;
pub mod auth;
mod certificates;
pub mod config;
pub mod consensus;
pub mod cron;
pub mod dispatch;
pub mod machine;
pub mod modules;
pub mod node;
pub mod seal;
mod shares;
pub mod storage;
pub mod tls;
pub mod transport;

pub use certificates::LOOK_INTERVAL as CERTIFICATE_LOOK_INTERVAL;
pub use node::{Node, NodeError, reseal};
