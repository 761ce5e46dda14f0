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
