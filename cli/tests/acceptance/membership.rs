//! Nodes come and go while load runs, and nobody comes back as another.

use crate::support::{TestCluster, eventually};
use jobraft_sdk::Client;
use jobraft_sdk::protocol::{ClusterStatus, NewJob, QueueName, Role, Task, TaskName};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The longest time without an acknowledged enqueue: one election on a busy machine.
const GAP_MAX: Duration = Duration::from_secs(15);
/// A purge takes at least so many entries ...
const ENTRIES: usize = 1_100;
/// ... that lie more than 64 MiB back: so many jobs with so large a payload, so many of them in one request.
const LARGE_JOBS: usize = 300;
const LARGE_BYTES: usize = 250 * 1024;
const LARGE_AT_ONCE: usize = 15;
/// Enqueues that must succeed while an intruder is about: several elections' worth of time.
const UNDISTURBED: u64 = 300;

fn job(client: &Client, payload: Vec<u8>) -> NewJob {
    let task = Task::Handler(TaskName::new("none").unwrap());
    NewJob::new(client.job_id(), QueueName::new("load").unwrap(), task, payload)
}

/// Enqueues one job after the other until it is stopped; no call may fail.
struct Load {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<Duration>,
}

impl Load {
    fn start(client: Client) -> Self {
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stopped) = (Arc::clone(&acknowledged), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                client.enqueue(vec![job(&client, b"load".to_vec())]).await.unwrap();
                longest = longest.max(begun.elapsed());
                counter.fetch_add(1, Ordering::Relaxed);
            }
            longest
        });
        Self { acknowledged, stop, task }
    }

    /// Waits for so many more acknowledged enqueues.
    async fn goes_on_for(&self, more: u64) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + more;
        eventually("the load goes on", async || {
            assert!(!self.task.is_finished(), "the load has ended early");
            (self.acknowledged.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// The longest gap between two acknowledgements.
    async fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// More log than is kept behind a checkpoint, so that whoever has none of it needs a snapshot, unless it is kept for them.
async fn outgrow_the_log(cluster: &TestCluster, client: &Client) {
    for _ in 0..ENTRIES {
        client.enqueue(vec![job(client, Vec::new())]).await.unwrap();
    }
    for _ in 0..LARGE_JOBS / LARGE_AT_ONCE {
        let jobs = (0..LARGE_AT_ONCE).map(|_| job(client, vec![b'x'; LARGE_BYTES])).collect();
        client.enqueue(jobs).await.unwrap();
    }
    // The purge follows the first checkpoint that holds all this, and comes no later than with the second.
    for _ in 0..2 {
        client.enqueue(vec![job(client, Vec::new())]).await.unwrap();
        for id in cluster.running() {
            let goal = cluster.status_of(client, id).await.unwrap().last_index;
            eventually("a checkpoint is made", async || {
                (cluster.status_of(client, id).await?.checkpoint_index >= goal).then_some(())
            })
            .await;
        }
    }
}

fn voters(status: &ClusterStatus) -> Vec<u64> {
    let votes = |role| matches!(role, Role::Leader | Role::Follower | Role::Candidate);
    status.members.iter().filter(|member| votes(member.role)).map(|member| member.node.0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_joins_by_snapshot_and_the_leader_is_removed_under_load() {
    let begun = Instant::now();
    let mut cluster = TestCluster::start(3).await;
    let client = cluster.client().await;
    outgrow_the_log(&cluster, &client).await;
    eprintln!("log outgrown after {:?}", begun.elapsed());
    let load = Load::start(cluster.client().await);

    cluster.prepare_joiner(4);
    cluster.start_node(4);
    let address = cluster.address(4).to_string();
    let added = cluster.jobraft(&["cluster", "add", "4", &address]).await.ok();
    assert!(added.contains("a voter"), "{added}");
    eprintln!("joined after {:?}", begun.elapsed());
    assert!(cluster.node_log(4).contains("installed a snapshot"), "it caught up without a snapshot");
    let leader = cluster.leader().await;
    let status = cluster.status_of(&client, leader).await.unwrap();
    assert_eq!(voters(&status), [1, 2, 3, 4]);
    load.goes_on_for(20).await;

    cluster.jobraft(&["cluster", "remove", &leader.to_string()]).await.ok();
    let others: Vec<u64> = (1..=4).filter(|id| *id != leader).collect();
    let status = eventually("one of the others leads without it", async || {
        let status = cluster.status_of(&client, 4).await?;
        let known = status.leader.is_some_and(|now| others.contains(&now.0));
        (known && voters(&status) == others).then_some(status)
    })
    .await;
    eprintln!("node {leader} removed, node {:?} leads after {:?}", status.leader, begun.elapsed());
    load.goes_on_for(20).await;

    // What was removed comes back with its old data: nobody listens to it.
    assert!(cluster.terminate_node(leader).success());
    let led = cluster.status_of(&client, 4).await.unwrap();
    cluster.start_node(leader);
    eventually("the removed node is up again", async || cluster.status_of(&client, leader).await).await;
    load.goes_on_for(UNDISTURBED).await;
    let now = cluster.status_of(&client, 4).await.unwrap();
    assert_eq!((now.term, now.leader, voters(&now)), (led.term, led.leader, others));
    let back = cluster.status_of(&client, leader).await.unwrap();
    assert_ne!(back.role, Role::Leader);

    // Nor can it be added again with these data.
    let refused = cluster.jobraft(&["cluster", "add", &leader.to_string(), cluster.address(leader).as_str()]).await;
    refused.fails(1, &["belongs to a cluster already", "empty"]);

    let longest = load.stop().await;
    eprintln!("longest gap {longest:?}; done after {:?}", begun.elapsed());
    assert!(longest < GAP_MAX, "no enqueue was acknowledged for {longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_for_long_finds_in_the_log_what_it_lacks() {
    let mut cluster = TestCluster::start(3).await;
    let client = cluster.client().await;
    loop {
        let leader = cluster.leader().await;
        let led = cluster.status_of(&client, leader).await.unwrap();
        let away = cluster.running().into_iter().find(|id| *id != leader).unwrap();
        cluster.kill_nodes(&[away]);
        outgrow_the_log(&cluster, &client).await;
        let logged = cluster.node_log(away).len();
        cluster.start_node(away);
        let goal = cluster.status_of(&client, leader).await.unwrap().last_index;
        eventually("it has caught up", async || {
            (cluster.status_of(&client, away).await?.applied_index >= goal).then_some(())
        })
        .await;
        let now = cluster.status_of(&client, leader).await.unwrap();
        // Whoever came to lead on a busy machine has kept no more than others do: that tells nothing.
        if (now.term, now.leader) == (led.term, led.leader) {
            assert!(!cluster.node_log(away)[logged..].contains("installed a snapshot"), "it took a snapshot");
            return;
        }
        eprintln!("led by {:?} in term {} instead of {}: once more", now.leader, now.term, led.term);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_directory_is_refused_under_a_used_id() {
    let mut cluster = TestCluster::start(3).await;
    let client = cluster.client().await;
    // The first of the initial members forms a cluster where there is none, the others wait for it: neither may get a
    // second chance.
    for wiped in [1, 3] {
        cluster.kill_nodes(&[wiped]);
        std::fs::remove_dir_all(cluster.path(&format!("node-{wiped}"))).unwrap();
        client.enqueue(vec![job(&client, Vec::new())]).await.unwrap();
        cluster.start_node(wiped);
        assert_eq!(cluster.await_end_of_node(wiped).code(), Some(1));
        let log = cluster.node_log(wiped);
        assert!(log.contains(&format!("node {wiped} joined the cluster with another data directory")), "{log}");
        assert!(log.contains("add it under a new id"), "{log}");
        // The way out that it names.
        let new = wiped + 3;
        cluster.prepare_joiner(new);
        cluster.start_node(new);
        cluster.jobraft(&["cluster", "add", &new.to_string(), cluster.address(new).as_str()]).await.ok();
        cluster.jobraft(&["cluster", "remove", &wiped.to_string()]).await.ok();
        let status = cluster.status_of(&client, new).await.unwrap();
        assert!(voters(&status).contains(&new) && !voters(&status).contains(&wiped), "{status:?}");
    }
}
