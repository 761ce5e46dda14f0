//! Payloads of live jobs: in memory, or only in the job's row. A backlog can outgrow memory that way.
//!
//! Where one is must not show in the state or in any answer: what the core gives out without a payload says so, and the
//! node reads it from the row. No command needs more of it than its length.

use crate::record::{self, JobPayload};
use crate::{Core, RestoreError};
use bytes::Bytes;
use jobraft_protocol::JobId;
use std::sync::Arc;

/// A payload of so many bytes costs more to read than to keep.
const KEPT_BYTES_MAX: usize = 64;

/// A job's payload.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Here(Arc<[u8]>),
    /// In the job's row, with so many bytes.
    AtRest(u32),
}

impl From<&Bytes> for Payload {
    /// A copy: it keeps nothing else in memory, such as the request in which it came.
    fn from(bytes: &Bytes) -> Self {
        Self::Here(bytes[..].into())
    }
}

impl Payload {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Here(bytes) => bytes.len(),
            Self::AtRest(bytes) => *bytes as usize,
        }
    }

    pub(crate) const fn is_at_rest(&self) -> bool {
        matches!(self, Self::AtRest(_))
    }

    /// The payload if it is in memory, and nothing if not.
    pub(crate) fn here(&self) -> Bytes {
        match self {
            Self::Here(bytes) => Bytes::from_owner(Arc::clone(bytes)),
            Self::AtRest(_) => Bytes::new(),
        }
    }

    /// Leaves memory, if that is worth it. It must be in the job's row.
    pub(crate) fn rest(&mut self) {
        if let Self::Here(bytes) = self
            && let Some(bytes) = worth_reading(bytes)
        {
            *self = Self::AtRest(bytes);
        }
    }

    /// One that is in the job's row.
    pub(crate) fn at_rest(bytes: &Bytes) -> Self {
        worth_reading(bytes).map_or_else(|| Self::from(bytes), Self::AtRest)
    }
}

/// The length of a payload that need not be in memory if it is on disk.
fn worth_reading(bytes: &[u8]) -> Option<u32> {
    u32::try_from(bytes.len()).ok().filter(|_| bytes.len() > KEPT_BYTES_MAX)
}

/// The payload in the body of a [`crate::JobRow`].
///
/// # Errors
/// If the bytes are not such a body, or one of a newer version.
pub fn payload(row: &[u8]) -> Result<Bytes, RestoreError> {
    record::decode::<JobPayload>("job", row).map(|row| row.view.payload)
}

impl Core {
    /// Lets the payloads of jobs leave memory that wait and have not changed since [`Core::take_changes`] took them. Their rows
    /// must be written, and no later changes taken.
    pub fn let_payloads_rest(&mut self, written: &[JobId]) {
        for id in written {
            if let Some(job) = self.jobs.get_mut(id)
                && job.is_waiting()
                && !job.dirty
            {
                job.payload.rest();
            }
        }
    }

    /// Whether the payload of a job that memory has is in its row alone: what is given out of it has none then.
    #[must_use]
    pub fn payload_rests(&self, id: JobId) -> bool {
        self.jobs.find(id).is_some_and(|(_, job)| job.payload.is_at_rest())
    }
}
