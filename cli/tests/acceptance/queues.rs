//! Queues that are paused, drained, purged and limited from the command line.

use crate::support::{Run, TestCluster, count, eventually, job};
use jobraft_sdk::protocol::{Completion, ErrorCode, JobState, QueueName, WorkerInfo};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A job that waits in `q`.
async fn waiting(cluster: &TestCluster) -> String {
    cluster.jobraft(&["job", "enqueue", "--queue", "q", "--task", "t", "x"]).await.ok().trim().to_owned()
}

async fn modes(cluster: &TestCluster) -> Vec<(String, String)> {
    let listed: Value = serde_json::from_str(&cluster.jobraft(&["queue", "list", "--json"]).await.ok()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(|q| (text(&q["queue"]), text(&q["settings"]["mode"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_takes_jobs_and_gives_none() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let id = waiting(&cluster).await;
    assert!(cluster.jobraft(&["queue", "pause", "q"]).await.ok().contains("queue q is paused"));
    assert!(cluster.jobraft(&["queue", "pause", "q"]).await.ok().contains("already paused"));
    waiting(&cluster).await;
    let worker = client.register_worker(WorkerInfo { name: "w".to_owned(), ..WorkerInfo::default() }).await.unwrap();
    let lease = async || {
        let queues = vec![QueueName::new("q").unwrap()];
        client.lease(worker, queues, 10, Duration::from_secs(60), Duration::ZERO).await.unwrap().len()
    };
    assert_eq!(lease().await, 0);
    assert_eq!(modes(&cluster).await, [("q".to_owned(), "paused".to_owned())]);
    let resumed: Value =
        serde_json::from_str(&cluster.jobraft(&["queue", "resume", "q", "--json"]).await.ok()).unwrap();
    assert_eq!((&resumed["mode"], &resumed["changed"]), (&Value::from("open"), &Value::from(true)));
    assert_eq!(lease().await, 2);
    assert_eq!(job(&client, id.parse().unwrap()).await.unwrap().state, JobState::Leased);
    // A name that is misspelled makes no queue.
    cluster.jobraft(&["queue", "pause", "qq"]).await.fails(3, &["qq", "jobraft queue list"]);
    assert_eq!(modes(&cluster).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_refuses_new_jobs_and_waits_for_those_that_are_there() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    waiting(&cluster).await;
    let early = cluster.jobraft(&["queue", "drain", "q", "--wait", "1s"]).await;
    early.fails(4, &["1 job left after", "goes on draining"]);
    let refused = cluster.jobraft(&["job", "enqueue", "--queue", "q", "--task", "t"]).await;
    refused.fails(1, &["queue_draining", "jobraft queue resume"]);

    let worker = client.register_worker(WorkerInfo { name: "w".to_owned(), ..WorkerInfo::default() }).await.unwrap();
    let queues = vec![QueueName::new("q").unwrap()];
    let leased = client.lease(worker, queues, 1, Duration::from_secs(60), Duration::from_secs(20)).await.unwrap();
    let completed = AtomicBool::new(false);
    let drain = async {
        let drained = cluster.jobraft(&["queue", "drain", "q", "--wait"]).await.ok();
        assert!(drained.contains("queue q is empty") && completed.load(Ordering::SeqCst), "{drained}");
    };
    tokio::join!(drain, async {
        // What runs is waited for, too: this is more than the command needs to see that nothing waits.
        tokio::time::sleep(Duration::from_secs(3)).await;
        completed.store(true, Ordering::SeqCst);
        client.complete(leased[0].lease(), Completion::default()).await.unwrap();
    });
    cluster.jobraft(&["queue", "resume", "q"]).await.ok();
    waiting(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_deletes_what_waits_and_asks_first() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    for _ in 0..3 {
        waiting(&cluster).await;
    }
    let delayed = ["job", "enqueue", "--queue", "q", "--task", "t", "--delay", "1h"];
    cluster.jobraft(&delayed).await.ok();
    let kept = cluster.jobraft(&["job", "enqueue", "--queue", "other", "--task", "t"]).await.ok();
    cluster.jobraft(&["queue", "purge", "q"]).await.fails(2, &["delete 4 jobs", "--yes"]);
    assert_eq!(count(&client, &["q"], |stats| stats.ready + stats.scheduled).await.unwrap(), 4);
    cluster.jobraft(&["queue", "purge", "q", "--state", "leased", "--yes"]).await.fails(2, &["leased", "cancel"]);
    assert!(cluster.jobraft(&["queue", "purge", "q", "--yes"]).await.ok().contains("4 jobs: deleted"));
    assert_eq!(count(&client, &["q"], |stats| stats.ready + stats.scheduled).await.unwrap(), 0);
    assert_eq!(job(&client, kept.trim().parse().unwrap()).await.unwrap().state, JobState::Ready);
    assert_eq!(cluster.jobraft(&["queue", "purge", "q", "--yes"]).await.ok().trim(), "no job matches");
    cluster.jobraft(&["queue", "purge", "nowhere", "--yes"]).await.fails(3, &["nowhere"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_with_a_hint_and_is_waited_for_on_request() {
    let cluster = TestCluster::start(1).await;
    let set = cluster.jobraft(&["queue", "set", "q", "--max-jobs", "1"]).await.ok();
    assert_eq!(set.trim(), "queue q: new: max_jobs: 1 job");
    let first = waiting(&cluster).await;
    let enqueue = ["job", "enqueue", "--queue", "q", "--task", "t"];
    cluster.jobraft(&enqueue).await.fails(1, &["queue_full", "--wait-when-full"]);
    // For ever, or nearly so, is a time too.
    let for_ever = ["job", "enqueue", "--queue", "other", "--task", "t", "--wait-when-full", "500000000000years"];
    cluster.jobraft(&for_ever).await.ok();
    let patient = [&enqueue[..], &["--wait-when-full", "1m"]].concat();
    let (second, ()) = tokio::join!(cluster.jobraft(&patient), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.jobraft(&["job", "cancel", &first]).await.ok();
    });
    second.ok();
    assert!(cluster.jobraft(&["queue", "set", "q", "--max-jobs", "1"]).await.ok().contains("nothing to change"));
    let back = cluster.jobraft(&["queue", "set", "q", "--max-jobs", "default"]).await.ok();
    assert_eq!(back.trim(), "queue q: max_jobs: 1 job -> 1000000 jobs (default)");
    cluster.jobraft(&["queue", "set", "q", "--max-jobs", "0"]).await.fails(2, &["depth_max 0", "1..="]);
    cluster.jobraft(&["queue", "set", "q", "--max-bytes", "1KiB"]).await.fails(2, &["bytes_max 1024", "1048576"]);
    cluster.jobraft(&["queue", "set", "q"]).await.fails(2, &["--max-jobs"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_queue_refuses_does_not_hide_what_was_enqueued() {
    let cluster = TestCluster::start(1).await;
    for name in ["ids", "json", "waits"] {
        cluster.jobraft(&["queue", "set", name, "--max-jobs", "5"]).await.ok();
    }
    let enqueue = async |queue, more: &[&str]| {
        cluster.jobraft(&[&["job", "enqueue", "--queue", queue, "--task", "t", "--count", "8"], more].concat()).await
    };
    let told = ["enqueue 8 jobs", "3 of them were refused", "queue_full", "--wait-when-full"];
    let json = |run: &Run| serde_json::from_str::<Vec<Value>>(&run.stdout).unwrap();

    let run = enqueue("ids", &[]).await;
    assert_eq!(run.stdout.lines().count(), 5, "{run:?}");
    assert!(!run.fails(1, &told).contains("nothing was done"));

    let run = enqueue("json", &["--json"]).await;
    let outcomes = json(&run);
    let of = |outcome: &str| outcomes.iter().filter(|job| job["outcome"] == outcome).count();
    assert_eq!((outcomes.len(), of("created"), of("refused")), (8, 5, 3), "{run:?}");
    assert_eq!((&outcomes[7]["error"]["code"], &outcomes[7]["created"]), (&"queue_full".into(), &false.into()));
    run.fails(1, &told);

    let run = enqueue("waits", &["--ttl", "300ms", "--wait", "--json"]).await;
    let ended = json(&run);
    let expired = ended.iter().filter(|job| job["state"] == "expired").count();
    let refused = ended.iter().filter(|job| job["error"]["code"] == "queue_full").count();
    assert_eq!((expired, refused), (5, 3), "{run:?}");
    run.fails(1, &["5 of 5 jobs did not complete", "3 of them were refused"]);

    let file = |name: &str| std::fs::write(cluster.path(name), name).unwrap();
    file("a.txt");
    let run = cluster.jobraft(&["job", "enqueue", "--queue", "ids", "--task", "t", "-f", "a.txt", "-f", "a.txt"]).await;
    run.fails(1, &["a.txt: not enqueued: ", "2 of them were refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_makes_a_completed_job_unreadable() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let worker = client.register_worker(WorkerInfo { name: "w".to_owned(), ..WorkerInfo::default() }).await.unwrap();
    let complete = async || {
        let id = waiting(&cluster).await;
        let queues = vec![QueueName::new("q").unwrap()];
        let leased = client.lease(worker, queues, 1, Duration::from_secs(60), Duration::from_secs(20)).await.unwrap();
        client.complete(leased[0].lease(), Completion::default()).await.unwrap();
        id
    };
    let kept = complete().await;
    assert_eq!(job(&client, kept.parse().unwrap()).await.unwrap().state, JobState::Completed);
    let set = async |wish: &str, more: &[&str]| {
        cluster.jobraft(&[&["queue", "set", "q", "--keep-completed", wish], more].concat()).await
    };
    // There is no way back: that is asked about, unless no job can go.
    for shorter in ["1s", "3d,0"] {
        set(shorter, &[]).await.fails(2, &["forget up to 1 ended job of queue q", "no terminal", "--yes"]);
    }
    set("3d,1", &[]).await.ok();
    set("default", &[]).await.fails(2, &["--yes"]);
    assert_eq!(job(&client, kept.parse().unwrap()).await.unwrap().state, JobState::Completed);
    cluster.jobraft(&["queue", "set", "q", "--keep-dead", "1s"]).await.ok();
    let set = set("1s", &["--yes"]).await.ok();
    assert_eq!(set.trim(), "queue q: keep_completed: 3 d, at most 1 job -> 1.0 s");
    eventually("it is not kept any longer", async || {
        let run = cluster.jobraft(&["job", "get", &kept]).await;
        (run.code == Some(3)).then_some(())
    })
    .await;
    cluster.jobraft(&["queue", "set", "q", "--keep-completed", "0s", "--yes"]).await.ok();
    let gone = complete().await;
    assert_eq!(job(&client, gone.parse().unwrap()).await.unwrap_err().code(), Some(ErrorCode::NotFound));
    assert_eq!(count(&client, &["q"], |stats| stats.completed).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_jobs_are_enqueued_though_nobody_reads_their_ids() {
    let cluster = TestCluster::start(1).await;
    let program = env!("CARGO_BIN_EXE_jobraft");
    let line = format!("{program} job enqueue --context client.toml --queue q --task t --count 3000 | head -1");
    let run = tokio::process::Command::new("sh").args(["-c", &line]).current_dir(cluster.directory()).output();
    assert_eq!(run.await.unwrap().stdout.len(), 37, "an id");
    let listed = cluster.jobraft(&["queue", "list", "--json"]).await.ok();
    let queues: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(queues[0]["ready"], 3_000);
}
