//! What is set, as people read it: the name of each setting, its value, and what a change changes.

use crate::output::human;
use jobraft_protocol::{QueueName, QueueSetting, QueueSettings, QueueStats, Retention, Setting, limits};
use serde::Serialize;
use std::time::Duration;

/// One change: where, what, from what, to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    /// The queue; absent: the whole cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<String>,
    /// The setting, as files and flags name it.
    pub(super) setting: &'static str,
    /// As it was; absent: the queue is not there yet.
    pub(super) from: Option<String>,
    /// As it will be.
    pub(super) to: String,
    /// What is asked of the cluster.
    #[serde(skip)]
    pub(super) wish: Setting,
}

impl Change {
    /// For people: `queue emails: mode: open -> paused`.
    pub(super) fn told(&self) -> String {
        let place = self.queue.as_ref().map_or_else(|| "cluster".to_owned(), |queue| format!("queue {queue}"));
        match &self.from {
            Some(from) => format!("{place}: {}: {from} -> {}", self.setting, self.to),
            None => format!("{place}: new: {}: {}", self.setting, self.to),
        }
    }
}

/// What setting `wishes` would change of a queue; in their order. A queue that is not there yet is made by any wish.
pub(super) fn changes(name: &QueueName, now: Option<&QueueStats>, wishes: &[QueueSetting]) -> Vec<Change> {
    let before = now.map(|queue| queue.settings.clone()).unwrap_or_default();
    let change = |wish: &QueueSetting| {
        let mut after = before.clone();
        after.set(*wish);
        (now.is_none() || after != before).then(|| Change {
            queue: Some(name.to_string()),
            setting: setting_name(*wish),
            from: now.map(|_| value(&before, *wish)),
            to: value(&after, *wish),
            wish: Setting::Queue(name.clone(), *wish),
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
    use jobraft_protocol::QueueMode;

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
        assert_eq!(changes[0].wish, Setting::Queue(name, wishes[2]));
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
}
