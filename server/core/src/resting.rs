//! Jobs as they rest on disk: read without the state, and asked about afterwards.
//!
//! A row may be as large as its payload and its result: whoever shares the state with others decodes it beforehand.

use crate::job::Job;
use crate::record::{self, JobRecord};
use crate::{Core, RestoreError, job};
use bytes::Bytes;
use jobraft_protocol::{JobSummary, JobView};

/// The job in the body of a [`crate::JobRow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestingJob {
    view: JobView,
    ended_seq: Option<u64>,
}

impl RestingJob {
    /// Decodes the body of a row.
    ///
    /// # Errors
    /// If the bytes are not such a body, or one of a newer version.
    pub fn decode(body: &[u8]) -> Result<Self, RestoreError> {
        let JobRecord { view, ended_seq, .. } = record::decode("job", body)?;
        Ok(Self { view, ended_seq })
    }

    /// The job as its row has it.
    #[must_use]
    pub fn view(&self) -> &JobView {
        &self.view
    }

    /// The same, without a copy.
    #[must_use]
    pub fn into_view(self) -> JobView {
        self.view
    }

    /// The same for a list.
    #[must_use]
    pub fn into_summary(self) -> JobSummary {
        job::summary(self.view)
    }
}

/// A job that ended and whose row is not written yet.
#[derive(Clone, Debug)]
pub struct UnwrittenJob {
    record: JobRecord,
    payload_rests: bool,
}

impl UnwrittenJob {
    pub(crate) fn new(record: JobRecord, job: &Job) -> Self {
        Self { record, payload_rests: job.payload.is_at_rest() }
    }

    /// The body of its row. `read` gives its payload if that is in its former row alone, or nothing if that row is gone: then
    /// so is the job.
    ///
    /// # Errors
    /// That of `read`.
    pub fn body<E>(mut self, read: impl FnOnce() -> Result<Option<Bytes>, E>) -> Result<Option<Vec<u8>>, E> {
        if self.payload_rests {
            let Some(payload) = read()? else { return Ok(None) };
            self.record.view.payload = payload;
        }
        Ok(Some(record::encode(&self.record)))
    }
}

impl Core {
    /// Whether a job that was read from disk can still be read: it was not deleted, and, if it has ended, is kept. If not,
    /// its row may still be there.
    #[must_use]
    pub fn keeps(&self, job: &RestingJob) -> bool {
        let RestingJob { view, ended_seq } = job;
        if self.deleted.contains(&view.id) {
            return false;
        }
        let Some(finished_at) = view.finished_at else { return true };
        let queue = self.index.queues.index_of(&view.queue).map(|index| self.index.queues.get(index));
        queue.zip(*ended_seq).is_some_and(|(queue, seq)| self.is_kept(view.id, queue, view.state, finished_at, seq))
    }
}
