//! What jobs carry, sealed on the disks of nodes.

use crate::support::{TestCluster, count, eventually, job, jobraft};
use jobraft_sdk::Client;
use jobraft_sdk::protocol::{Consistency, JobId, NewJob, QueueName, Task, TaskName};
use std::fs;
use std::path::Path;

const CANARY: &str = "canary-payload-at-rest-77";

async fn enqueue(client: &Client, queue: &str) -> JobId {
    let task = Task::Handler(TaskName::new("t").unwrap());
    let new = NewJob::new(client.job_id(), QueueName::new(queue).unwrap(), task, CANARY);
    let id = new.id;
    client.enqueue(vec![new]).await.unwrap();
    id
}

/// Files below a directory in which the canary stands.
fn leaks(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(leaks(&path));
        } else if fs::read(&path).unwrap_or_default().windows(CANARY.len()).any(|w| w == CANARY.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn configure(cluster: &TestCluster, id: u64, key_file: Option<&str>) {
    let path = cluster.path(&format!("node-{id}.toml"));
    let text = fs::read_to_string(&path).unwrap();
    let text = text.split("\n[storage]").next().unwrap().to_owned();
    let section = key_file.map_or_else(String::new, |file| format!("\n[storage]\nkey_file = \"{file}\"\n"));
    fs::write(&path, text + &section).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_seals_shows_nothing_on_disk_and_needs_its_key_to_start() {
    let mut cluster = TestCluster::prepare(3);
    jobraft(cluster.directory(), &["storage", "keygen", "--out", "at-rest.key"]).await.ok();
    jobraft(cluster.directory(), &["storage", "keygen", "--out", "at-rest.key"]).await.fails(2, &["at-rest.key"]);
    (1..=3).for_each(|id| configure(&cluster, id, Some("at-rest.key")));
    (1..=3).for_each(|id| cluster.start_node(id));
    cluster.leader().await;
    let client = cluster.client().await;
    let mut jobs = Vec::new();
    for _ in 0..20 {
        jobs.push(enqueue(&client, "q").await);
    }
    // What is listed is written first.
    let listed = cluster.jobraft(&["job", "list", "--queue", "q", "--json"]).await.ok();
    assert!(listed.contains(&jobs[0].to_string()));
    assert_eq!((1..=3).flat_map(|id| leaks(&cluster.path(&format!("node-{id}")))).collect::<Vec<_>>(), [""; 0]);

    // Killed, and started again on what is sealed.
    cluster.kill_nodes(&[1, 2, 3]);
    (1..=3).for_each(|id| cluster.start_node(id));
    cluster.leader().await;
    let view = job(&client, jobs[7]).await.unwrap();
    assert_eq!(&view.payload[..], CANARY.as_bytes());

    // Without the key it does not start, and says what is missing.
    assert!(cluster.terminate_node(3).success());
    configure(&cluster, 3, None);
    cluster.start_node(3);
    assert!(!cluster.await_end_of_node(3).success());
    assert!(cluster.node_log(3).contains("storage.key_file"), "{}", cluster.node_log(3));
    // With it, it does.
    configure(&cluster, 3, Some("at-rest.key"));
    cluster.start_node(3);
    cluster.caught_up(&client, 3).await;
    assert_eq!(leaks(&cluster.path("node-3")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_begins_on_a_node_that_has_data_and_its_key_is_changed() {
    let mut cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let first = enqueue(&client, "q").await;
    client.list_jobs(Default::default(), Default::default()).await.unwrap();
    assert!(!leaks(&cluster.path("node-1")).is_empty());
    for file in ["one.key", "two.key"] {
        jobraft(cluster.directory(), &["storage", "keygen", "--out", file]).await.ok();
    }
    let both = ["two.key", "one.key"].map(|file| fs::read_to_string(cluster.path(file)).unwrap()).concat();
    fs::copy(cluster.path("one.key"), cluster.path("keys")).unwrap();
    configure(&cluster, 1, Some("keys"));
    let reseal = ["storage", "reseal", "--config", "node-1.toml"];
    // Not while it runs.
    jobraft(cluster.directory(), &reseal).await.fails(1, &["in use"]);
    assert!(cluster.terminate_node(1).success());
    let text = jobraft(cluster.directory(), &reseal).await.ok();
    assert!(text.contains("anew") && !text.contains("wrote 0 "), "{text}");
    assert_eq!(leaks(&cluster.path("node-1")), [""; 0]);

    cluster.start_node(1);
    cluster.leader().await;
    let second = enqueue(&client, "q").await;
    assert!(cluster.terminate_node(1).success());
    fs::write(cluster.path("keys"), both).unwrap();
    jobraft(cluster.directory(), &reseal).await.ok();
    configure(&cluster, 1, Some("two.key"));
    cluster.start_node(1);
    cluster.leader().await;
    eventually("both jobs are there", async || {
        (count(&client, &["q"], |stats| stats.ready).await.ok()? == 2).then_some(())
    })
    .await;
    for id in [first, second] {
        let view = client.get_job(id, Consistency::Linearizable).await.unwrap();
        assert_eq!(&view.payload[..], CANARY.as_bytes());
    }
    assert_eq!(leaks(&cluster.path("node-1")), [""; 0]);
}
