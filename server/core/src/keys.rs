//! Unique keys: which job holds which, in each namespace.
//!
//! A key is held by a live job until its scope ends, or by any job until a time. What is held until a time is free from
//! then on, whether or not memory still holds it; those holdings have rows of their own, since their job may be gone.

use crate::Core;
use crate::job::Job;
use crate::planted::{Bug, is_planted};
use crate::record::{PeriodRecord, encode};
use crate::{Row, Table};
use jobraft_protocol::{JobId, JobState, LogTime, Namespace, Unique, UniqueKey, UniqueScope, limits};
use std::collections::{BTreeMap, BTreeSet};

/// Periods that one entry clears away at most: more than it begins, but for the largest bulks.
const CLEARED_PER_ENTRY_MAX: usize = 2 * limits::ENTRY_COMMANDS_MAX;

/// Who holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    job: JobId,
    /// There if it is held for a period.
    until: Option<LogTime>,
}

/// All keys that are held.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    held: BTreeMap<UniqueKey, Holder>,
    periods: BTreeSet<(LogTime, UniqueKey)>,
    dirty: BTreeSet<UniqueKey>,
}

impl Keys {
    /// The job that holds the key at `now`.
    pub(crate) fn holder(&self, key: &UniqueKey, now: LogTime) -> Option<JobId> {
        self.held.get(key).filter(|holder| holder.until.is_none_or(|until| until > now)).map(|holder| holder.job)
    }

    /// Whether the job itself holds the key, other than for a period.
    pub(crate) fn is_held_by(&self, key: &UniqueKey, job: JobId) -> bool {
        self.held.get(key) == Some(&Holder { job, until: None })
    }

    /// Whether one more key than `more` can be held for a period.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.periods.len() + more < limits::UNIQUE_PERIODS_MAX
    }

    /// Gives the key, which nobody holds now, to a job.
    pub(crate) fn claim(&mut self, key: &UniqueKey, job: JobId, until: Option<LogTime>) {
        let former = self.held.insert(key.clone(), Holder { job, until });
        if let Some(over) = former.and_then(|holder| holder.until) {
            self.periods.remove(&(over, key.clone()));
            self.dirty.insert(key.clone());
        }
        if let Some(until) = until {
            self.periods.insert((until, key.clone()));
            self.dirty.insert(key.clone());
        }
    }

    /// Takes the key from the job, unless it holds it for a period or not at all.
    fn release(&mut self, key: &UniqueKey, job: JobId) {
        if self.is_held_by(key, job) {
            self.held.remove(key);
        }
    }

    /// Clears away what is over at `now`, a bounded number. Shows nowhere.
    pub(crate) fn clear(&mut self, now: LogTime) {
        for _ in 0..CLEARED_PER_ENTRY_MAX {
            match self.periods.first() {
                Some((until, _)) if *until <= now => {}
                _ => break,
            }
            if let Some((_, key)) = self.periods.pop_first() {
                self.held.remove(&key);
                self.dirty.insert(key);
            }
        }
    }

    /// Everything held at `now`, by key.
    pub(crate) fn sorted(&self, now: LogTime) -> impl Iterator<Item = (&UniqueKey, JobId, Option<LogTime>)> {
        let held = self.held.iter().filter(move |(_, holder)| holder.until.is_none_or(|until| until > now));
        held.map(|(key, holder)| (key, holder.job, holder.until))
    }

    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for key in std::mem::take(&mut self.dirty) {
            let period =
                self.held.get(&key).and_then(|&Holder { job, until }| Some(PeriodRecord { job, until: until? }));
            let body = period.map(|period| encode(&period));
            rows.push(Row { table: Table::UniqueKey, key: key.as_str().to_owned(), body });
        }
    }

    /// Frees those of a namespace, in which no job lives.
    pub(crate) fn remove_of(&mut self, namespace: &Namespace) {
        let those = self.held.keys().filter(|key| namespace.local(key.as_str()).is_some());
        for key in those.cloned().collect::<Vec<_>>() {
            if let Some(until) = self.held.remove(&key).and_then(|holder| holder.until) {
                self.periods.remove(&(until, key.clone()));
                self.dirty.insert(key);
            }
        }
    }

    /// Takes back a key; says whether nobody held it.
    pub(crate) fn restore(&mut self, key: UniqueKey, job: JobId, until: Option<LogTime>) -> bool {
        if let Some(until) = until {
            self.periods.insert((until, key.clone()));
        }
        self.held.insert(key, Holder { job, until }).is_none()
    }

    /// After a job changed its state: it gives its key up, or takes it again, as its scope says.
    pub(crate) fn settle(&mut self, id: JobId, job: &Job, now: LogTime) {
        let Some(unique) = job.unique() else { return };
        let (waits, gives_up) = match unique.scope {
            UniqueScope::Waiting => (job.is_waiting(), !job.is_waiting()),
            UniqueScope::UntilStarted => (false, !job.is_waiting()),
            UniqueScope::UntilDone if is_planted(Bug::KeyReleasedEarly) => (false, !job.is_waiting()),
            UniqueScope::UntilDone => (false, job.state.is_terminal()),
            UniqueScope::ForMs(_) => return,
        };
        if gives_up {
            self.release(&unique.key, id);
        } else if waits && self.holder(&unique.key, now).is_none() {
            self.claim(&unique.key, id, None);
        }
    }
}

/// When a period ends; `None` for every other scope.
pub(crate) fn period_end(unique: &Unique, enqueued_at: LogTime) -> Option<LogTime> {
    match unique.scope {
        UniqueScope::ForMs(ms) => Some(enqueued_at.plus_ms(ms)),
        UniqueScope::Waiting | UniqueScope::UntilStarted | UniqueScope::UntilDone => None,
    }
}

impl Core {
    /// Whether the job holds its key for as long as its scope says.
    pub(crate) fn holds_key(&self, id: JobId, job: &Job) -> bool {
        job.state != JobState::Completed && job.unique().is_some_and(|unique| self.keys.is_held_by(&unique.key, id))
    }
}
