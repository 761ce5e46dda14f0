//! Jobs whose life is over: remembered for a while, so that a retry of what was answered is answered alike.
//!
//! Whether a job is still known depends on log time alone: [`EndedJobs::get`] looks at the time, whatever memory holds.
//! When an entry is forgotten, and whether its row was written, must not show anywhere.

use crate::job::Job;
use crate::record;
use crate::{Row, Table};
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
    /// The lease under which a worker reported it; none if no worker did.
    pub(crate) token: Option<FencingToken>,
    pub(crate) finished_at: LogTime,
}

/// A row of [`Table::Ended`]: what ended between two checkpoints.
#[derive(Clone, Debug)]
struct Page {
    key: u64,
    newest: LogTime,
}

/// The jobs that ended lately, and a digest over all that ever did.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndedJobs {
    known: HashMap<JobId, EndedJob>,
    /// In the order in which they ended.
    order: VecDeque<JobId>,
    /// How many at the back of `order` no page holds yet.
    unsaved: usize,
    pages: VecDeque<Page>,
    /// How many jobs ever ended.
    pub(crate) count: u64,
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
        self.count += 1;
        self.digest = chain(self.digest, id, ended, job);
        self.known.insert(id, ended);
        self.order.push_back(id);
        self.unsaved += 1;
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
        self.unsaved = self.unsaved.min(self.order.len());
    }

    /// What to write so that [`Self::load_page`] finds it: a page of what ended since, and the end of old pages.
    pub(crate) fn take_rows(&mut self, now: LogTime, rows: &mut Vec<Row>) {
        while let Some(page) = self.pages.front()
            && page.newest.plus_ms(REMEMBERED_MS) < now
        {
            rows.push(Row { table: Table::Ended, key: page_key(page.key), body: None });
            self.pages.pop_front();
        }
        let saved = self.order.len() - self.unsaved;
        let fresh: Vec<(JobId, EndedJob)> =
            self.order.iter().skip(saved).filter_map(|id| Some((*id, *self.known.get(id)?))).collect();
        self.unsaved = 0;
        if let Some((_, last)) = fresh.last() {
            // Log time never goes back, so the last one is the newest; the count is a number never used before.
            self.pages.push_back(Page { key: self.count, newest: last.finished_at });
            let body = Some(record::encode(&fresh));
            rows.push(Row { table: Table::Ended, key: page_key(self.count), body });
        }
    }

    /// Takes a page back, in the order of keys.
    pub(crate) fn load_page(&mut self, key: u64, jobs: Vec<(JobId, EndedJob)>) {
        if let Some((_, last)) = jobs.last() {
            self.pages.push_back(Page { key, newest: last.finished_at });
        }
        for (id, ended) in jobs {
            self.known.insert(id, ended);
            self.order.push_back(id);
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

/// Keys sort as numbers do.
fn page_key(count: u64) -> String {
    format!("{count:020}")
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
