//! What a file would change of what is set now.

use super::file::SettingsFile;
use crate::command::settings::{self, Change};
use jobraft_protocol::{ClusterSettings, QueueMode, QueueSetting, QueueStats, Setting};

/// The changes, queues by name; none if everything is as the file says.
pub(super) fn changes(file: &SettingsFile, cluster: &ClusterSettings, queues: &[QueueStats]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, wishes) in &file.queues {
        let now = queues.iter().find(|queue| queue.queue == *name);
        // A section without keys is there for its name: the queue is to be there.
        let wishes =
            if wishes.is_empty() && now.is_none() { &[QueueSetting::Mode(QueueMode::Open)] } else { &wishes[..] };
        changes.extend(settings::changes(name, now, wishes));
    }
    if let Some(create) = file.create_queues.filter(|create| *create != cluster.create_queues) {
        changes.push(Change {
            queue: None,
            setting: "create_queues",
            from: Some(cluster.create_queues.to_string()),
            to: create.to_string(),
            wish: Setting::CreateQueues(create),
        });
    }
    changes
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::command::settings::tests::queue;
    use jobraft_protocol::{QueueName, QueueSettings};
    use std::collections::BTreeMap;

    fn file(queues: &[(&str, &[QueueSetting])], create_queues: Option<bool>) -> SettingsFile {
        let queues = queues.iter().map(|(name, set)| (name.parse::<QueueName>().unwrap(), set.to_vec()));
        SettingsFile { create_queues, queues: queues.collect::<BTreeMap<_, _>>() }
    }

    #[test]
    fn a_plan_that_was_carried_out_is_empty() {
        let file = file(
            &[("a", &[QueueSetting::DepthMax(Some(5)), QueueSetting::Mode(QueueMode::Paused)]), ("b", &[])],
            Some(false),
        );
        let before = changes(&file, &ClusterSettings::default(), &[queue("a", QueueSettings::default())]);
        let told: Vec<String> = before.iter().map(Change::told).collect();
        assert_eq!(
            told,
            [
                "queue a: max_jobs: 1000000 jobs (default) -> 5 jobs",
                "queue a: mode: open -> paused",
                "queue b: new: mode: open",
                "cluster: create_queues: true -> false",
            ]
        );
        let (mut cluster, mut a) = (ClusterSettings::default(), QueueSettings::default());
        for change in before {
            match change.wish {
                Setting::CreateQueues(create) => cluster.create_queues = create,
                Setting::Queue(name, setting) if name.as_str() == "a" => a.set(setting),
                Setting::Queue(..) => {}
            }
        }
        let after = changes(&file, &cluster, &[queue("a", a), queue("b", QueueSettings::default())]);
        assert_eq!(after, []);
    }

    #[test]
    fn what_is_not_in_the_file_is_left_alone() {
        let set = QueueSettings { mode: QueueMode::Draining, depth_max: Some(9), ..QueueSettings::default() };
        let wishes = file(&[("a", &[QueueSetting::DepthMax(Some(9))])], None);
        let forbidding = ClusterSettings { create_queues: false };
        assert_eq!(changes(&wishes, &forbidding, &[queue("a", set.clone()), queue("other", set)]), []);
    }
}
