//! What follows from whose things are, and to which queue they belong: decided by what the state knows.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, MINUTE_MS, Session, code, info};
use jobraft_protocol::{
    After, BatchId, ClientRole, Completion, Consistency, Error, ErrorCode, Failure, FailureKind, FencingToken, Grant,
    JobAction, JobFilter, JobId, JobTemplate, LeaseRef, NewBatch, NewJob, Progress, QueueMode, QueueSetting, Request,
    Response, Schedule, Setting, Start, Task, Withheld, WorkerId, WorkerInfo, WorkerOrder,
};

const FRESH: Consistency = Consistency::Linearizable;

fn grant(role: ClientRole, queues: &str) -> Grant {
    Grant::new([role]).for_queues(vec![queues.parse().unwrap()]).unwrap()
}

impl Session {
    async fn enqueue_in(&mut self, queue: &str) -> JobId {
        let job = NewJob { queue: queue.parse().unwrap(), ..self.job(Start::Now) };
        let id = job.id;
        let answer = self.ask(Request::Enqueue { jobs: vec![job], all_or_none: false }).await;
        assert!(matches!(answer, Ok(Response::Enqueued(_))), "{answer:?}");
        id
    }

    async fn register_in(&mut self, queue: &str) -> WorkerId {
        let info = WorkerInfo { queues: vec![queue.parse().unwrap()], ..info("w") };
        match self.ask(Request::RegisterWorker { info }).await {
            Ok(Response::Registered(worker)) => worker,
            other => panic!("{other:?}"),
        }
    }

    async fn lease_from(&mut self, worker: WorkerId, queue: &str) -> LeaseRef {
        let request = Request::Lease {
            worker,
            queues: vec![queue.parse().unwrap()],
            weights: vec![],
            max: 1,
            lease_ms: MINUTE_MS,
            wait_ms: 0,
        };
        match self.ask(request).await {
            Ok(Response::Leased(jobs)) => jobs[0].lease(),
            other => panic!("{other:?}"),
        }
    }

    async fn jobs_in(&mut self, queues: &[&str]) -> Result<Vec<JobId>, ErrorCode> {
        let queues = queues.iter().map(|queue| queue.parse().unwrap()).collect();
        let filter = JobFilter { queues, ..JobFilter::default() };
        let list = Request::ListJobs { filter, after: None, oldest_first: true, limit: 10, consistency: FRESH };
        match self.ask(list).await {
            Ok(Response::Jobs(page)) => Ok(page.jobs.into_iter().map(|job| job.id).collect()),
            Err(error) => Err(error.code),
            other => panic!("{other:?}"),
        }
    }
}

fn get(job: JobId) -> Request {
    Request::GetJob { job, consistency: FRESH, wait_ms: 0 }
}

fn schedule(name: &str, queue: &str) -> Box<Schedule> {
    let job = JobTemplate::new(queue.parse().unwrap(), Task::Handler("t".parse().unwrap()), "secret");
    Box::new(Schedule::new(name.parse().unwrap(), "0 0 1 1 *", job))
}

/// Everything that a worker can ask under a lease.
fn reports(lease: LeaseRef) -> Vec<Request> {
    let failure =
        Failure { kind: FailureKind::Error, message: String::new(), log: Default::default(), retryable: true };
    let progress = Progress { percent: 1, message: String::new() };
    vec![
        Request::Extend { leases: vec![lease], lease_ms: MINUTE_MS, progress: vec![] },
        Request::Extend { leases: vec![], lease_ms: MINUTE_MS, progress: vec![(lease, progress)] },
        Request::Checkpoint { lease, data: Default::default() },
        Request::Fail { lease, failure },
        Request::Release { lease, delay_ms: 0 },
        Request::Complete { completions: vec![(lease, Completion::default())] },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_used_by_whoever_registered_it_alone() {
    let bench = Bench::start().await;
    let mut mine = bench.session_as("mine", Grant::new([ClientRole::Worker]), 0).await;
    let mut other = bench.session_as("other", Grant::admin(), 100).await;
    other.enqueue_in("q").await;
    let worker = mine.register_in("q").await;
    let lease = mine.lease_from(worker, "q").await;
    let queues = || vec!["q".parse().unwrap()];
    let (weights, lease_ms) = (vec![], MINUTE_MS);
    let mut foreign = reports(lease);
    foreign.extend([
        Request::Heartbeat { worker },
        Request::Lease { worker, queues: queues(), weights: weights.clone(), max: 1, lease_ms, wait_ms: 0 },
        Request::Subscribe { worker, queues: queues(), weights, lease_ms, credits: 1 },
        Request::Disconnect { worker },
    ]);
    for request in foreign {
        let name = format!("{request:?}");
        assert_eq!(code(other.ask(request).await), ErrorCode::Forbidden, "{name}");
    }
    // Nothing of it was done: who registered it, on whatever connection, goes on.
    let mut again = bench.session_as("mine", Grant::new([ClientRole::Worker]), 0).await;
    assert_eq!(again.complete(lease, Completion::default()).await, Ok(()));
    again.done(Request::Disconnect { worker }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_was_never_granted_is_refused_before_it_could_be() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let lease = session.hold(worker).await;
    let guessed = LeaseRef { token: FencingToken(lease.token.0 + 1), ..lease };
    for request in reports(guessed) {
        let name = format!("{request:?}");
        assert_eq!(code(session.ask(request).await), ErrorCode::LeaseLost, "{name}");
    }
    assert_eq!(session.complete(lease, Completion::default()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_reads_what_it_leased_and_the_results_of_what_came_before_and_nothing_else() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    let mut worker = bench.session_as("w", Grant::new([ClientRole::Worker]), 0).await;
    let id = worker.register_in("q").await;
    let first = admin.enqueue_in("q").await;
    let after = Some(After { jobs: vec![first], ..Default::default() });
    let second = NewJob { after, ..admin.job(Start::Now) };
    let (second_id, others) = (second.id, admin.enqueue_in("q2").await);
    admin.ask(Request::Enqueue { jobs: vec![second], all_or_none: false }).await.unwrap();

    assert_eq!(code(worker.ask(get(first)).await), ErrorCode::Forbidden);
    let lease = worker.lease_from(id, "q").await;
    let view = worker.view(first).await;
    assert_eq!((&view.payload[..], view.withheld), (&b"payload"[..], Withheld::Nothing));
    let completion = Completion { result: "made".into(), log: "log".into(), ..Completion::default() };
    assert_eq!(worker.complete(lease, completion).await, Ok(()));
    assert_eq!(code(worker.ask(get(first)).await), ErrorCode::Forbidden, "it holds it no longer");

    let lease = worker.lease_from(id, "q").await;
    assert_eq!(lease.job, second_id);
    let view = worker.view(first).await;
    assert_eq!((&view.payload[..], &view.log[..], &view.result[..]), (&b""[..], &b""[..], &b"made"[..]));
    assert_eq!(view.withheld, Withheld::AllButResult);
    assert_eq!(code(worker.ask(get(others)).await), ErrorCode::Forbidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jobs_carry_is_seen_with_that_permission_alone() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    let worker = admin.register().await;
    let lease = admin.hold(worker).await;
    let completion = Completion { result: "made".into(), log: "log".into(), ..Completion::default() };
    assert_eq!(admin.complete(lease, completion).await, Ok(()));
    admin.done(Request::Configure { settings: vec![Setting::PutSchedule(schedule("s", "q"))] }).await;

    for (role, payloads, sees, sees_schedule) in [
        (ClientRole::Viewer, false, false, false),
        (ClientRole::Viewer, true, true, true),
        (ClientRole::Operator, false, false, true),
        (ClientRole::Producer, true, true, true),
        (ClientRole::Admin, false, false, true),
    ] {
        let grant = Grant::new([role]).with_payloads(payloads);
        let mut reader = bench.session_as("reader", grant, 0).await;
        let view = reader.view(lease.job).await;
        let carried = [&view.payload, &view.result, &view.log].map(|bytes| !bytes.is_empty());
        assert_eq!(carried, [sees; 3], "{role} {payloads}");
        assert_eq!(view.withheld.is_nothing(), sees);
        let one = Request::GetSchedule { name: "s".parse().unwrap(), next: 1, consistency: FRESH };
        let Ok(Response::Schedule(one)) = reader.ask(one).await else { panic!() };
        let all = Request::ListSchedules { after: None, limit: 9, consistency: FRESH };
        let Ok(Response::Schedules(all)) = reader.ask(all).await else { panic!() };
        for view in [&*one, &all[0]] {
            assert_eq!(!view.schedule.job.payload.is_empty(), sees_schedule, "{role} {payloads}");
            assert_eq!(view.withheld, !sees_schedule);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_covers_some_queues_neither_sees_nor_touches_the_others() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    let (ours, theirs) = (admin.enqueue_in("a/x").await, admin.enqueue_in("b/x").await);
    let ended = admin.enqueue_in("b/y").await;
    let cancel = || JobAction::Cancel { reason: String::new(), grace_ms: 0 };
    assert_eq!(admin.act(&[ended], cancel()).await, [Ok(())]);
    let settings =
        [("ours", "a/x"), ("theirs", "b/x")].map(|(name, queue)| Setting::PutSchedule(schedule(name, queue)));
    admin.done(Request::Configure { settings: settings.to_vec() }).await;
    let (our_worker, their_worker) = (admin.register_in("a/x").await, admin.register_in("b/x").await);

    for role in [ClientRole::Admin, ClientRole::Operator, ClientRole::Producer, ClientRole::Viewer] {
        let mut limited = bench.session_as("limited", grant(role, "a/*"), 200).await;
        assert_eq!(limited.jobs_in(&[]).await, Ok(vec![ours]), "{role}");
        assert_eq!(limited.jobs_in(&["a/x"]).await, Ok(vec![ours]));
        assert_eq!(limited.jobs_in(&["a/x", "b/x"]).await, Err(ErrorCode::Forbidden));
        assert_eq!(limited.view(ours).await.id, ours);
        for job in [theirs, ended] {
            assert_eq!(code(limited.ask(get(job)).await), ErrorCode::Forbidden);
        }
        let Ok(Response::Queues(queues)) = limited.ask(Request::ListQueues { consistency: FRESH }).await else {
            panic!()
        };
        assert_eq!(queues.iter().map(|stats| stats.queue.as_str()).collect::<Vec<_>>(), ["a/x"]);
        let list = Request::ListSchedules { after: None, limit: 9, consistency: FRESH };
        let Ok(Response::Schedules(schedules)) = limited.ask(list).await else { panic!() };
        assert_eq!(schedules.iter().map(|view| view.schedule.name.as_str()).collect::<Vec<_>>(), ["ours"]);
        let list = Request::ListWorkers { after: None, limit: 9, consistency: FRESH };
        let Ok(Response::Workers(workers)) = limited.ask(list).await else { panic!() };
        assert_eq!(workers.iter().map(|view| view.id).collect::<Vec<_>>(), [our_worker]);
        let one = Request::GetSchedule { name: "theirs".parse().unwrap(), next: 1, consistency: FRESH };
        assert_eq!(code(limited.ask(one).await), ErrorCode::Forbidden);
    }

    // Of nothing there is nothing, rather than everything.
    let mut nothing = bench.session_as("nothing", grant(ClientRole::Viewer, "c/*"), 0).await;
    assert_eq!(nothing.jobs_in(&[]).await, Ok(vec![]));

    let mut limited = bench.session_as("limited", grant(ClientRole::Admin, "a/*"), 0).await;
    let act = |jobs: &[JobId], action| Request::Act { jobs: jobs.to_vec(), action, only_in: vec![] };
    let into_theirs = JobAction::Move { queue: "b/x".parse().unwrap() };
    let name = |name: &str| name.parse().unwrap();
    for request in [
        act(&[ours, theirs], cancel()),
        act(&[ended], JobAction::Delete),
        act(&[theirs], JobAction::Prioritize { priority: 1 }),
        act(&[ours], into_theirs),
        Request::RunSchedule { name: name("theirs"), job: ours },
        Request::Configure { settings: vec![Setting::PauseSchedule(name("theirs"), true)] },
        Request::Configure { settings: vec![Setting::RemoveSchedule(name("theirs"))] },
        // In the place of theirs, into our own queue.
        Request::Configure { settings: vec![Setting::PutSchedule(schedule("theirs", "a/x"))] },
        Request::Configure { settings: vec![Setting::PutSchedule(schedule("new", "b/x"))] },
        Request::Configure {
            settings: vec![Setting::Queue("b/x".parse().unwrap(), QueueSetting::Mode(QueueMode::Paused))],
        },
        Request::OrderWorker { worker: their_worker, order: WorkerOrder::Stop },
    ] {
        let named = format!("{request:?}");
        assert_eq!(code(limited.ask(request).await), ErrorCode::Forbidden, "{named}");
    }
    // Nothing of it was done, and all of it may be done to what is covered.
    assert_eq!(admin.jobs_in(&["a/x", "b/x"]).await, Ok(vec![ours, theirs]));
    limited.done(Request::OrderWorker { worker: our_worker, order: WorkerOrder::Stop }).await;
    limited.done(Request::Configure { settings: vec![Setting::PauseSchedule(name("ours"), true)] }).await;
    limited.done(Request::Configure { settings: vec![Setting::PutSchedule(schedule("ours", "a/y"))] }).await;
    assert_eq!(limited.act(&[ours], JobAction::Move { queue: "a/y".parse().unwrap() }).await, [Ok(())]);
    assert_eq!(limited.act(&[ours], cancel()).await, [Ok(())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_nobody_registered_yet_is_nobodys() {
    let bench = Bench::start().await;
    let mut session = bench.session_as("early", Grant::new([ClientRole::Worker]), 0).await;
    let own = session.register_in("q").await;
    // The number that whoever registers next will get.
    let next = WorkerId(own.0 + 1);
    let queues = || vec!["q".parse().unwrap()];
    for request in [
        Request::Disconnect { worker: next },
        Request::Heartbeat { worker: next },
        Request::Subscribe { worker: next, queues: queues(), weights: vec![], lease_ms: MINUTE_MS, credits: 1 },
        Request::Lease { worker: next, queues: queues(), weights: vec![], max: 1, lease_ms: MINUTE_MS, wait_ms: 0 },
    ] {
        let name = format!("{request:?}");
        assert_eq!(code(session.ask(request).await), ErrorCode::NotFound, "{name}");
    }
    let mut limited = bench.session_as("limited", grant(ClientRole::Operator, "q"), 0).await;
    let order = Request::OrderWorker { worker: next, order: WorkerOrder::Stop };
    assert_eq!(code(limited.ask(order).await), ErrorCode::NotFound);
    // One that is gone is gone for good: what is said of it again does no harm, and is answered as before.
    session.done(Request::Disconnect { worker: own }).await;
    session.done(Request::Disconnect { worker: own }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_comes_after_jobs_of_covered_queues_alone() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    let (ours, theirs) = (admin.enqueue_in("a/x").await, admin.enqueue_in("b/x").await);
    let ended = admin.enqueue_in("b/y").await;
    let cancel = JobAction::Cancel { reason: String::new(), grace_ms: 0 };
    assert_eq!(admin.act(&[ended], cancel).await, [Ok(())]);
    let both = Grant::new([ClientRole::Producer, ClientRole::Worker]);
    let mut limited = bench.session_as("limited", both.for_queues(vec!["a/*".parse().unwrap()]).unwrap(), 150).await;
    let worker = limited.register_in("a/x").await;
    let lease = limited.lease_from(worker, "a/x").await;
    let unknown = limited.job(Start::Now).id;
    for (before, allowed) in [(theirs, false), (ended, false), (ours, true), (unknown, true)] {
        let after = Some(After { jobs: vec![before], ..After::default() });
        let job = |session: &mut Session| NewJob {
            after: after.clone(),
            queue: "a/x".parse().unwrap(),
            ..session.job(Start::Now)
        };
        let refusal = |answer: Result<Response, Error>| answer.err().map(|error| error.code);
        let expected = if allowed { None } else { Some(ErrorCode::Forbidden) };
        let alone = job(&mut limited);
        let answer = limited.ask(Request::Enqueue { jobs: vec![alone], all_or_none: false }).await;
        assert_eq!(refusal(answer), expected);
        if allowed {
            continue;
        }
        let first = job(&mut limited);
        let batch = NewBatch::new(BatchId(first.id), vec![first]);
        assert_eq!(refusal(limited.ask(Request::CreateBatch { batch: Box::new(batch) }).await), expected);
        let completion = Completion { jobs: vec![job(&mut limited)], ..Completion::default() };
        assert_eq!(limited.complete(lease, completion).await.map_err(|error| error.code), Err(ErrorCode::Forbidden));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_is_counted_before_it_is_looked_up() {
    let bench = Bench::start().await;
    let mut limited = bench.session_as("limited", grant(ClientRole::Admin, "a/*"), 0).await;
    let id = limited.job(Start::Now).id;
    let lease = LeaseRef { job: id, token: FencingToken(9) };
    let cancel = JobAction::Cancel { reason: String::new(), grace_ms: 0 };
    let prefix = "x".repeat(5_000_000);
    for (request, expected) in [
        (Request::Act { jobs: vec![id; 1_001], action: cancel, only_in: vec![] }, ErrorCode::TooMany),
        (Request::Extend { leases: vec![lease; 4_097], lease_ms: 1, progress: vec![] }, ErrorCode::TooLarge),
        (Request::ListState { prefix, after: None, limit: 1, consistency: FRESH }, ErrorCode::TooLarge),
    ] {
        assert_eq!(code(limited.ask(request).await), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_says_no_queue_is_shown_to_those_who_cover_all() {
    let bench = Bench::start().await;
    let mut admin = bench.session().await;
    let silent = admin.register().await;
    let busy = admin.register_in("a/x").await;
    let theirs = admin.enqueue_in("b/x").await;
    assert_eq!(admin.lease_from(busy, "b/x").await.job, theirs);
    let mut limited = bench.session_as("limited", grant(ClientRole::Operator, "a/*"), 0).await;
    let list = Request::ListWorkers { after: None, limit: 9, consistency: FRESH };
    let Ok(Response::Workers(shown)) = limited.ask(list).await else { panic!() };
    assert_eq!(shown.iter().map(|view| (view.id, view.jobs.len())).collect::<Vec<_>>(), [(busy, 0)]);
    let order = Request::OrderWorker { worker: silent, order: WorkerOrder::Stop };
    assert_eq!(code(limited.ask(order).await), ErrorCode::Forbidden);
}
