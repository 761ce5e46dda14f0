//! What becomes of a running job: cancelled while it runs, or lost with its worker again and again.

use crate::support::{DEADLINE, TestCluster, eventually, job};
use jobraft_sdk::protocol::{EndReason, FailureKind, JobId, JobState};
use jobraft_sdk::{Client, JobContext, JobError, Producer, Worker};
use std::time::{Duration, Instant};

const FOREVER: &str = include_str!("../../../examples/wasm/hostile/forever.wat");
/// So long that what ends sooner has not waited for it.
const GRACE: &str = "10m";

async fn running(client: &Client, id: JobId) {
    eventually("it runs", async || (job(client, id).await.ok()?.state == JobState::Leased).then_some(())).await;
}

async fn enqueue_forever(cluster: &TestCluster) -> JobId {
    std::fs::write(cluster.path("forever.wasm"), wat::parse_str(FOREVER).unwrap()).unwrap();
    cluster.jobraft(&["module", "push", "forever.wasm", "--name", "forever"]).await.ok();
    cluster.jobraft(&["job", "enqueue", "--module", "forever"]).await.ok().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_runs_is_cancelled_at_once() {
    let mut cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let id = enqueue_forever(&cluster).await;
    cluster.start_worker("worker", &["--queue", "default"]).await;
    running(&client, id).await;
    cluster.jobraft(&["job", "cancel", &id.to_string(), "--reason", "sold out", "--grace", GRACE]).await.ok();
    let view = client.wait_job(id, DEADLINE).await.unwrap();
    assert_eq!((view.state, view.end_reason), (JobState::Cancelled, Some(EndReason::Cancelled)));
    assert_eq!(view.cancel_reason.as_deref(), Some("sold out"));
    assert_eq!(view.errors.last().unwrap().message, "cancelled: sold out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_does_not_stop_is_dropped_when_its_grace_is_over() {
    let cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let worker = Worker::builder(client.clone()).queues(["q"]).concurrency(1);
    let worker = worker.handler("deaf", move |context: JobContext, (): ()| {
        let told = told.clone();
        async move {
            context.cancelled().cancelled().await;
            told.send(context.cancel_reason().map(str::to_owned)).unwrap();
            std::future::pending::<()>().await;
            Ok::<_, JobError>(())
        }
    });
    let _worker = tokio::spawn(worker.build().unwrap().run(std::future::pending()));
    let id = Producer::<()>::new(client.clone(), "q", "deaf").unwrap().enqueue(&()).await.unwrap();
    running(&client, id).await;
    let asked = Instant::now();
    cluster.jobraft(&["job", "cancel", &id.to_string(), "--reason", "late", "--grace", "3s"]).await.ok();
    assert_eq!(hears.recv().await.unwrap().as_deref(), Some("late"));
    let view = client.wait_job(id, DEADLINE).await.unwrap();
    assert_eq!((view.state, view.end_reason), (JobState::Cancelled, Some(EndReason::CancelGraceOver)));
    assert!(asked.elapsed() >= Duration::from_secs(2), "it had its grace");
    // Its code is gone too: it had the only slot.
    let next = Producer::<()>::new(client.clone(), "q", "deaf").unwrap().enqueue(&()).await.unwrap();
    running(&client, next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_worker_is_killed_three_times_is_dead() {
    let mut cluster = TestCluster::start(1).await;
    let client = cluster.client().await;
    let id = enqueue_forever(&cluster).await;
    for death in 1..=3 {
        let name = format!("victim-{death}");
        cluster.start_worker(&name, &["--queue", "default", "--lease", "1s"]).await;
        running(&client, id).await;
        cluster.kill_worker(&name);
        let crashes = || async { job(&client, id).await.ok().map(|view| (view.crashed_at.len(), view)) };
        let view = eventually("the lease is over", async || {
            crashes().await.and_then(|(crashes, view)| (crashes == death).then_some(view))
        });
        let view = view.await;
        assert_eq!(view.attempt, 0, "a crash uses up no attempt");
        let state = if death == 3 { JobState::Dead } else { JobState::Ready };
        assert!(view.state == state || view.state == JobState::Scheduled && death < 3, "{view:?}");
    }
    let view = job(&client, id).await.unwrap();
    assert_eq!(view.end_reason, Some(EndReason::CrashBudget));
    assert_eq!(view.errors.last().unwrap().kind, FailureKind::LeaseExpired);
}
