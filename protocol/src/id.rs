//! Identifiers. Each is a newtype, so that one is never taken for another.

use crate::LogTime;
use crate::hex::{self, Hex};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A job's identity: a UUIDv7 minted by the client, so that a retried enqueue is the same job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// Wraps a UUID.
    ///
    /// # Errors
    /// [`IdError::NotVersion7`] for any other version: the id's own timestamp bounds for how long a retry may
    /// refer to it.
    pub fn from_uuid(uuid: Uuid) -> Result<Self, IdError> {
        if uuid.get_version_num() == 7 { Ok(Self(uuid)) } else { Err(IdError::NotVersion7) }
    }

    /// Makes an id for a job created at `now`, with `random` as its random part.
    ///
    /// Pass the time of the cluster, as learnt on connect, not that of the machine: an id far from log time is
    /// refused.
    #[must_use]
    pub fn new(now: LogTime, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(now.as_ms(), &random).into_uuid())
    }

    /// The underlying UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// The id's 16 bytes, in the order in which ids sort.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The time at which the client made this id.
    #[must_use]
    pub fn minted_at(&self) -> LogTime {
        let b = self.0.as_bytes();
        LogTime::from_ms(u64::from_be_bytes([0, 0, b[0], b[1], b[2], b[3], b[4], b[5]]))
    }

    /// Whether the UUID is of version 7; one that came from the wire need not be.
    #[must_use]
    pub fn is_version_7(&self) -> bool {
        self.0.get_version_num() == 7
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        Self::from_uuid(Uuid::parse_str(s).map_err(|_| IdError::NotUuid)?)
    }
}

/// A batch: a UUIDv7, made by the client like a [`JobId`] and by the same rules, so that a batch that is created again is the
/// same batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub JobId);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BatchId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        s.parse().map(Self)
    }
}

/// Why a text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID at all.
    #[error("not a UUID; an id of a job or batch looks like 0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d")]
    NotUuid,
    /// A UUID of another version.
    #[error("not a UUID of version 7; ids of jobs and batches carry the time at which they were made")]
    NotVersion7,
    /// Not 64 hexadecimal digits.
    #[error("not a SHA-256 digest: expected 64 hexadecimal digits")]
    NotDigest,
    /// Not a worker's id.
    #[error("a worker id is a w and a number, such as w7")]
    NotWorker,
}

/// A node of the cluster: 1 to `u64::MAX`, chosen by the operator, never used again after removal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of one worker: minted by the cluster when the worker registers, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub u64);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

impl FromStr for WorkerId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let number = s.strip_prefix('w').and_then(|digits| digits.parse().ok());
        // Only the form in which it is printed.
        number.map(Self).filter(|id| id.to_string() == s).ok_or(IdError::NotWorker)
    }
}

/// Proof of a lease. Strictly increasing over the life of the cluster: whoever holds an older token than the
/// job's current one has lost the job (Kleppmann, "How to do distributed locking", 2016).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FencingToken(pub u64);

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job together with the token under which it is held: what every report of a worker names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseRef {
    /// The leased job.
    pub job: JobId,
    /// The token given with the lease.
    pub token: FencingToken,
}

/// SHA-256 of a module's bytes: its only identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            let bytes = bytes::Bytes::deserialize(deserializer)?;
            let array = <[u8; 32]>::try_from(&bytes[..]).map_err(|_| serde::de::Error::custom(IdError::NotDigest))?;
            Ok(Self(array))
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        hex::parse(s).map(Self).ok_or(IdError::NotDigest)
    }
}
