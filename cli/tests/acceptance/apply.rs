//! Settings from a file: shown, confirmed, made once, and nothing the second time.

use crate::support::{TestCluster, count};
use serde_json::Value;

const FILE: &str = "\
[cluster]
create_queues = false

[queues.emails]
max_jobs = 5
keep_dead = { age = \"90d\", count = 7 }

[queues.reports]
";

#[tokio::test(flavor = "multi_thread")]
async fn applied_twice_it_changes_nothing_the_second_time() {
    let cluster = TestCluster::start(1).await;
    std::fs::write(cluster.path("queues.toml"), FILE).unwrap();
    let apply = async |more: &[&str]| cluster.jobraft(&[&["apply", "-f", "queues.toml"], more].concat()).await;

    let dry = apply(&["--dry-run"]).await.ok();
    assert!(dry.contains("queue emails: new: max_jobs: 5 jobs") && dry.contains("4 changes to make"), "{dry}");
    apply(&[]).await.fails(2, &["make 4 changes", "no terminal", "--yes"]);
    let client = cluster.client().await;
    assert_eq!(client.queues(jobraft_sdk::protocol::Consistency::Linearizable).await.unwrap(), []);

    let made = apply(&["--yes"]).await.ok();
    for line in ["create_queues: true -> false", "at most 7 jobs", "queue reports: new: mode: open", "4 changes made"] {
        assert!(made.contains(line), "{line:?} is not in {made}");
    }
    let again = apply(&["--yes"]).await.ok();
    assert_eq!(again.trim(), "nothing to change: everything is as the file says");
    let json: Value = serde_json::from_str(&apply(&["--json"]).await.ok()).unwrap();
    assert_eq!(json, serde_json::json!({ "changes": [], "applied": false }));

    // What is not in the file is left alone.
    cluster.jobraft(&["queue", "set", "emails", "--max-bytes", "2MiB"]).await.ok();
    assert!(apply(&["--yes"]).await.ok().contains("nothing to change"));
    cluster.jobraft(&["queue", "set", "emails", "--max-jobs", "6"]).await.ok();
    let back = apply(&["--yes"]).await.ok();
    assert!(back.contains("queue emails: max_jobs: 6 jobs -> 5 jobs") && back.contains("1 change made"), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_queue_is_refused_where_the_configuration_forbids_it() {
    let cluster = TestCluster::start(1).await;
    std::fs::write(cluster.path("queues.toml"), FILE).unwrap();
    cluster.jobraft(&["apply", "-f", "queues.toml", "--yes"]).await.ok();
    let enqueue = async |queue: &str| cluster.jobraft(&["job", "enqueue", "--queue", queue, "--task", "t"]).await;
    enqueue("nowhere").await.fails(1, &["queue_unknown", "nowhere", "jobraft queue list"]);
    let id = enqueue("reports").await.ok();
    let moved = cluster.jobraft(&["job", "move", id.trim(), "--to", "nowhere"]).await;
    moved.fails(1, &["queue_unknown", "nowhere"]);
    let client = cluster.client().await;
    assert_eq!(count(&client, &["reports"], |stats| stats.ready).await.unwrap(), 1);
    assert_eq!(count(&client, &["nowhere"], |_| 1).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_right_is_refused_by_line_and_key_and_nothing_is_changed() {
    let cluster = TestCluster::start(1).await;
    for (text, words) in [
        ("[queues.q]\nmax_jobs = 5\nmax_job = 5\n", &["line 3", "max_job", "max_jobs"][..]),
        ("[queues.q]\nmax_jobs = 5\nmode = \"shut\"\n", &["line 3", "queues.q.mode", "shut", "open, paused, draining"]),
        ("[queues.q]\nkeep_dead = \"ages\"\n", &["line 2", "queues.q.keep_dead", "ages", "24h"]),
        ("[queues.q]\nmax_bytes = 1\n", &["line 2", "queues.q.max_bytes", "1 is not in 1048576..="]),
        ("[queues.\"a*b\"]\n", &["line 1", "a*b", "letters, digits"]),
        ("[queues.q\n", &["line 1", "TOML"]),
    ] {
        std::fs::write(cluster.path("wrong.toml"), text).unwrap();
        let run = cluster.jobraft(&["apply", "-f", "wrong.toml", "--yes"]).await;
        run.fails(2, &[words, &["wrong.toml"]].concat());
    }
    cluster.jobraft(&["apply", "-f", "absent.toml", "--yes"]).await.fails(2, &["absent.toml"]);
    assert_eq!(cluster.jobraft(&["queue", "list", "--json"]).await.ok().trim(), "[]");
}

const WHOLE: &str = "\
[queues.emails]
concurrency = 5
rate = \"100/1m\"
group_concurrency = 2
[queues.emails.groups.\"tenant-1\"]
weight = 4
[schedules.nightly]
cron = \"0 3 * * *\"
time_zone = \"Europe/Berlin\"
queue = \"reports\"
task = \"report\"
payload = \"all\"
overlap = \"skip\"
[schedules.old]
cron = \"@daily\"
task = \"t\"
paused = true
";

#[tokio::test(flavor = "multi_thread")]
async fn limits_groups_and_schedules_become_what_the_file_says() {
    let cluster = TestCluster::start(1).await;
    let apply = async |text: &str, words: &[&str]| {
        std::fs::write(cluster.path("whole.toml"), text).unwrap();
        cluster.jobraft(&[&["apply", "-f", "whole.toml"], words].concat()).await
    };
    let made = apply(WHOLE, &["--yes"]).await.ok();
    for line in [
        "queue emails: new: rate: 100/1m",
        "queue emails, group tenant-1: weight: 1 (default) -> 4",
        "schedule nightly: new: cron: 0 3 * * *",
        "schedule old: new: paused: true",
    ] {
        assert!(made.contains(line), "{line:?} is not in {made}");
    }
    assert_eq!(apply(WHOLE, &["--yes"]).await.ok().trim(), "nothing to change: everything is as the file says");
    assert!(apply(WHOLE, &["--yes", "--prune"]).await.ok().contains("nothing to change"));

    let later = WHOLE.replace("0 3 * * *", "0 4 * * *").split("[schedules.old]").next().unwrap().to_owned();
    let plan = apply(&later, &["--dry-run", "--prune"]).await.ok();
    assert!(plan.contains("schedule nightly: cron: 0 3 * * * -> 0 4 * * *\n"), "{plan}");
    assert!(plan.contains("schedule old: removed: cron: @daily (UTC)\n"), "{plan}");
    apply(&later, &["--prune"]).await.fails(2, &["make 2 changes", "--yes"]);
    assert!(!apply(&later, &["--yes"]).await.ok().contains("removed"));
    assert!(apply(&later, &["--yes", "--prune"]).await.ok().contains("1 change made"));
    let listed: Value = serde_json::from_str(&cluster.jobraft(&["schedule", "list", "--json"]).await.ok()).unwrap();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["cron"]), (1, &"0 4 * * *".into()));
    // What somebody paused stays so, unless the file says otherwise.
    cluster.jobraft(&["schedule", "pause", "nightly"]).await.ok();
    assert!(apply(&later, &["--yes"]).await.ok().contains("nothing to change"));
    let running = later.replace("overlap = \"skip\"", "overlap = \"skip\"\npaused = false");
    assert!(apply(&running, &["--yes"]).await.ok().contains("schedule nightly: paused: true -> false"));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_fault_changes_nothing_of_the_whole() {
    let cluster = TestCluster::start(1).await;
    for (from, to, words) in [
        ("weight = 4", "weight = 0", &["line 6", "queues.emails.groups.tenant-1.weight", "1..=1000"][..]),
        ("weight = 4", "wieght = 4", &["line 6", "queues.emails.groups.tenant-1.wieght", "did you mean `weight`?"]),
        ("concurrency = 5", "concurrency = 0", &["line 2", "queues.emails.concurrency", "pause it"]),
        ("100/1m", "0/1m", &["line 3", "queues.emails.rate", "0/1m"]),
        ("0 3 * * *", "0 3 * * MOM", &["line 8", "schedules.nightly.cron", "`MON`?"]),
        ("Europe/Berlin", "Europe/Berlim", &["line 9", "schedules.nightly.time_zone", "`Europe/Berlin`?"]),
        (
            "overlap = \"skip\"",
            "overlap = \"skp\"",
            &["line 13", "schedules.nightly.overlap", "did you mean \"skip\"?"],
        ),
        ("payload = \"all\"", "file = \"none\"", &["line 12", "schedules.nightly.file", "none"]),
        ("task = \"report\"", "taks = \"report\"", &["line 11", "schedules.nightly.taks", "did you mean `task`?"]),
        ("[schedules.old]", "[schedule.old]", &["line 14", "schedule", "did you mean `schedules`?"]),
    ] {
        assert!(WHOLE.contains(from), "{from:?}");
        std::fs::write(cluster.path("wrong.toml"), WHOLE.replacen(from, to, 1)).unwrap();
        let run = cluster.jobraft(&["apply", "-f", "wrong.toml", "--yes", "--prune"]).await;
        run.fails(2, &[words, &["wrong.toml"]].concat());
    }
    // What only the cluster knows to be wrong.
    std::fs::write(cluster.path("wrong.toml"), WHOLE.replacen("task = \"report\"", "module = \"nowhere\"", 1)).unwrap();
    cluster.jobraft(&["apply", "-f", "wrong.toml", "--yes"]).await.fails(3, &["nowhere", "jobraft module list"]);
    let digest = format!("module = \"sha256:{}\"", "0".repeat(64));
    std::fs::write(cluster.path("wrong.toml"), WHOLE.replacen("task = \"report\"", &digest, 1)).unwrap();
    cluster.jobraft(&["apply", "-f", "wrong.toml", "--yes"]).await.fails(3, &["schedule nightly", "module"]);
    let many: String = (0..1_001).map(|n| format!("[queues.q{n}]\nmax_jobs = 5\n")).collect();
    std::fs::write(cluster.path("wrong.toml"), many).unwrap();
    let run = cluster.jobraft(&["apply", "-f", "wrong.toml", "--yes"]).await;
    run.fails(2, &["1001 settings", "at most 1000", "split the file"]);

    assert_eq!(cluster.jobraft(&["queue", "list", "--json"]).await.ok().trim(), "[]");
    assert_eq!(cluster.jobraft(&["schedule", "list", "--json"]).await.ok().trim(), "[]");
}
