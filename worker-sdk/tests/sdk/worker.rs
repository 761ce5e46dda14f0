//! The worker against a node that the test plays.

use crate::node::{Authority, Node, PATIENCE, WORKER, leased, now};
use jobraft_protocol::{Error, ErrorCode, FailureKind, LeaseRef, LeasedJob, Push, Request, Response, ServerFrame};
use jobraft_sdk::{JobError, SdkError, Worker, WorkerBuilder, WorkerReport};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const LEASE: Duration = Duration::from_secs(30);
const SHORT_LEASE: Duration = Duration::from_secs(1);

struct Run {
    node: Node,
    shutdown: oneshot::Sender<()>,
    worker: JoinHandle<Result<WorkerReport, SdkError>>,
}

/// A worker with `change`d settings, two slots and a 30 s lease unless changed.
async fn run(change: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> Run {
    let authority = Authority::new();
    let node = Node::start(&authority, 1);
    let builder = Worker::builder(authority.client(&[&node]).await).queues(["q"]).concurrency(2).lease(LEASE);
    let worker = change(builder).build().unwrap();
    let (shutdown, told) = oneshot::channel();
    let worker = tokio::spawn(worker.run(async { told.await.unwrap_or_default() }));
    Run { node, shutdown, worker }
}

/// A handler named `hang` that says when it starts and, by dropping the sender, when it is dropped.
fn hang(builder: WorkerBuilder) -> (WorkerBuilder, mpsc::UnboundedReceiver<oneshot::Receiver<()>>) {
    let (started, starts) = mpsc::unbounded_channel();
    let builder = builder.handler("hang", move |_, (): ()| {
        let started = started.clone();
        async move {
            let (alive, dropped) = oneshot::channel::<()>();
            started.send(dropped).unwrap();
            std::future::pending::<()>().await;
            drop(alive);
            Ok(())
        }
    });
    (builder, starts)
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it did not happen")
}

fn is_report(request: &Request) -> bool {
    matches!(request, Request::Complete { .. } | Request::Fail { .. } | Request::Release { .. })
}

/// How one job of `task` with `payload` was reported.
async fn reported(run: &mut Run, job: LeasedJob) -> Request {
    let (session, _) = run.node.subscribed().await;
    session.push(vec![job]);
    let asked = run.node.until(is_report).await;
    asked.answer(Ok(Response::Done));
    asked.request
}

#[tokio::test]
async fn a_typed_handler_gets_its_payload_and_returns_its_result() {
    let mut run = run(|builder| builder.handler("double", |_, n: u32| async move { Ok(n * 2) })).await;
    let job = leased("double", 1, 30_000, "21");
    let Request::Complete { lease, completion } = reported(&mut run, job.clone()).await else { panic!() };
    assert_eq!((lease, &completion.result[..]), (job.lease(), &b"42"[..]));
    // The freed slot is offered again.
    let credits = run.node.until(|request| matches!(request, Request::AddCredits { .. })).await;
    assert_eq!(credits.request, Request::AddCredits { worker: WORKER, credits: 1 });
}

async fn failure(job: LeasedJob, change: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> (FailureKind, bool, String) {
    let mut run = run(change).await;
    let Request::Fail { failure, .. } = reported(&mut run, job).await else { panic!() };
    (failure.kind, failure.retryable, failure.message)
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt() {
    let builder = |builder: WorkerBuilder| {
        builder.handler("panic", |_, n: u32| async move {
            assert!(n > 5, "{n} is too small");
            Ok(())
        })
    };
    let outcome = failure(leased("panic", 1, 30_000, "3"), builder).await;
    assert_eq!(outcome, (FailureKind::Panic, true, "the handler panicked: 3 is too small".to_owned()));
}

#[tokio::test]
async fn errors_say_whether_to_try_again() {
    let builder = |builder: WorkerBuilder| {
        builder.handler("fail", |_, text: String| async move {
            let n: u32 = text.parse()?;
            if n == 0 { Err(JobError::fatal("zero")) } else { Ok(n) }
        })
    };
    let outcome = failure(leased("fail", 1, 30_000, "\"x\""), builder).await;
    assert_eq!(outcome, (FailureKind::Error, true, "invalid digit found in string".to_owned()));
    let outcome = failure(leased("fail", 1, 30_000, "\"0\""), builder).await;
    assert_eq!(outcome, (FailureKind::Error, false, "zero".to_owned()));
    let outcome = failure(leased("fail", 1, 30_000, "[]"), builder).await;
    assert_eq!((outcome.0, outcome.1), (FailureKind::Error, false), "a payload of another type never gets better");
    let outcome = failure(leased("nobody", 1, 30_000, "1"), builder).await;
    assert_eq!((outcome.0, outcome.1), (FailureKind::UnknownTask, true));
}

#[tokio::test]
async fn a_job_that_runs_too_long_is_stopped_and_failed() {
    let mut starts = None;
    let mut run = run(|builder| {
        let (builder, receiver) = hang(builder);
        starts = Some(receiver);
        builder
    })
    .await;
    let job = LeasedJob { run_timeout_ms: 50, ..leased("hang", 1, 30_000, "") };
    let Request::Fail { failure, .. } = reported(&mut run, job).await else { panic!() };
    assert_eq!((failure.kind, failure.retryable), (FailureKind::Timeout, true));
    let dropped = soon(starts.unwrap().recv()).await.unwrap();
    soon(dropped).await.unwrap_err();
}

/// Runs a job of `hang` and lets `end` end its lease; nothing may be reported of it.
async fn lost(lease: Duration, end: impl AsyncFnOnce(&mut Node, &crate::node::Session, LeaseRef)) {
    let mut starts = None;
    let Run { mut node, shutdown, worker } = run(|builder| {
        let (builder, receiver) = hang(builder.lease(lease));
        starts = Some(receiver);
        builder
    })
    .await;
    let (session, _) = node.subscribed().await;
    let job = leased("hang", 1, u64::try_from(lease.as_millis()).unwrap(), "");
    session.push(vec![job.clone()]);
    let dropped = soon(starts.unwrap().recv()).await.unwrap();
    end(&mut node, &session, job.lease()).await;
    soon(dropped).await.unwrap_err();
    shutdown.send(()).unwrap();
    let disconnect = node
        .until(|request| {
            assert!(!is_report(request), "{request:?}");
            matches!(request, Request::Disconnect { .. })
        })
        .await;
    disconnect.answer(Ok(Response::Done));
    assert_eq!(soon(worker).await.unwrap().unwrap(), WorkerReport { lost: 1, ..WorkerReport::default() });
}

#[tokio::test]
async fn a_lease_answered_as_lost_stops_its_job() {
    lost(SHORT_LEASE, async |node, _, lease| {
        let asked = node.until(|request| matches!(request, Request::Extend { .. })).await;
        let Request::Extend { leases, .. } = &asked.request else { unreachable!() };
        assert_eq!(*leases, [lease]);
        let lost = Error::new(ErrorCode::LeaseLost, "another worker has it");
        asked.answer(Ok(Response::Extended(vec![Err(lost)])));
    })
    .await;
}

#[tokio::test]
async fn a_revoked_lease_stops_its_job() {
    lost(LEASE, async |_, session, lease| {
        session.send(&ServerFrame::Push(Push::Revoked { worker: WORKER, leases: vec![lease] }));
    })
    .await;
}

#[tokio::test]
async fn a_lease_that_cannot_be_extended_stops_its_job() {
    // Heartbeats come, and nobody answers them.
    lost(SHORT_LEASE, async |node, _, _| {
        let asked = node.next().await;
        assert!(matches!(asked.request, Request::Extend { .. }));
    })
    .await;
}

#[tokio::test]
async fn a_blocking_handler_does_not_starve_the_heartbeats() {
    // This test's runtime has one thread, which the handler blocks; the node lives on another.
    let authority = Authority::new();
    let (extended, mut unblock) = std::sync::mpsc::channel();
    let (config, configured) = std::sync::mpsc::channel();
    let (end, over) = oneshot::channel();
    let node = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut node = Node::start(&authority, 1);
            config.send(authority.config(&[&node])).unwrap();
            let (session, _) = node.subscribed().await;
            session.push(vec![leased("block", 1, 1_000, "")]);
            for _ in 0..4 {
                let asked = node.until(|request| matches!(request, Request::Extend { .. })).await;
                asked.answer(Ok(Response::Extended(vec![Ok(now().plus_ms(1_000))])));
            }
            extended.send(()).unwrap();
            node.until(|request| matches!(request, Request::Complete { .. })).await.answer(Ok(Response::Done));
            node.until(|request| matches!(request, Request::Disconnect { .. })).await.answer(Ok(Response::Done));
            // The answers have arrived when the worker is over.
            over.await.unwrap_or_default();
        });
    });
    let client = jobraft_sdk::Client::connect(configured.recv().unwrap()).await.unwrap();
    let (done, finished) = oneshot::channel::<()>();
    let once = std::sync::Mutex::new(Some((done, std::mem::replace(&mut unblock, std::sync::mpsc::channel().1))));
    let worker = Worker::builder(client).queues(["q"]).lease(SHORT_LEASE).handler("block", move |_, (): ()| {
        let (done, unblock) = once.lock().unwrap().take().unwrap();
        async move {
            unblock.recv_timeout(PATIENCE).unwrap();
            drop(done);
            Ok(())
        }
    });
    let report = worker.build().unwrap().run(async { finished.await.unwrap_or_default() }).await.unwrap();
    assert_eq!(report, WorkerReport { completed: 1, ..WorkerReport::default() });
    end.send(()).unwrap();
    node.join().unwrap();
}

#[tokio::test]
async fn draining_gives_back_what_does_not_end_in_time_and_what_still_arrives() {
    let mut starts = None;
    let Run { mut node, shutdown, worker } = run(|builder| {
        let (builder, receiver) = hang(builder.grace(Duration::from_millis(200)));
        starts = Some(receiver);
        builder
    })
    .await;
    let (session, _) = node.subscribed().await;
    let running = leased("hang", 1, 30_000, "");
    session.push(vec![running.clone()]);
    soon(starts.as_mut().unwrap().recv()).await.unwrap();
    shutdown.send(()).unwrap();
    let unsubscribe = node.until(|request| matches!(request, Request::Unsubscribe { .. })).await;
    // It was on its way when the worker unsubscribed.
    let late = leased("hang", 2, 30_000, "");
    session.push(vec![late.clone()]);
    unsubscribe.answer(Ok(Response::Done));
    for lease in [late.lease(), running.lease()] {
        let asked = node.until(is_report).await;
        assert_eq!(asked.request, Request::Release { lease });
        asked.answer(Ok(Response::Done));
    }
    let goodbye = node.next().await;
    assert_eq!(goodbye.request, Request::Disconnect { worker: WORKER });
    goodbye.answer(Ok(Response::Done));
    assert_eq!(soon(worker).await.unwrap().unwrap(), WorkerReport { released: 2, ..WorkerReport::default() });
    assert!(starts.unwrap().try_recv().is_err(), "the late job was started");
}

#[tokio::test]
async fn credits_and_running_jobs_never_exceed_the_concurrency() {
    let (finish, finishes) = mpsc::channel::<()>(16);
    let finishes = std::sync::Arc::new(tokio::sync::Mutex::new(finishes));
    let mut run = run(|builder| {
        builder.handler("wait", move |_, (): ()| {
            let finishes = std::sync::Arc::clone(&finishes);
            async move {
                finishes.lock().await.recv().await;
                Ok(())
            }
        })
    })
    .await;
    let (session, credits) = run.node.subscribed().await;
    assert_eq!(credits, 2);
    // One job more than there are credits: it is given back.
    let jobs: Vec<LeasedJob> = (1..=3).map(|token| leased("wait", token, 30_000, "")).collect();
    session.push(jobs.clone());
    let asked = run.node.until(is_report).await;
    let release = Request::Release { lease: jobs[2].lease() };
    assert_eq!(asked.request, release);
    // The connection breaks while both run: the new subscription has no credits, and the release is repeated.
    session.cut();
    let awaited = |request: &Request| matches!(request, Request::Subscribe { .. } | Request::Release { .. });
    let (first, second) = (run.node.until(awaited).await, run.node.until(awaited).await);
    let (again, repeated) = if first.request == release { (second, first) } else { (first, second) };
    assert_eq!(repeated.request, release, "and {:?}", again.request);
    repeated.answer(Ok(Response::Done));
    assert!(matches!(again.request, Request::Subscribe { credits: 0, .. }), "{:?}", again.request);
    again.answer(Ok(Response::Done));
    // Each end brings one, after its report.
    for _ in 0..2 {
        finish.send(()).await.unwrap();
        run.node.until(|request| matches!(request, Request::Complete { .. })).await.answer(Ok(Response::Done));
        let credits = run.node.until(|request| matches!(request, Request::AddCredits { .. })).await;
        assert_eq!(credits.request, Request::AddCredits { worker: WORKER, credits: 1 });
        credits.answer(Ok(Response::Done));
    }
}

#[tokio::test]
async fn a_subscription_moves_to_the_new_leader_and_running_jobs_go_on() {
    let authority = Authority::new();
    let (mut old, mut new) = (Node::start(&authority, 1), Node::start(&authority, 2));
    let (finish, finished) = oneshot::channel::<()>();
    let finished = std::sync::Mutex::new(Some(finished));
    let worker = Worker::builder(authority.client(&[&old]).await)
        .queues(["q"])
        .concurrency(2)
        .handler("wait", move |_, (): ()| {
            let finished = finished.lock().unwrap().take().unwrap();
            async move { finished.await.map_err(JobError::from) }
        })
        .build()
        .unwrap();
    let _worker = tokio::spawn(worker.run(std::future::pending()));
    let (session, _) = old.subscribed().await;
    let job = leased("wait", 1, 30_000, "");
    session.push(vec![job.clone()]);
    old.follows(&new);
    session.send(&ServerFrame::Push(Push::SubscriptionEnded { worker: WORKER, leader: Some(new.hint()) }));
    let asked = new.until(|request| matches!(request, Request::Subscribe { .. })).await;
    assert!(matches!(asked.request, Request::Subscribe { credits: 1, .. }), "{:?}", asked.request);
    asked.answer(Ok(Response::Done));
    finish.send(()).unwrap();
    let report = new.until(is_report).await;
    assert!(matches!(report.request, Request::Complete { lease, .. } if lease == job.lease()));
}
