//! What can go wrong between two ends of a connection, and the codes by which they tell each other.

use super::limits::REASON_CHARS_MAX;
use crate::tls::{IdentityError, TlsError};
use jobraft_protocol::frame::FrameError;
use jobraft_protocol::{NodeAddress, NodeId};
use quinn::{ConnectionError, ReadError, TransportErrorCode, VarInt, WriteError};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use uuid::Uuid;

/// Why a connection was closed or a stream reset, as it stands on the wire. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CloseCode {
    /// Nothing more to say.
    Done = 0,
    /// The certificate's role may not do this.
    Identity = 1,
    /// The other side does not keep to the protocol.
    Protocol = 2,
    /// Too many connections or streams; later perhaps.
    Overloaded = 3,
    /// The node is stopping.
    Shutdown = 4,
    /// The hello was refused.
    Refused = 5,
    /// A frame is larger than permitted.
    FrameTooLarge = 6,
    /// A frame is not what was expected.
    FrameMalformed = 7,
    /// The certificate was revoked.
    Revoked = 8,
    /// No certificate was shown, nor a token that counts; or it counts no longer.
    Unauthenticated = 9,
}

impl CloseCode {
    pub(super) fn var_int(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }
}

/// Why something on the network failed.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Another socket has the address.
    #[error("{address} is in use; stop the other process or listen on another port")]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The TLS configuration is of no use to QUIC.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The host name is unknown, or none of its addresses can be reached from this socket.
    #[error("cannot resolve {address}: {reason}; check the name and the address family")]
    Resolve {
        /// The address.
        address: NodeAddress,
        /// Why.
        reason: String,
    },
    /// It took too long.
    #[error("{what} took longer than {limit:?}")]
    TimedOut {
        /// What.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// Pings are answered no longer.
    #[error("the connection is lost: no answer any more")]
    Silent,
    /// The other side knows nothing of this connection: it was restarted.
    #[error("the connection is lost: the other side was restarted")]
    Reset,
    /// The other side closed the connection.
    #[error("closed by the other side: {reason} (code {code})")]
    Closed {
        /// A [`CloseCode`], or that of a newer version.
        code: u64,
        /// For people.
        reason: String,
    },
    /// This side closed the connection.
    #[error("closed by this side")]
    ClosedHere,
    /// The handshake failed, or the other side violated QUIC.
    #[error("{0}")]
    Handshake(String),
    /// The other side gave up the stream.
    #[error("the stream was given up by the other side (code {code})")]
    StreamReset {
        /// A [`CloseCode`], or that of a newer version.
        code: u64,
    },
    /// The stream was finished or given up on this side.
    #[error("the stream was ended by this side")]
    StreamEnded,
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// A frame is too large or malformed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other side's certificate names no role.
    #[error("the other side's certificate is of no use: {0}")]
    Identity(#[from] IdentityError),
    /// The other side's certificate is on the list of its authority.
    #[error("the other side's certificate is revoked")]
    Revoked,
    /// The other side's certificate has the wrong role.
    #[error("{0}")]
    WrongRole(String),
    /// Another node answers at the address.
    #[error("node {found} answers where node {expected} should; correct the address")]
    WrongNode {
        /// Who should answer.
        expected: NodeId,
        /// Who does.
        found: NodeId,
    },
    /// The node answers, but with another data directory than it joined with.
    #[error(
        "node {node} runs on another data directory (instance {found}) than it joined with ({expected}); give it its \
         data directory back, or remove it and add a node under a new id"
    )]
    WrongInstance {
        /// The node.
        node: NodeId,
        /// The instance that joined.
        expected: Uuid,
        /// The instance that answers.
        found: Uuid,
    },
    /// The other side, or this one, refused the hello.
    #[error("refused: {0}")]
    Refused(jobraft_protocol::Error),
    /// The last attempt to connect failed a moment ago.
    #[error("node {node} cannot be reached ({reason}); next attempt in {retry_in:?}")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// When it makes sense to try again.
        retry_in: Duration,
        /// Why the last attempt failed.
        reason: String,
    },
}

impl TransportError {
    /// Whether the same may succeed later without anybody's help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut { .. }
            | Self::Silent
            | Self::Reset
            | Self::Closed { .. }
            | Self::Resolve { .. }
            | Self::StreamReset { .. }
            | Self::Truncated
            | Self::Unreachable { .. } => true,
            Self::AddressInUse { .. }
            | Self::Bind { .. }
            | Self::Tls(_)
            | Self::ClosedHere
            | Self::Handshake(_)
            | Self::StreamEnded
            | Self::Frame(_)
            | Self::Identity(_)
            | Self::Revoked
            | Self::WrongRole(_)
            | Self::WrongNode { .. }
            | Self::WrongInstance { .. }
            | Self::Refused(_) => false,
        }
    }

    /// The code with which to close what failed so.
    pub(super) const fn close_code(&self) -> CloseCode {
        match self {
            Self::Frame(FrameError::TooLarge { .. }) => CloseCode::FrameTooLarge,
            Self::Frame(_) | Self::Truncated => CloseCode::FrameMalformed,
            Self::Identity(_) | Self::WrongRole(_) => CloseCode::Identity,
            Self::Revoked => CloseCode::Revoked,
            Self::Refused(_) | Self::WrongNode { .. } | Self::WrongInstance { .. } => CloseCode::Refused,
            _ => CloseCode::Protocol,
        }
    }
}

impl From<ConnectionError> for TransportError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Self::Closed { code: close.error_code.into_inner(), reason: readable(&close.reason) }
            }
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                let reason = "too many handshakes are under way; try again later".to_owned();
                Self::Closed { code: CloseCode::Overloaded as u64, reason }
            }
            ConnectionError::ConnectionClosed(close) => {
                Self::Handshake(format!("refused by the other side: {}", readable(close.to_string().as_bytes())))
            }
            ConnectionError::TransportError(error) => Self::Handshake(readable(error.to_string().as_bytes())),
            ConnectionError::VersionMismatch => Self::Handshake("no common version of QUIC".to_owned()),
            ConnectionError::CidsExhausted => Self::Handshake("no connection id is free".to_owned()),
            ConnectionError::Reset => Self::Reset,
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::LocallyClosed => Self::ClosedHere,
        }
    }
}

impl From<ReadError> for TransportError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::StreamReset { code: code.into_inner() },
            ReadError::ConnectionLost(error) => error.into(),
            ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => Self::StreamEnded,
        }
    }
}

impl From<WriteError> for TransportError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::StreamReset { code: code.into_inner() },
            WriteError::ConnectionLost(error) => error.into(),
            WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::StreamEnded,
        }
    }
}

/// Text from the other side, made fit for a log line.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS_MAX).collect()
}
