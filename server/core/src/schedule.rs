//! Schedules: what is enqueued at which tick of the calendar.
//!
//! The calendar itself is not known here: its tables may differ between two builds. The leader reads it and says which ticks
//! fell due; each is taken once, since only one that is later than all before it is taken.

use crate::admission::{Admission, Claimed, invalid};
use crate::enqueue::Origin;
use crate::job::cut;
use crate::namespaces::Taken;
use crate::record::{ScheduleRecord, encode};
use crate::waits::Waits;
use crate::{Core, Event, Outcome, Plan, Row, Table, Target};
use jobraft_protocol::{
    After, CatchUp, EnqueueOutcome, Error, ErrorCode, JobAction, JobId, JobState, LogTime, Namespace, NewJob,
    OnFailure, Overlap, Schedule, ScheduleName, ScheduleTick, ScheduleView, limits,
};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// All schedules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedules {
    by_name: BTreeMap<ScheduleName, ScheduleRecord>,
    dirty: BTreeSet<ScheduleName>,
}

impl Schedules {
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn contains(&self, name: &ScheduleName) -> bool {
        self.by_name.contains_key(name)
    }

    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for name in std::mem::take(&mut self.dirty) {
            let body = self.by_name.get(&name).map(encode);
            rows.push(Row { table: Table::Schedule, key: name.as_str().to_owned(), body });
        }
    }

    pub(crate) const fn records(&self) -> &BTreeMap<ScheduleName, ScheduleRecord> {
        &self.by_name
    }

    pub(crate) fn restore(&mut self, record: ScheduleRecord) {
        self.by_name.insert(record.schedule.name.clone(), record);
    }

    /// Removes those of a namespace.
    pub(crate) fn remove_of(&mut self, namespace: &Namespace) {
        let those = self.by_name.keys().filter(|name| namespace.local(name.as_str()).is_some());
        for name in those.cloned().collect::<Vec<_>>() {
            self.by_name.remove(&name);
            self.dirty.insert(name);
        }
    }

    fn change(&mut self, name: &ScheduleName, change: impl FnOnce(&mut ScheduleRecord)) {
        if let Some(record) = self.by_name.get_mut(name) {
            change(record);
            self.dirty.insert(name.clone());
        }
    }
}

/// What became of a tick.
enum Fired {
    Enqueued(JobId),
    /// The job before it lives, or another one holds its key.
    Skipped,
    /// To be tried again.
    NotYet(Error),
}

impl Core {
    /// Refuses a schedule whose job could never be enqueued.
    pub(crate) fn check_schedule(&self, schedule: &Schedule) -> Result<(), Error> {
        schedule.check().map_err(invalid)?;
        self.check_values(&schedule.job.job(JobId::new(self.now, [0; 10]), self.now))?;
        let others = self.schedules.by_name.values().filter(|other| other.schedule.name != schedule.name);
        let bytes = others.map(|other| other.schedule.job.payload.len()).sum::<usize>() + schedule.job.payload.len();
        if bytes > limits::SCHEDULE_BYTES_MAX {
            let max = limits::SCHEDULE_BYTES_MAX;
            let text = format!("the jobs of all schedules would have {bytes} bytes of payload, the limit is {max}");
            return Err(Error::new(ErrorCode::TooLarge, text));
        }
        let name = schedule.name.as_str();
        Self::check_inside(Namespace::name_of(name), "queue of its jobs", schedule.job.queue.as_str())?;
        self.check_quota(name, Taken::default())?;
        self.check_task(&schedule.job.queue, &schedule.job.task)
    }

    pub(crate) fn put_schedule(&mut self, schedule: &Schedule) {
        self.counters.revision += 1;
        let (now, revision) = (self.now, self.counters.revision);
        let former = self.schedules.by_name.remove(&schedule.name);
        let is_same_calendar = |former: &ScheduleRecord| {
            former.schedule.cron == schedule.cron && former.schedule.time_zone == schedule.time_zone
        };
        let record = match former {
            Some(former) => {
                let ticked_to = if is_same_calendar(&former) { former.ticked_to } else { now };
                ScheduleRecord { schedule: schedule.clone(), revision, ticked_to, last_error: None, ..former }
            }
            None => ScheduleRecord {
                schedule: schedule.clone(),
                revision,
                paused: false,
                created_at: now,
                ticked_to: now,
                last_job: None,
                fired: 0,
                missed: 0,
                skipped: 0,
                last_error: None,
            },
        };
        self.schedules.by_name.insert(schedule.name.clone(), record);
        self.schedules.dirty.insert(schedule.name.clone());
        self.events.push(Event::Scheduled);
    }

    pub(crate) fn pause_schedule(&mut self, name: &ScheduleName, paused: bool) {
        self.counters.revision += 1;
        let (now, revision) = (self.now, self.counters.revision);
        self.schedules.change(name, |record| {
            if record.paused && !paused {
                record.ticked_to = now;
                record.revision = revision;
            }
            record.paused = paused;
        });
        self.events.push(Event::Scheduled);
    }

    pub(crate) fn remove_schedule(&mut self, name: &ScheduleName) {
        self.schedules.by_name.remove(name);
        self.schedules.dirty.insert(name.clone());
        self.events.push(Event::Scheduled);
    }

    /// Takes the ticks that are newer than all before, each as the schedule's policies say.
    pub(crate) fn tick(
        &mut self,
        name: &ScheduleName,
        revision: u64,
        ticks: &[LogTime],
        passed_over: u64,
        more: bool,
    ) -> Result<Outcome, Error> {
        if ticks.len() > limits::TICKS_MAX {
            let text = format!("{} ticks, at most {} at once", ticks.len(), limits::TICKS_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        let Some(record) = self.schedules.by_name.get(name) else { return Ok(Outcome::Done) };
        let Some(&first) = ticks.first() else { return Ok(Outcome::Done) };
        if record.revision != revision || record.paused {
            return Ok(Outcome::Done);
        }
        let (catch_up, now) = (record.schedule.catch_up, self.now);
        let before_first = LogTime::from_ms(first.as_ms().saturating_sub(1));
        if before_first > record.ticked_to && before_first < now && passed_over > 0 && catch_up != CatchUp::All {
            self.schedules.change(name, |record| {
                record.missed = record.missed.saturating_add(passed_over);
                // Counted once, though the first may have to be tried again.
                record.ticked_to = before_first;
            });
        }
        let is_late = |tick: LogTime| now.ms_since(tick) >= limits::TICK_LATE_MS;
        let last_late = ticks.iter().copied().filter(|&tick| is_late(tick)).max();
        for &tick in ticks {
            let is_new = self.schedules.by_name.get(name).is_some_and(|record| tick > record.ticked_to);
            if !is_new || tick > now {
                continue;
            }
            let is_made_up_for = match catch_up {
                CatchUp::Skip => false,
                CatchUp::One => !more && last_late == Some(tick),
                CatchUp::All => true,
            };
            if is_late(tick) && !is_made_up_for {
                self.schedules.change(name, |record| {
                    record.missed = record.missed.saturating_add(1);
                    record.ticked_to = tick;
                });
                continue;
            }
            let fired = self.fire(name, tick);
            let refused = matches!(fired, Fired::NotYet(_));
            self.schedules.change(name, |record| match fired {
                Fired::Enqueued(job) => {
                    (record.ticked_to, record.last_error, record.last_job) = (tick, None, Some(job));
                    record.fired = record.fired.saturating_add(1);
                }
                Fired::Skipped => {
                    (record.ticked_to, record.last_error) = (tick, None);
                    record.skipped = record.skipped.saturating_add(1);
                }
                Fired::NotYet(error) => {
                    record.last_error = Some(cut(&error.to_string(), limits::KEPT_ERROR_BYTES_MAX));
                }
            });
            if refused {
                break;
            }
        }
        Ok(Outcome::Done)
    }

    fn fire(&mut self, name: &ScheduleName, tick: LogTime) -> Fired {
        let Some(record) = self.schedules.by_name.get(name) else { return Fired::Skipped };
        // Another job may have taken the id on purpose.
        let Some(id) = (0..).map(|round| tick_id(self.now, name, tick, round)).find(|id| !self.remembers(*id)) else {
            return Fired::Skipped;
        };
        let mut job = record.schedule.job.job(id, tick);
        let before = record.last_job.filter(|&job| self.is_live(job));
        let overlap = record.schedule.overlap;
        if let Some(before) = before {
            match overlap {
                Overlap::Allow => {}
                Overlap::Skip => return Fired::Skipped,
                Overlap::Queue => job.after = Some(After { jobs: vec![before], on_failure: OnFailure::Run }),
                Overlap::Replace => {
                    let jobs = self.ways_to_make(before);
                    job.after = Some(After { jobs, on_failure: OnFailure::Run });
                }
            }
        }
        let claimed = Claimed::default();
        match self.admit(&job, &claimed) {
            Ok(Admission::Create(run_at)) => {
                let origin = Origin { tick: Some(ScheduleTick { schedule: name.clone(), tick }), callback: None };
                self.create(&job, run_at, &claimed.circumstances, origin);
                if let (Overlap::Replace, Some(before)) = (overlap, before) {
                    self.make_way(before, name);
                }
                Fired::Enqueued(id)
            }
            Ok(Admission::Replace(holder, run_at)) => {
                self.replace(holder, &job, run_at);
                Fired::Enqueued(holder)
            }
            Ok(Admission::Duplicate(_) | Admission::Sibling) => Fired::Skipped,
            Err(error) if error.code == ErrorCode::Conflict => Fired::Skipped,
            Err(error) => Fired::NotYet(error),
        }
    }

    /// What has to end before the job that takes this one's place may run: this one, and what it waits for itself, which may
    /// still run though this one is gone.
    fn ways_to_make(&self, before: JobId) -> Vec<JobId> {
        let job = self.job(before);
        let waits = job.waits().filter(|_| job.state == JobState::Blocked);
        let others = waits.into_iter().flat_map(Waits::jobs).filter(|one| one.ended.is_none());
        std::iter::once(before).chain(others.map(|one| one.job)).take(limits::AFTER_JOBS_MAX).collect()
    }

    /// Cancels the job of the tick before.
    fn make_way(&mut self, before: JobId, name: &ScheduleName) {
        let reason = format!("the next tick of schedule {name} takes its place");
        let action = JobAction::Cancel { reason, grace_ms: limits::CANCEL_GRACE_MS_DEFAULT };
        // It lives: it cannot be refused, and if it could, the next would merely wait for its end.
        let _ = self.act(&[Target { job: before, row: None }], &action, &[], "");
    }

    pub(crate) fn run_schedule(&mut self, name: &ScheduleName, id: JobId) -> Result<Outcome, Error> {
        let Some(record) = self.schedules.by_name.get(name) else { return Err(not_found(name)) };
        let has_live_job = record.last_job.is_some_and(|job| self.is_live(job));
        let tick = self.now;
        let job: NewJob = record.schedule.job.job(id, tick);
        let origin = Origin { tick: Some(ScheduleTick { schedule: name.clone(), tick }), callback: None };
        let outcome = self.enqueue_one(&job, &Claimed::default(), origin);
        // Of two that live it is the job of the tick before that the next one has to see.
        if outcome == EnqueueOutcome::Created && !has_live_job {
            self.schedules.change(name, |record| record.last_job = Some(id));
        }
        Ok(Outcome::Enqueued(vec![outcome]))
    }

    /// A schedule, without its next ticks.
    #[must_use]
    pub fn schedule(&self, name: &ScheduleName) -> Option<ScheduleView> {
        self.schedules.by_name.get(name).map(view)
    }

    /// The schedules whose names are greater than `after`, by name, without their next ticks. Looked at as they are taken.
    pub fn schedules(&self, after: Option<&ScheduleName>) -> impl Iterator<Item = ScheduleView> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.schedules.by_name.range::<ScheduleName, _>((from, Bound::Unbounded)).map(|(_, record)| view(record))
    }

    /// What the leader reads the calendar for: the schedules that are not paused.
    #[must_use]
    pub fn plans(&self) -> Vec<Plan> {
        let running = self.schedules.by_name.iter().filter(|(_, record)| !record.paused);
        let plan = |(name, record): (&ScheduleName, &ScheduleRecord)| Plan {
            name: name.clone(),
            revision: record.revision,
            cron: record.schedule.cron.clone(),
            time_zone: record.schedule.time_zone.clone(),
            tells_all: record.schedule.catch_up == CatchUp::All,
            ticked_to: record.ticked_to,
        };
        running.map(plan).collect()
    }
}

/// The id of a tick's job: it follows from the tick, and is as young as an id must be.
fn tick_id(now: LogTime, name: &ScheduleName, tick: LogTime, round: u64) -> JobId {
    let mut hash = Sha256::new();
    hash.update(name.as_str());
    hash.update(tick.as_ms().to_be_bytes());
    if round > 0 {
        hash.update(round.to_be_bytes());
    }
    let mut random = [0; 10];
    random.copy_from_slice(&hash.finalize()[..10]);
    JobId::new(now, random)
}

pub(crate) fn not_found(name: &ScheduleName) -> Error {
    Error::new(ErrorCode::NotFound, format!("no schedule {name} in this cluster"))
}

fn view(record: &ScheduleRecord) -> ScheduleView {
    let ScheduleRecord { schedule, paused, created_at, ticked_to, last_job, fired, missed, skipped, .. } = record;
    ScheduleView {
        schedule: schedule.clone(),
        paused: *paused,
        created_at: *created_at,
        ticked_to: *ticked_to,
        last_job: *last_job,
        fired: *fired,
        missed: *missed,
        skipped: *skipped,
        last_error: record.last_error.clone(),
        next: Vec::new(),
        withheld: false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use jobraft_protocol::{JobTemplate, Setting, Task};

    fn put(name: usize) -> Setting {
        let job = JobTemplate::new("q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
        Setting::PutSchedule(Box::new(Schedule::new(format!("s{name}").parse().unwrap(), "@hourly", job)))
    }

    #[test]
    fn so_many_schedules_may_be_put_and_no_more() {
        let mut core = Core::new();
        core.configure(&[put(0)]).unwrap();
        let first = core.schedules.by_name.values().next().unwrap().clone();
        for name in 1..limits::SCHEDULES_MAX - 1 {
            let mut record = first.clone();
            record.schedule.name = format!("s{name}").parse().unwrap();
            core.schedules.restore(record);
        }
        let most = limits::SCHEDULES_MAX;
        assert_eq!(core.configure(&[put(most), put(most + 1)]).unwrap_err().code, ErrorCode::TooMany);
        assert_eq!(core.schedules(None).count(), most - 1, "nothing of it was done");
        core.configure(&[put(most), put(1)]).unwrap();
        assert_eq!(core.configure(&[put(most + 1)]).unwrap_err().code, ErrorCode::TooMany);
        core.configure(&[put(most), put(most)]).unwrap();
    }
}
