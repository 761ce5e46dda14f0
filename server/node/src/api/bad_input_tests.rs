//! What is outside its bounds is refused by name, and nothing is changed.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, MINUTE_MS, fetch, info, leased};
use bytes::Bytes;
use jobraft_protocol::name::NAME_BYTES_MAX;
use jobraft_protocol::{
    Completion, Consistency, ErrorCode, JobAction, JobFilter, JobId, JobState, LeaseRef, LogTime, NewJob, Progress,
    QueueMode, QueueName, QueueSetting, Request, Response, Setting, Start, StateWrite, WorkerId, WorkerInfo, limits,
};

use ErrorCode::{InvalidArgument, TooLarge, TooMany};

const FRESH: Consistency = Consistency::Linearizable;

fn queues(count: usize) -> Vec<QueueName> {
    (0..count).map(|number| format!("q{number}").parse().unwrap()).collect()
}

async fn refused(session: &mut super::testing::Session, cases: Vec<(Request, ErrorCode, &str)>) {
    for (request, code, message) in cases {
        let shown = format!("{request:.200?}");
        let error = session.ask(request).await.expect_err(&shown);
        assert_eq!(error.code, code, "{shown}: {error}");
        assert!(error.message.contains(message), "{shown}: {error} does not say {message:?}");
    }
}

fn act(jobs: usize, action: JobAction) -> Request {
    let jobs = vec![JobId::new(LogTime::from_ms(1), [1; 10]); jobs];
    Request::Act { jobs, action, only_in: vec![] }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_outside_its_bounds_is_refused() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let cancel = |grace_ms| JobAction::Cancel { reason: String::new(), grace_ms };
    let only_in = Request::Act {
        jobs: vec![session.job(Start::Now).id],
        action: JobAction::Delete,
        only_in: vec![JobState::Dead; 9],
    };
    let cases = vec![
        (act(0, JobAction::Delete), InvalidArgument, "no job is named"),
        (act(1_001, JobAction::Delete), TooMany, "1001 jobs, at most 1000"),
        (act(1, cancel(3_600_001)), InvalidArgument, "grace_ms 3600001 exceeds the limit of 3600000 ms"),
        (act(1, JobAction::Prioritize { priority: 10 }), InvalidArgument, "priority 10 is not in 0..=9"),
        (only_in, InvalidArgument, "only_in names 9 states, there are 8"),
    ];
    refused(&mut session, cases).await;
    let all = session.ask(act(1_000, cancel(limits::CANCEL_GRACE_MS_MAX))).await;
    assert!(matches!(all, Ok(Response::Acted(answers)) if answers.len() == 1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_asks_outside_its_bounds_is_refused() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let register = |info| Request::RegisterWorker { info };
    let lease = |queues, weights| Request::Lease { worker, queues, weights, max: 1, lease_ms: MINUTE_MS, wait_ms: 0 };
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let agent = WorkerInfo { agent: "a\nb".to_owned(), ..info("w") };
    let many_queues = WorkerInfo { queues: queues(65), ..info("w") };
    let subscribe = Request::Subscribe { worker, queues: queues(1), weights: vec![1_001], lease_ms: 1, credits: 1 };
    let too_long =
        Request::Lease { worker, queues: queues(1), weights: vec![], max: 1, lease_ms: u64::MAX, wait_ms: 0 };
    let none = Request::Lease { worker, queues: queues(1), weights: vec![], max: 0, lease_ms: 1, wait_ms: 0 };
    let cases = vec![
        (register(info(&long)), TooLarge, "worker's name has 129 bytes"),
        (register(agent), InvalidArgument, "worker's agent has a control character"),
        (register(many_queues), TooMany, "65 queues, at most 64"),
        (lease(vec![], vec![]), InvalidArgument, "no queue is named"),
        (lease(queues(65), vec![]), TooMany, "65 queues"),
        (lease(queues(2), vec![1]), InvalidArgument, "1 weights for 2 queues"),
        (lease(queues(1), vec![0]), InvalidArgument, "weight 0 of queue q0 is not in 1..=1000"),
        (subscribe, InvalidArgument, "weight 1001 of queue q0"),
        (too_long, InvalidArgument, "lease_ms"),
        (none, InvalidArgument, "max is 0"),
    ];
    refused(&mut session, cases).await;
    let unknown = WorkerId(999);
    let cases = vec![
        (Request::Heartbeat { worker: unknown }, ErrorCode::NotFound, "register first"),
        (fetch(unknown, 0), ErrorCode::NotFound, "register first"),
        (fetch(unknown, MINUTE_MS), ErrorCode::NotFound, "register first"),
    ];
    refused(&mut session, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_outside_its_bounds_is_refused_and_the_lease_goes_on() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let lease = session.hold(worker).await;
    let complete = |completion| Request::Complete { lease, completion };
    let extend = |leases, progress| Request::Extend { leases, lease_ms: MINUTE_MS, progress };
    let told = |percent| Progress { percent, message: String::new() };
    let write = |size| StateWrite { key: "k".parse().unwrap(), value: Some(vec![0; size].into()), if_version: None };
    let child = session.job(Start::Now);
    let heavy = NewJob { payload: vec![0; limits::BULK_BYTES_MAX / 4 + 1].into(), ..child.clone() };
    let completion = Completion::default;
    let data = Bytes::from(vec![0; limits::CHECKPOINT_BYTES_MAX + 1]);
    let release = Request::Release { lease, delay_ms: limits::DELAY_MS_MAX + 1 };
    let cases = vec![
        (Request::Checkpoint { lease, data }, TooLarge, "the checkpoint has 262145 bytes, the limit is 262144"),
        (release, InvalidArgument, "delay_ms"),
        (extend(vec![lease; 4_097], vec![]), TooLarge, "4097 leases, at most 4096"),
        (extend(vec![], vec![(lease, told(1)); 4_097]), TooLarge, "4097 notes of progress"),
        (extend(vec![lease], vec![(lease, told(101))]), InvalidArgument, "progress.percent 101 of job"),
        (
            complete(Completion { jobs: vec![child.clone(); 1_001], ..completion() }),
            TooLarge,
            "1001 jobs, at most 1000",
        ),
        (complete(Completion { jobs: vec![heavy; 4], ..completion() }), TooLarge, "bytes of payload"),
        (complete(Completion { state: vec![write(1); 65], ..completion() }), TooMany, "65 state writes, at most 64"),
        (
            complete(Completion { state: vec![write(65_537)], ..completion() }),
            TooLarge,
            "value of state write 0 (k) has 65537 bytes, the limit is 65536",
        ),
        (complete(Completion { result: vec![0; 1_048_577].into(), ..completion() }), TooLarge, "the result has"),
    ];
    refused(&mut session, cases).await;
    assert_eq!(session.view(lease.job).await.state, JobState::Leased);
    let stale = LeaseRef { token: jobraft_protocol::FencingToken(lease.token.0 + 7), ..lease };
    let cases = vec![
        (Request::Checkpoint { lease: stale, data: Bytes::new() }, ErrorCode::LeaseLost, "token"),
        (Request::Release { lease: stale, delay_ms: 0 }, ErrorCode::LeaseLost, "token"),
    ];
    refused(&mut session, cases).await;
    session.done(complete(completion())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_outside_their_bounds_are_refused_and_none_is_changed() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let queue = |setting| Setting::Queue("q".parse().unwrap(), setting);
    let configure = |settings| Request::Configure { settings };
    let paused = queue(QueueSetting::Mode(QueueMode::Paused));
    let cases = vec![
        (configure(vec![]), InvalidArgument, "no setting is given"),
        (configure(vec![Setting::CreateQueues(true); 1_001]), TooMany, "1001 settings, at most 1000"),
        (
            configure(vec![paused, queue(QueueSetting::DepthMax(Some(0)))]),
            InvalidArgument,
            "queue q: depth_max 0 is not in 1..=100000000",
        ),
    ];
    refused(&mut session, cases).await;
    assert_eq!(session.ask(Request::ListQueues { consistency: FRESH }).await, Ok(Response::Queues(vec![])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_outside_its_bounds_is_refused_and_a_large_limit_is_lowered() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let list =
        |filter, limit| Request::ListJobs { filter, after: None, oldest_first: false, limit, consistency: FRESH };
    let time = |ms| Some(LogTime::from_ms(ms));
    let states =
        |prefix: &str, limit| Request::ListState { prefix: prefix.to_owned(), after: None, limit, consistency: FRESH };
    let backwards = JobFilter { enqueued_from: time(5), enqueued_before: time(5), ..JobFilter::default() };
    let cases = vec![
        (list(JobFilter { queues: queues(65), ..JobFilter::default() }, 1), InvalidArgument, "filter.queues names 65"),
        (list(JobFilter { error: Some("x".repeat(513)), ..JobFilter::default() }, 1), InvalidArgument, "filter.error"),
        (list(backwards, 1), InvalidArgument, "filter.enqueued_from"),
        (states(&"x".repeat(257), 1), TooLarge, "the prefix has 257 bytes, the limit is 256"),
    ];
    refused(&mut session, cases).await;
    session.enqueue(Start::Now).await;
    for limit in [0, u32::MAX] {
        let listed = session.ask(list(JobFilter::default(), limit)).await;
        assert!(matches!(&listed, Ok(Response::Jobs(page)) if page.jobs.len() == 1), "{listed:?}");
        assert_eq!(session.ask(states("", limit)).await, Ok(Response::StateList(vec![])));
    }
    let worker = session.register().await;
    assert_eq!(leased(session.ask(fetch(worker, 0)).await).len(), 1);
}
