//! The worker against a node that the test plays.

use crate::node::{Authority, Node, PATIENCE, WORKER, extended, leased, now};
use jobraft_protocol::{
    CancelNotice, Completion, Error, ErrorCode, Extended, FailureKind, JobState, LeaseRef, LeasedJob, NewJob, Progress,
    Push, QueueName, Request, Response, ServerFrame, StateKey, StateWrite, Task, TaskName, WorkerId, WorkerInfo,
    WorkerOrder, limits,
};
use jobraft_sdk::{Executor, ExecutorFuture, JobContext, JobError, SdkError, Worker, WorkerBuilder, WorkerReport};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const LEASE: Duration = Duration::from_secs(30);
const SHORT_LEASE: Duration = Duration::from_secs(1);

pub(crate) struct Run {
    pub(crate) node: Node,
    shutdown: oneshot::Sender<()>,
    worker: JoinHandle<Result<WorkerReport, SdkError>>,
}

/// A worker with `change`d settings, two slots and a 30 s lease unless changed.
pub(crate) async fn run(change: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> Run {
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

pub(crate) fn is_report(request: &Request) -> bool {
    matches!(request, Request::Complete { .. } | Request::Fail { .. } | Request::Release { .. })
}

/// The one job that a request completes.
pub(crate) fn completed(request: Request) -> (LeaseRef, Completion) {
    let Request::Complete { completions } = request else { panic!("{request:?}") };
    let [one] = <[_; 1]>::try_from(completions).expect("one alone");
    one
}

/// How one job of `task` with `payload` was reported.
async fn reported(run: &mut Run, job: LeasedJob) -> Request {
    let (session, _) = run.node.subscribed().await;
    session.push(vec![job]);
    let asked = run.node.until(is_report).await;
    asked.take();
    asked.request
}

#[tokio::test]
async fn a_typed_handler_gets_its_payload_and_returns_its_result() {
    let mut run = run(|builder| builder.handler("double", |_, n: u32| async move { Ok(n * 2) })).await;
    let job = leased("double", 1, 30_000, "21");
    let (lease, completion) = completed(reported(&mut run, job.clone()).await);
    assert_eq!((lease, &completion.result[..]), (job.lease(), &b"42"[..]));
    // The freed slot is offered again.
    let credits = run.node.until(|request| matches!(request, Request::AddCredits { .. })).await;
    assert_eq!(credits.request, Request::AddCredits { worker: WORKER, credits: 1 });
}

#[tokio::test]
async fn accepted_reports_are_told_and_no_others() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut run = run(|builder| {
        let builder = builder.on_report(move |reported| tell.send((reported.job, reported.completed)).unwrap());
        builder.handler("some", |_, n: u32| async move { if n == 0 { Err(JobError::fatal("none")) } else { Ok(n) } })
    })
    .await;
    let (session, _) = run.node.subscribed().await;
    for (token, payload) in [(1, "5"), (2, "5"), (3, "0")] {
        let job = leased("some", token, 30_000, payload);
        session.push(vec![job.clone()]);
        let asked = run.node.until(is_report).await;
        if token == 1 {
            asked.refuse(Error::new(ErrorCode::LeaseLost, "too late"));
        } else {
            asked.take();
            assert_eq!(soon(told.recv()).await, Some((job.id, payload == "5")));
        }
    }
    assert!(told.try_recv().is_err());
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
async fn a_cancelled_job_is_stopped_when_its_grace_is_over() {
    lost(LEASE, async |_, session, lease| {
        let notice = CancelNotice { reason: String::new(), hard_at: now().plus_ms(300) };
        session.send(&ServerFrame::Push(Push::CancelRequested { worker: WORKER, lease, notice }));
    })
    .await;
}

#[tokio::test]
async fn a_grace_longer_than_the_lease_is_left_to_the_job() {
    cancelled(Duration::from_millis(1_500), async |_, session, lease| {
        session.send(&ServerFrame::Push(Push::CancelRequested { worker: WORKER, lease, notice: notice() }));
    })
    .await;
}

#[tokio::test]
async fn a_long_lease_does_not_keep_a_worker_from_hearing_of_its_loss() {
    lost(Duration::from_millis(limits::LEASE_MS_MAX), async |node, _, _| {
        let asked = node.until(|request| matches!(request, Request::Extend { .. })).await;
        let lost = Error::new(ErrorCode::LeaseLost, "its revocation went by before it came");
        asked.answer(Ok(Response::Extended(vec![Err(lost)])));
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
    let (unblocks, mut unblock) = std::sync::mpsc::channel();
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
                asked.answer(Ok(extended(1, 1_000)));
            }
            unblocks.send(()).unwrap();
            node.until(|request| matches!(request, Request::Complete { .. })).await.take();
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
        assert_eq!(asked.request, Request::Release { lease, delay_ms: 0 });
        asked.answer(Ok(Response::Done));
    }
    let goodbye = node.next().await;
    assert_eq!(goodbye.request, Request::Disconnect { worker: WORKER });
    goodbye.answer(Ok(Response::Done));
    assert_eq!(soon(worker).await.unwrap().unwrap(), WorkerReport { released: 2, ..WorkerReport::default() });
    assert!(starts.unwrap().try_recv().is_err(), "the late job was started");
}

#[tokio::test]
async fn the_grace_begins_at_once_though_the_cluster_is_away() {
    let mut starts = None;
    let Run { mut node, shutdown, worker } = run(|builder| {
        let (builder, receiver) = hang(builder.grace(Duration::from_millis(100)));
        starts = Some(receiver);
        builder
    })
    .await;
    let (session, _) = node.subscribed().await;
    session.push(vec![leased("hang", 1, 30_000, "")]);
    let dropped = soon(starts.unwrap().recv()).await.unwrap();
    node.fall_silent();
    session.cut();
    // The worker has noticed, and looks for the node in vain.
    tokio::time::sleep(Duration::from_millis(300)).await;
    shutdown.send(()).unwrap();
    let in_time = tokio::time::timeout(Duration::from_secs(2), dropped).await;
    in_time.expect("a search for the cluster came before the grace").unwrap_err();
    worker.abort();
}

#[tokio::test]
async fn a_worker_ends_soon_though_the_cluster_is_away() {
    let Run { mut node, shutdown, worker } = run(|builder| builder.handler("t", |_, (): ()| async { Ok(()) })).await;
    let (session, _) = node.subscribed().await;
    node.fall_silent();
    session.cut();
    shutdown.send(()).unwrap();
    let report = tokio::time::timeout(Duration::from_secs(9), worker).await;
    assert_eq!(report.expect("it did not end").unwrap().unwrap(), WorkerReport::default());
}

#[tokio::test]
async fn a_job_whose_lease_was_over_when_it_came_is_not_begun() {
    let mut starts = None;
    let mut run = run(|builder| {
        let (builder, receiver) = hang(builder);
        starts = Some(receiver);
        builder
    })
    .await;
    let (session, _) = run.node.subscribed().await;
    // As after a pause of the whole process.
    session.push((1..=2).map(|token| leased("hang", token, 0, "")).collect());
    run.node.until(|request| matches!(request, Request::AddCredits { .. })).await.answer(Ok(Response::Done));
    run.shutdown.send(()).unwrap();
    run.node.until(|request| matches!(request, Request::Disconnect { .. })).await.answer(Ok(Response::Done));
    assert_eq!(soon(run.worker).await.unwrap().unwrap(), WorkerReport { lost: 2, ..WorkerReport::default() });
    assert!(starts.unwrap().try_recv().is_err(), "a job was begun");
}

struct Careless;

impl Executor for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }

    fn accepts(&self, task: &Task) -> bool {
        panic!("{task} is beyond me");
    }

    fn run<'a>(&'a self, _: &'a LeasedJob, _: JobContext) -> ExecutorFuture<'a> {
        unreachable!("it accepts nothing")
    }
}

#[tokio::test]
async fn an_executor_that_panics_when_it_is_asked_fails_the_attempt() {
    let outcome = failure(leased("t", 1, 30_000, ""), |builder| builder.executor(Careless)).await;
    assert_eq!((outcome.0, outcome.1), (FailureKind::Panic, true), "{}", outcome.2);
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
    let release = Request::Release { lease: jobs[2].lease(), delay_ms: 0 };
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
        run.node.until(|request| matches!(request, Request::Complete { .. })).await.take();
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
    assert_eq!(completed(report.request).0, job.lease());
}

/// A job that is cancelled in the middle: its handler hears why, ends in its own way, and that is reported.
async fn cancelled(tidying: Duration, told: impl AsyncFnOnce(&mut Node, &crate::node::Session, LeaseRef)) {
    let (started, mut starts) = mpsc::unbounded_channel();
    let mut run = run(|builder| {
        builder.lease(SHORT_LEASE).handler("tidy", move |context: JobContext, (): ()| {
            let started = started.clone();
            async move {
                started.send(()).unwrap();
                assert_eq!(context.cancel_reason(), None);
                context.cancelled().cancelled().await;
                // It has time to tidy up.
                tokio::time::sleep(tidying).await;
                Err::<(), _>(JobError::retryable(format!("stopped: {}", context.cancel_reason().unwrap())))
            }
        })
    })
    .await;
    let (session, _) = run.node.subscribed().await;
    let job = leased("tidy", 1, 1_000, "");
    session.push(vec![job.clone()]);
    soon(starts.recv()).await.unwrap();
    told(&mut run.node, &session, job.lease()).await;
    let asked = run.node.until(is_report).await;
    let Request::Fail { lease, failure } = &asked.request else { panic!("{:?}", asked.request) };
    assert_eq!((*lease, failure.message.as_str()), (job.lease(), "stopped: out of stock"));
    asked.answer(Ok(Response::Failed { state: JobState::Cancelled, retry_at: None }));
}

fn notice() -> CancelNotice {
    CancelNotice { reason: "out of stock".to_owned(), hard_at: now().plus_ms(25_000) }
}

#[tokio::test]
async fn a_cancelled_job_ends_in_its_own_way() {
    cancelled(Duration::from_millis(50), async |_, session, lease| {
        session.send(&ServerFrame::Push(Push::CancelRequested { worker: WORKER, lease, notice: notice() }));
    })
    .await;
}

#[tokio::test]
async fn a_cancellation_whose_push_was_lost_comes_with_the_heartbeat() {
    cancelled(Duration::from_millis(50), async |node, _, _| {
        let asked = node.until(|request| matches!(request, Request::Extend { .. })).await;
        let item = Extended { expires_at: now().plus_ms(1_000), cancel: Some(notice()) };
        asked.answer(Ok(Response::Extended(vec![Ok(item)])));
    })
    .await;
}

#[tokio::test]
async fn a_grace_without_end_is_no_mistake() {
    drained(|builder| builder.grace(Duration::MAX), &[WorkerOrder::Stop]).await;
}

#[tokio::test]
async fn a_snoozed_job_is_given_back_with_its_delay() {
    let snooze = |builder: WorkerBuilder| {
        builder.handler("snooze", |_, (): ()| async { Err::<(), _>(JobError::snooze(Duration::from_secs(90))) })
    };
    let mut run = run(snooze).await;
    let job = leased("snooze", 1, 30_000, "");
    assert_eq!(reported(&mut run, job.clone()).await, Request::Release { lease: job.lease(), delay_ms: 90_000 });
    run.shutdown.send(()).unwrap();
    run.node.until(|request| matches!(request, Request::Disconnect { .. })).await.answer(Ok(Response::Done));
    assert_eq!(soon(run.worker).await.unwrap().unwrap(), WorkerReport { released: 1, ..WorkerReport::default() });
}

fn child(context: &JobContext) -> NewJob {
    NewJob::new(context.job(), QueueName::new("next").unwrap(), Task::Handler(TaskName::new("t").unwrap()), "1")
}

#[tokio::test]
async fn what_comes_with_a_completion_is_in_it_and_not_in_a_failure() {
    let builder = |builder: WorkerBuilder| {
        builder.handler("with", |context: JobContext, succeed: bool| async move {
            context.complete_with_job(child(&context));
            context.complete_with_state(StateWrite { key: key(), value: Some("7".into()), if_version: Some(0) });
            if succeed { Ok(1) } else { Err(JobError::retryable("no")) }
        })
    };
    let job = leased("with", 1, 30_000, "true");
    let (_, completion) = completed(reported(&mut run(builder).await, job.clone()).await);
    assert_eq!((&completion.result[..], completion.jobs.len()), (&b"1"[..], 1));
    assert_eq!((completion.jobs[0].id, completion.jobs[0].queue.as_str()), (job.id, "next"));
    assert_eq!(completion.state, [StateWrite { key: key(), value: Some("7".into()), if_version: Some(0) }]);
    let failed = failure(leased("with", 1, 30_000, "false"), builder).await;
    assert_eq!(failed, (FailureKind::Error, true, "no".to_owned()));
}

fn key() -> StateKey {
    StateKey::new("counts/a").unwrap()
}

#[tokio::test]
async fn a_completion_for_whose_jobs_there_is_no_room_yet_is_sent_again() {
    let lease = Duration::from_secs(7_200);
    let mut run = run(move |builder| builder.lease(lease).handler("t", |_, (): ()| async { Ok(7) })).await;
    let (session, _) = run.node.subscribed().await;
    session.push(vec![leased("t", 1, 30_000, "null")]);
    for code in [ErrorCode::QuotaExceeded, ErrorCode::QueueFull] {
        let asked = run.node.until(is_report).await;
        let (lease, completion) = completed(asked.request.clone());
        assert_eq!((lease.token.0, &completion.result[..]), (1, &b"7"[..]));
        asked.refuse(Error::new(code, "no room").retry_after_ms(10));
    }
    let asked = run.node.until(is_report).await;
    assert!(matches!(asked.request, Request::Complete { .. }));
    // More than there will ever be room for fails the attempt.
    asked.refuse(Error::new(ErrorCode::QuotaExceeded, "far too many"));
    let asked = run.node.until(is_report).await;
    let Request::Fail { failure, .. } = &asked.request else { panic!("{:?}", asked.request) };
    assert!(failure.message.contains("far too many"), "{failure:?}");
    asked.answer(Ok(Response::Failed { state: JobState::Scheduled, retry_at: None }));
    // So does room that comes late, however long the lease: until then the place would be taken.
    session.push(vec![leased("t", 2, 7_200_000, "null")]);
    let asked = run.node.until(is_report).await;
    asked.refuse(Error::new(ErrorCode::QuotaExceeded, "not soon").retry_after_ms(3_600_000));
    let asked = run.node.until(is_report).await;
    let Request::Fail { failure, .. } = &asked.request else { panic!("{:?}", asked.request) };
    assert!(failure.message.contains("not soon"), "{failure:?}");
}

#[tokio::test]
async fn a_completion_that_is_refused_for_its_content_is_a_failed_attempt() {
    let mut run = run(|builder| builder.handler("done", |_, (): ()| async { Ok(()) })).await;
    let (session, _) = run.node.subscribed().await;
    session.push(vec![leased("done", 1, 30_000, "")]);
    let asked = run.node.until(is_report).await;
    asked.refuse(Error::new(ErrorCode::Conflict, "value counts/a has version 3, not 2"));
    let asked = run.node.until(is_report).await;
    let Request::Fail { failure, .. } = &asked.request else { panic!("{:?}", asked.request) };
    assert!(failure.retryable);
    assert_eq!(failure.message, "the completion was refused: value counts/a has version 3, not 2 (conflict)");
    asked.answer(Ok(Response::Failed { state: JobState::Scheduled, retry_at: None }));
}

#[tokio::test]
async fn a_completion_that_fits_no_frame_is_a_final_failure() {
    // Within every limit of its own: 4 MiB of jobs, 4 MiB of values, 1 MiB of result.
    let builder = |builder: WorkerBuilder| {
        builder.handler("much", |context: JobContext, (): ()| async move {
            for _ in 0..limits::BULK_BYTES_MAX / limits::PAYLOAD_BYTES_MAX {
                context.complete_with_job(NewJob {
                    payload: vec![0; limits::PAYLOAD_BYTES_MAX].into(),
                    ..child(&context)
                });
            }
            for _ in 0..limits::STATE_WRITES_MAX {
                let value = Some(vec![0; limits::STATE_VALUE_BYTES_MAX].into());
                context.complete_with_state(StateWrite { key: key(), value, if_version: None });
            }
            Ok("x".repeat(limits::RESULT_BYTES_MAX - 2))
        })
    };
    let (kind, retryable, text) = failure(leased("much", 1, 30_000, ""), builder).await;
    assert_eq!((kind, retryable), (FailureKind::OutputLimit, false));
    assert!(text.starts_with("the completion was refused: the request is too large: "), "{text}");
}

#[tokio::test]
async fn a_handler_resumes_from_the_checkpoint_and_leaves_another() {
    let builder = |builder: WorkerBuilder| {
        builder.handler("resume", |context: JobContext, (): ()| async move {
            let at: u32 = std::str::from_utf8(context.last_checkpoint())?.parse()?;
            context.checkpoint((at + 1).to_string()).await?;
            let refused = context.checkpoint("again").await.unwrap_err();
            assert_eq!(refused.code(), Some(ErrorCode::LeaseLost));
            Ok(at)
        })
    };
    let mut run = run(builder).await;
    let (session, _) = run.node.subscribed().await;
    let job = LeasedJob { checkpoint: "41".into(), ..leased("resume", 1, 30_000, "") };
    session.push(vec![job.clone()]);
    let asked = run.node.next().await;
    assert_eq!(asked.request, Request::Checkpoint { lease: job.lease(), data: "42".into() });
    asked.answer(Ok(Response::Done));
    run.node.next().await.answer(Err(Error::new(ErrorCode::LeaseLost, "another worker has it")));
    let (_, completion) = completed(run.node.until(is_report).await.request);
    assert_eq!(&completion.result[..], b"41");
}

fn told(request: &Request) -> Option<&[(LeaseRef, Progress)]> {
    match request {
        Request::Extend { progress, .. } if !progress.is_empty() => Some(progress),
        _ => None,
    }
}

#[tokio::test]
async fn progress_is_told_now_and_then_and_its_last_word_before_a_failure() {
    let (go_on, goes_on) = oneshot::channel::<()>();
    let goes_on = std::sync::Mutex::new(Some(goes_on));
    let mut run = run(|builder| {
        builder.handler("slow", move |context: JobContext, (): ()| {
            let goes_on = goes_on.lock().unwrap().take().unwrap();
            async move {
                context.progress(1, "begun");
                goes_on.await?;
                for percent in 2..=200 {
                    context.progress(percent, "going");
                }
                Err::<(), _>(JobError::retryable("no"))
            }
        })
    })
    .await;
    let (session, _) = run.node.subscribed().await;
    let job = leased("slow", 1, 30_000, "");
    session.push(vec![job.clone()]);
    let asked = run.node.next().await;
    assert_eq!(told(&asked.request), Some(&[(job.lease(), Progress { percent: 1, message: "begun".into() })][..]));
    asked.answer(Ok(extended(0, 0)));
    go_on.send(()).unwrap();
    // Two hundred words make one, and it comes before the report.
    let asked = run.node.next().await;
    assert_eq!(told(&asked.request), Some(&[(job.lease(), Progress { percent: 100, message: "going".into() })][..]));
    asked.answer(Ok(extended(0, 0)));
    assert!(matches!(run.node.next().await.request, Request::Fail { .. }));
}

#[tokio::test]
async fn a_long_word_of_progress_is_cut_and_not_dropped() {
    let mut run = run(|builder| {
        builder.handler("talk", |context: JobContext, (): ()| async move {
            context.progress(1, "é".repeat(limits::CLIENT_FRAME_BYTES_MAX));
            std::future::pending::<Result<(), JobError>>().await
        })
    })
    .await;
    let (session, _) = run.node.subscribed().await;
    session.push(vec![leased("talk", 1, 30_000, "")]);
    let asked = run.node.until(|request| told(request).is_some()).await;
    let message = &told(&asked.request).unwrap()[0].1.message;
    assert_eq!(*message, "é".repeat(limits::PROGRESS_MESSAGE_BYTES_MAX / 2));
}

/// A worker that runs one job is given `orders`, finishes the job, and ends.
async fn drained(change: impl FnOnce(WorkerBuilder) -> WorkerBuilder, orders: &[WorkerOrder]) {
    let (finish, finished) = oneshot::channel::<()>();
    let finished = std::sync::Mutex::new(Some(finished));
    let Run { mut node, shutdown: _running, worker } = run(|builder| {
        change(builder).handler("wait", move |_, (): ()| {
            let finished = finished.lock().unwrap().take().unwrap();
            async move { finished.await.map_err(JobError::from) }
        })
    })
    .await;
    let (session, _) = node.subscribed().await;
    session.push(vec![leased("wait", 1, 30_000, "")]);
    for &order in orders {
        session.send(&ServerFrame::Push(Push::Ordered { worker: WORKER, order }));
    }
    node.until(|request| matches!(request, Request::Unsubscribe { .. })).await.answer(Ok(Response::Done));
    finish.send(()).unwrap();
    node.until(is_report).await.take();
    node.until(|request| matches!(request, Request::Disconnect { .. })).await.answer(Ok(Response::Done));
    assert_eq!(soon(worker).await.unwrap().unwrap(), WorkerReport { completed: 1, ..WorkerReport::default() });
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_finishes_what_it_has_and_ends() {
    drained(|builder| builder, &[WorkerOrder::Quiet, WorkerOrder::Stop]).await;
}

#[tokio::test]
async fn a_worker_says_what_it_is_and_shares_by_weight() {
    let builder = |builder: WorkerBuilder| {
        let builder = builder.queues([] as [&str; 0]).queue_weighted("mail", 3).queue_weighted("reports", 1);
        builder.name("box 7").agent("mailer/2").handler("t", |_, (): ()| async { Ok(()) })
    };
    let mut run = run(builder).await;
    let asked = run.node.next().await;
    let queues = vec![QueueName::new("mail").unwrap(), QueueName::new("reports").unwrap()];
    let info = WorkerInfo {
        name: "box 7".into(),
        agent: "mailer/2".into(),
        queues: queues.clone(),
        concurrency: 2,
        ..WorkerInfo::default()
    };
    assert_eq!(asked.request, Request::RegisterWorker { info });
    asked.answer(Ok(Response::Registered(WORKER)));
    let asked = run.node.next().await;
    let subscribe = Request::Subscribe { worker: WORKER, queues, weights: vec![3, 1], lease_ms: 30_000, credits: 2 };
    assert_eq!(asked.request, subscribe);
}

#[tokio::test]
async fn weights_are_given_to_all_queues_or_none() {
    let authority = Authority::new();
    let node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    let refused = |change: fn(WorkerBuilder) -> WorkerBuilder| {
        let builder = Worker::builder(client.clone()).handler("t", |_, (): ()| async { Ok(()) });
        change(builder).build().unwrap_err().to_string()
    };
    let text = refused(|builder| builder.queues(["a"]).queue_weighted("b", 2));
    assert_eq!(text, "queue a has no weight, but others have: give every queue one, or none");
    assert_eq!(refused(|builder| builder.queue_weighted("b", 0)), "a queue's weight is 1 to 1000, not 0");
    let twice = refused(|builder| builder.queue_weighted("a", 1).queue_weighted("b", 2).queue_weighted("a", 3));
    assert_eq!(twice, "queue a is named twice with a weight: name it once");
}

#[tokio::test]
async fn a_name_that_the_cluster_would_refuse_is_told_when_the_worker_is_built() {
    let authority = Authority::new();
    let node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    let built = |change: fn(WorkerBuilder) -> WorkerBuilder| {
        let builder = Worker::builder(client.clone()).queues(["q"]).handler("t", |_, (): ()| async { Ok(()) });
        change(builder).build().map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(built(|builder| builder.name("x".repeat(128)).agent("y".repeat(128))), Ok(()));
    let refused = built(|builder| builder.name("x".repeat(129)));
    assert_eq!(refused, Err("the worker's name has 129 bytes, the limit is 128".to_owned()));
    let refused = built(|builder| builder.agent("a\nb"));
    assert_eq!(refused, Err("the worker's agent has a control character".to_owned()));
}

#[tokio::test]
async fn a_worker_that_is_forgotten_registers_again() {
    let mut run = run(|builder| builder.handler("t", |_, (): ()| async { Ok(()) })).await;
    let (session, _) = run.node.subscribed().await;
    // It finds out when it subscribes anew.
    session.send(&ServerFrame::Push(Push::SubscriptionEnded { worker: WORKER, leader: None }));
    let asked = run.node.until(|request| matches!(request, Request::Subscribe { .. })).await;
    asked.answer(Err(Error::new(ErrorCode::NotFound, "no worker w7 in this cluster: register first")));
    let asked = run.node.until(|request| matches!(request, Request::RegisterWorker { .. })).await;
    asked.answer(Ok(Response::Registered(WorkerId(8))));
    // What was subscribed under the old incarnation is ended.
    let asked = run.node.next().await;
    assert_eq!(asked.request, Request::Unsubscribe { worker: WORKER });
    asked.answer(Ok(Response::Done));
    let asked = run.node.next().await;
    assert!(matches!(asked.request, Request::Subscribe { worker: WorkerId(8), .. }), "{:?}", asked.request);
}

#[tokio::test]
async fn a_worker_that_holds_nothing_says_that_it_is_alive_and_hears_its_orders() {
    let Run { mut node, shutdown: _running, worker } =
        run(|builder| builder.handler("t", |_, (): ()| async { Ok(()) })).await;
    node.subscribed().await;
    let asked = node.next().await;
    assert_eq!(asked.request, Request::Heartbeat { worker: WORKER });
    asked.answer(Ok(Response::Order(WorkerOrder::Stop)));
    node.until(|request| matches!(request, Request::Disconnect { .. })).await.answer(Ok(Response::Done));
    assert_eq!(soon(worker).await.unwrap().unwrap(), WorkerReport::default());
}
