//! Workers that are listed, quieted and stopped from the command line.

use crate::support::{TestCluster, eventually};
use serde_json::Value;

async fn fleet(cluster: &TestCluster) -> Vec<Value> {
    let listed = cluster.jobraft(&["fleet", "list", "--json"]).await.ok();
    serde_json::from_str(&listed).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_quieted_resumed_and_stopped_by_name() {
    let mut cluster = TestCluster::start(1).await;
    assert!(cluster.jobraft(&["fleet", "list"]).await.ok().contains("no workers"));
    let module = format!("{}/../examples/wasm/wordcount/wordcount.wasm", env!("CARGO_MANIFEST_DIR"));
    cluster.jobraft(&["module", "push", &module, "--name", "wordcount"]).await.ok();
    cluster.start_worker("worker-1", &["--queue", "urgent=3", "--queue", "q=1"]).await;
    let listed = eventually("it is listed", async || fleet(&cluster).await.pop()).await;
    assert_eq!((&listed["name"], &listed["order"]), (&Value::from("worker-1"), &Value::from("run")));
    assert_eq!(listed["queues"], serde_json::json!(["urgent", "q"]));
    assert!(listed["agent"].as_str().unwrap().starts_with("jobraft-cli/"), "{listed}");
    assert_eq!(listed["lost"], false);
    let table = cluster.jobraft(&["fleet", "list"]).await.ok();
    assert!(table.contains("worker-1") && table.contains("urgent,q"), "{table}");

    let told = cluster.jobraft(&["fleet", "quiet", "worker-1"]).await.ok();
    assert!(told.contains("told to quiet"), "{told}");
    let enqueue = ["job", "enqueue", "--queue", "q", "--module", "wordcount", "one two"];
    let id = cluster.jobraft(&enqueue).await.ok();
    let id = id.trim();
    cluster.jobraft(&["job", "wait", id, "--timeout", "3s"]).await.fails(4, &["has not ended"]);
    // By its id, too.
    cluster.jobraft(&["fleet", "resume", listed["id"].as_str().unwrap()]).await.ok();
    cluster.jobraft(&["job", "wait", id, "--timeout", "60s"]).await.ok();

    cluster.jobraft(&["fleet", "stop", "worker-1"]).await.ok();
    let status = cluster.await_end_of_worker("worker-1");
    assert!(status.success(), "{status}");
    assert!(fleet(&cluster).await.is_empty(), "it has said goodbye");
    cluster.jobraft(&["fleet", "stop", "worker-1"]).await.fails(3, &["worker-1", "jobraft fleet list"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_two_have_is_not_enough() {
    let mut cluster = TestCluster::start(1).await;
    cluster.start_worker("one", &["--queue", "q"]).await;
    let client = cluster.client().await;
    let info = jobraft_sdk::protocol::WorkerInfo { name: "one".to_owned(), ..Default::default() };
    let twin = client.register_worker(info).await.unwrap();
    let run = cluster.jobraft(&["fleet", "stop", "one"]).await;
    run.fails(2, &["2 have that name", &twin.to_string(), "by its id"]);
    cluster.jobraft(&["fleet", "stop", "none"]).await.fails(3, &["none"]);
    cluster.jobraft(&["fleet", "quiet", &twin.to_string()]).await.ok();
    let quiet = fleet(&cluster).await.into_iter().filter(|worker| worker["order"] == "quiet").count();
    assert_eq!(quiet, 1);
    // An id is an id, whoever calls himself so; what is no worker's id may be a name.
    for (name, told) in [(twin.to_string(), twin.to_string()), ("w999".to_owned(), "w4 (w999)".to_owned())] {
        let info = jobraft_sdk::protocol::WorkerInfo { name: name.clone(), ..Default::default() };
        client.register_worker(info).await.unwrap();
        let resumed = cluster.jobraft(&["fleet", "resume", &name]).await.ok();
        assert!(resumed.contains(&format!("worker {told}")), "{resumed}");
    }
    cluster.jobraft(&["worker", "--queue", "a=2,b"]).await.fails(2, &["queue b has no weight"]);
    cluster.jobraft(&["worker", "--queue", "a=0"]).await.fails(2, &["a=0", "1 to 1000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_the_state_are_read_raw_and_listed() {
    use jobraft_sdk::protocol::{Completion, QueueName, StateKey, StateWrite, WorkerInfo};
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    cluster.jobraft(&["job", "enqueue", "--queue", "q", "--task", "t"]).await.ok();
    let worker = client.register_worker(WorkerInfo::default()).await.unwrap();
    let (lease, wait) = (std::time::Duration::from_secs(60), std::time::Duration::from_secs(20));
    let leased = client.lease(worker, vec![QueueName::new("q").unwrap()], 1, lease, wait).await.unwrap();
    let write = |key, value| StateWrite { key: StateKey::new(key).unwrap(), value: Some(value), if_version: None };
    let state = vec![write("orders/last", "17".into()), write("orders/raw", vec![0xff, 0x00].into())];
    client.complete(leased[0].lease(), Completion { state, ..Completion::default() }).await.unwrap();

    assert_eq!(cluster.jobraft(&["state", "get", "orders/last"]).await.ok(), "17");
    let listed = cluster.jobraft(&["state", "list", "orders/"]).await.ok();
    assert!(listed.contains("orders/last") && listed.lines().count() == 3, "{listed}");
    let json: Value = serde_json::from_str(&cluster.jobraft(&["state", "list", "--json"]).await.ok()).unwrap();
    assert_eq!((&json[0]["value"], &json[1]["value_hex"]), (&Value::from("17"), &Value::from("ff00")));
    assert!(cluster.jobraft(&["state", "list", "bills/"]).await.ok().contains("no value matches"));
    cluster.jobraft(&["state", "get", "orders/first"]).await.fails(3, &["orders/first", "jobraft state list"]);
    cluster.jobraft(&["state", "get", ""]).await.fails(2, &["may not be empty"]);
}
