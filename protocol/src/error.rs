//! What can go wrong, as the client sees it: a code to act on, a sentence to read.

use crate::{NodeAddress, NodeId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A refused or failed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What kind of error, for programs.
    pub code: ErrorCode,
    /// What happened and what to do about it, for people: a lower-case fragment that fits after "failed to …: ".
    pub message: String,
    /// Where the leader is, when the answering node is not it and knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderHint>,
    /// When to try again, if the server has a reason to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Where the leader was last seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderHint {
    /// Its id.
    pub node: NodeId,
    /// Its address.
    pub address: NodeAddress,
}

/// The kinds of error. New ones may be added; a program treats one that it does not know as [`Retry::Never`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// Another node leads; [`Error::leader`] says which, if known. Nothing was done.
    NotLeader,
    /// No leader, or no quorum behind it, for now. Nothing was done.
    Unavailable,
    /// The answer did not come in time: it may or may not have been done.
    OutcomeUnknown,
    /// Too much is under way. Nothing was done.
    Overloaded,
    /// The node is stopping. Nothing was done.
    ShuttingDown,
    /// The lease is no longer held under this token: expired, released, finished or taken over.
    LeaseLost,
    /// The job was cancelled; its lease is gone.
    Cancelled,
    /// No such thing.
    NotFound,
    /// The job's state does not permit this.
    WrongState,
    /// A value outside its domain; the message names it.
    InvalidArgument,
    /// Larger than the limit that the message names.
    TooLarge,
    /// More of them than the limit that the message names.
    TooMany,
    /// The job id's own time lies outside the idempotency window.
    IdOutsideWindow,
    /// The queue holds as many waiting jobs, or as many bytes of them, as it may; [`Error::retry_after_ms`] says when to
    /// try again. Nothing was done.
    QueueFull,
    /// The namespace has as much as its quota permits; [`Error::retry_after_ms`], if it is there, says when to try again.
    /// Nothing was done.
    QuotaExceeded,
    /// The queue takes no new jobs until it is resumed.
    QueueDraining,
    /// There is no such queue, and an enqueue may not make one here.
    QueueUnknown,
    /// Another job holds the unique key, or a value's version is another one.
    Conflict,
    /// No module of that name or digest, or its bytes are not on a quorum yet.
    ModuleUnknown,
    /// The bytes are not a module that can run here; the message says why.
    ModuleInvalid,
    /// The bytes do not have the digest that was announced.
    DigestMismatch,
    /// The membership change is not possible; the message says why.
    Membership,
    /// The token is unknown, has expired, or was rotated or revoked. Nothing was done.
    Unauthenticated,
    /// The identity may not do this.
    Forbidden,
    /// The peer does not speak this protocol or version.
    Protocol,
    /// A defect of Jobraft or of the node's machine; the node's log says more.
    Internal,
    /// A code of a newer version.
    #[serde(other)]
    Unknown,
}

/// Whether the same request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    Never,
    /// Nothing was done: any request may be sent again, after a pause.
    Safe,
    /// It may have been done: only a request that is idempotent may be sent again.
    IfIdempotent,
}

impl ErrorCode {
    /// Whether a request that failed so may be sent again.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            // A token that takes the place of one that has ended may be known by now: it is shown on another connection.
            Self::Unauthenticated => Retry::Safe,
            Self::NotLeader | Self::Unavailable | Self::Overloaded | Self::ShuttingDown => Retry::Safe,
            Self::OutcomeUnknown => Retry::IfIdempotent,
            _ => Retry::Never,
        }
    }

    /// The code as it stands on the wire and in `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotLeader => "not_leader",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::LeaseLost => "lease_lost",
            Self::Cancelled => "cancelled",
            Self::NotFound => "not_found",
            Self::WrongState => "wrong_state",
            Self::InvalidArgument => "invalid_argument",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::IdOutsideWindow => "id_outside_window",
            Self::QueueFull => "queue_full",
            Self::QuotaExceeded => "quota_exceeded",
            Self::QueueDraining => "queue_draining",
            Self::QueueUnknown => "queue_unknown",
            Self::Conflict => "conflict",
            Self::ModuleUnknown => "module_unknown",
            Self::ModuleInvalid => "module_invalid",
            Self::DigestMismatch => "digest_mismatch",
            Self::Membership => "membership",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Error {
    /// An error with neither leader nor retry hint.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), leader: None, retry_after_ms: None }
    }

    /// The same error, with a hint when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Error {}
