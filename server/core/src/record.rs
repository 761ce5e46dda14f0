//! How the state's parts rest on disk: one byte of format version, then CBOR.
//!
//! Fields are only ever added, with a default, so that a newer version reads what an older one wrote. A change that
//! an older version would misread raises [`FORMAT`], and older versions then refuse by name what they would spoil.

use crate::RestoreError;
use jobraft_protocol::{FencingToken, JobId, JobState, JobView, LogTime, QueueStats};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of everything that is written here.
pub(crate) const FORMAT: u8 = 1;

/// A job's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reported: Option<FencingToken>,
    pub(crate) view: JobView,
}

/// What is remembered of an ended job's row: the same bytes as [`JobRecord`], of which the rest is passed over.
#[derive(Debug, Deserialize)]
pub(crate) struct EndedRecord {
    #[serde(default)]
    pub(crate) reported: Option<FencingToken>,
    pub(crate) view: EndedView,
}

/// The part of a [`JobView`] that [`EndedRecord`] needs.
#[derive(Debug, Deserialize)]
pub(crate) struct EndedView {
    pub(crate) id: JobId,
    pub(crate) state: JobState,
    #[serde(default)]
    pub(crate) finished_at: Option<LogTime>,
}

/// The numbers that were given last: each is followed by the next greater one, and none is ever given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Of enqueues.
    pub(crate) seq: u64,
    /// Of leases.
    pub(crate) token: u64,
    /// Of worker incarnations.
    pub(crate) worker: u64,
}

/// What there is once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) now: LogTime,
    pub(crate) counters: Counters,
    pub(crate) ended_digest: [u8; 32],
}

/// The counters of a queue that cannot be counted anew: of jobs that left memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct QueueRecord {
    pub(crate) completed: u64,
    pub(crate) dead: u64,
    pub(crate) cancelled: u64,
    #[serde(default)]
    pub(crate) expired: u64,
}

impl From<&QueueStats> for QueueRecord {
    fn from(stats: &QueueStats) -> Self {
        let QueueStats { completed, dead, cancelled, expired, .. } = *stats;
        Self { completed, dead, cancelled, expired }
    }
}

impl QueueRecord {
    /// Puts the counters where they were.
    pub(crate) fn write_to(&self, stats: &mut QueueStats) {
        let Self { completed, dead, cancelled, expired } = *self;
        *stats = QueueStats { completed, dead, cancelled, expired, ..stats.clone() };
    }
}

/// Encodes a value of this format.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut body = vec![FORMAT];
    ciborium::into_writer(value, &mut body).expect("writing to memory does not fail, and these types encode");
    body
}

/// Decodes a value: exactly one, of this format or an older one. `what` names it in errors.
pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, RestoreError> {
    let malformed = |reason: String| RestoreError::Malformed { what, reason };
    match body.split_first() {
        None => Err(malformed("no bytes".to_owned())),
        Some((&version, _)) if version > FORMAT => Err(RestoreError::Newer { what, version }),
        Some((_, mut rest)) => {
            let value = ciborium::from_reader(&mut rest).map_err(|error| malformed(error.to_string()))?;
            if rest.is_empty() { Ok(value) } else { Err(malformed(format!("{} bytes too many", rest.len()))) }
        }
    }
}
