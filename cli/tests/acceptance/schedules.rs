//! Jobs by the calendar, as the command line puts, shows, runs and removes them.

use crate::support::{Run, TestCluster, eventually, jobraft};
use jobraft_sdk::protocol::{Completion, QueueName, WorkerInfo};
use serde_json::Value;
use std::time::Duration;

fn json(run: Run) -> Value {
    serde_json::from_str(&run.ok()).unwrap()
}

async fn schedule(cluster: &TestCluster, words: &[&str]) -> Run {
    cluster.jobraft(&[&["schedule"], words].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_put_shown_paused_replaced_and_removed() {
    let cluster = TestCluster::start(1).await;
    assert!(schedule(&cluster, &["list"]).await.ok().contains("no schedules"));
    let put = async |cron: &str, more: &[&str]| {
        let words = ["put", "nightly", "--cron", cron, "--tz", "Europe/Berlin", "--queue", "q", "--task", "report"];
        schedule(&cluster, &[&words, more].concat()).await.ok()
    };
    // In winter and in summer.
    let three = ["03:00:00 +01:00", "03:00:00 +02:00"];
    let made = put("0 3 * * *", &["all", "--overlap", "skip"]).await;
    for line in ["schedule nightly: new: cron: 0 3 * * *", "new: payload: \"all\" (3 B)", "new: overlap: skip"] {
        assert!(made.contains(line), "{line:?} is not in {made}");
    }
    assert!(three.iter().any(|time| made.contains(time)), "{made}");
    assert!(put("0 3 * * *", &["all", "--overlap", "skip"]).await.contains("nothing to change"));
    let listed = schedule(&cluster, &["list"]).await.ok();
    assert!(listed.contains("Europe/Berlin") && listed.contains("(in "), "{listed}");
    assert!(three.iter().any(|time| listed.contains(time)), "{listed}");
    let next = json(schedule(&cluster, &["next", "nightly", "-n", "20", "--json"]).await);
    let times: Vec<&str> = next.as_array().unwrap().iter().map(|tick| tick["local"].as_str().unwrap()).collect();
    assert!(
        times.len() == 20
            && times.is_sorted()
            && times.iter().all(|time| three.iter().any(|three| time.ends_with(three))),
        "{times:?}"
    );

    assert_eq!(schedule(&cluster, &["pause", "nightly"]).await.ok().trim(), "schedule nightly is paused");
    let again = json(schedule(&cluster, &["pause", "nightly", "--json"]).await);
    assert_eq!((&again["paused"], &again["changed"]), (&true.into(), &false.into()));
    assert!(schedule(&cluster, &["next", "nightly"]).await.ok().contains("it is paused"));
    // It stays paused when it is replaced.
    let changed = put("0 4 * * *", &["all"]).await;
    for line in ["schedule nightly: cron: 0 3 * * * -> 0 4 * * *", "overlap: skip -> default", "it is paused"] {
        assert!(changed.contains(line), "{line:?} is not in {changed}");
    }
    let shown = json(schedule(&cluster, &["show", "nightly", "--json"]).await);
    assert_eq!((&shown["paused"], &shown["cron"], &shown["fired"]), (&true.into(), &"0 4 * * *".into(), &0.into()));
    assert_eq!((&shown["job"]["task"], &shown["job"]["payload"]), (&"report".into(), &"all".into()));
    assert!(schedule(&cluster, &["resume", "nightly"]).await.ok().contains("is running"));
    let text = schedule(&cluster, &["show", "nightly"]).await.ok();
    assert!(text.contains("0 4 * * *") && text.contains("0 fired, 0 missed, 0 skipped"), "{text}");

    assert_eq!(schedule(&cluster, &["rm", "nightly"]).await.ok().trim(), "schedule nightly is removed");
    for command in ["rm", "show", "next", "pause", "resume", "run"] {
        schedule(&cluster, &[command, "nightly"]).await.fails(3, &["nightly", "jobraft schedule list"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_ticks_and_runs_when_asked() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let put = ["put", "yearly", "--cron", "@yearly", "--queue", "q", "--task", "t", "--label", "now"];
    schedule(&cluster, &put).await.ok();
    schedule(&cluster, &["pause", "yearly"]).await.ok();
    let worker = client.register_worker(WorkerInfo { name: "w".to_owned(), ..WorkerInfo::default() }).await.unwrap();
    let lease = async || {
        let queues = vec![QueueName::new("q").unwrap()];
        client.lease(worker, queues, 1, Duration::from_secs(60), Duration::from_secs(20)).await.unwrap().pop()
    };
    // Run now, whether or not it is paused.
    let waiting = schedule(&cluster, &["run", "yearly", "--wait"]);
    let (waited, ()) = tokio::join!(waiting, async {
        let job = eventually("the job is there", lease).await;
        assert_eq!((job.label.unwrap().as_str(), job.tick.unwrap().schedule.as_str()), ("now", "yearly"));
        let done = Completion { result: "done".into(), ..Completion::default() };
        let lease = jobraft_sdk::protocol::LeaseRef { job: job.id, token: job.token };
        client.complete(lease, done).await.unwrap();
    });
    assert_eq!(waited.ok().trim(), "done");
    let shown = json(schedule(&cluster, &["show", "yearly", "--json"]).await);
    let got = cluster.jobraft(&["job", "get", shown["last_job"].as_str().unwrap()]).await.ok();
    assert!(got.contains("schedule   yearly, for "), "{got}");
    let run = json(schedule(&cluster, &["run", "yearly", "--json"]).await);
    assert_eq!(run["schedule"], "yearly");

    let put = ["put", "often", "--cron", "* * * * * *", "--queue", "often", "--task", "t", "--overlap", "skip"];
    schedule(&cluster, &put).await.ok();
    // The job of its first tick lives, so all others are passed over.
    eventually("it has ticked twice", async || {
        let shown = json(schedule(&cluster, &["show", "often", "--json"]).await);
        assert!(shown["fired"].as_u64().unwrap() <= 1, "{shown}");
        (shown["fired"] == 1 && shown["skipped"].as_u64().unwrap() >= 1).then_some(())
    })
    .await;
    let listed = cluster.jobraft(&["job", "list", "--queue", "often", "--json"]).await.ok();
    assert_eq!(listed.lines().count(), 1, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_schedule_is_refused_with_what_was_meant() {
    let cluster = TestCluster::start(1).await;
    for (words, what) in [
        (&["--cron", "0 3 * * MOM"][..], &["--cron", "MOM", "`MON`?"][..]),
        (&["--cron", "0 3 * *"], &["--cron", "4 fields"]),
        (&["--cron", "@hourli"], &["--cron", "`@hourly`?"]),
        (&["--cron", "0 0 30 2 *"], &["--cron", "never fires"]),
        (&["--cron", "@hourly", "--tz", "Europe/Berlim"], &["--tz", "`Europe/Berlin`?"]),
        (&["--cron", "@hourly", "--file", "none.txt"], &["none.txt"]),
        (&["--cron", "@hourly", "--catch-up", "some"], &["some", "skip, one, all"]),
    ] {
        schedule(&cluster, &[&["put", "s", "--task", "t"], words].concat()).await.fails(2, what);
    }
    let unknown = schedule(&cluster, &["put", "s", "--cron", "@hourly", "--module", "nowhere"]).await;
    unknown.fails(3, &["nowhere", "jobraft module list"]);
    assert_eq!(schedule(&cluster, &["list", "--json"]).await.ok().trim(), "[]");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_is_tried_without_a_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let next = async |words: &[&str]| jobraft(directory.path(), &[&["schedule", "next"], words].concat()).await;
    let json = json(next(&["--cron", "0 9 * * MON-FRI", "--tz", "America/New_York", "-n", "5", "--json"]).await);
    let times: Vec<&str> = json.as_array().unwrap().iter().map(|tick| tick["local"].as_str().unwrap()).collect();
    assert!(times.len() == 5 && times.iter().all(|time| time.contains(" 09:00:00 -0")), "{times:?}");
    assert_eq!(next(&["--cron", "@hourly"]).await.ok().lines().count(), 11);
    next(&["--cron", "61 * * * *"]).await.fails(2, &["--cron", "61"]);
}
