//! What is outside its bounds is refused by name, and nothing is changed.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, MINUTE_MS, fetch, info, leased};
use bytes::Bytes;
use jobraft_protocol::name::NAME_BYTES_MAX;
use jobraft_protocol::{
    After, BatchId, Completion, Consistency, ErrorCode, GroupSetting, JobAction, JobFilter, JobId, JobState,
    JobTemplate, LeaseRef, LogTime, NewBatch, NewJob, OnFailure, Progress, QueueMode, QueueName, QueueSetting, Rate,
    Request, Response, Schedule, Setting, Start, StateWrite, Task, WorkerId, WorkerInfo, limits,
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
    let complete = |completion| Request::Complete { completions: vec![(lease, completion)] };
    let many = |count, result: &'static [u8]| {
        let completion = Completion { result: Bytes::from_static(result), ..Completion::default() };
        Request::Complete { completions: vec![(lease, completion); count] }
    };
    let extend = |leases, progress| Request::Extend { leases, lease_ms: MINUTE_MS, progress };
    let told = |percent| Progress { percent, message: String::new() };
    let write = |size| StateWrite { key: "k".parse().unwrap(), value: Some(vec![0; size].into()), if_version: None };
    let child = session.job(Start::Now);
    let brings = |completions, jobs| {
        let completion = Completion { jobs: vec![child.clone(); jobs], ..Completion::default() };
        Request::Complete { completions: vec![(lease, completion); completions] }
    };
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
        (brings(2, 501), TooLarge, "1002 jobs, at most 1000"),
        (many(0, b""), InvalidArgument, "no completion is given"),
        (many(1_001, b""), TooLarge, "1001 completions, at most 1000"),
        (many(5, &[0; 1_000_000]), TooLarge, "results and logs"),
    ];
    refused(&mut session, cases).await;
    assert_eq!(session.view(lease.job).await.state, JobState::Leased);
    let stale = LeaseRef { token: jobraft_protocol::FencingToken(lease.token.0 + 7), ..lease };
    let cases = vec![
        (Request::Checkpoint { lease: stale, data: Bytes::new() }, ErrorCode::LeaseLost, "token"),
        (Request::Release { lease: stale, delay_ms: 0 }, ErrorCode::LeaseLost, "token"),
    ];
    refused(&mut session, cases).await;
    assert_eq!(session.complete(lease, completion()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_outside_their_bounds_are_refused_and_none_is_changed() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let queue = |setting| Setting::Queue("q".parse().unwrap(), setting);
    let configure = |settings| Request::Configure { settings };
    let paused = || queue(QueueSetting::Mode(QueueMode::Paused));
    let group = |setting| Setting::Group("q".parse().unwrap(), "acme".parse().unwrap(), setting);
    let schedule = |cron: &str, time_zone: &str| {
        let job = JobTemplate::new("q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
        let name = "nightly".parse().unwrap();
        let (cron, time_zone) = (cron.to_owned(), time_zone.to_owned());
        let (catch_up, overlap) = Default::default();
        Setting::PutSchedule(Box::new(Schedule { name, cron, time_zone, job, catch_up, overlap }))
    };
    let cases = vec![
        (configure(vec![]), InvalidArgument, "no setting is given"),
        (configure(vec![Setting::CreateQueues(true); 1_001]), TooMany, "1001 settings, at most 1000"),
        (
            configure(vec![paused(), queue(QueueSetting::DepthMax(Some(0)))]),
            InvalidArgument,
            "queue q: depth_max 0 is not in 1..=100000000",
        ),
        (
            configure(vec![paused(), queue(QueueSetting::Rate(Some(Rate::new(0, 1_000))))]),
            InvalidArgument,
            "queue q: rate: a rate's count 0 is not in",
        ),
        (
            configure(vec![paused(), group(GroupSetting::Weight(Some(1_001)))]),
            InvalidArgument,
            "queue q, group acme: weight 1001 is not in 1..=1000",
        ),
        (
            configure(vec![paused(), group(GroupSetting::Concurrency(Some(0)))]),
            InvalidArgument,
            "queue q, group acme: concurrency 0",
        ),
        (
            configure(vec![paused(), schedule("* * * *", "UTC")]),
            InvalidArgument,
            "schedule nightly: the expression has 4 fields",
        ),
        (
            configure(vec![paused(), schedule("0 61 * * * *", "UTC")]),
            InvalidArgument,
            "schedule nightly: field 2 (minute) is `61`",
        ),
        (
            configure(vec![paused(), schedule("@daily", "Europe/Berlim")]),
            InvalidArgument,
            "schedule nightly: the IANA database",
        ),
        (
            configure(vec![paused(), schedule(&"*".repeat(257), "UTC")]),
            InvalidArgument,
            "schedule nightly: cron has 257 bytes, not 1 to 256",
        ),
        (configure(vec![paused(), schedule("@daily", "")]), InvalidArgument, "schedule nightly: time_zone has 0 bytes"),
    ];
    refused(&mut session, cases).await;
    assert_eq!(session.ask(Request::ListQueues { consistency: FRESH }).await, Ok(Response::Queues(vec![])));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_and_batches_outside_their_bounds_are_refused_as_a_whole() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let job = session.job(Start::Now);
    let after = |count| {
        let jobs = vec![job.id; count];
        NewJob { after: Some(After { jobs, on_failure: OnFailure::Wait }), ..job.clone() }
    };
    let enqueue = |jobs| Request::Enqueue { jobs, all_or_none: true };
    let batch = |jobs| NewBatch::new(BatchId(job.id), jobs);
    let create = |batch| Request::CreateBatch { batch: Box::new(batch) };
    let heavy = NewJob { payload: vec![0; limits::BULK_BYTES_MAX / 4 + 1].into(), ..job.clone() };
    let named = format!("job 1 ({}) comes after 1001 others, a job may name at most 1000", job.id);
    let first = named.replace("job 1", "job 0");
    let callback = || Some(Box::new(after(1_001)));
    let cases = vec![
        (enqueue(vec![job.clone(), after(1_001)]), TooMany, named.as_str()),
        (create(batch(vec![job.clone(), after(1_001)])), TooMany, &named),
        (create(NewBatch { on_complete: callback(), ..batch(vec![]) }), TooMany, &first),
        (create(NewBatch { on_failure: callback(), ..batch(vec![]) }), TooMany, &first),
        (create(batch(vec![job.clone(); 1_001])), TooLarge, "1001 jobs, at most 1000"),
        (create(batch(vec![heavy; 4])), TooLarge, "bytes of payload"),
    ];
    refused(&mut session, cases).await;
    assert_eq!(session.ask(Request::ListQueues { consistency: FRESH }).await, Ok(Response::Queues(vec![])));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let id = session.job(Start::Now).id;
    let batch = BatchId(id);
    let name = || "nightly".parse().unwrap();
    let groups =
        Request::ListGroups { queue: "q".parse().unwrap(), after: None, limit: 1, consistency: Consistency::Stale };
    let text = format!("no batch {batch}");
    let cases = vec![
        (Request::GetBatch { batch, consistency: FRESH, wait_ms: 0 }, ErrorCode::NotFound, text.as_str()),
        (Request::GetBatch { batch, consistency: FRESH, wait_ms: MINUTE_MS }, ErrorCode::NotFound, &text),
        (groups, ErrorCode::NotFound, "no queue q"),
        (
            Request::GetSchedule { name: name(), next: 1, consistency: FRESH },
            ErrorCode::NotFound,
            "no schedule nightly",
        ),
    ];
    refused(&mut session, cases).await;
    let listed = session.ask(Request::ListBatches { after: None, limit: 0, consistency: FRESH }).await;
    assert_eq!(listed, Ok(Response::Batches(vec![])));
    let listed = session.ask(Request::ListSchedules { after: None, limit: u32::MAX, consistency: FRESH }).await;
    assert_eq!(listed, Ok(Response::Schedules(vec![])));
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
