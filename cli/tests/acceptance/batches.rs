//! Jobs that belong together: workflows from a file, batches from flags, and what can be done to them as a whole.

use crate::support::{Run, TestCluster, job};
use jobraft_sdk::Client;
use jobraft_sdk::protocol::{
    Completion, Consistency, Failure, JobId, JobState, LeasedJob, QueueName, WorkerId, WorkerInfo,
};
use serde_json::Value;
use std::time::Duration;

const WORKFLOW: &str = "\
label = \"corpus\"
[on_complete]
task = \"notify\"
label = \"done\"
[jobs.split]
task = \"split\"
payload = \"text\"
[jobs.part-1]
task = \"count\"
file = \"parts/a.md\"
after = [\"split\"]
[jobs.part-2]
task = \"count\"
after = [\"split\"]
priority = 1
[jobs.reduce]
task = \"sum\"
after = [\"part-1\", \"part-2\"]
";

/// A worker of queue `default` that does what it is told.
struct Hand {
    client: Client,
    worker: WorkerId,
}

impl Hand {
    async fn new(cluster: &TestCluster) -> Self {
        let client = cluster.client().await;
        let info = WorkerInfo { name: "hand".to_owned(), ..WorkerInfo::default() };
        let worker = client.register_worker(info).await.unwrap();
        Self { client, worker }
    }

    async fn lease(&self) -> Option<LeasedJob> {
        let queues = vec![QueueName::new("default").unwrap()];
        self.client.lease(self.worker, queues, 1, Duration::from_secs(60), Duration::ZERO).await.unwrap().pop()
    }

    /// Completes whatever can be leased, one after the other; their labels.
    async fn complete_all(&self) -> Vec<String> {
        let mut labels = Vec::new();
        while let Some(job) = self.lease().await {
            self.client.complete(job.lease(), Completion::default()).await.unwrap();
            labels.push(job.label.map(|label| label.to_string()).unwrap_or_default());
        }
        labels
    }

    /// Makes the next job dead.
    async fn kill_one(&self, error: &str) -> JobId {
        let job = self.lease().await.unwrap();
        self.client.fail(job.lease(), Failure::final_error(error)).await.unwrap();
        job.id
    }

    async fn state(&self, id: &str) -> JobState {
        job(&self.client, id.parse().unwrap()).await.unwrap().state
    }
}

async fn cluster_with(file: &str) -> TestCluster {
    let cluster = TestCluster::start(1).await;
    std::fs::create_dir(cluster.path("parts")).unwrap();
    std::fs::write(cluster.path("parts/a.md"), "part a").unwrap();
    std::fs::write(cluster.path("workflow.toml"), file).unwrap();
    cluster
}

async fn create(cluster: &TestCluster, flags: &[&str]) -> String {
    cluster.jobraft(&[&["batch", "create"], flags].concat()).await.ok().trim().to_owned()
}

fn json(run: Run) -> Value {
    serde_json::from_str(&run.ok()).unwrap()
}

async fn shown(cluster: &TestCluster, id: &str) -> Value {
    json(cluster.jobraft(&["batch", "show", id, "--json"]).await)
}

fn job_of(shown: &Value, label: &str) -> Value {
    let jobs = shown["jobs"].as_array().unwrap();
    jobs.iter().find(|job| job["label"] == label).unwrap_or_else(|| panic!("no {label} in {shown}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_runs_in_its_order_and_is_drawn_as_a_tree() {
    let cluster = cluster_with(WORKFLOW).await;
    let hand = Hand::new(&cluster).await;
    let id = create(&cluster, &["-f", "workflow.toml"]).await;
    let drawn = cluster.jobraft(&["batch", "show", &id]).await.ok();
    let tree = "\
jobs
└── split  split  ready
    ├── part-1  count  blocked
    └── part-2  count  blocked
        └── reduce  sum  blocked  (also after part-1)
";
    assert!(drawn.ends_with(tree), "{drawn}");
    for words in ["corpus", "running", "4: 4 live", "not called"] {
        assert!(drawn.contains(words), "{words:?} is not in {drawn}");
    }
    let part = job_of(&shown(&cluster, &id).await, "part-1");
    let part = job(&hand.client, part["id"].as_str().unwrap().parse().unwrap()).await.unwrap();
    assert_eq!((&part.payload[..], part.after.len()), (&b"part a"[..], 1));
    let listed = cluster.jobraft(&["job", "list", "--batch", &id, "--state", "blocked"]).await.ok();
    assert!(listed.lines().count() == 4 && listed.contains("after 2 jobs"), "{listed}");
    let early = cluster.jobraft(&["batch", "wait", &id, "--timeout", "100ms"]).await;
    early.fails(4, &["has not ended in the time allowed", "jobraft batch show"]);

    let wait = ["batch", "wait", &id];
    let (waited, labels) = tokio::join!(cluster.jobraft(&wait), hand.complete_all());
    assert_eq!(labels, ["split", "part-2", "part-1", "reduce", "done"]);
    assert_eq!(waited.ok().trim(), format!("batch {id} completed: 4 jobs"));
    let after = shown(&cluster, &id).await;
    assert_eq!((&after["batch"]["state"], &after["batch"]["completed"]), (&"completed".into(), &4.into()));
    let called = after["batch"]["on_complete"].as_str().unwrap();
    let got = cluster.jobraft(&["job", "get", called]).await.ok();
    assert!(got.contains(&format!("{id}, which called it")) && got.contains("done"), "{got}");
    let drawn = cluster.jobraft(&["batch", "show", &id]).await.ok();
    assert!(drawn.contains(&format!("on_complete: job {called} completed")), "{drawn}");
    let reduce = cluster.jobraft(&["job", "get", job_of(&after, "reduce")["id"].as_str().unwrap()]).await.ok();
    assert!(reduce.contains("reduce") && reduce.matches(" completed").count() == 3, "{reduce}");
    let waited = json(cluster.jobraft(&["batch", "wait", &id, "--json"]).await);
    assert_eq!(waited["state"], "completed");
    let listed = cluster.jobraft(&["batch", "list", "--json"]).await;
    assert_eq!(json(listed)["id"], Value::from(id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_created_again_is_the_same_batch() {
    let cluster = cluster_with(WORKFLOW).await;
    let client = cluster.client().await;
    let id = client.batch_id().to_string();
    for _ in 0..2 {
        assert_eq!(create(&cluster, &["-f", "workflow.toml", "--id", &id]).await, id);
    }
    assert_eq!(shown(&cluster, &id).await["batch"]["jobs"], 4);
    assert_eq!(cluster.jobraft(&["job", "list", "--json"]).await.ok().lines().count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_holds_up_what_comes_after_it_until_it_is_retried() {
    let cluster = cluster_with(WORKFLOW).await;
    let hand = Hand::new(&cluster).await;
    let id = create(&cluster, &["-f", "workflow.toml"]).await;
    let dead = hand.kill_one("out of ink").await;
    assert_eq!(hand.lease().await, None);
    let drawn = cluster.jobraft(&["batch", "show", &id]).await.ok();
    assert!(
        drawn.contains(&format!("split  split  dead (attempt 1 of 25, final_failure, out of ink, job {dead})")),
        "{drawn}"
    );
    assert!(drawn.contains("4: 1 dead, 3 live"), "{drawn}");
    cluster.jobraft(&["batch", "retry", &id]).await.fails(2, &["retry 1 job", "--yes"]);
    let retried = cluster.jobraft(&["batch", "retry", &id, "--yes"]).await.ok();
    assert_eq!(retried.trim(), "1 job: ready again");
    assert_eq!(hand.complete_all().await.len(), 5);
    cluster.jobraft(&["batch", "wait", &id]).await.ok();
    assert_eq!(cluster.jobraft(&["batch", "retry", &id, "--yes"]).await.ok().trim(), "no job matches");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_files_calls_once_when_one_of_its_jobs_fails() {
    let cluster = cluster_with("").await;
    let hand = Hand::new(&cluster).await;
    std::fs::write(cluster.path("b.md"), "part b").unwrap();
    let flags = ["--task", "count", "--file", "parts/a.md", "--file", "b.md", "--label", "two"];
    let calls = ["--on-failure-task", "alarm", "--on-complete-task", "notify", "--callback-queue", "calls"];
    let id = create(&cluster, &[&flags[..], &calls].concat()).await;
    hand.kill_one("no").await;
    hand.kill_one("no").await;
    let run = cluster.jobraft(&["batch", "wait", &id]).await;
    run.fails(1, &["it has ended failed: 2 dead", "jobraft batch show", "jobraft batch retry"]);
    let after = shown(&cluster, &id).await;
    assert_eq!((&job_of(&after, "a.md")["state"], &job_of(&after, "b.md")["state"]), (&"dead".into(), &"dead".into()));
    assert_eq!(after["batch"]["failure_called"], true);
    let called = cluster.jobraft(&["job", "list", "--queue", "calls", "--json"]).await;
    let called = json(called);
    assert_eq!((&called["task"], &called["id"]), (&"alarm".into(), &after["batch"]["on_failure"]));
    assert_eq!(called["is_callback"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_takes_its_jobs_along_but_not_whom_it_called() {
    let cluster = cluster_with("").await;
    let hand = Hand::new(&cluster).await;
    let calls = ["--on-failure-task", "alarm", "--callback-queue", "calls"];
    let id = create(&cluster, &[&["--task", "t", "--open"][..], &calls].concat()).await;
    let first = cluster.jobraft(&["job", "enqueue", "--task", "t", "--batch", &id, "--count", "3"]).await.ok();
    hand.kill_one("no").await;
    cluster.jobraft(&["batch", "cancel", &id]).await.fails(2, &["cancel batch", "3 jobs", "--yes"]);
    assert_eq!(shown(&cluster, &id).await["batch"]["state"], "open");
    let cancelled = cluster.jobraft(&["batch", "cancel", &id, "--yes", "--reason", "no need"]).await.ok();
    assert!(cancelled.contains("3 jobs: cancelled") && cancelled.contains("it is cancelled"), "{cancelled}");
    let after = shown(&cluster, &id).await;
    assert_eq!((&after["batch"]["cancelled"], &after["batch"]["dead"]), (&3.into(), &1.into()));
    assert_eq!(hand.state(after["batch"]["on_failure"].as_str().unwrap()).await, JobState::Ready);
    let last = first.lines().last().unwrap();
    assert_eq!(hand.state(last).await, JobState::Cancelled);
    let late = cluster.jobraft(&["job", "enqueue", "--task", "t", "--batch", &id]).await;
    late.fails(1, &["wrong_state", "cancelled and takes no more jobs"]);
    let again = cluster.jobraft(&["batch", "cancel", &id, "--yes"]).await.ok();
    assert!(again.contains("has ended already: cancelled"), "{again}");
    cluster.jobraft(&["batch", "wait", &id]).await.fails(1, &["it has ended cancelled: 1 dead, 3 cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_batch_takes_jobs_until_it_is_sealed() {
    let cluster = cluster_with("").await;
    let hand = Hand::new(&cluster).await;
    let id = create(&cluster, &["--open", "--label", "import"]).await;
    let enqueue = ["job", "enqueue", "--task", "t", "--batch", &id, "--label", "row"];
    cluster.jobraft(&enqueue).await.ok();
    assert_eq!(hand.complete_all().await, ["row"]);
    assert_eq!(shown(&cluster, &id).await["batch"]["state"], "open");
    let sealed = cluster.jobraft(&["batch", "seal", &id]).await.ok();
    assert_eq!(sealed.trim(), format!("batch {id} is sealed and completed; its jobs: 1 completed"));
    assert_eq!(json(cluster.jobraft(&["batch", "seal", &id, "--json"]).await)["state"], "completed");
    cluster.jobraft(&enqueue).await.fails(1, &["wrong_state", "sealed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_is_not_right_is_refused_as_a_whole() {
    let cluster = cluster_with("").await;
    let jobs = |rest: &str| format!("[jobs.a]\ntask = \"t\"\n[jobs.b]\ntask = \"t\"\n{rest}");
    for (text, words) in [
        (jobs("after = [\"c\"]\n"), &["line 5", "jobs.b.after", "`c`"][..]),
        (jobs("aftre = [\"a\"]\n"), &["line 5", "jobs.b.aftre", "did you mean `after`?"]),
        (jobs("after = [\"b\"]\n"), &["line 5", "jobs.b.after", "cycle", "`b` comes after `b`"]),
        (jobs("file = \"none\"\n"), &["line 5", "jobs.b.file", "none"]),
        ((0..1_001).map(|n| format!("[jobs.j{n}]\ntask = \"t\"\n")).collect(), &["jobs", "1001 jobs", "1000"]),
        ("[jobs.a\n".to_owned(), &["line 1", "TOML"]),
    ] {
        std::fs::write(cluster.path("wrong.toml"), text).unwrap();
        let run = cluster.jobraft(&["batch", "create", "-f", "wrong.toml"]).await;
        run.fails(2, &[words, &["wrong.toml"]].concat());
    }
    std::fs::write(cluster.path("wrong.toml"), jobs("[jobs.c]\nmodule = \"nowhere\"\n")).unwrap();
    cluster.jobraft(&["batch", "create", "-f", "wrong.toml"]).await.fails(3, &["nowhere", "jobraft module list"]);
    cluster.jobraft(&["batch", "create", "-f", "absent.toml"]).await.fails(2, &["absent.toml"]);
    cluster.jobraft(&["batch", "create"]).await.fails(2, &["-f", "--task", "--open"]);
    let many = cluster.jobraft(&["batch", "create", "--task", "t", "--unique", "k", "--file", "none.md"]).await;
    many.fails(2, &["none.md"]);
    let absent = "0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d";
    for command in ["show", "wait", "seal", "cancel", "retry"] {
        cluster.jobraft(&["batch", command, absent]).await.fails(3, &[absent, "jobraft batch list"]);
    }
    assert!(cluster.jobraft(&["batch", "list"]).await.ok().contains("no batches"));
    assert_eq!(cluster.client().await.queues(Consistency::Linearizable).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_wait_for_others_and_are_enqueued_all_or_none() {
    let cluster = cluster_with("").await;
    let hand = Hand::new(&cluster).await;
    let enqueue = async |more: &[&str]| cluster.jobraft(&[&["job", "enqueue", "--task", "t"], more].concat()).await;
    let first = enqueue(&["--label", "first"]).await.ok().trim().to_owned();
    let second = enqueue(&[]).await.ok().trim().to_owned();
    let both = format!("{first},{second},{first}");
    let waits = enqueue(&["--after", &both, "--group", "g"]).await.ok().trim().to_owned();
    let cancels = enqueue(&["--after", &first, "--on-failure", "cancel"]).await.ok().trim().to_owned();
    let got = json(cluster.jobraft(&["job", "get", &waits, "--json"]).await);
    assert_eq!((&got["after"][0]["job"], &got["after"][1]["job"]), (&Value::from(&*first), &Value::from(&*second)));
    assert_eq!((got["after"].as_array().unwrap().len(), &got["group"]), (2, &"g".into()));
    let listed = cluster.jobraft(&["job", "list", "--state", "blocked"]).await.ok();
    assert!(listed.contains("after 2 jobs") && listed.contains("after 1 job\n"), "{listed}");
    hand.kill_one("no").await;
    assert_eq!((hand.state(&waits).await, hand.state(&cancels).await), (JobState::Blocked, JobState::Cancelled));
    let told = cluster.jobraft(&["job", "get", &cancels]).await.ok();
    assert!(told.contains("dependency_failed") && told.contains("on failure cancel"), "{told}");

    let absent = "0190b5a0-7c1e-7cc2-98c4-5d1f2a3b4c5d";
    enqueue(&["--after", absent]).await.fails(3, &[absent]);
    enqueue(&["--batch", absent]).await.fails(3, &[absent]);
    cluster.jobraft(&["queue", "set", "small", "--max-jobs", "2"]).await.ok();
    let three = ["--queue", "small", "--count", "3"];
    enqueue(&[&three[..], &["--all-or-none"]].concat()).await.fails(1, &["queue_full"]);
    let small = async || {
        let queues = hand.client.queues(Consistency::Linearizable).await.unwrap();
        queues.iter().find(|queue| queue.queue.as_str() == "small").unwrap().ready
    };
    assert_eq!(small().await, 0);
    enqueue(&three).await.fails(1, &["queue_full", "1 of them were refused"]);
    assert_eq!(small().await, 2);
    enqueue(&["--count", "1001", "--all-or-none"]).await.fails(2, &["1001 jobs", "1000", "batch create --open"]);
    let all = enqueue(&["--count", "1000", "--all-or-none"]).await.ok();
    assert_eq!(all.lines().count(), 1_000);
}
