//! Jobs whose life is over: remembered for a while, so that a retry of what was answered is answered alike.
//!
//! A job that was deleted meanwhile stays known all the same; its row being gone, a *tombstone* rests in its place.
//!
//! Whether a job is still known depends on log time alone: [`EndedJobs::get`] looks at the time, whatever memory holds.
//! When an entry leaves memory must not show anywhere.

use crate::job::Job;
use crate::namespaces::NamespaceIndex;
use crate::recent::Recent;
use jobraft_protocol::{FencingToken, JobId, JobState, LogTime, limits};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// How long a job's id is known, from its end or from its making, whichever is later: an id may be minted ahead of log
/// time and is accepted for a whole window from there. Were it forgotten sooner, a late retry could make a second job.
pub(crate) const REMEMBERED_MS: u64 = limits::IDEMPOTENCY_WINDOW_MS_DEFAULT;

/// Ids that one entry forgets at most: more than it ends, but for the largest bulks.
const FORGOTTEN_PER_ENTRY_MAX: usize = 2 * (limits::ENTRY_COMMANDS_MAX + limits::TIMERS_PER_ENTRY_MAX);

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndedJob {
    pub(crate) state: JobState,
    /// The lease under which a worker reported it; without meaning where none did.
    pub(crate) token: Option<FencingToken>,
    pub(crate) finished_at: LogTime,
    /// Where it was; without meaning where it was deleted.
    #[serde(skip)]
    pub(crate) namespace: NamespaceIndex,
}

/// The jobs that ended lately, and a digest over all that ever did.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndedJobs {
    known: Recent,
    /// Those whose rows are gone.
    tombstones: BTreeSet<JobId>,
    /// Tombstones that came or went.
    dirty: BTreeSet<JobId>,
    /// Chains every end to the one before, so that the state hash covers jobs that memory no longer holds.
    pub(crate) digest: [u8; 32],
}

impl EndedJobs {
    /// How the job ended, if that is still known at `now`.
    pub(crate) fn get(&self, id: JobId, now: LogTime) -> Option<EndedJob> {
        self.known.get(id).filter(|ended| is_known(id, ended, now))
    }

    /// Notes the end of a job that lived until now.
    pub(crate) fn add(&mut self, id: JobId, ended: EndedJob, job: &Job) {
        self.digest = chain(self.digest, id, ended, job);
        self.known.push(id, ended);
    }

    /// Notes that the job's row is gone.
    pub(crate) fn delete(&mut self, id: JobId, now: LogTime) {
        let mut hash = Sha256::new();
        hash.update(self.digest);
        hash.update(b"deleted");
        hash.update(id.as_bytes());
        self.digest = hash.finalize().into();
        if self.get(id, now).is_some() {
            self.tombstones.insert(id);
            self.dirty.insert(id);
        }
    }

    /// Whether the row of a job that is still known is gone.
    pub(crate) fn is_deleted(&self, id: JobId) -> bool {
        self.tombstones.contains(&id)
    }

    /// Forgets the end of a job that lives again.
    pub(crate) fn revive(&mut self, id: JobId) {
        self.known.remove(id);
        if self.tombstones.remove(&id) {
            self.dirty.insert(id);
        }
    }

    /// Tombstones that changed since the last call: with how the job ended, or without if it is forgotten.
    pub(crate) fn take_tombstones(&mut self) -> impl Iterator<Item = (JobId, Option<EndedJob>)> {
        let Self { known, tombstones, dirty, .. } = self;
        std::mem::take(dirty).into_iter().map(|id| (id, tombstones.contains(&id).then(|| known.get(id)).flatten()))
    }

    /// Takes back a tombstone.
    pub(crate) fn bury(&mut self, id: JobId, ended: EndedJob) {
        self.tombstones.insert(id);
        self.remember(id, ended);
    }

    /// Notes how a job ended that is the last to have done so, or, until [`Self::restored`], any.
    pub(crate) fn remember(&mut self, id: JobId, ended: EndedJob) {
        self.known.put(id, ended);
    }

    /// Puts what a checkpoint held in the order in which it ended: memory is freed in that order.
    pub(crate) fn restored(&mut self) {
        let mut all: Vec<_> = std::mem::take(&mut self.known).iter().collect();
        all.sort_unstable_by_key(|(id, ended)| (ended.finished_at, *id));
        all.into_iter().for_each(|(id, ended)| self.known.push(id, ended));
    }

    /// Drops what is no longer known, a bounded number at a time.
    pub(crate) fn forget(&mut self, now: LogTime) {
        for _ in 0..FORGOTTEN_PER_ENTRY_MAX {
            let Some(id) = self.known.pop_if(|id, ended| !is_known(id, ended, now)) else { break };
            if self.tombstones.remove(&id) {
                self.dirty.insert(id);
            }
        }
    }

    /// Everything known at `now`, by time of ending, then by id.
    pub(crate) fn sorted(&self, now: LogTime) -> Vec<(JobId, EndedJob)> {
        let mut all: Vec<_> = self.known.iter().filter(|(id, ended)| is_known(*id, ended, now)).collect();
        all.sort_unstable_by_key(|(id, ended)| (ended.finished_at, *id));
        all
    }
}

fn is_known(id: JobId, ended: &EndedJob, now: LogTime) -> bool {
    ended.finished_at.max(id.minted_at()).plus_ms(REMEMBERED_MS) >= now
}

/// Covers what the end added to the job; what was there before is covered while the job lives.
fn chain(before: [u8; 32], id: JobId, ended: EndedJob, job: &Job) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(id.as_bytes());
    hash.update(ended.finished_at.as_ms().to_be_bytes());
    hash.update(ended.token.map_or(0, |token| token.0).to_be_bytes());
    hash.update(u32::from(job.attempt).to_be_bytes());
    let mut text = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    text(ended.state.as_str().as_bytes());
    if let Some(past) = &job.past {
        text(past.end_reason.map_or("", jobraft_protocol::EndReason::as_str).as_bytes());
        text(&past.result);
        text(&past.log);
        text(past.cancel_reason.as_deref().unwrap_or_default().as_bytes());
        text(past.cancelled_by.as_deref().unwrap_or_default().as_bytes());
        for error in &past.errors {
            text(error.kind.as_str().as_bytes());
            text(error.message.as_bytes());
        }
    }
    hash.finalize().into()
}
