//! What can go wrong with a module's bytes.

use crate::transport::TransportError;
use jobraft_protocol::{Digest, Error, ErrorCode, limits};
use std::io;
use std::path::PathBuf;

/// Why a module cannot be taken, kept or given.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// The disk.
    #[error("{path}: {source}; check that the disk has room and can be written")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More bytes than a module may have.
    #[error("the module has {bytes} bytes, the limit is {max}; strip its debug information", max = limits::MODULE_BYTES_MAX)]
    TooLarge {
        /// How many were announced.
        bytes: u64,
    },
    /// Not as many bytes as announced.
    #[error("{announced} bytes were announced, {received} came; send the module again")]
    Size {
        /// How many were announced.
        announced: u64,
        /// How many came, or were on their way when it was enough.
        received: u64,
    },
    /// Not the bytes that were announced.
    #[error("the bytes are sha256:{found}, announced was sha256:{announced}; send the module again")]
    Digest {
        /// What was announced.
        announced: Digest,
        /// What came.
        found: Digest,
    },
    /// Nothing that could run.
    #[error("{0}")]
    Invalid(String),
    /// The bytes are not here.
    #[error("the bytes of module sha256:{0} are not on this node")]
    Missing(Digest),
    /// The connection.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Another node could not do its part.
    #[error("node {node}: {reason}")]
    Peer {
        /// Which.
        node: jobraft_protocol::NodeId,
        /// Why not.
        reason: String,
    },
    /// Nothing came, or nothing was taken, for too long.
    #[error("nothing moved for {seconds} s; try again")]
    Stalled {
        /// For how long.
        seconds: u64,
    },
    /// Too few voters have the bytes.
    #[error("{held} of {voters} voting nodes hold the module, a majority is needed; try again when more are up")]
    NoQuorum {
        /// How many have them.
        held: usize,
        /// Of how many.
        voters: usize,
    },
}

impl ModuleError {
    /// As the client shall see it.
    pub(crate) fn answer(&self) -> Error {
        let code = match self {
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Size { .. } => ErrorCode::InvalidArgument,
            Self::Digest { .. } => ErrorCode::DigestMismatch,
            Self::Invalid(_) => ErrorCode::ModuleInvalid,
            Self::Missing(_)
            | Self::Transport(_)
            | Self::Peer { .. }
            | Self::Stalled { .. }
            | Self::NoQuorum { .. } => ErrorCode::Unavailable,
            // Paths of this machine are no business of the client's.
            Self::Io { .. } => {
                tracing::error!(error = %self, "a module could not be read or written");
                return Error::new(
                    ErrorCode::Internal,
                    "the node could not read or write the module; its log says more",
                );
            }
        };
        Error::new(code, self.to_string())
    }
}
