//! Modules: their bytes, which never go through the log.
//!
//! What must hold: a file under a digest's name has the bytes of that digest, on disk before anybody is told so; a
//! manifest is proposed only once a majority of the voters hold the bytes; bytes are checked once in a process before
//! they are served or vouched for; what was received in part or wrongly leaves nothing behind.

mod error;
mod exchange;
mod incoming;
mod inspect;
mod keeper;
mod service;
mod store;
mod wire;

pub use error::ModuleError;
pub use exchange::ModuleExchange;
pub use incoming::{Incoming, Received};
pub use inspect::inspect;
pub(crate) use service::{give, moving, take};
pub use store::ModuleStore;
