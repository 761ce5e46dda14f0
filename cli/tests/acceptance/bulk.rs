//! Many jobs at once: listed by filters and pages, retried, deleted, and never without being asked.

use crate::support::{Process, Run, TestCluster, count, eventually, job};
use jobraft_sdk::Client;
use jobraft_sdk::protocol::{
    EnqueueOutcome, ErrorCode, Failure, JobId, JobState, NewJob, QueueName, Task, TaskName, WorkerInfo,
};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

/// Jobs that wait in a queue, oldest first.
async fn enqueue(client: &Client, queue: &str, task: &str, number: usize) -> Vec<JobId> {
    let task = Task::Handler(TaskName::new(task).unwrap());
    let new = || NewJob::new(client.job_id(), QueueName::new(queue).unwrap(), task.clone(), "{}");
    let jobs: Vec<NewJob> = (0..number).map(|_| new()).collect();
    let mut ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let outcomes = client.enqueue(jobs).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == EnqueueOutcome::Created), "{outcomes:?}");
    ids.sort();
    ids
}

/// Makes all jobs of a queue dead, with this error.
async fn kill_all(client: &Client, queue: &str, error: &str) {
    let worker =
        client.register_worker(WorkerInfo { name: "killer".to_owned(), ..WorkerInfo::default() }).await.unwrap();
    loop {
        let queues = vec![QueueName::new(queue).unwrap()];
        let leased = client.lease(worker, queues, 100, Duration::from_secs(60), Duration::ZERO).await.unwrap();
        if leased.is_empty() {
            break;
        }
        for job in leased {
            client.fail(job.lease(), Failure::final_error(error)).await.unwrap();
        }
    }
    client.disconnect(worker).await.unwrap();
}

/// One JSON object per line.
fn lines(run: Run) -> Vec<Value> {
    run.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ids(listed: &[Value]) -> Vec<String> {
    listed.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

fn texts(ids: &[JobId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_their_pages_neither_repeat_nor_miss_a_job() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    assert_eq!(cluster.jobraft(&["job", "list"]).await.ok().trim(), "no job matches");
    assert_eq!(cluster.jobraft(&["job", "list", "--json"]).await.ok(), "");
    let mails = enqueue(&client, "emails", "send", 7).await;
    let reports = enqueue(&client, "reports", "draw", 2).await;
    kill_all(&client, "reports", "Out of INK").await;

    // Pages from the oldest on, while jobs of the pages before go away.
    let mut seen = Vec::new();
    let mut after = None::<String>;
    loop {
        let mut words = vec!["job", "list", "--queue", "emails", "--oldest-first", "--limit", "3", "--json"];
        words.extend(after.iter().flat_map(|id| ["--after", id.as_str()]));
        let run = cluster.jobraft(&words).await;
        let more = run.stderr.contains("there are more");
        let page = ids(&lines(run));
        if let Some(first) = page.first() {
            cluster.jobraft(&["job", "cancel", first]).await.ok();
        }
        after = page.last().cloned();
        seen.extend(page);
        if !more {
            break;
        }
    }
    assert_eq!(seen, texts(&mails));
    // The latest first, by default.
    let latest = lines(cluster.jobraft(&["job", "list", "-q", "emails", "--limit", "0", "--json"]).await);
    assert_eq!(ids(&latest), texts(&mails).into_iter().rev().collect::<Vec<_>>());

    let dead = lines(cluster.jobraft(&["job", "list", "--state", "dead", "--error", "out of ink", "--json"]).await);
    assert_eq!(ids(&dead), texts(&reports).into_iter().rev().collect::<Vec<_>>());
    assert_eq!((&dead[0]["end_reason"], &dead[0]["task"]), (&Value::from("final_failure"), &Value::from("draw")));
    for nobody in [["--error", "paper"], ["--older-than", "1h"], ["--task", "sing"], ["--unique", "k"]] {
        let words = [&["job", "list"][..], &nobody[..]].concat();
        assert_eq!(cluster.jobraft(&words).await.ok().trim(), "no job matches", "{nobody:?}");
    }
    let table = cluster.jobraft(&["job", "list", "--newer-than", "1h", "--stale", "--limit", "1"]).await;
    assert!(table.stderr.contains("--after") && table.stderr.contains("--limit 0"), "{table:?}");
    let table = table.ok();
    assert!(table.contains("STATE") && table.lines().count() == 2, "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_list_shows_what_changes_until_it_is_interrupted() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let first = enqueue(&client, "emails", "send", 1).await[0].to_string();
    let words = ["job", "list", "--watch", "1", "--context", "client.toml"];
    let watching = Process::start("watch", cluster.directory(), &words);
    eventually("the first is shown", async || watching.printed().contains(&first).then_some(())).await;
    let second = enqueue(&client, "emails", "send", 1).await[0].to_string();
    eventually("the second is shown", async || watching.printed().contains(&second).then_some(())).await;
    // There is no terminal to be cleared.
    assert!(!watching.printed().contains('\u{1b}'));
    assert!(watching.signal_and_wait(Signal::INT).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_jobs_are_retried_by_filter_and_only_when_told_to() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let number = 1_203;
    let jobs = enqueue(&client, "emails", "send", number).await;
    let other = enqueue(&client, "reports", "draw", 1).await;
    kill_all(&client, "emails", "timeout").await;
    kill_all(&client, "reports", "timeout").await;

    // More than the cluster gives in one page.
    let listed = lines(cluster.jobraft(&["job", "list", "--queue", "emails", "--limit", "0", "--json"]).await);
    assert!(ids(&listed).iter().rev().eq(&texts(&jobs)), "{} of {number} are listed", listed.len());
    // Without a terminal nobody can say yes.
    let refused = cluster.jobraft(&["job", "retry", "--queue", "emails"]).await;
    refused.fails(2, &["retry 1203 jobs", "no terminal", "--yes"]);
    assert_eq!(job(&client, jobs[0]).await.unwrap().state, JobState::Dead);

    let run = cluster.jobraft(&["job", "retry", "--queue", "emails", "--error", "TIMEOUT", "--yes", "--json"]).await;
    let summary: Value = serde_json::from_str(&run.ok()).unwrap();
    assert_eq!((&summary["matched"], &summary["done"]), (&Value::from(number), &Value::from(number)));
    assert_eq!(count(&client, &["emails"], |stats| stats.ready).await.unwrap(), number as u64);
    assert_eq!(job(&client, other[0]).await.unwrap().state, JobState::Dead);
    // What was done does not match any more.
    let again = cluster.jobraft(&["job", "retry", "--queue", "emails", "--yes"]).await.ok();
    assert_eq!(again.trim(), "no job matches");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_deleted_moved_and_prioritized_by_filter() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let jobs = enqueue(&client, "emails", "send", 5).await;
    let dead = enqueue(&client, "reports", "draw", 3).await;
    kill_all(&client, "reports", "why").await;

    let told = cluster.jobraft(&["job", "prioritize", "--queue", "emails", "--priority", "1", "--yes"]).await.ok();
    assert_eq!(told.trim(), "5 jobs: at priority 1 now");
    assert_eq!(job(&client, jobs[4]).await.unwrap().priority, 1);
    cluster.jobraft(&["job", "move", "--queue", "emails", "--to", "mailing", "--yes"]).await.ok();
    assert_eq!(job(&client, jobs[0]).await.unwrap().queue.as_str(), "mailing");
    assert_eq!(count(&client, &["mailing"], |stats| stats.ready).await.unwrap(), 5);

    cluster.jobraft(&["job", "delete", "--state", "dead"]).await.fails(2, &["delete 3 jobs", "--yes"]);
    let told = cluster.jobraft(&["job", "delete", "--state", "dead", "--yes"]).await.ok();
    assert_eq!(told.trim(), "3 jobs: deleted");
    for id in dead {
        assert_eq!(job(&client, id).await.unwrap_err().code(), Some(ErrorCode::NotFound));
    }
    let cancelled = cluster.jobraft(&["job", "cancel", "--queue", "mailing", "--reason", "no use", "--yes"]).await;
    assert!(cancelled.ok().contains("5 jobs"));
    let view = job(&client, jobs[2]).await.unwrap();
    assert_eq!((view.state, view.cancel_reason.as_deref()), (JobState::Cancelled, Some("no use")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_clear_is_refused_before_anything_is_done() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let waiting = enqueue(&client, "emails", "send", 1).await[0].to_string();
    let absent = "0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d";
    for (words, code, named) in [
        (&["job", "retry"][..], 2, &["neither ids nor a filter", "--all"][..]),
        (&["job", "cancel", &waiting, "--queue", "emails"], 2, &["cannot be used with"]),
        (&["job", "delete", "--queue", "emails", "--yes"], 2, &["in which state", "--state dead"]),
        (&["job", "delete", "--state", "leased", "--yes"], 2, &["leased", "cancel it first"]),
        (&["job", "retry", "--state", "ready", "--yes"], 2, &["ready", "allowed", "dead"]),
        (&["job", "move", "--state", "dead", "--to", "q", "--yes"], 2, &["dead", "scheduled, ready"]),
        (&["job", "list", "--state", "asleep"], 2, &["asleep", "scheduled", "expired"]),
        (&["job", "list", "--older-than", "2h", "--newer-than", "1h"], 2, &["older than 2h"]),
        (&["job", "list", "--older-than", "old"], 2, &["\"old\"", "90s"]),
        (&["job", "list", "--queue", "a*b"], 2, &["letters, digits", "'*'"]),
        (&["job", "enqueue", "--task", "t", "--backoff", "exponential:fast"], 2, &["--backoff", "fast"]),
        (&["job", "enqueue", "--task", "t", "--ttl", "0s"], 2, &["--ttl", "0s"]),
        (&["job", "enqueue", "--task", "t", "--at", "noon"], 2, &["--at", "noon", "2026-01-31T12:00:00Z"]),
        (&["job", "enqueue", "--task", "t", "--at", "2098-01-31T12:00:00Z"], 2, &["--at", "more than 366 d ahead"]),
        (&["job", "enqueue", "--task", "t", "--delay", "400days"], 2, &["--delay", "0 s to 366 d"]),
        (&["job", "enqueue", "--task", "t", "--timeout", "13h"], 2, &["--timeout", "1 ms to 12 h"]),
        (&["job", "enqueue", "--task", "t", "--timeout", "0s"], 2, &["--timeout", "1 ms to 12 h"]),
        (&["job", "enqueue", "--task", "t", "--priority", "10"], 2, &["--priority", "10", "0..=9"]),
        (&["job", "retry", &waiting], 1, &[&waiting, "wrong_state"]),
        (&["job", "cancel", absent], 3, &[absent, "not_found"]),
        (&["job", "retry", absent, &waiting], 1, &[absent, &waiting]),
    ] {
        cluster.jobraft(words).await.fails(code, named);
    }
    let view = job(&client, waiting.parse().unwrap()).await.unwrap();
    assert_eq!((view.state, view.queue.as_str()), (JobState::Ready, "emails"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_is_said_and_seen() {
    let cluster = TestCluster::start(1).await;
    let enqueue = async |more: &[&str]| {
        let words = ["job", "enqueue", "--queue", "q", "--task", "t", "--unique", "k 1", "--json"];
        cluster.jobraft(&[&words[..], more].concat()).await
    };
    let first: Value = serde_json::from_str(&enqueue(&["--delay", "1h", "one"]).await.ok()).unwrap();
    assert_eq!(first[0]["outcome"], "created");
    let again = enqueue(&["two"]).await;
    assert!(again.stderr.contains("duplicate of"), "{again:?}");
    let again: Value = serde_json::from_str(&again.ok()).unwrap();
    assert_eq!((&again[0]["outcome"], &again[0]["id"]), (&Value::from("duplicate"), &first[0]["id"]));
    let replaced: Value =
        serde_json::from_str(&enqueue(&["--on-conflict", "replace-payload", "three"]).await.ok()).unwrap();
    assert_eq!((&replaced[0]["outcome"], &replaced[0]["id"]), (&Value::from("replaced"), &first[0]["id"]));
    enqueue(&["--on-conflict", "reject", "four"]).await.fails(1, &["conflict"]);

    let id = first[0]["id"].as_str().unwrap();
    let listed = lines(cluster.jobraft(&["job", "list", "--unique", "k 1", "--json"]).await);
    assert_eq!((ids(&listed), &listed[0]["state"]), (vec![id.to_owned()], &Value::from("scheduled")));
    let shown = cluster.jobraft(&["job", "get", id]).await.ok();
    assert!(shown.contains("k 1 (until it is done)") && shown.contains("three"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_job_tells_why() {
    let cluster = TestCluster::start(1).await;
    let id = cluster.jobraft(&["job", "enqueue", "--task", "t", "--ttl", "300ms", "x"]).await.ok();
    let id = id.trim();
    let shown = eventually("it has expired", async || {
        let shown = cluster.jobraft(&["job", "get", id]).await.ok();
        shown.contains("expired").then_some(shown)
    })
    .await;
    assert!(shown.contains("ttl_over"), "{shown}");
    let waited = cluster.jobraft(&["job", "wait", id]).await;
    assert_eq!(waited.stdout.trim(), format!("{id} expired: ttl_over"));
    waited.fails(1, &["did not complete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_there_does_not_hide_the_ends_of_others() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let jobs = texts(&enqueue(&client, "q", "t", 2).await);
    let absent = "0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d";
    cluster.jobraft(&["job", "cancel", &jobs[0], "--reason", "no use"]).await.ok();
    cluster.jobraft(&["job", "cancel", &jobs[1]]).await.ok();
    let wait = ["job", "wait", &jobs[0], absent, &jobs[1]];

    let told = cluster.jobraft(&wait).await;
    assert_eq!(told.stdout, format!("{} cancelled: no use\n{} cancelled\n", jobs[0], jobs[1]));
    told.fails(3, &["2 of 3 jobs did not complete", absent, "not_found"]);
    let told = cluster.jobraft(&[&wait[..], &["--json"]].concat()).await;
    let ends: Vec<Value> = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(ids(&ends), [&jobs[0], absent, &jobs[1]]);
    assert_eq!((&ends[0]["state"], &ends[1]["error"]["code"]), (&"cancelled".into(), &"not_found".into()));
    told.fails(3, &[absent]);
}
