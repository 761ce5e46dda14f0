//! What nodes say to each other about modules: one question for each stream.

use jobraft_protocol::Digest;
use serde::{Deserialize, Serialize};

/// What a node asks of another one's modules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ModuleAsk {
    /// Whether it holds the bytes, on disk; answered by [`HasAnswer`].
    Has(Digest),
    /// To keep the bytes that follow, unframed; answered by [`StoreAnswer`].
    Store {
        /// SHA-256 of what follows.
        digest: Digest,
        /// How many bytes follow.
        size: u64,
    },
    /// For the bytes; answered by [`FetchAnswer`], then the bytes, unframed, and the end of the stream.
    Fetch(Digest),
}

/// Whether the bytes are there; or why that cannot be told.
pub(super) type HasAnswer = Result<bool, String>;
/// The bytes are on disk; or why not.
pub(super) type StoreAnswer = Result<(), String>;
/// How many bytes follow; or why none.
pub(super) type FetchAnswer = Result<u64, String>;
