//! What can be done to jobs, queues and the cluster's state, spoken frame by frame to a real node.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, MINUTE_MS, Session, code, fetch, leased, log_index, soon, subscription};
use bytes::Bytes;
use jobraft_protocol::{
    CancelNotice, ClusterSettings, Completion, Consistency, EndReason, EnqueueOutcome, ErrorCode, Extended, Failure,
    JobAction, JobFilter, JobId, JobPage, JobState, LeaseRef, NewJob, Progress, Push, QueueMode, QueueSetting, Request,
    Response, ServerFrame, Setting, Start, StateValue, StateWrite, limits,
};
use std::time::{Duration, Instant};

const FRESH: Consistency = Consistency::Linearizable;

impl Session {
    async fn extend(&mut self, lease: LeaseRef, progress: Vec<(LeaseRef, Progress)>) -> Extended {
        match self.ask(Request::Extend { leases: vec![lease], lease_ms: MINUTE_MS, progress }).await {
            Ok(Response::Extended(mut extended)) => extended.remove(0).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// A job that has failed for good.
    async fn dead(&mut self) -> JobId {
        let worker = self.register().await;
        let lease = self.hold(worker).await;
        let failed = self.ask(Request::Fail { lease, failure: Failure::final_error("broken") }).await;
        assert_eq!(failed, Ok(Response::Failed { state: JobState::Dead, retry_at: None }));
        lease.job
    }

    async fn page(&mut self, filter: JobFilter, after: Option<JobId>, limit: u32, consistency: Consistency) -> JobPage {
        let request = Request::ListJobs { filter, after, oldest_first: true, limit, consistency };
        match self.ask(request).await {
            Ok(Response::Jobs(page)) => page,
            other => panic!("{other:?}"),
        }
    }

    async fn values(&mut self, prefix: &str, after: Option<&str>, limit: u32) -> Vec<StateValue> {
        let after = after.map(|key| key.parse().unwrap());
        let request = Request::ListState { prefix: prefix.to_owned(), after, limit, consistency: FRESH };
        match self.ask(request).await {
            Ok(Response::StateList(values)) => values,
            other => panic!("{other:?}"),
        }
    }

    async fn set(&mut self, setting: QueueSetting) {
        self.done(Request::Configure { settings: vec![Setting::Queue("q".parse().unwrap(), setting)] }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_with_grace_is_told_by_push_and_by_extend_and_then_enforced() {
    let bench = Bench::start().await;
    let (mut admin, mut worker) = (bench.session().await, bench.session().await);
    let id = worker.register().await;
    worker.done(subscription(id, 1)).await;
    let job = admin.enqueue(Start::Now).await;
    let lease = worker.leased_push().await[0].lease();

    let begun = Instant::now();
    let cancel = JobAction::Cancel { reason: "é".repeat(600), grace_ms: 1_000 };
    assert_eq!(admin.act(&[job], cancel).await, [Ok(())]);
    let Push::CancelRequested { worker: whose, lease: which, notice } = worker.push().await else { panic!("a push") };
    assert_eq!((whose, which, notice.reason.as_str()), (id, lease, "é".repeat(512).as_str()));
    let extended = worker.extend(lease, vec![]).await;
    assert_eq!(extended, Extended { expires_at: notice.hard_at, cancel: Some(notice.clone()) });
    let CancelNotice { hard_at, .. } = notice;
    assert_eq!(admin.view(job).await.cancel.map(|notice| notice.hard_at), Some(hard_at));

    let Push::Revoked { leases, .. } = worker.push().await else { panic!("its grace is over") };
    assert_eq!(leases, [lease]);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(990) && waited < Duration::from_secs(5), "{waited:?}");
    let view = admin.view(job).await;
    assert_eq!((view.state, view.end_reason), (JobState::Cancelled, Some(EndReason::CancelGraceOver)));
    let late = worker.complete(lease, Completion::default()).await;
    assert_eq!(code(late), ErrorCode::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_is_retried_and_then_runs_at_once() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let dead = session.dead().await;
    let ready = session.enqueue(Start::AfterMs(MINUTE_MS)).await;
    let unknown = session.job(Start::Now).id;
    let answers = session.act(&[dead, ready, unknown], JobAction::Retry).await;
    assert_eq!(answers[0], Ok(()));
    assert_eq!(code(answers[1].clone()), ErrorCode::WrongState);
    assert_eq!(code(answers[2].clone()), ErrorCode::NotFound);
    let worker = session.register().await;
    let jobs = leased(session.ask(fetch(worker, MINUTE_MS)).await);
    assert_eq!(jobs.iter().map(|job| (job.id, job.attempt)).collect::<Vec<_>>(), [(dead, 1)]);
    assert_eq!(session.view(dead).await.errors.len(), 1, "what went wrong is still known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_is_retried_from_disk() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let dead = session.dead().await;
    // A fresh list writes a checkpoint: the row leaves memory.
    let filter = JobFilter { states: vec![JobState::Dead], ..JobFilter::default() };
    let listed = session.page(filter, None, 10, FRESH).await;
    assert_eq!(listed.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [dead]);
    assert_eq!(session.act(&[dead], JobAction::Retry).await, [Ok(())]);
    assert_eq!(session.view(dead).await.state, JobState::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_too_large_for_one_step_are_acted_on_in_several_and_answered_in_order() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let mut jobs = Vec::new();
    for _ in 0..36 {
        let job = NewJob { payload: vec![7; 250_000].into(), ..session.job(Start::Now) };
        session.ask(Request::Enqueue { jobs: vec![job], all_or_none: false }).await.unwrap();
        let lease = leased(session.ask(fetch(worker, 0)).await)[0].lease();
        session.ask(Request::Fail { lease, failure: Failure::final_error("broken") }).await.unwrap();
        jobs.push(lease.job);
    }
    jobs.insert(5, session.job(Start::Now).id);
    let before = log_index(&bench).await;
    let answers = session.act(&jobs, JobAction::Retry).await;
    assert_eq!(answers.len(), 37);
    assert!(log_index(&bench).await - before >= 4, "36 rows of 250 kB go in steps of two MiB and one row at most");
    for (place, answer) in answers.into_iter().enumerate() {
        match place {
            5 => assert_eq!(code(answer), ErrorCode::NotFound),
            _ => assert_eq!(answer, Ok(())),
        }
    }
    assert_eq!(session.view(jobs[36]).await.state, JobState::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_delete_jobs_their_payloads_and_results_need_not_go_through_the_log() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let mut jobs = Vec::new();
    for number in 0..12 {
        let lease = session.hold(worker).await;
        let completion = Completion { result: vec![7; 1_000_000].into(), ..Completion::default() };
        assert_eq!(session.complete(lease, completion).await, Ok(()));
        jobs.push(lease.job);
        if number == 5 {
            // A fresh list writes a checkpoint: rows leave memory.
            session.page(JobFilter::default(), None, 1, FRESH).await;
        }
    }
    let before = log_index(&bench).await;
    assert!(session.act(&jobs, JobAction::Delete).await.iter().all(Result::is_ok));
    assert!(log_index(&bench).await - before < 4, "twelve rows of 1 MB would go in four steps at least");
    for job in jobs {
        assert_eq!(
            code(session.ask(Request::GetJob { job, consistency: FRESH, wait_ms: 0 }).await),
            ErrorCode::NotFound
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_moved_and_prioritized_and_only_in_the_states_that_are_named() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let held = session.hold(worker).await.job;
    let waits = session.enqueue(Start::Now).await;
    let to = JobAction::Move { queue: "other".parse().unwrap() };
    let answers = session.act(&[held, waits], to).await;
    assert_eq!(code(answers[0].clone()), ErrorCode::WrongState);
    assert_eq!((answers[1].clone(), session.view(waits).await.queue.as_str()), (Ok(()), "other"));
    assert_eq!(session.act(&[waits], JobAction::Prioritize { priority: 0 }).await, [Ok(())]);
    assert_eq!(session.view(waits).await.priority, 0);
    let request =
        Request::Act { jobs: vec![held, waits], action: JobAction::Delete, only_in: vec![JobState::Scheduled] };
    let Ok(Response::Acted(answers)) = session.ask(request).await else { panic!("answers") };
    assert!(answers.into_iter().all(|answer| code(answer) == ErrorCode::WrongState));
    assert_eq!(session.view(waits).await.state, JobState::Ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_gives_nothing_until_it_is_resumed() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    session.set(QueueSetting::Mode(QueueMode::Paused)).await;
    let job = session.enqueue(Start::Now).await;
    assert_eq!(leased(session.ask(fetch(worker, 300)).await), []);
    session.done(subscription(worker, 1)).await;
    session.set(QueueSetting::Mode(QueueMode::Open)).await;
    assert_eq!(session.leased_push().await[0].id, job);

    session.set(QueueSetting::Mode(QueueMode::Draining)).await;
    let refused = session.job(Start::Now);
    let Ok(Response::Enqueued(answers)) =
        session.ask(Request::Enqueue { jobs: vec![refused], all_or_none: false }).await
    else {
        panic!("an answer for each job")
    };
    assert!(matches!(&answers[..], [EnqueueOutcome::Refused(error)] if error.code == ErrorCode::QueueDraining));
    session.done(Request::Configure { settings: vec![Setting::CreateQueues(false)] }).await;
    let settings = session.ask(Request::GetSettings { consistency: FRESH }).await;
    assert_eq!(settings, Ok(Response::Settings(ClusterSettings { create_queues: false })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_leaves_a_checkpoint_and_progress_and_snoozes() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let lease = session.hold(worker).await;
    session.done(Request::Checkpoint { lease, data: "half".into() }).await;
    let told = Progress { percent: 50, message: "é".repeat(200) };
    session.extend(lease, vec![(lease, told)]).await;
    let view = session.view(lease.job).await;
    assert_eq!(view.progress, Some(Progress { percent: 50, message: "é".repeat(128) }));
    assert_eq!(view.checkpoint_bytes, 4);

    let begun = Instant::now();
    session.done(Request::Release { lease, delay_ms: 400 }).await;
    assert_eq!(session.view(lease.job).await.state, JobState::Scheduled);
    let again = leased(session.ask(fetch(worker, MINUTE_MS)).await).remove(0);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(390) && waited < Duration::from_secs(5), "{waited:?}");
    assert_eq!((again.id, again.attempt, again.checkpoint), (lease.job, 1, Bytes::from("half")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_brings_its_children_and_values_or_nothing() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let lease = session.hold(worker).await;
    let write = |key: &str, size: usize, if_version| StateWrite {
        key: key.parse().unwrap(),
        value: Some(vec![0; size].into()),
        if_version,
    };
    let child = session.job(Start::AfterMs(300));
    let refused =
        Completion { jobs: vec![child.clone()], state: vec![write("a", 1, Some(9))], ..Completion::default() };
    assert_eq!(code(session.complete(lease, refused).await), ErrorCode::Conflict);
    assert_eq!(session.view(lease.job).await.state, JobState::Leased);
    let unknown = Request::GetJob { job: child.id, consistency: FRESH, wait_ms: 0 };
    assert_eq!(code(session.ask(unknown).await), ErrorCode::NotFound);

    let state = (0..60).map(|n| write(&format!("a/{n:02}"), limits::STATE_VALUE_BYTES_MAX, Some(0))).collect();
    let completion = Completion { jobs: vec![child.clone()], state, ..Completion::default() };
    assert_eq!(session.complete(lease, completion).await, Ok(()));
    // It falls due on an idle cluster.
    let begun = Instant::now();
    assert_eq!(leased(session.ask(fetch(worker, MINUTE_MS)).await)[0].id, child.id);
    assert!(begun.elapsed() < Duration::from_secs(5));

    let Ok(Response::State(Some(value))) =
        session.ask(Request::GetState { key: "a/07".parse().unwrap(), consistency: FRESH }).await
    else {
        panic!("it was written")
    };
    assert_eq!(value.value.len(), limits::STATE_VALUE_BYTES_MAX);
    let page = session.values("a/", None, 1_000).await;
    assert_eq!(page.len(), 32, "two MiB are a page");
    let rest = session.values("a/", Some("a/31"), 1_000).await;
    assert_eq!((rest.len(), rest[0].key.as_str()), (28, "a/32"));
    assert_eq!(session.values("a/", Some("a/59"), 1_000).await, []);
    assert_eq!(session.values("a/", None, 3).await.len(), 3);
    let none = Request::GetState { key: "b".parse().unwrap(), consistency: Consistency::Stale };
    assert_eq!(session.ask(none).await, Ok(Response::State(None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_where_it_ended_and_a_stale_one_is_as_of_the_last_checkpoint() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let mut jobs = Vec::new();
    for _ in 0..5 {
        jobs.push(session.enqueue(Start::Now).await);
    }
    let all = JobFilter::default;
    assert_eq!(session.page(all(), None, 10, Consistency::Stale).await.jobs, [], "there was no checkpoint yet");
    let first = session.page(all(), None, 2, FRESH).await;
    assert_eq!(first.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), jobs[..2]);
    // The job where the page ended moves on meanwhile, and a new one comes.
    assert_eq!(session.act(&jobs[1..2], JobAction::Delete).await, [Ok(())]);
    jobs.push(session.enqueue(Start::Now).await);
    let stale = session.page(all(), first.next, 10, Consistency::Stale).await;
    assert_eq!(stale.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), jobs[2..5]);
    let fresh = session.page(all(), first.next, 10, FRESH).await;
    assert_eq!(fresh.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), jobs[2..]);
    assert_eq!(fresh.next, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_takes_in_time_expires_on_an_idle_cluster() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let mut waits = Vec::new();
    for (ttl_ms, start_deadline_ms) in [(Some(300), None), (None, Some(300))] {
        let job = NewJob { ttl_ms, start_deadline_ms, ..session.job(Start::Now) };
        waits.push(job.id);
        session.ask(Request::Enqueue { jobs: vec![job], all_or_none: false }).await.unwrap();
    }
    for (job, reason) in waits.into_iter().zip([EndReason::TtlOver, EndReason::StartDeadline]) {
        let waiting = Request::GetJob { job, consistency: FRESH, wait_ms: MINUTE_MS };
        let Ok(Response::Job(view)) = session.ask(waiting).await else { panic!("it is there") };
        assert_eq!((view.state, view.end_reason), (JobState::Expired, Some(reason)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_jobs_asked_for_at_once_are_all_answered() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let lease = session.hold(worker).await;
    let completion = Completion { result: vec![7; limits::RESULT_BYTES_MAX].into(), ..Completion::default() };
    assert_eq!(session.complete(lease, completion).await, Ok(()));
    for _ in 0..50 {
        session.send(Request::GetJob { job: lease.job, consistency: FRESH, wait_ms: 0 }).await;
    }
    for _ in 0..50 {
        let frame = soon(session.receiver.recv::<ServerFrame>()).await.unwrap();
        assert!(matches!(&frame, Some(ServerFrame::Reply { result: Ok(Response::Job(_)), .. })), "{frame:.100?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weighted_queues_are_served_in_proportion_to_fetches_and_subscriptions() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let queues = || vec!["a".parse().unwrap(), "b".parse().unwrap()];
    for _ in 0..80 {
        let (a, b) = (session.job(Start::Now), session.job(Start::Now));
        let jobs = vec![NewJob { queue: "a".parse().unwrap(), ..a }, NewJob { queue: "b".parse().unwrap(), ..b }];
        session.ask(Request::Enqueue { jobs, all_or_none: false }).await.unwrap();
    }
    let weights = vec![1, 3];
    let subscribe =
        Request::Subscribe { worker, queues: queues(), weights: weights.clone(), lease_ms: MINUTE_MS, credits: 40 };
    session.done(subscribe).await;
    let mut pushed = Vec::new();
    while pushed.len() < 40 {
        pushed.extend(session.leased_push().await);
    }
    assert_eq!(pushed.iter().filter(|job| job.queue.as_str() == "a").count(), 10);
    session.done(Request::Unsubscribe { worker }).await;
    let fetch = Request::Lease { worker, queues: queues(), weights, max: 40, lease_ms: MINUTE_MS, wait_ms: 0 };
    let fetched = leased(session.ask(fetch).await);
    let of_a = fetched.iter().filter(|job| job.queue.as_str() == "a").count();
    assert_eq!(fetched.len(), 40);
    assert!((1..=20).contains(&of_a), "{of_a} of 40 are far from a quarter");
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_of_one_request_are_answered_one_by_one_and_one_that_is_refused_refuses_no_other() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(session.hold(worker).await);
    }
    leases[1].token = leases[0].token;
    let completions = leases.iter().map(|lease| (*lease, Completion::default())).collect();
    let Ok(Response::Acted(answers)) = session.ask(Request::Complete { completions }).await else { panic!() };
    assert!(matches!(&answers[..], [Ok(()), Err(error), Ok(())] if error.code == ErrorCode::LeaseLost), "{answers:?}");
    let mut states = Vec::new();
    for lease in leases {
        states.push(session.view(lease.job).await.state);
    }
    assert_eq!(states, [JobState::Completed, JobState::Leased, JobState::Completed]);
}
