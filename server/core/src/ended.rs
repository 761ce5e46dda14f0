//! Jobs whose life is over: remembered for a while, so that a retry of what was answered is answered alike.
//!
//! Whether a job is still known depends on log time alone: [`EndedJobs::get`] looks at the time, whatever memory holds.
//! When an entry leaves memory must not show anywhere.

use crate::job::Job;
use jobraft_protocol::{FencingToken, JobId, JobState, LogTime, limits};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};

/// How long after its end a job's id is known. An id may be minted ahead of log time and is accepted for a whole
/// window from there; were it forgotten sooner, a late retry could make a second job of a short one.
pub(crate) const REMEMBERED_MS: u64 = limits::IDEMPOTENCY_WINDOW_MS_DEFAULT + limits::ID_AHEAD_MS_MAX;

/// Ids that one entry forgets at most: more than it can end, so that memory stays bounded.
const FORGOTTEN_PER_ENTRY_MAX: usize = 2 * (limits::ENTRY_COMMANDS_MAX + limits::TIMERS_PER_ENTRY_MAX);

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndedJob {
    pub(crate) state: JobState,
    /// The lease under which a worker reported it; without meaning where none did.
    pub(crate) token: Option<FencingToken>,
    pub(crate) finished_at: LogTime,
}

/// The jobs that ended lately, and a digest over all that ever did.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndedJobs {
    known: HashMap<JobId, EndedJob>,
    /// In the order in which they ended.
    order: VecDeque<JobId>,
    /// Chains every end to the one before, so that the state hash covers jobs that memory no longer holds.
    pub(crate) digest: [u8; 32],
}

impl EndedJobs {
    /// How the job ended, if that is still known at `now`.
    pub(crate) fn get(&self, id: JobId, now: LogTime) -> Option<EndedJob> {
        self.known.get(&id).copied().filter(|ended| is_known(ended, now))
    }

    /// Notes the end of a job.
    pub(crate) fn add(&mut self, id: JobId, ended: EndedJob, job: &Job) {
        self.digest = chain(self.digest, id, ended, job);
        self.remember(id, ended);
    }

    /// Takes back what a checkpoint holds; to be called in the order of ending, or memory is freed later.
    pub(crate) fn remember(&mut self, id: JobId, ended: EndedJob) {
        self.known.insert(id, ended);
        self.order.push_back(id);
    }

    /// Drops what is no longer known, a bounded number at a time.
    pub(crate) fn forget(&mut self, now: LogTime) {
        for _ in 0..FORGOTTEN_PER_ENTRY_MAX {
            match self.order.front() {
                Some(id) if self.known.get(id).is_none_or(|ended| !is_known(ended, now)) => {
                    self.known.remove(id);
                    self.order.pop_front();
                }
                _ => break,
            }
        }
    }

    /// Everything known at `now`, by time of ending, then by id.
    pub(crate) fn sorted(&self, now: LogTime) -> Vec<(JobId, EndedJob)> {
        let mut all: Vec<_> = self.order.iter().filter_map(|&id| Some((id, self.get(id, now)?))).collect();
        all.sort_unstable_by_key(|(id, ended)| (ended.finished_at, *id));
        all
    }
}

fn is_known(ended: &EndedJob, now: LogTime) -> bool {
    ended.finished_at.plus_ms(REMEMBERED_MS) >= now
}

/// Covers what the end added to the job; what was there before is covered while the job lives.
fn chain(before: [u8; 32], id: JobId, ended: EndedJob, job: &Job) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(id.as_bytes());
    hash.update(ended.finished_at.as_ms().to_be_bytes());
    hash.update(ended.token.map_or(0, |token| token.0).to_be_bytes());
    hash.update(job.attempt.to_be_bytes());
    let mut text = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    text(ended.state.as_str().as_bytes());
    if let Some(past) = &job.past {
        text(&past.result);
        text(&past.log);
        text(past.cancel_reason.as_deref().unwrap_or_default().as_bytes());
        for error in &past.errors {
            text(error.kind.as_str().as_bytes());
            text(error.message.as_bytes());
        }
    }
    hash.finalize().into()
}
