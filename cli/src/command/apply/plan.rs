//! What a file would change of what is set now.

use super::file::SettingsFile;
use crate::command::schedule::plan;
use crate::command::settings::{self, Change, Place};
use jobraft_protocol::{
    ClusterSettings, GroupView, QueueMode, QueueName, QueueSetting, QueueStats, ScheduleName, ScheduleView, Setting,
    Task,
};
use std::collections::BTreeMap;

/// What is set now, as far as the file is concerned with it.
#[derive(Debug, Default)]
pub(super) struct Now {
    pub(super) cluster: ClusterSettings,
    pub(super) queues: Vec<QueueStats>,
    /// Of the queues whose groups the file names.
    pub(super) groups: BTreeMap<QueueName, Vec<GroupView>>,
    pub(super) schedules: Vec<ScheduleView>,
}

/// The changes, queues and schedules by name; none if everything is as the file says. `tasks` are what the file's schedules
/// run; with `prune`, those that it does not name go.
pub(super) fn changes(
    file: &SettingsFile,
    now: &Now,
    tasks: &BTreeMap<ScheduleName, Task>,
    prune: bool,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, wishes) in &file.queues {
        let queue = now.queues.iter().find(|queue| queue.queue == *name);
        // A section without keys is there for its name: the queue is to be there.
        let settings = if wishes.settings.is_empty() && queue.is_none() {
            &[QueueSetting::Mode(QueueMode::Open)]
        } else {
            &wishes.settings[..]
        };
        changes.extend(settings::changes(name, queue, settings));
        for (key, wishes) in &wishes.groups {
            let groups = now.groups.get(name).into_iter().flatten();
            let set = groups.into_iter().find(|view| view.group == *key).map(|view| view.settings);
            changes.extend(settings::group_changes(name, key, set, wishes));
        }
    }
    if let Some(create) = file.create_queues.filter(|create| *create != now.cluster.create_queues) {
        changes.push(Change {
            place: Place::Cluster {},
            setting: "create_queues",
            from: Some(now.cluster.create_queues.to_string()),
            to: Some(create.to_string()),
            wish: Some(Setting::CreateQueues(create)),
        });
    }
    for (name, spec) in &file.schedules {
        let view = now.schedules.iter().find(|view| view.schedule.name == *name);
        if let Some(task) = tasks.get(name) {
            changes.extend(plan::changes(view, &spec.schedule(name, task.clone()), spec.paused));
        }
    }
    if prune {
        let unnamed = now.schedules.iter().filter(|view| !file.schedules.contains_key(&view.schedule.name));
        changes.extend(unnamed.map(plan::removal));
    }
    changes
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::file::QueueWishes;
    use super::*;
    use crate::command::schedule::plan::ScheduleSpec;
    use crate::command::schedule::plan::tests::{schedule, view};
    use crate::command::settings::tests::queue;
    use crate::command::work::{JobSpec, Options, What};
    use jobraft_protocol::{CatchUp, GroupKey, GroupSetting, GroupSettings, Overlap, QueueSettings};

    fn file(queues: &[(&str, &[QueueSetting])], create_queues: Option<bool>) -> SettingsFile {
        let wishes = |set: &[QueueSetting]| QueueWishes { settings: set.to_vec(), ..QueueWishes::default() };
        let queues = queues.iter().map(|(name, set)| (name.parse().unwrap(), wishes(set)));
        SettingsFile { create_queues, queues: queues.collect(), ..SettingsFile::default() }
    }

    fn group(key: &str, settings: GroupSettings) -> GroupView {
        GroupView { group: GroupKey::new(key).unwrap(), ready: 0, leased: 0, waiting: 0, open: 0, settings }
    }

    /// What [`schedule`] makes, as a file describes it.
    fn spec(cron: &str, paused: Option<bool>) -> ScheduleSpec {
        let job = JobSpec {
            queue: "q".parse().unwrap(),
            what: What::Task("t".parse().unwrap()),
            payload: Default::default(),
            options: Options::default(),
        };
        let time_zone = "UTC".to_owned();
        ScheduleSpec { cron: cron.to_owned(), time_zone, job, catch_up: CatchUp::Skip, overlap: Overlap::Allow, paused }
    }

    fn planned(file: &SettingsFile, now: &Now, prune: bool) -> Vec<Change> {
        let task = Task::Handler("t".parse().unwrap());
        changes(file, now, &file.schedules.keys().map(|name| (name.clone(), task.clone())).collect(), prune)
    }

    fn told(changes: &[Change]) -> Vec<String> {
        changes.iter().map(Change::told).collect()
    }

    /// What is set once it is carried out.
    fn carried_out(mut now: Now, changes: &[Change]) -> Now {
        for wish in settings::wishes(changes).unwrap() {
            match wish {
                Setting::CreateQueues(create) => now.cluster.create_queues = create,
                Setting::Queue(name, setting) => {
                    if !now.queues.iter().any(|queue| queue.queue == name) {
                        now.queues.push(QueueStats::empty(name.clone(), QueueSettings::default()));
                    }
                    now.queues.iter_mut().find(|queue| queue.queue == name).unwrap().settings.set(setting);
                }
                Setting::Group(name, key, setting) => {
                    let groups = now.groups.entry(name).or_default();
                    if !groups.iter().any(|view| view.group == key) {
                        groups.push(group(key.as_str(), GroupSettings::default()));
                    }
                    groups.iter_mut().find(|view| view.group == key).unwrap().settings.set(setting);
                }
                Setting::PutSchedule(schedule) => {
                    let paused = now.schedules.iter().any(|view| view.schedule.name == schedule.name && view.paused);
                    now.schedules.retain(|view| view.schedule.name != schedule.name);
                    now.schedules.push(ScheduleView { paused, ..view(*schedule) });
                }
                Setting::PauseSchedule(name, paused) => {
                    now.schedules.iter_mut().find(|view| view.schedule.name == name).unwrap().paused = paused;
                }
                Setting::RemoveSchedule(name) => now.schedules.retain(|view| view.schedule.name != name),
            }
        }
        now
    }

    #[test]
    fn a_plan_that_was_carried_out_is_empty() {
        let mut file = file(
            &[("a", &[QueueSetting::DepthMax(Some(5)), QueueSetting::Mode(QueueMode::Paused)]), ("b", &[])],
            Some(false),
        );
        let wishes = vec![GroupSetting::Weight(Some(3)), GroupSetting::Concurrency(Some(1))];
        let a = file.queues.get_mut(&"a".parse::<QueueName>().unwrap()).unwrap();
        a.groups.insert(GroupKey::new("tenant").unwrap(), wishes);
        file.schedules.insert("hourly".parse().unwrap(), spec("@hourly", None));
        file.schedules.insert("nightly".parse().unwrap(), spec("0 4 * * *", Some(true)));
        let now = Now {
            queues: vec![queue("a", QueueSettings::default())],
            schedules: vec![view(schedule("nightly", "0 3 * * *")), view(schedule("old", "@daily"))],
            ..Now::default()
        };
        let plan = planned(&file, &now, true);
        assert_eq!(
            told(&plan),
            [
                "queue a: max_jobs: 1000000 jobs (default) -> 5 jobs",
                "queue a: mode: open -> paused",
                "queue a, group tenant: weight: 1 (default) -> 3",
                "queue a, group tenant: concurrency: as the queue's groups (default) -> 1 job",
                "queue b: new: mode: open",
                "cluster: create_queues: true -> false",
                "schedule hourly: new: cron: @hourly",
                "schedule hourly: new: time_zone: UTC",
                "schedule hourly: new: queue: q",
                "schedule hourly: new: task: t",
                "schedule nightly: cron: 0 3 * * * -> 0 4 * * *",
                "schedule nightly: paused: false -> true",
                "schedule old: removed: cron: @daily (UTC)",
            ]
        );
        let after = carried_out(now, &plan);
        assert_eq!(after.schedules.len(), 2);
        assert_eq!(planned(&file, &after, true), []);
    }

    #[test]
    fn what_is_not_in_the_file_is_left_alone() {
        let set = QueueSettings { mode: QueueMode::Draining, depth_max: Some(9), ..QueueSettings::default() };
        let wishes = file(&[("a", &[QueueSetting::DepthMax(Some(9))])], None);
        let now = Now {
            cluster: ClusterSettings { create_queues: false },
            queues: vec![queue("a", set.clone()), queue("other", set)],
            schedules: vec![view(schedule("other", "@daily"))],
            ..Now::default()
        };
        assert_eq!(planned(&wishes, &now, false), []);
    }

    #[test]
    fn a_schedule_that_somebody_paused_stays_so_unless_the_file_says_otherwise() {
        let mut now = Now { schedules: vec![view(schedule("s", "@daily"))], ..Now::default() };
        now.schedules[0].paused = true;
        let mut file = SettingsFile::default();
        file.schedules.insert("s".parse().unwrap(), spec("@daily", None));
        assert_eq!(planned(&file, &now, true), []);
        file.schedules.insert("s".parse().unwrap(), spec("@daily", Some(false)));
        assert_eq!(told(&planned(&file, &now, true)), ["schedule s: paused: true -> false"]);
    }
}
