//! What is set, as people read it: the name of each setting, its value, and what a change changes.

use crate::failure::Failure;
use crate::output::human;
use jobraft_protocol::{
    GroupKey, GroupSetting, GroupSettings, QueueName, QueueSetting, QueueSettings, QueueStats, Retention, ScheduleName,
    Setting, limits,
};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A limit that is not set.
pub(super) const UNLIMITED: &str = "unlimited";

/// One change: where, what, from what, to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    #[serde(flatten)]
    pub(super) place: Place,
    /// The setting, as files and flags name it.
    pub(super) setting: &'static str,
    /// As it was; absent: what it belongs to is not there yet.
    pub(super) from: Option<String>,
    /// As it will be; absent: what it belongs to goes.
    pub(super) to: Option<String>,
    /// What is asked of the cluster; absent: the change before brings this one about.
    #[serde(skip)]
    pub(super) wish: Option<Setting>,
}

/// What is set to something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Place {
    /// The cluster as a whole.
    Cluster {},
    /// A queue.
    Queue { queue: QueueName },
    /// A group of a queue.
    Group { queue: QueueName, group: GroupKey },
    /// A schedule.
    Schedule { schedule: ScheduleName },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster {} => f.write_str("cluster"),
            Self::Queue { queue } => write!(f, "queue {queue}"),
            Self::Group { queue, group } => write!(f, "queue {queue}, group {group}"),
            Self::Schedule { schedule } => write!(f, "schedule {schedule}"),
        }
    }
}

impl Change {
    /// For people: `queue emails: mode: open -> paused`.
    pub(super) fn told(&self) -> String {
        let Self { place, setting, .. } = self;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => format!("{place}: {setting}: {from} -> {to}"),
            (None, Some(to)) => format!("{place}: new: {setting}: {to}"),
            (Some(from), None) => format!("{place}: removed: {setting}: {from}"),
            (None, None) => format!("{place}: {setting}"),
        }
    }
}

/// What is asked of the cluster for these changes: all of it, or nothing.
pub(super) fn wishes(changes: &[Change]) -> Result<Vec<Setting>, Failure> {
    let wishes: Vec<Setting> = changes.iter().filter_map(|change| change.wish.clone()).collect();
    if wishes.len() > limits::SETTINGS_MAX {
        let cause =
            format!("{} settings are to be changed, at most {} in one step", wishes.len(), limits::SETTINGS_MAX);
        return Err(Failure::usage("change the settings", cause).hint("nothing was done; split the file"));
    }
    Ok(wishes)
}

/// What setting `wishes` would change of a queue; in their order. A queue that is not there yet is made by any wish.
pub(super) fn changes(name: &QueueName, now: Option<&QueueStats>, wishes: &[QueueSetting]) -> Vec<Change> {
    let before = now.map(|queue| queue.settings.clone()).unwrap_or_default();
    let change = |wish: &QueueSetting| {
        let mut after = before.clone();
        after.set(*wish);
        (now.is_none() || after != before).then(|| Change {
            place: Place::Queue { queue: name.clone() },
            setting: setting_name(*wish),
            from: now.map(|_| value(&before, *wish)),
            to: Some(value(&after, *wish)),
            wish: Some(Setting::Queue(name.clone(), *wish)),
        })
    };
    wishes.iter().filter_map(change).collect()
}

/// What setting `wishes` would change of a group of a queue; in their order. `before` is what it is set to, if it is there;
/// one that is not is like one that is set to nothing.
pub(super) fn group_changes(
    queue: &QueueName,
    group: &GroupKey,
    before: Option<GroupSettings>,
    wishes: &[GroupSetting],
) -> Vec<Change> {
    let before = before.unwrap_or_default();
    let change = |wish: &GroupSetting| {
        let mut after = before;
        after.set(*wish);
        (after != before).then(|| Change {
            place: Place::Group { queue: queue.clone(), group: group.clone() },
            setting: group_setting_name(*wish),
            from: Some(group_value(&before, *wish)),
            to: Some(group_value(&after, *wish)),
            wish: Some(Setting::Group(queue.clone(), group.clone(), *wish)),
        })
    };
    wishes.iter().filter_map(change).collect()
}

/// How many ended jobs of the queue setting `wishes` may make unreadable, at once and for ever.
pub(super) fn forgotten(queue: &QueueStats, wishes: &[QueueSetting]) -> u64 {
    let mut after = queue.settings.clone();
    wishes.iter().for_each(|wish| after.set(*wish));
    let kept = |set: &QueueSettings| {
        let or_default = |kept: Option<Retention>, default_ms| kept.unwrap_or(Retention::for_ms(default_ms));
        [
            or_default(set.keep_completed, limits::RETENTION_COMPLETED_MS_DEFAULT),
            or_default(set.keep_dead, limits::RETENTION_DEAD_MS_DEFAULT),
            or_default(set.keep_cancelled, limits::RETENTION_CANCELLED_MS_DEFAULT),
            or_default(set.keep_expired, limits::RETENTION_EXPIRED_MS_DEFAULT),
        ]
    };
    let ended = [queue.completed, queue.dead, queue.cancelled, queue.expired];
    let lost = kept(&queue.settings).into_iter().zip(kept(&after)).zip(ended).map(|((before, after), ended)| {
        let (most, least) = (before.count.unwrap_or(u64::MAX), after.count.unwrap_or(u64::MAX));
        match (after.age_ms < before.age_ms, least < most) {
            (true, _) => ended,
            (false, true) => ended.saturating_sub(least),
            (false, false) => 0,
        }
    });
    lost.sum()
}

/// The setting's name in files; flags have hyphens in it.
fn setting_name(setting: QueueSetting) -> &'static str {
    match setting {
        QueueSetting::Mode(_) => "mode",
        QueueSetting::DepthMax(_) => "max_jobs",
        QueueSetting::BytesMax(_) => "max_bytes",
        QueueSetting::KeepCompleted(_) => "keep_completed",
        QueueSetting::KeepDead(_) => "keep_dead",
        QueueSetting::KeepCancelled(_) => "keep_cancelled",
        QueueSetting::KeepExpired(_) => "keep_expired",
        QueueSetting::Concurrency(_) => "concurrency",
        QueueSetting::Rate(_) => "rate",
        QueueSetting::GroupConcurrency(_) => "group_concurrency",
        QueueSetting::GroupRate(_) => "group_rate",
    }
}

fn group_setting_name(setting: GroupSetting) -> &'static str {
    match setting {
        GroupSetting::Weight(_) => "weight",
        GroupSetting::Concurrency(_) => "concurrency",
        GroupSetting::Rate(_) => "rate",
    }
}

/// The value of the setting of that kind.
fn value(settings: &QueueSettings, kind: QueueSetting) -> String {
    let or_default = |value: Option<String>, default: String| value.unwrap_or_else(|| format!("{default} (default)"));
    let keep = |kept: Option<Retention>, default_ms| or_default(kept.map(retention), age(default_ms));
    match kind {
        QueueSetting::Mode(_) => settings.mode.to_string(),
        QueueSetting::DepthMax(_) => or_default(settings.depth_max.map(jobs), jobs(limits::QUEUE_DEPTH_DEFAULT as u64)),
        QueueSetting::BytesMax(_) => {
            or_default(settings.bytes_max.map(human::bytes), human::bytes(limits::QUEUE_BYTES_DEFAULT))
        }
        QueueSetting::KeepCompleted(_) => keep(settings.keep_completed, limits::RETENTION_COMPLETED_MS_DEFAULT),
        QueueSetting::KeepDead(_) => keep(settings.keep_dead, limits::RETENTION_DEAD_MS_DEFAULT),
        QueueSetting::KeepCancelled(_) => keep(settings.keep_cancelled, limits::RETENTION_CANCELLED_MS_DEFAULT),
        QueueSetting::KeepExpired(_) => keep(settings.keep_expired, limits::RETENTION_EXPIRED_MS_DEFAULT),
        QueueSetting::Concurrency(_) => or_default(settings.concurrency.map(jobs), UNLIMITED.to_owned()),
        QueueSetting::Rate(_) => or_default(settings.rate.as_ref().map(human::rate), UNLIMITED.to_owned()),
        QueueSetting::GroupConcurrency(_) => or_default(settings.group_concurrency.map(jobs), UNLIMITED.to_owned()),
        QueueSetting::GroupRate(_) => or_default(settings.group_rate.as_ref().map(human::rate), UNLIMITED.to_owned()),
    }
}

/// The value of a group's setting of that kind. What it is not set to holds as its queue sets it for every group.
fn group_value(settings: &GroupSettings, kind: GroupSetting) -> String {
    let of_queue = || "as the queue's groups (default)".to_owned();
    match kind {
        GroupSetting::Weight(_) => {
            settings.weight.map_or_else(|| "1 (default)".to_owned(), |weight| weight.to_string())
        }
        GroupSetting::Concurrency(_) => settings.concurrency.map_or_else(of_queue, jobs),
        GroupSetting::Rate(_) => settings.rate.as_ref().map_or_else(of_queue, human::rate),
    }
}

/// `1 job`, `1000 jobs`.
pub(super) fn jobs(count: u64) -> String {
    usize::try_from(count).map_or_else(|_| format!("{count} jobs"), |count| human::count(count, "job"))
}

fn retention(retention: Retention) -> String {
    match retention.count {
        Some(count) => format!("{}, at most {}", age(retention.age_ms), jobs(count)),
        None => age(retention.age_ms),
    }
}

fn age(ms: u64) -> String {
    if ms == 0 { "0 s".to_owned() } else { human::duration(Duration::from_millis(ms)) }
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_protocol::{QueueMode, Rate};

    /// A queue without jobs.
    pub(in crate::command) fn queue(name: &str, settings: QueueSettings) -> QueueStats {
        QueueStats::empty(name.parse().unwrap(), settings)
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let name = "q".parse().unwrap();
        let now = queue("q", QueueSettings { depth_max: Some(5), ..QueueSettings::default() });
        let wishes = [
            QueueSetting::Mode(QueueMode::Open),
            QueueSetting::DepthMax(Some(5)),
            QueueSetting::KeepDead(Some(Retention { age_ms: 3_600_000, count: Some(1) })),
        ];
        let changes = changes(&name, Some(&now), &wishes);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].told(), "queue q: keep_dead: 30 d (default) -> 1 h, at most 1 job");
        assert_eq!(changes[0].wish, Some(Setting::Queue(name, wishes[2])));
    }

    #[test]
    fn going_back_to_the_default_is_a_change_and_says_which_it_is() {
        let name = "q".parse().unwrap();
        let now = queue("q", QueueSettings { depth_max: Some(5), ..QueueSettings::default() });
        let changed = changes(&name, Some(&now), &[QueueSetting::DepthMax(None)]);
        assert_eq!(changed[0].told(), "queue q: max_jobs: 5 jobs -> 1000000 jobs (default)");
        assert!(changes(&name, Some(&now), &[QueueSetting::BytesMax(None)]).is_empty());
    }

    #[test]
    fn only_a_retention_that_shrinks_forgets() {
        let keep = |age_ms, count| Retention { age_ms, count };
        let set = QueueSettings { keep_dead: Some(keep(1_000, Some(10))), ..QueueSettings::default() };
        let now = QueueStats { dead: 7, completed: 5, ..queue("q", set) };
        let lost = |wishes: &[QueueSetting]| forgotten(&now, wishes);
        let dead = |age_ms, count| lost(&[QueueSetting::KeepDead(Some(keep(age_ms, count)))]);
        assert_eq!([dead(1_000, Some(10)), dead(2_000, None), dead(1_000, Some(11)), dead(1_000, Some(9))], [0; 4]);
        assert_eq!([dead(999, None), dead(1_000, Some(6)), dead(2_000, Some(0))], [7, 1, 7]);
        // Back to 30 days and any number; from one day to an hour; of a state in which there is none.
        assert_eq!(lost(&[QueueSetting::KeepDead(None)]), 0);
        let hour = Some(Retention::for_ms(3_600_000));
        assert_eq!(lost(&[QueueSetting::KeepCompleted(hour), QueueSetting::KeepExpired(hour)]), 5);
        assert_eq!(lost(&[QueueSetting::DepthMax(Some(1))]), 0);
    }

    #[test]
    fn any_wish_makes_a_queue_that_is_not_there() {
        let changed = changes(&"q".parse().unwrap(), None, &[QueueSetting::Mode(QueueMode::Open)]);
        assert_eq!(changed[0].told(), "queue q: new: mode: open");
    }

    #[test]
    fn limits_are_told_as_they_are_given() {
        let name: QueueName = "q".parse().unwrap();
        let now = queue("q", QueueSettings { concurrency: Some(1), ..QueueSettings::default() });
        let wishes = [
            QueueSetting::Concurrency(Some(20)),
            QueueSetting::Rate(Some(Rate { burst: Some(5), ..Rate::new(100, 60_000) })),
            QueueSetting::GroupConcurrency(None),
            QueueSetting::GroupRate(Some(Rate::new(1, 1_000))),
        ];
        let told: Vec<String> = changes(&name, Some(&now), &wishes).iter().map(Change::told).collect();
        assert_eq!(
            told,
            [
                "queue q: concurrency: 1 job -> 20 jobs",
                "queue q: rate: unlimited (default) -> 100/1m,burst=5",
                "queue q: group_rate: unlimited (default) -> 1/1s",
            ]
        );
    }

    #[test]
    fn a_group_that_is_not_there_is_set_to_nothing() {
        let (name, group) = ("q".parse().unwrap(), GroupKey::new("tenant 1").unwrap());
        let wishes = [GroupSetting::Weight(Some(3)), GroupSetting::Concurrency(None), GroupSetting::Rate(None)];
        let changed = group_changes(&name, &group, None, &wishes);
        assert_eq!(changed.len(), 1);
        assert_eq!(changed[0].told(), "queue q, group tenant 1: weight: 1 (default) -> 3");
        assert_eq!(changed[0].wish, Some(Setting::Group(name.clone(), group.clone(), wishes[0])));
        let set = GroupSettings { weight: Some(3), concurrency: Some(2), rate: None };
        let changed = group_changes(&name, &group, Some(set), &wishes);
        assert_eq!(changed.len(), 1);
        assert_eq!(
            changed[0].told(),
            "queue q, group tenant 1: concurrency: 2 jobs -> as the queue's groups (default)"
        );
        let json = serde_json::to_value(&changed[0]).unwrap();
        assert_eq!(
            (&json["queue"], &json["group"], &json["to"]),
            (&"q".into(), &"tenant 1".into(), &"as the queue's groups (default)".into())
        );
    }

    #[test]
    fn more_changes_than_one_step_takes_are_refused() {
        let change = |wish| Change { place: Place::Cluster {}, setting: "create_queues", from: None, to: None, wish };
        let mut all = vec![change(Some(Setting::CreateQueues(true))); limits::SETTINGS_MAX];
        // What another change brings about is no setting of its own.
        all.push(change(None));
        assert_eq!(wishes(&all).unwrap().len(), limits::SETTINGS_MAX);
        all.push(change(Some(Setting::CreateQueues(true))));
        let failure = wishes(&all).unwrap_err();
        assert!(
            failure.to_string().contains("1001 settings") && failure.to_string().contains("at most 1000"),
            "{failure}"
        );
    }
}
