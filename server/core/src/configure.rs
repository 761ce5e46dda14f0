//! Settings: what queues and the cluster are set to, changed all at once or not at all.

use crate::admission::invalid;
use crate::namespaces::Taken;
use crate::{Core, Outcome, schedule};
use jobraft_protocol::{
    ClusterSettings, Error, ErrorCode, GroupKey, Namespace, QueueName, ScheduleName, Setting, limits,
};
use std::collections::BTreeSet;

/// What the settings of one step make or remove, up to the one that is looked at.
#[derive(Default)]
struct Made<'a> {
    queues: BTreeSet<&'a QueueName>,
    groups: BTreeSet<(&'a QueueName, &'a GroupKey)>,
    schedules: BTreeSet<&'a ScheduleName>,
    removed: BTreeSet<&'a ScheduleName>,
}

impl Core {
    /// Checks all settings, then makes them.
    pub(crate) fn configure(&mut self, settings: &[Setting]) -> Result<Outcome, Error> {
        if settings.len() > limits::SETTINGS_MAX {
            let text = format!("{} settings, at most {} at once; split them", settings.len(), limits::SETTINGS_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        let mut made = Made::default();
        for setting in settings {
            self.check_setting(setting, &mut made)?;
        }
        let queues = &self.index.queues;
        if !made.queues.is_empty() && queues.len() + made.queues.len() > self.bounds.queues {
            return Err(self.too_many_queues());
        }
        if let Some(first) = made.queues.first() {
            let namespace = Namespace::name_of(first.as_str());
            made.queues.iter().try_for_each(|queue| Self::check_inside(namespace, "queue", queue.as_str()))?;
            self.check_quota(first.as_str(), Taken { queues: made.queues.len() as u64, ..Taken::default() })?;
        }
        self.check_groups(made.groups.len())?;
        let schedules = self.schedules.len() + made.schedules.len();
        if schedules > limits::SCHEDULES_MAX {
            let text = format!("there would be {schedules} schedules, at most {}", limits::SCHEDULES_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        for setting in settings {
            match setting {
                Setting::Queue(queue, setting) => {
                    let index = self.index.queues.intern(queue);
                    self.index.queues.set(index, *setting, self.now);
                }
                Setting::Group(queue, group, setting) => {
                    let index = self.index.queues.intern(queue);
                    self.index.queues.set_group(index, group, *setting, self.now);
                }
                Setting::CreateQueues(create) => self.settings.create_queues = *create,
                Setting::PutSchedule(schedule) => self.put_schedule(schedule),
                Setting::PauseSchedule(name, paused) => self.pause_schedule(name, *paused),
                Setting::RemoveSchedule(name) => self.remove_schedule(name),
            }
        }
        self.index.queues.settle(self.now);
        Ok(Outcome::Done)
    }

    fn check_setting<'a>(&self, setting: &'a Setting, made: &mut Made<'a>) -> Result<(), Error> {
        let queues = &self.index.queues;
        match setting {
            Setting::Queue(queue, setting) => {
                setting.check().map_err(|fault| invalid(format!("queue {queue}: {fault}")))?;
                if queues.index_of(queue).is_none() {
                    made.queues.insert(queue);
                }
            }
            Setting::Group(queue, group, setting) => {
                let place = || format!("queue {queue}, group {group}");
                setting.check().map_err(|fault| invalid(format!("{}: {fault}", place())))?;
                if queues.index_of(queue).is_none() {
                    made.queues.insert(queue);
                }
                if !queues.has_group(queue, group) {
                    made.groups.insert((queue, group));
                }
            }
            Setting::CreateQueues(_) => {}
            Setting::PutSchedule(schedule) => {
                self.check_schedule(schedule).map_err(|mut error| {
                    error.message.insert_str(0, &format!("schedule {}: ", schedule.name));
                    error
                })?;
                if !self.schedules.contains(&schedule.name) {
                    made.schedules.insert(&schedule.name);
                }
                made.removed.remove(&schedule.name);
            }
            Setting::PauseSchedule(name, _) | Setting::RemoveSchedule(name) => {
                let was_there = self.schedules.contains(name) && !made.removed.contains(name);
                if !was_there && !made.schedules.contains(name) {
                    return Err(schedule::not_found(name));
                }
                if matches!(setting, Setting::RemoveSchedule(_)) {
                    made.schedules.remove(name);
                    made.removed.insert(name);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn too_many_queues(&self) -> Error {
        let text = format!("the cluster has {} queues, the most it takes: use one of them", self.bounds.queues);
        Error::new(ErrorCode::TooMany, text)
    }

    /// What the cluster as a whole is set to.
    #[must_use]
    pub fn settings(&self) -> ClusterSettings {
        self.settings.clone()
    }
}
