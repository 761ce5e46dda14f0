//! What jobs carry, sealed on the disks of nodes.

use crate::support::{TestCluster, count, eventually, job, jobraft, leaks};
use jobraft_sdk::Client;
use jobraft_sdk::protocol::{Consistency, JobId, NewJob, QueueName, Task, TaskName};
use std::fs;

const CANARY: &str = "canary-payload-at-rest-77";

async fn enqueue(client: &Client, queue: &str) -> JobId {
    let task = Task::Handler(TaskName::new("t").unwrap());
    let new = NewJob::new(client.job_id(), QueueName::new(queue).unwrap(), task, CANARY);
    let id = new.id;
    client.enqueue(vec![new]).await.unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_seals_shows_nothing_on_disk_and_needs_its_key_to_start() {
    let mut cluster = TestCluster::prepare(3);
    jobraft(cluster.directory(), &["storage", "keygen", "--out", "at-rest.key"]).await.ok();
    jobraft(cluster.directory(), &["storage", "keygen", "--out", "at-rest.key"]).await.fails(2, &["at-rest.key"]);
    (1..=3).for_each(|id| cluster.set_key_file(id, "storage", Some("at-rest.key")));
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
    assert_eq!((1..=3).flat_map(|id| leaks(&cluster.path(&format!("node-{id}")), CANARY)).collect::<Vec<_>>(), [""; 0]);

    // Killed, and started again on what is sealed.
    cluster.kill_nodes(&[1, 2, 3]);
    (1..=3).for_each(|id| cluster.start_node(id));
    cluster.leader().await;
    let view = job(&client, jobs[7]).await.unwrap();
    assert_eq!(&view.payload[..], CANARY.as_bytes());

    // Without the key it does not start, and says what is missing.
    assert!(cluster.terminate_node(3).success());
    cluster.set_key_file(3, "storage", None);
    cluster.start_node(3);
    assert!(!cluster.await_end_of_node(3).success());
    assert!(cluster.node_log(3).contains("storage.key_file"), "{}", cluster.node_log(3));
    // With it, it does.
    cluster.set_key_file(3, "storage", Some("at-rest.key"));
    cluster.start_node(3);
    cluster.caught_up(&client, 3).await;
    assert_eq!(leaks(&cluster.path("node-3"), CANARY), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_begins_on_a_node_that_has_data_and_its_key_is_changed() {
    let mut cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let first = enqueue(&client, "q").await;
    client.list_jobs(Default::default(), Default::default()).await.unwrap();
    assert!(!leaks(&cluster.path("node-1"), CANARY).is_empty());
    for file in ["one.key", "two.key"] {
        jobraft(cluster.directory(), &["storage", "keygen", "--out", file]).await.ok();
    }
    let both = ["two.key", "one.key"].map(|file| fs::read_to_string(cluster.path(file)).unwrap()).concat();
    fs::copy(cluster.path("one.key"), cluster.path("keys")).unwrap();
    cluster.set_key_file(1, "storage", Some("keys"));
    let reseal = ["storage", "reseal", "--config", "node-1.toml"];
    // Not while it runs.
    jobraft(cluster.directory(), &reseal).await.fails(1, &["in use"]);
    assert!(cluster.terminate_node(1).success());
    let text = jobraft(cluster.directory(), &reseal).await.ok();
    assert!(text.contains("anew") && !text.contains("wrote 0 "), "{text}");
    assert_eq!(leaks(&cluster.path("node-1"), CANARY), [""; 0]);

    cluster.start_node(1);
    cluster.leader().await;
    let second = enqueue(&client, "q").await;
    assert!(cluster.terminate_node(1).success());
    fs::write(cluster.path("keys"), both).unwrap();
    jobraft(cluster.directory(), &reseal).await.ok();
    cluster.set_key_file(1, "storage", Some("two.key"));
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
    assert_eq!(leaks(&cluster.path("node-1"), CANARY), [""; 0]);
}
