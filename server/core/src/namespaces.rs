//! Namespaces: which there are, how much each has, and how much it may have.
//!
//! Which namespace something is in stands in its [full name](jobraft_protocol::namespace). What lives without a name of its
//! own is in the namespace of its queue, or notes its own. Whose a request is, and what it may touch, is for those to see to
//! who propose; what is checked here is that nothing ties two namespaces together, and how much there is.

use crate::admission::invalid;
use crate::bucket::Bucket;
use crate::record::{NamespaceRecord, encode};
use crate::{Core, Event, Outcome, Row, Table};
use jobraft_protocol::{
    Error, ErrorCode, LogTime, Namespace, NamespaceChange, NamespaceSetting, NamespaceView, QueueSettings, Retention,
    limits,
};
use std::collections::BTreeMap;
use std::ops::Bound;

/// What somebody is told to wait where a namespace has too many jobs.
const FULL_RETRY_MS: u64 = 1_000;

/// How many names of modules a quota permits for each module.
const NAMES_PER_MODULE: u64 = 4;

/// A namespace's place in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamespaceIndex(u32);

/// One namespace.
#[derive(Clone, Debug)]
pub(crate) struct Space {
    name: Namespace,
    /// `None` for the default one as long as nobody has set anything, and for one that is only named by rows so far.
    record: Option<NamespaceRecord>,
    /// Jobs that have not ended.
    pub(crate) jobs: u64,
    /// What these hold.
    pub(crate) job_bytes: u64,
    /// Of values of the state, and their keys.
    pub(crate) value_bytes: u64,
    pub(crate) queues: u64,
    pub(crate) modules: u64,
    dirty: bool,
}

/// What is taken, or about to be, of a namespace's quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) jobs: u64,
    pub(crate) bytes: u64,
    pub(crate) queues: u64,
    pub(crate) modules: u64,
    /// Jobs that come to be, each of which takes a token of the rate.
    pub(crate) starts: u64,
}

/// All namespaces, those among them that were deleted.
#[derive(Clone, Debug)]
pub(crate) struct Namespaces {
    by_index: Vec<Space>,
    by_name: BTreeMap<Namespace, NamespaceIndex>,
}

impl std::ops::AddAssign for Taken {
    fn add_assign(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.bytes += other.bytes;
        self.queues += other.queues;
        self.modules += other.modules;
        self.starts += other.starts;
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        let mut all = Self { by_index: Vec::new(), by_name: BTreeMap::new() };
        all.intern(Namespace::default());
        all
    }
}

impl Space {
    /// Whether there is such a namespace.
    fn is_there(&self) -> bool {
        match &self.record {
            Some(record) => !record.deleted,
            None => self.name.is_default(),
        }
    }

    fn bytes(&self) -> u64 {
        self.job_bytes + self.value_bytes
    }

    /// Refuses what would be more than the quota, where `to_come` is spoken for.
    fn check(&self, taken: Taken, to_come: Taken, now: LogTime) -> Result<(), Error> {
        let name = &self.name;
        if !self.is_there() {
            return Err(unknown(name));
        }
        let Some(record) = &self.record else { return Ok(()) };
        let quota = &record.quota;
        let Taken { jobs, bytes, queues, modules, starts } = taken;
        let more = |most: Option<u64>, has: u64, more: u64, what: &str| match most {
            Some(most) if more > 0 && has.saturating_add(more) > most => Err(exceeded(name, what, &most.to_string())),
            _ => Ok(()),
        };
        more(quota.queues, self.queues, queues, "queues")?;
        more(quota.modules, self.modules, modules, "modules")?;
        // However long somebody waits, more than all of it is not to be had.
        let passing = |most: Option<u64>, more: u64| {
            move |error: Error| match most {
                Some(most) if more <= most => error.retry_after_ms(FULL_RETRY_MS),
                _ => error,
            }
        };
        let has_jobs = self.jobs + to_come.jobs;
        more(quota.jobs, has_jobs, jobs, "jobs that have not ended").map_err(passing(quota.jobs, jobs))?;
        more(quota.bytes, self.bytes() + to_come.bytes, bytes, "bytes").map_err(passing(quota.bytes, bytes))?;
        match &quota.rate {
            Some(rate) if starts > rate.burst() => Err(exceeded(name, "new jobs at once", &rate.burst().to_string())),
            Some(rate) if record.bucket.tokens(rate, now) < starts => {
                let at = record.bucket.when_holding(rate, starts);
                let error = exceeded(name, "new jobs", &format!("{} in {} ms", rate.count, rate.per_ms));
                Err(error.retry_after_ms(at.ms_since(now).max(1)))
            }
            _ => Ok(()),
        }
    }

    fn view(&self, to_come: Taken) -> NamespaceView {
        let record = self.record.clone().unwrap_or_default();
        NamespaceView {
            name: self.name.clone(),
            created_at: record.created_at,
            created_by: record.created_by,
            quota: record.quota,
            jobs: self.jobs + to_come.jobs,
            bytes: self.bytes() + to_come.bytes,
            queues: self.queues,
            modules: self.modules,
        }
    }
}

impl Namespaces {
    /// The place of that name, made if there is none.
    fn intern(&mut self, name: Namespace) -> NamespaceIndex {
        if let Some(&index) = self.by_name.get(&name) {
            return index;
        }
        let index = NamespaceIndex(u32::try_from(self.by_index.len()).expect("namespaces are limited to far fewer"));
        self.by_index.push(Space {
            name: name.clone(),
            record: None,
            jobs: 0,
            job_bytes: 0,
            value_bytes: 0,
            queues: 0,
            modules: 0,
            dirty: false,
        });
        self.by_name.insert(name, index);
        index
    }

    /// The place of the namespace of a full name.
    pub(crate) fn intern_of(&mut self, full: &str) -> NamespaceIndex {
        match self.by_name.get(Namespace::name_of(full)) {
            Some(&index) => index,
            None => self.intern(Namespace::of(full)),
        }
    }

    pub(crate) fn get_mut(&mut self, index: NamespaceIndex) -> &mut Space {
        &mut self.by_index[index.0 as usize]
    }

    fn find(&self, name: &str) -> Option<&Space> {
        self.by_name.get(name).map(|index| &self.by_index[index.0 as usize])
    }

    /// The namespace of a full name.
    pub(crate) fn space_of(&mut self, full: &str) -> &mut Space {
        let index = self.intern_of(full);
        self.get_mut(index)
    }

    /// The place of the namespace of a full name, if there is one.
    pub(crate) fn index_of(&self, full: &str) -> Option<NamespaceIndex> {
        self.by_name.get(Namespace::name_of(full)).copied()
    }

    /// A job came to be there.
    pub(crate) fn charge(&mut self, index: NamespaceIndex, now: LogTime) {
        let space = self.get_mut(index);
        if let Some(record) = &mut space.record
            && let Some(rate) = &record.quota.rate
        {
            record.bucket.take(rate, now);
            space.dirty = true;
        }
    }

    /// Takes one back.
    pub(crate) fn restore(&mut self, name: Namespace, record: NamespaceRecord) {
        let index = self.intern(name);
        self.get_mut(index).record = Some(record);
    }

    /// The first that rows name and that never was.
    pub(crate) fn find_stray(&self) -> Option<&Namespace> {
        self.by_index.iter().find(|space| space.record.is_none() && !space.name.is_default()).map(|space| &space.name)
    }

    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for space in &mut self.by_index {
            if std::mem::take(&mut space.dirty) {
                let body = space.record.as_ref().map(encode);
                rows.push(Row { table: Table::Namespace, key: space.name.as_str().to_owned(), body });
            }
        }
    }

    /// All that there is of them, by name.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&Namespace, &NamespaceRecord)> {
        let spaces = self.by_name.values().map(|index| &self.by_index[index.0 as usize]);
        spaces.filter_map(|space| Some((&space.name, space.record.as_ref()?)))
    }
}

impl Core {
    /// Makes, changes or removes a namespace on behalf of `by`.
    pub(crate) fn change_namespace(&mut self, change: &NamespaceChange, by: &str) -> Result<Outcome, Error> {
        match change {
            NamespaceChange::Create { name, quota } => self.create_namespace(name, quota, by)?,
            NamespaceChange::Set { name, quota } => {
                check_settings(quota)?;
                self.namespace(name)?;
                let namespaces = &mut self.index.queues.namespaces;
                let index = namespaces.intern(name.clone());
                let space = namespaces.get_mut(index);
                space.record.get_or_insert_default().set(quota);
                space.dirty = true;
            }
            NamespaceChange::Delete { name } => self.delete_namespace(name)?,
        }
        Ok(Outcome::Done)
    }

    fn create_namespace(&mut self, name: &Namespace, quota: &[NamespaceSetting], by: &str) -> Result<(), Error> {
        check_settings(quota)?;
        let mut record =
            NamespaceRecord { created_at: Some(self.now), created_by: by.to_owned(), ..Default::default() };
        record.set(quota);
        let namespaces = &mut self.index.queues.namespaces;
        if let Some(space) = namespaces.find(name.as_str()) {
            // Asked once more for want of an answer.
            let is_same = space.record.as_ref().is_some_and(|known| {
                !known.deleted && known.created_by == record.created_by && known.quota == record.quota
            });
            let text = if space.is_there() {
                format!("there is a namespace {name} already")
            } else {
                format!("there was a namespace {name}: take a name that none has had, lest what is left of it is found")
            };
            return if is_same { Ok(()) } else { Err(Error::new(ErrorCode::Conflict, text)) };
        }
        if namespaces.by_index.len() >= limits::NAMESPACES_MAX {
            let text = format!("the cluster has or had {} namespaces, the most it takes", limits::NAMESPACES_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        let index = namespaces.intern(name.clone());
        let space = namespaces.get_mut(index);
        space.record = Some(record);
        space.dirty = true;
        Ok(())
    }

    /// Removes all that is in a namespace in which no job lives, and what ended there from sight.
    fn delete_namespace(&mut self, name: &Namespace) -> Result<(), Error> {
        if name.is_default() {
            return Err(invalid("the default namespace is always there".to_owned()));
        }
        let space = self.namespace(name)?;
        if space.jobs > 0 {
            let text = format!(
                "namespace {name} has jobs that have not ended, {} of them: cancel them first, with jobraft job cancel --namespace {name}",
                space.jobs
            );
            return Err(Error::new(ErrorCode::WrongState, text));
        }
        let is_here = |full: &str| name.local(full).is_some();
        self.batches.remove_of(name);
        self.schedules.remove_of(name);
        self.tokens.remove_of(name);
        self.workers.remove_of(name);
        self.values.remove_of(name);
        self.keys.remove_of(name);
        self.catalog.remove_of(name);
        self.secrets.remove_of(name);
        self.regrant();
        for queue in self.index.queues.iter_mut().filter(|queue| is_here(queue.stats.queue.as_str())) {
            let nothing = Some(Retention::for_ms(0));
            queue.stats.settings = QueueSettings {
                keep_completed: nothing,
                keep_dead: nothing,
                keep_cancelled: nothing,
                keep_expired: nothing,
                ..QueueSettings::default()
            };
            queue.raise_floors(self.now);
            queue.dirty = true;
        }
        let namespaces = &mut self.index.queues.namespaces;
        let index = namespaces.intern(name.clone());
        let space = namespaces.get_mut(index);
        (space.value_bytes, space.modules, space.dirty) = (0, 0, true);
        if let Some(record) = &mut space.record {
            *record = NamespaceRecord { deleted: true, ..NamespaceRecord::default() };
        }
        self.events.extend([Event::TokenChanged, Event::Scheduled]);
        Ok(())
    }

    /// A namespace that is there.
    fn namespace(&self, name: &Namespace) -> Result<&Space, Error> {
        let space = self.index.queues.namespaces.find(name.as_str());
        space.filter(|space| space.is_there()).ok_or_else(|| unknown(name))
    }

    /// Refuses what is more than the quota of the namespace of a full name permits, or where there is no such namespace.
    pub(crate) fn check_quota(&self, full: &str, taken: Taken) -> Result<(), Error> {
        match self.index.queues.namespaces.find(Namespace::name_of(full)) {
            Some(space) => space.check(taken, self.batches.to_come(&space.name), self.now),
            None => Err(unknown(&Namespace::of(full))),
        }
    }

    /// Refuses to name in one step what is of another namespace.
    pub(crate) fn check_inside(namespace: &str, what: &str, full: &str) -> Result<(), Error> {
        if Namespace::name_of(full) == namespace {
            return Ok(());
        }
        Err(invalid(format!("the {what} is of another namespace than {namespace}")))
    }

    /// Refuses one more name of a module where there are so many: names are few for each module, as a quota has it.
    pub(crate) fn check_names(&self, name: &Namespace, names: u64) -> Result<(), Error> {
        let record = self.namespace(name)?.record.as_ref();
        match record.and_then(|record| record.quota.modules) {
            Some(most) if names >= most.saturating_mul(NAMES_PER_MODULE) => {
                Err(exceeded(name, "names of modules", &most.saturating_mul(NAMES_PER_MODULE).to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Whether there is a namespace.
    #[must_use]
    pub fn has_namespace(&self, name: &Namespace) -> bool {
        self.namespace(name).is_ok()
    }

    /// Whether there is, or was, any namespace but the default one.
    #[must_use]
    pub fn is_divided(&self) -> bool {
        self.index.queues.namespaces.by_index.len() > 1
    }

    /// The namespaces that follow `after`, by name.
    pub fn namespaces(&self, after: Option<&Namespace>) -> impl Iterator<Item = NamespaceView> {
        let namespaces = &self.index.queues.namespaces;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let those = namespaces.by_name.range::<Namespace, _>((from, Bound::Unbounded));
        let those = those.map(|(_, index)| &namespaces.by_index[index.0 as usize]).filter(|space| space.is_there());
        those.map(|space| space.view(self.batches.to_come(&space.name)))
    }
}

impl NamespaceRecord {
    fn set(&mut self, quota: &[NamespaceSetting]) {
        let former = self.quota.rate;
        quota.iter().for_each(|setting| self.quota.set(*setting));
        if self.quota.rate != former {
            self.bucket = Bucket::default();
        }
    }
}

fn check_settings(quota: &[NamespaceSetting]) -> Result<(), Error> {
    quota.iter().try_for_each(NamespaceSetting::check).map_err(|fault| invalid(format!("quota: {fault}")))
}

fn exceeded(name: &Namespace, what: &str, most: &str) -> Error {
    Error::new(ErrorCode::QuotaExceeded, format!("namespace {name} is at its quota of {what}: {most}"))
}

fn unknown(name: &Namespace) -> Error {
    Error::new(ErrorCode::NotFound, format!("there is no namespace {name}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{Command, Entry};
    use jobraft_protocol::{
        EnqueueOutcome, JobId, JobTemplate, NewJob, OnConflict, Schedule, Setting, Task, Unique, UniqueScope,
    };

    fn apply(core: &mut Core, at: u64, command: Command) -> Result<Outcome, Error> {
        let entry = Entry { at: LogTime::from_ms(at), commands: vec![command], ..Entry::default() };
        core.apply(&entry).outcomes.remove(0)
    }

    fn rule(core: &mut Core, change: NamespaceChange) {
        apply(core, 0, Command::ChangeNamespace { change, by: "ops".to_owned() }).unwrap();
    }

    fn job(seed: u8, payload: usize) -> NewJob {
        let key = Unique {
            key: Namespace::new("acme").unwrap().full("k").parse().unwrap(),
            scope: UniqueScope::UntilDone,
            on_conflict: OnConflict::Replace { payload: true, start: false },
        };
        let (id, queue) = (JobId::new(LogTime::ZERO, [seed; 10]), Namespace::new("acme").unwrap().full("q"));
        let task = Task::Handler("t".parse().unwrap());
        NewJob { unique: Some(key), ..NewJob::new(id, queue.parse().unwrap(), task, vec![0; payload]) }
    }

    #[test]
    fn a_step_that_was_checked_as_a_whole_is_not_refused_in_its_middle() {
        let (mut core, name) = (Core::new(), Namespace::new("acme").unwrap());
        rule(&mut core, NamespaceChange::Create { name: name.clone(), quota: vec![] });
        apply(&mut core, 0, Command::enqueue(vec![job(1, 200_000)])).unwrap();
        rule(&mut core, NamespaceChange::Set { name, quota: vec![NamespaceSetting::Bytes(Some(1_000))] });
        // Each beside what was there, both take nothing; one after the other, the second takes what the first gave back.
        let both = Command::Enqueue { jobs: vec![job(2, 1), job(3, 100_000)], all_or_none: true, known: vec![] };
        let Ok(Outcome::Enqueued(outcomes)) = apply(&mut core, 1, both) else { panic!() };
        assert!(outcomes.iter().all(|outcome| matches!(outcome, EnqueueOutcome::Replaced(_))), "{outcomes:?}");
    }

    #[test]
    fn a_tick_comes_though_somebody_took_the_id_that_it_would_have() {
        let ticked = |core: &mut Core| {
            let schedule = JobTemplate::new("q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
            let schedule = Setting::PutSchedule(Box::new(Schedule::new("s".parse().unwrap(), "* * * * *", schedule)));
            apply(core, 0, Command::Configure { settings: vec![schedule] }).unwrap();
            let (name, ticks) = ("s".parse().unwrap(), vec![LogTime::from_ms(60_000)]);
            let tick = Command::Tick { name, revision: 1, ticks, passed_over: 0, more: false };
            apply(core, 60_000, tick).unwrap();
            core.schedule(&"s".parse().unwrap()).unwrap()
        };
        let guessed = ticked(&mut Core::new()).last_job.unwrap();
        let mut core = Core::new();
        let taken = NewJob::new(guessed, "other".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
        apply(&mut core, 1, Command::enqueue(vec![taken])).unwrap();
        let seen = ticked(&mut core);
        assert_eq!((seen.fired, seen.skipped), (1, 0));
        assert_ne!(seen.last_job, Some(guessed));
    }
}
