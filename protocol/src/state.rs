//! The cluster's state for jobs: small named values that a job writes in the same step in which it completes.

use crate::{LogTime, StateKey};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A value to be written together with a completion: all of it, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateWrite {
    /// Where.
    pub key: StateKey,
    /// What, at most [`crate::limits::STATE_VALUE_BYTES_MAX`]; absent: the value is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Bytes>,
    /// Only if the value's version is this one, 0 for none: else all is refused with [`crate::ErrorCode::Conflict`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_version: Option<u64>,
}

/// A value as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateValue {
    /// Where.
    pub key: StateKey,
    /// What.
    #[serde(default)]
    pub value: Bytes,
    /// Greater with every write of any key, never used twice; never 0.
    pub version: u64,
    /// When it was written.
    pub written_at: LogTime,
}
