//! Restore: the state from the rows of its checkpoints.
//!
//! The bytes come from a disk or from another node: nothing in them is taken on trust, and nothing in them may panic.
//! What is restored answers every later entry as the state that was written would have.

use crate::catalog::parse_holder_row_key;
use crate::checkpoint::parse_group_row_key;
use crate::ended::{EndedJob, REMEMBERED_MS};
use crate::job::Job;
use crate::payload::Payload;
use crate::record::{
    self, BatchRecord, Counters, DeadRecord, EndedRecord, GroupRecord, Header, HolderRecord, JobRecord, NameRecord,
    NamespaceRecord, PeriodRecord, QueueRecord, ScheduleRecord, SecretRecord, TokenRecord, ValueRecord,
};
use crate::retention::DeadJob;
use crate::{Core, Table};
use jobraft_protocol::{
    Digest, JobState, JobView, LogTime, ModuleManifest, ModuleName, Namespace, QueueName, UniqueKey, WorkerId, limits,
};
use std::collections::BTreeSet;

/// No counter gets here in the life of a cluster; one beyond was not written by it, and might overflow.
const COUNTER_MAX: u64 = u64::MAX / 2;
/// The same for places in the order of enqueues, of which indexes keep 7 bytes.
const SEQ_MAX: u64 = (1 << 56) - 1;

/// Live jobs for which room is made at once.
const EXPECTED_MAX: u64 = 1 << 24;

/// Why rows do not make a state. None of these can be retried: restore a copy, or let the node fetch a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Not what this version writes, nor any older one.
    #[error("the {what} on disk is malformed ({reason}): restore the data directory from a healthy copy")]
    Malformed {
        /// Which kind of row.
        what: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// Written by a newer version.
    #[error("the {what} on disk has format {version}, this version reads up to {}: run a newer one", record::FORMAT)]
    Newer {
        /// Which kind of row.
        what: &'static str,
        /// Its format.
        version: u8,
    },
    /// Rows that contradict each other.
    #[error("the rows on disk contradict each other ({reason}): restore the data directory from a healthy copy")]
    Inconsistent {
        /// How.
        reason: String,
    },
}

/// A live job as its row has it. It is decoded without the state, aside of what restores it.
#[derive(Debug)]
pub struct LiveRecord {
    record: JobRecord,
    payload: Payload,
}

impl LiveRecord {
    /// Decodes the body of a row.
    ///
    /// # Errors
    /// If the bytes are not such a body, or one of a newer version.
    pub fn decode(body: &[u8]) -> Result<Self, RestoreError> {
        let mut record: JobRecord = record::decode("job", body)?;
        let payload = Payload::at_rest(&std::mem::take(&mut record.view.payload));
        Ok(Self { record, payload })
    }
}

/// A state on its way back into memory: feed it the rows of live jobs, of jobs
/// that ended lately, and of the small tables, in any order, then [`Restore::finish`].
#[derive(Debug)]
pub struct Restore {
    core: Core,
    live: Option<u64>,
    names: Vec<(ModuleName, NameRecord)>,
    holders: Vec<(Namespace, Digest, HolderRecord)>,
}

impl Core {
    /// Begins to restore a state whose header this is.
    ///
    /// # Errors
    /// If the bytes are no header, or one of a newer version.
    pub fn restore(header: &[u8]) -> Result<Restore, RestoreError> {
        let header: Header = record::decode("header", header)?;
        let Counters { seq, token, worker, version, revision } = header.counters;
        if [seq, token, worker, version, revision, header.now.as_ms()].into_iter().any(|count| count > COUNTER_MAX)
            || seq > SEQ_MAX
        {
            return Err(inconsistent("a counter or the time of the header is beyond all reason".to_owned()));
        }
        let mut core = Self { now: header.now, counters: header.counters, ..Self::new() };
        core.ended.digest = header.ended_digest;
        core.settings = header.settings;
        core.jobs.reserve(header.live.unwrap_or_default().min(EXPECTED_MAX) as usize);
        Ok(Restore { core, live: header.live, names: Vec::new(), holders: Vec::new() })
    }
}

impl Restore {
    /// Takes a live job. Those in a terminal state stay on disk.
    ///
    /// # Errors
    /// If it contradicts the header or another row.
    pub fn job(&mut self, LiveRecord { record, payload }: LiveRecord) -> Result<(), RestoreError> {
        let id = record.view.id;
        self.check_job(&record).map_err(|reason| inconsistent(format!("job {id}: {reason}")))?;
        let queue = self.intern(&record.view.queue)?;
        if record.holds_key
            && let Some(unique) = &record.view.unique
            && !self.core.keys.restore(unique.key.clone(), id, None)
        {
            return Err(inconsistent(format!("job {id} holds the unique key {} of another", unique.key)));
        }
        let group = record.view.group.clone();
        let group = self.core.index.queues.intern_group(queue, group.as_ref());
        let job = Job { payload, ..Job::from_record(record, queue, group, &mut self.core.tasks) };
        self.core.index.link(id, &job, |id| self.core.jobs.contains_key(&id));
        let Some(job) = self.core.jobs.insert(id, job) else {
            return Err(inconsistent(format!("two rows for job {id}")));
        };
        self.core.index.restore(id, job);
        Ok(())
    }

    fn check_job(&self, record: &JobRecord) -> Result<(), &'static str> {
        let JobView { state, attempt, max_attempts, run_timeout_ms, priority, lease, .. } = &record.view;
        let counters = &self.core.counters;
        let check = |holds: bool, otherwise| if holds { Ok(()) } else { Err(otherwise) };
        check(
            matches!(state, JobState::Scheduled | JobState::Blocked | JobState::Ready | JobState::Leased),
            "its state is not one of a live job",
        )?;
        let after = &record.view.after;
        check(*state != JobState::Blocked || !after.is_empty(), "it waits for jobs and names none")?;
        check(after.len() <= limits::AFTER_JOBS_MAX, "it comes after too many jobs")?;
        let named: BTreeSet<_> = after.iter().map(|one| one.job).collect();
        check(named.len() == after.len(), "it comes after one job twice")?;
        check(after.iter().all(|one| one.ended.is_none_or(JobState::is_terminal)), "it takes a live job for ended")?;
        check((1..=limits::ATTEMPTS_MAX).contains(max_attempts), "its limit of attempts is out of range")?;
        check(*run_timeout_ms <= limits::RUN_TIMEOUT_MS_MAX, "it may run for too long")?;
        let leased = *state == JobState::Leased;
        check(lease.is_some() == leased && record.lease_ms.is_some() == leased, "its lease does not fit its state")?;
        let attempts_begun = u32::from(leased)..=(if leased { *max_attempts } else { max_attempts.saturating_sub(1) });
        check(record.view.unique.is_some() || !record.holds_key, "it holds a key that it does not name")?;
        check(attempts_begun.contains(attempt), "its attempts are not within its limit")?;
        check(record.view.finished_at.is_none() && record.ended_seq.is_none(), "it lives and has ended")?;
        check(*priority <= limits::PRIORITY_MAX, "its priority is out of range")?;
        check((1..=counters.seq).contains(&record.seq), "its place was never given")?;
        if let Some(lease) = lease {
            check((1..=counters.token).contains(&lease.token.0), "its token was never given")?;
            check((1..=counters.worker).contains(&lease.worker.0), "its worker was never registered")?;
        }
        Ok(())
    }

    /// Takes a row of a small table.
    ///
    /// # Errors
    /// If its key or body is malformed, newer, or contradicts another row.
    pub fn row(&mut self, table: Table, key: &str, body: &[u8]) -> Result<(), RestoreError> {
        match table {
            Table::Queue => {
                let record: QueueRecord = record::decode("queue", body)?;
                let QueueRecord { completed, dead, cancelled, expired, .. } = record;
                let counts = [completed, dead, cancelled, expired, record.virtual_time, record.top, record.orders];
                let counts = counts.into_iter().chain([record.pass, record.order]);
                if counts.into_iter().any(|count| count > COUNTER_MAX) {
                    return Err(inconsistent(format!("a counter of queue {key} is beyond all reason")));
                }
                let index = self.intern(&parse("queue", key)?)?;
                record.settings.check().map_err(|fault| inconsistent(format!("queue {key}: {fault}")))?;
                record.write_to(self.core.index.queues.get_mut(index));
            }
            Table::Group => {
                let record: GroupRecord = record::decode("group", body)?;
                let malformed = || RestoreError::Malformed { what: "group", reason: format!("key {key:?}") };
                let (queue, group) = parse_group_row_key(key).ok_or_else(malformed)?;
                record.settings.check().map_err(|fault| inconsistent(format!("group {key:?}: {fault}")))?;
                if record.pass.max(record.order) > COUNTER_MAX {
                    return Err(inconsistent(format!("the pass of group {key:?} is beyond all reason")));
                }
                let queue = self.intern(&parse("queue", queue)?)?;
                self.core.index.queues.restore_group(queue, &parse("group", group)?, record);
            }
            Table::Batch => {
                let record: BatchRecord = record::decode("batch", body)?;
                let jobs = record.ended.iter().fold(record.live, |sum, count| sum.saturating_add(*count));
                if jobs.max(record.since) > COUNTER_MAX {
                    return Err(inconsistent(format!("a counter of batch {key} is beyond all reason")));
                }
                if record.on_complete.iter().chain(&record.on_failure).any(|call| !self.core.is_sound_callback(call)) {
                    return Err(inconsistent(format!("the callback of batch {key} could not be enqueued")));
                }
                self.core.batches.restore(parse("batch", key)?, record);
            }
            Table::Schedule => {
                let record: ScheduleRecord = record::decode("schedule", body)?;
                if record.schedule.name.as_str() != key {
                    return Err(inconsistent(format!("the row of schedule {key} is another's")));
                }
                record.schedule.check().map_err(|fault| inconsistent(format!("schedule {key}: {fault}")))?;
                if !(1..=self.core.counters.revision).contains(&record.revision) {
                    return Err(inconsistent(format!("the revision of schedule {key} was never given")));
                }
                self.core.schedules.restore(record);
            }
            Table::Module => {
                let manifest: ModuleManifest = record::decode("module", body)?;
                if manifest.digest != parse("module", key)? || !manifest.names.is_empty() {
                    return Err(inconsistent(format!("the manifest of module {key} is another's")));
                }
                self.core.catalog.insert(manifest);
            }
            Table::UniqueKey => {
                let PeriodRecord { job, until } = record::decode("unique key", body)?;
                let key: UniqueKey = parse("unique key", key)?;
                if !self.core.keys.restore(key.clone(), job, Some(until)) {
                    return Err(inconsistent(format!("unique key {key} is held twice")));
                }
            }
            Table::Worker => {
                let id: WorkerId = parse("worker", key)?;
                if !(1..=self.core.counters.worker).contains(&id.0) {
                    return Err(inconsistent(format!("worker {id} was never registered")));
                }
                self.core.workers.insert(id, record::decode("worker", body)?);
            }
            Table::State => {
                let value: ValueRecord = record::decode("state value", body)?;
                if !(1..=self.core.counters.version).contains(&value.version) {
                    return Err(inconsistent(format!("the version of state value {key} was never given")));
                }
                self.core.put_value(parse("state key", key)?, Some(value));
            }
            Table::Token => {
                let token: TokenRecord = record::decode("token", body)?;
                if token.view.name.as_str() != key || token.former.is_some() != token.view.former_until.is_some() {
                    return Err(inconsistent(format!("the row of token {key} is another's, or lacks a part")));
                }
                if !self.core.tokens.insert(token) {
                    return Err(inconsistent(format!("token {key} has the secret of another")));
                }
            }
            Table::Secret => {
                let record: SecretRecord = record::decode("secret", body)?;
                if record.view.name.as_str() != key {
                    return Err(inconsistent(format!("the row of secret {key} is another's")));
                }
                self.core.secrets.restore(record);
            }
            Table::Namespace => {
                let record: NamespaceRecord = record::decode("namespace", body)?;
                record.quota.check().map_err(|fault| inconsistent(format!("namespace {key}: {fault}")))?;
                self.core.index.queues.namespaces.restore(parse("namespace", key)?, record);
            }
            Table::ModuleHolder => {
                let malformed = || RestoreError::Malformed { what: "module holder", reason: format!("key {key:?}") };
                let (namespace, digest) = parse_holder_row_key(key).ok_or_else(malformed)?;
                self.holders.push((namespace, digest, record::decode("module holder", body)?));
            }
            Table::Tombstone => self.core.ended.bury(parse("tombstone", key)?, record::decode("tombstone", body)?),
            Table::ModuleName => self.names.push((parse("module name", key)?, NameRecord::decode(body)?)),
        }
        Ok(())
    }

    /// Terminal rows that ended at or after this time must be passed to [`Self::remember`].
    #[must_use]
    pub fn remember_since(&self) -> LogTime {
        LogTime::from_ms(self.core.now.as_ms().saturating_sub(REMEMBERED_MS + limits::ID_AHEAD_MS_MAX))
    }

    /// Takes the row of a job that ended lately, so that a retry of it is still recognised.
    ///
    /// # Errors
    /// If it is malformed or newer, or the row of a live job.
    pub fn remember(&mut self, body: &[u8]) -> Result<(), RestoreError> {
        let EndedRecord { reported: token, view, .. } = record::decode("job", body)?;
        match view.finished_at {
            Some(finished_at) if view.state.is_terminal() => {
                let namespace = self.core.index.queues.namespaces.intern_of(view.queue.as_str());
                self.core.ended.remember(view.id, EndedJob { state: view.state, token, finished_at, namespace });
                Ok(())
            }
            _ => Err(inconsistent(format!("job {} stands among the ended ones and is {}", view.id, view.state))),
        }
    }

    /// Takes the row of a dead job: each that there is, whether or not it was passed to [`Self::remember`].
    ///
    /// # Errors
    /// If it is malformed or newer, or not the row of a dead job.
    pub fn dead(&mut self, body: &[u8]) -> Result<(), RestoreError> {
        let DeadRecord { ended_seq, lost, view } = record::decode("job", body)?;
        let (JobState::Dead, Some(finished_at), Some(seq)) = (view.state, view.finished_at, ended_seq) else {
            return Err(inconsistent(format!("job {} stands among the dead ones and is {}", view.id, view.state)));
        };
        let queue = self.intern(&view.queue)?;
        let holds = view.after.iter().map(|one| one.job).filter(|id| !lost.contains(id)).collect();
        self.core.dead.insert(view.id, DeadJob { queue, seq, finished_at, holds });
        Ok(())
    }

    /// The state.
    ///
    /// # Errors
    /// If the rows contradict each other.
    pub fn finish(self) -> Result<Core, RestoreError> {
        let Self { mut core, live, names, holders } = self;
        let rows = core.jobs.len() as u64;
        if let Some(live) = live.filter(|live| *live != rows) {
            return Err(inconsistent(format!("{live} jobs live, and {rows} have rows")));
        }
        for (name, record) in names {
            if !core.catalog.contains(&record.digest) {
                let digest = record.digest;
                return Err(inconsistent(format!("module name {name} points to sha256:{digest}, which is not there")));
            }
            core.catalog.point(name, record);
        }
        for (namespace, digest, holder) in holders {
            if core.catalog.hold(&namespace, digest, holder) != Some(true) {
                return Err(inconsistent(format!("namespace {namespace} knows sha256:{digest}, which is not there")));
            }
            core.index.queues.namespaces.space_of(&namespace.full("")).modules += 1;
        }
        if let Some(digest) = core.catalog.find_stray() {
            return Err(inconsistent(format!("module sha256:{digest} is known in no namespace")));
        }
        if let Some(namespace) = core.index.queues.namespaces.find_stray() {
            return Err(inconsistent(format!("there is something of namespace {namespace}, which is not there")));
        }
        core.ended.restored();
        core.regrant();
        core.index.queues.restored(core.now);
        core.check_batches().map_err(inconsistent)?;
        core.index.queues.take_announced().for_each(drop);
        Ok(core)
    }

    fn intern(&mut self, name: &QueueName) -> Result<crate::queue::QueueIndex, RestoreError> {
        let queues = &mut self.core.index.queues;
        if queues.index_of(name).is_none() && queues.len() >= self.core.bounds.queues {
            return Err(inconsistent(format!("more than {} queues", self.core.bounds.queues)));
        }
        Ok(queues.intern(name))
    }
}

fn inconsistent(reason: String) -> RestoreError {
    RestoreError::Inconsistent { reason }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(what: &'static str, key: &str) -> Result<T, RestoreError> {
    key.parse().map_err(|error| RestoreError::Malformed { what, reason: format!("key {key:?}: {error}") })
}
