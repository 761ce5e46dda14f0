//! How much of a queue runs at once, and how its groups share it, as the command line sets and shows it.

use crate::support::TestCluster;
use jobraft_sdk::protocol::{Completion, QueueName, WorkerInfo};
use serde_json::Value;
use std::time::Duration;

async fn set(cluster: &TestCluster, words: &[&str]) -> Vec<String> {
    let text = cluster.jobraft(&[&["queue", "limit", "set", "q"], words].concat()).await.ok();
    text.lines().map(str::to_owned).collect()
}

async fn shown(cluster: &TestCluster) -> Value {
    serde_json::from_str(&cluster.jobraft(&["queue", "limit", "show", "q", "--json"]).await.ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_shown_and_given_back() {
    let cluster = TestCluster::start(1).await;
    cluster.jobraft(&["queue", "limit", "show", "q"]).await.fails(3, &["queue q", "jobraft queue list"]);
    let flags =
        ["--concurrency", "5", "--rate", "100/1m,burst=20", "--group-concurrency", "2", "--group-rate", "10/1s"];
    assert_eq!(
        set(&cluster, &flags).await,
        [
            "queue q: new: concurrency: 5 jobs",
            "queue q: new: rate: 100/1m,burst=20",
            "queue q: new: group_concurrency: 2 jobs",
            "queue q: new: group_rate: 10/1s",
        ]
    );
    assert_eq!(set(&cluster, &flags).await, ["nothing to change"]);
    let empty = cluster.jobraft(&["queue", "limit", "show", "q"]).await.ok();
    assert!(empty.contains("100/1m,burst=20") && empty.contains("no groups"), "{empty}");
    let group = ["--group", "tenant 1", "--weight", "3", "--concurrency", "1"];
    assert_eq!(
        set(&cluster, &group).await,
        [
            "queue q, group tenant 1: weight: 1 (default) -> 3",
            "queue q, group tenant 1: concurrency: as the queue's groups (default) -> 1 job",
        ]
    );
    assert_eq!(set(&cluster, &group).await, ["nothing to change"]);
    let table = cluster.jobraft(&["queue", "limit", "show", "q"]).await.ok();
    assert!(table.contains("tenant 1") && table.contains("(10/1s)"), "{table}");
    let json = shown(&cluster).await;
    assert_eq!((&json["concurrency"], &json["rate"]["burst"]), (&5.into(), &20.into()));
    assert_eq!(
        (&json["groups"][0]["group"], &json["groups"][0]["settings"]["weight"]),
        (&"tenant 1".into(), &3.into())
    );
    let back = ["--concurrency", "default", "--rate", "default"];
    assert_eq!(
        set(&cluster, &back).await,
        [
            "queue q: concurrency: 5 jobs -> unlimited (default)",
            "queue q: rate: 100/1m,burst=20 -> unlimited (default)",
        ]
    );
    let listed = cluster.jobraft(&["queue", "list"]).await.ok();
    assert!(!listed.contains("LIMITS"), "{listed}");
    for (words, what) in [
        (&["--concurrency", "0"][..], &["concurrency 0", "pause it"][..]),
        (&["--rate", "0/1m"], &["0/1m", "1..=1000000"]),
        (&["--rate", "fast"], &["fast", "100/1m"]),
        (&["--group", "g", "--weight", "1001"], &["weight 1001", "1..=1000"]),
        (&["--weight", "1"], &["--group"]),
        (&["--group", "g", "--group-rate", "1/1s"], &["--group-rate"]),
        (&[], &["--concurrency"]),
    ] {
        cluster.jobraft(&[&["queue", "limit", "set", "q"], words].concat()).await.fails(2, what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_holds_for_leases_and_is_seen() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    set(&cluster, &["--concurrency", "4", "--group-concurrency", "1"]).await;
    for group in ["a", "a", "b", "b"] {
        cluster.jobraft(&["job", "enqueue", "--queue", "q", "--task", "t", "--group", group]).await.ok();
    }
    cluster.jobraft(&["job", "enqueue", "--queue", "q", "--task", "t", "--count", "3"]).await.ok();
    let worker = client.register_worker(WorkerInfo { name: "w".to_owned(), ..WorkerInfo::default() }).await.unwrap();
    let lease = async || {
        let queues = vec![QueueName::new("q").unwrap()];
        client.lease(worker, queues, 10, Duration::from_secs(60), Duration::ZERO).await.unwrap()
    };
    let leased = lease().await;
    assert_eq!((leased.len(), lease().await.len()), (4, 0));
    let of =
        |key: &str| leased.iter().filter(|job| job.group.as_ref().is_some_and(|group| group.as_str() == key)).count();
    // Turns alone would give the fourth to a group again; its limit gives it to those without one.
    assert_eq!((of("a"), of("b")), (1, 1), "{leased:?}");
    let groups = shown(&cluster).await["groups"].clone();
    let held: u64 = groups.as_array().unwrap().iter().map(|group| group["leased"].as_u64().unwrap()).sum();
    assert_eq!(held, (of("a") + of("b")) as u64);
    client.complete(leased[0].lease(), Completion::default()).await.unwrap();
    assert_eq!(lease().await.len(), 1);
}
