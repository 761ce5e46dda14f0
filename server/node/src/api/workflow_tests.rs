//! Many jobs together, spoken frame by frame to a real node: dependencies, batches, groups and limits.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, MINUTE_MS, Session, code, fetch, leased, log_index, subscription};
use jobraft_protocol::{
    After, BatchId, BatchState, BatchView, Completion, Consistency, EnqueueOutcome, Error, ErrorCode, Failure,
    GroupSetting, GroupView, JobAction, JobFilter, JobId, JobState, LeaseRef, NewBatch, NewJob, OnFailure, Predecessor,
    QueueMode, QueueSetting, Rate, Request, Response, Retention, Setting, Start, limits,
};
use std::time::{Duration, Instant};

const FRESH: Consistency = Consistency::Linearizable;

fn after(jobs: &[JobId], on_failure: OnFailure) -> Option<After> {
    Some(After { jobs: jobs.to_vec(), on_failure })
}

impl Session {
    fn job_after(&mut self, jobs: &[JobId]) -> NewJob {
        NewJob { after: after(jobs, OnFailure::Wait), ..self.job(Start::Now) }
    }

    async fn enqueue_jobs(&mut self, jobs: Vec<NewJob>, all_or_none: bool) -> Result<Vec<EnqueueOutcome>, Error> {
        match self.ask(Request::Enqueue { jobs, all_or_none }).await? {
            Response::Enqueued(outcomes) => Ok(outcomes),
            other => panic!("{other:?}"),
        }
    }

    async fn batch(&mut self, request: Request) -> BatchView {
        match self.ask(request).await {
            Ok(Response::Batch(view)) => *view,
            other => panic!("{other:?}"),
        }
    }

    async fn create(&mut self, batch: NewBatch) -> BatchView {
        self.batch(Request::CreateBatch { batch: Box::new(batch) }).await
    }

    async fn completes(&mut self, lease: LeaseRef) {
        assert_eq!(self.complete(lease, Completion::default()).await, Ok(()));
    }

    async fn fail(&mut self, lease: LeaseRef) {
        let failure = Failure::final_error("broken");
        assert!(matches!(self.ask(Request::Fail { lease, failure }).await, Ok(Response::Failed { .. })));
    }

    async fn listed(&mut self, filter: JobFilter) -> Vec<JobId> {
        let request = Request::ListJobs { filter, after: None, oldest_first: true, limit: 100, consistency: FRESH };
        match self.ask(request).await {
            Ok(Response::Jobs(page)) => page.jobs.into_iter().map(|job| job.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    async fn configure(&mut self, settings: Vec<QueueSetting>) {
        let settings = settings.into_iter().map(|setting| Setting::Queue("q".parse().unwrap(), setting)).collect();
        self.done(Request::Configure { settings }).await;
    }

    async fn groups(&mut self, after: Option<&str>, limit: u32) -> Vec<GroupView> {
        let after = after.map(|key| key.parse().unwrap());
        let request = Request::ListGroups { queue: "q".parse().unwrap(), after, limit, consistency: FRESH };
        match self.ask(request).await {
            Ok(Response::Groups(groups)) => groups,
            other => panic!("{other:?}"),
        }
    }
}

fn get(batch: BatchId, consistency: Consistency, wait_ms: u64) -> Request {
    Request::GetBatch { batch, consistency, wait_ms }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_an_enqueue_is_taken_or_nothing_and_its_jobs_may_come_after_those_behind_them() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let unknown = session.job(Start::Now).id;
    let (first, lost) = (session.job(Start::Now), session.job_after(&[unknown]));
    let refused = session.enqueue_jobs(vec![first.clone(), lost.clone()], true).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
    assert!(refused.message.contains(&lost.id.to_string()), "{refused}");
    let outcomes = session.enqueue_jobs(vec![first, lost], false).await.unwrap();
    assert!(
        matches!(&outcomes[..], [EnqueueOutcome::Created, EnqueueOutcome::Refused(error)] if error.code == ErrorCode::NotFound)
    );

    let last = session.job(Start::Now);
    let (one, two) = (session.job_after(&[last.id]), session.job(Start::Now));
    let two = NewJob { after: after(&[one.id], OnFailure::Wait), ..two };
    let outcomes = session.enqueue_jobs(vec![two, one.clone(), last.clone()], true).await.unwrap();
    assert_eq!(outcomes, vec![EnqueueOutcome::Created; 3]);
    let other = session.job(Start::Now);
    let one = session.job_after(&[other.id]);
    let other = NewJob { after: after(&[one.id], OnFailure::Wait), ..other };
    assert_eq!(code(session.enqueue_jobs(vec![one, other], true).await), ErrorCode::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_runs_when_those_before_it_completed_and_knows_them() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let lease = session.hold(worker).await;
    let next = session.job_after(&[lease.job]);
    assert_eq!(session.enqueue_jobs(vec![next.clone()], false).await.unwrap(), [EnqueueOutcome::Created]);
    assert_eq!(session.view(next.id).await.state, JobState::Blocked);
    session.completes(lease).await;
    let jobs = leased(session.ask(fetch(worker, MINUTE_MS)).await);
    let expected = vec![Predecessor { job: lease.job, ended: Some(JobState::Completed) }];
    assert_eq!((jobs[0].id, &jobs[0].after), (next.id, &expected));
    // One that comes after a job that ended before, from a completion.
    let child = session.job_after(&[lease.job]);
    let completion = Completion { jobs: vec![child.clone()], ..Completion::default() };
    assert_eq!(session.complete(jobs[0].lease(), completion).await, Ok(()));
    assert_eq!(leased(session.ask(fetch(worker, MINUTE_MS)).await)[0].id, child.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_live_job_came_after_stays_readable_and_on_disk_though_its_queue_keeps_nothing() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    session.configure(vec![QueueSetting::KeepCompleted(Some(Retention::for_ms(0)))]).await;
    let worker = session.register().await;
    let (named, other) = (session.hold(worker).await, session.hold(worker).await);
    let next = NewJob { queue: "later".parse().unwrap(), ..session.job_after(&[named.job]) };
    session.enqueue_jobs(vec![next.clone()], false).await.unwrap();
    for lease in [named, other] {
        let completion = Completion { result: "result".into(), ..Completion::default() };
        assert_eq!(session.complete(lease, completion).await, Ok(()));
    }
    // In memory and, once a checkpoint was made, on disk.
    for _ in 0..2 {
        assert_eq!(session.view(named.job).await.result, "result");
        let gone = session.ask(Request::GetJob { job: other.job, consistency: FRESH, wait_ms: 0 }).await;
        assert_eq!(code(gone), ErrorCode::NotFound);
        assert_eq!(session.listed(JobFilter::default()).await, [named.job, next.id]);
    }
    assert_eq!(session.act(&[next.id], JobAction::Delete).await, [Ok(())]);
    let gone = session.ask(Request::GetJob { job: named.job, consistency: FRESH, wait_ms: 0 }).await;
    assert_eq!(code(gone), ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_completes_wakes_who_waits_for_it_and_calls() {
    let bench = Bench::start().await;
    let (mut session, mut waits) = (bench.session().await, bench.session().await);
    let worker = session.register().await;
    let jobs = vec![session.job(Start::Now), session.job(Start::Now)];
    let batch = BatchId(session.job(Start::Now).id);
    let callback = session.job(Start::Now);
    let new = NewBatch { on_complete: Some(Box::new(callback.clone())), ..NewBatch::new(batch, jobs.clone()) };
    let created = session.create(new.clone()).await;
    assert_eq!((created.id, created.state, created.live), (batch, BatchState::Running, 2));
    assert_eq!(session.create(new).await, created, "again is the same as once");
    let held = leased(session.ask(fetch(worker, 0)).await);
    assert!(held.iter().all(|job| job.batch == Some(batch)));

    let soon = waits.batch(get(batch, FRESH, 50)).await;
    assert_eq!(soon.state, BatchState::Running, "it says how it stands when the time is over");
    let mut waits_too = bench.session().await;
    let fresh = waits.send(get(batch, FRESH, MINUTE_MS)).await;
    let stale = waits_too.send(get(batch, Consistency::Stale, MINUTE_MS)).await;
    // Time for them to find that it has not ended; should it not be enough, they find that it has.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for job in held {
        session.completes(job.lease()).await;
    }
    for answer in [waits.answer(fresh).await, waits_too.answer(stale).await] {
        let Ok(Response::Batch(view)) = answer else { panic!("{answer:?}") };
        assert_eq!((view.state, view.completed, view.on_complete), (BatchState::Completed, 2, Some(callback.id)));
        assert!(view.ended_at.is_some());
    }
    let called = leased(session.ask(fetch(worker, MINUTE_MS)).await);
    assert_eq!((called[0].id, called[0].batch), (callback.id, Some(batch)));
    let again = Instant::now();
    assert!(session.batch(get(batch, FRESH, MINUTE_MS)).await.state.has_ended());
    assert!(again.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_filled_sealed_cancelled_and_listed_from_the_newest_back() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let open = BatchId(session.job(Start::Now).id);
    let created = session.create(NewBatch { open: true, ..NewBatch::new(open, vec![]) }).await;
    assert_eq!(created.state, BatchState::Open);
    let job = NewJob { batch: Some(open), ..session.job(Start::Now) };
    assert_eq!(session.enqueue_jobs(vec![job.clone()], false).await.unwrap(), [EnqueueOutcome::Created]);
    let sealed = session.batch(Request::SealBatch { batch: open, cancel: true }).await;
    assert_eq!((sealed.state, sealed.live), (BatchState::Running, 1));
    let of_batch = JobFilter { batch: Some(open), ..JobFilter::default() };
    assert_eq!(session.listed(of_batch).await, [job.id]);
    let cancel = JobAction::Cancel { reason: "no more".to_owned(), grace_ms: 0 };
    assert_eq!(session.act(&[job.id], cancel).await, [Ok(())]);
    assert_eq!(session.batch(get(open, FRESH, MINUTE_MS)).await.state, BatchState::Cancelled);
    let late = NewJob { batch: Some(open), ..session.job(Start::Now) };
    assert_eq!(code(session.enqueue_jobs(vec![late], true).await), ErrorCode::WrongState);

    let mut all = vec![open];
    for _ in 0..4 {
        all.push(BatchId(session.job(Start::Now).id));
        let empty = session.create(NewBatch::new(all[all.len() - 1], vec![])).await;
        assert_eq!(empty.state, BatchState::Completed);
    }
    all.sort_unstable();
    all.reverse();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = session.ask(Request::ListBatches { after, limit: 2, consistency: FRESH }).await;
        let Ok(Response::Batches(page)) = page else { panic!("{page:?}") };
        listed.extend(page.iter().map(|batch| batch.id));
        after = page.last().map(|batch| batch.id);
        if page.len() < 2 {
            break;
        }
    }
    assert_eq!(listed, all);
    let unknown = BatchId(session.job(Start::Now).id);
    assert_eq!(code(session.ask(Request::SealBatch { batch: unknown, cancel: false }).await), ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_batch_runs_again_when_its_dead_jobs_are_retried_and_can_be_waited_for_anew() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let jobs = vec![session.job(Start::Now), session.job(Start::Now)];
    let batch = BatchId(session.job(Start::Now).id);
    session.create(NewBatch::new(batch, jobs)).await;
    let held = leased(session.ask(fetch(worker, 0)).await);
    session.completes(held[0].lease()).await;
    session.fail(held[1].lease()).await;
    let failed = session.batch(get(batch, FRESH, MINUTE_MS)).await;
    assert_eq!((failed.state, failed.completed, failed.dead), (BatchState::Failed, 1, 1));
    let dead = JobFilter { batch: Some(batch), states: vec![JobState::Dead], ..JobFilter::default() };
    let dead = session.listed(dead).await;
    assert_eq!(dead, [held[1].id]);
    assert_eq!(session.act(&dead, JobAction::Retry).await, [Ok(())]);
    assert_eq!(session.batch(get(batch, FRESH, 0)).await.state, BatchState::Running);
    let again = leased(session.ask(fetch(worker, MINUTE_MS)).await);
    let mut waits = bench.session().await;
    let waiting = waits.send(get(batch, FRESH, MINUTE_MS)).await;
    session.completes(again[0].lease()).await;
    let Ok(Response::Batch(view)) = waits.answer(waiting).await else { panic!("it ends") };
    assert_eq!((view.state, view.completed), (BatchState::Completed, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_by_key_page_by_page_with_what_they_are_set_to() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let mut jobs = Vec::new();
    for key in ["b", "a", "c", "a"] {
        jobs.push(NewJob { group: Some(key.parse().unwrap()), ..session.job(Start::Now) });
    }
    session.enqueue_jobs(jobs, true).await.unwrap();
    let weight = Setting::Group("q".parse().unwrap(), "c".parse().unwrap(), GroupSetting::Weight(Some(7)));
    let one = Setting::Group("q".parse().unwrap(), "a".parse().unwrap(), GroupSetting::Concurrency(Some(1)));
    session.done(Request::Configure { settings: vec![weight, one] }).await;
    let keys = |groups: &[GroupView]| groups.iter().map(|group| group.group.to_string()).collect::<Vec<_>>();
    let page = session.groups(None, 2).await;
    assert_eq!(keys(&page), ["a", "b"]);
    assert_eq!((page[0].ready, page[0].open, page[0].settings.concurrency), (2, 1, Some(1)));
    let page = session.groups(Some("b"), 2).await;
    assert_eq!((keys(&page), page[0].settings.weight), (vec!["c".to_owned()], Some(7)));
    assert_eq!(session.groups(Some("c"), limits::GROUP_LIST_MAX).await, []);
    // The limit of a group holds, and its end lets the next one run at once.
    let worker = session.register().await;
    let held = leased(session.ask(fetch(worker, 0)).await);
    assert_eq!(held.len(), 3);
    let of_a = held.iter().find(|job| job.group.as_ref().is_some_and(|key| key.as_str() == "a")).unwrap().lease();
    session.done(subscription(worker, 5)).await;
    session.completes(of_a).await;
    assert_eq!(session.leased_push().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_limit_held_back_is_pushed_when_the_limit_is_lifted() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    session.configure(vec![QueueSetting::Concurrency(Some(1)), QueueSetting::Mode(QueueMode::Open)]).await;
    for _ in 0..3 {
        session.enqueue(Start::Now).await;
    }
    session.done(subscription(worker, 10)).await;
    assert_eq!(session.leased_push().await.len(), 1);
    assert_eq!(leased(session.ask(fetch(worker, 300)).await), []);
    session.configure(vec![QueueSetting::Concurrency(None)]).await;
    assert_eq!(session.leased_push().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_token_of_a_rate_is_used_when_it_comes_and_nobody_asks_in_between() {
    const PERIOD_MS: u64 = 150;
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    session.configure(vec![QueueSetting::Rate(Some(Rate::new(1, PERIOD_MS)))]).await;
    for _ in 0..11 {
        session.enqueue(Start::Now).await;
    }
    let begun = Instant::now();
    session.done(subscription(worker, 100)).await;
    for _ in 0..11 {
        assert_eq!(session.leased_push().await.len(), 1);
    }
    let took = begun.elapsed();
    // Looked up once a second, they would take ten.
    assert!(took >= Duration::from_millis(10 * PERIOD_MS - 20) && took < Duration::from_secs(5), "{took:?}");

    session.configure(vec![QueueSetting::Rate(Some(Rate::new(1, 3_600_000)))]).await;
    for _ in 0..5 {
        session.enqueue(Start::Now).await;
    }
    assert_eq!(session.leased_push().await.len(), 1, "a rate that was changed begins with what it allows at once");
    let before = log_index(&bench).await;
    let after = log_index(&bench).await;
    assert!(after - before <= 1, "{} entries for nothing", after - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_came_after_many_are_leased_in_answers_that_fit_into_a_frame() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let time = session.job(Start::Now).id.minted_at();
    let id = |number: usize| {
        let mut random = [0xff; 10];
        random[..8].copy_from_slice(&number.to_be_bytes());
        JobId::new(time, random)
    };
    let plain = session.job(Start::Now);
    let before: Vec<JobId> = (0..limits::AFTER_JOBS_MAX).map(id).collect();
    let jobs = before.iter().map(|&id| NewJob { id, ..plain.clone() }).collect();
    session.enqueue_jobs(jobs, true).await.unwrap();
    let most = |max| Request::Lease {
        worker,
        queues: vec!["q".parse().unwrap()],
        weights: vec![],
        max,
        lease_ms: MINUTE_MS,
        wait_ms: 0,
    };
    for _ in 0..limits::AFTER_JOBS_MAX {
        for job in leased(session.ask(most(1)).await) {
            session.completes(job.lease()).await;
        }
    }
    let next = NewJob { after: after(&before, OnFailure::Wait), ..plain };
    for part in 0..8 {
        let jobs = (0..32).map(|number| NewJob { id: id(10_000 + part * 32 + number), ..next.clone() }).collect();
        let outcomes = session.enqueue_jobs(jobs, true).await.unwrap();
        assert_eq!(outcomes, vec![EnqueueOutcome::Created; 32]);
    }
    let mut count = 0;
    while count < 256 {
        let jobs = leased(session.ask(most(256)).await);
        assert!(!jobs.is_empty() && jobs.iter().all(|job| job.after.len() == limits::AFTER_JOBS_MAX));
        count += jobs.len();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_of_one_request_together_come_after_no_more_ended_jobs_than_those_of_one() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    let leases = [session.hold(worker).await, session.hold(worker).await];
    let mut children = Vec::new();
    for thousand in 0..6 {
        let one = session.job(Start::AfterMs(MINUTE_MS));
        let numbered = |number: u16| {
            let [high, low] = number.to_be_bytes();
            let id = JobId::new(one.id.minted_at(), [0, 0, 0, 0, 0, 0, 0, thousand, high, low]);
            NewJob { id, ..one.clone() }
        };
        let jobs: Vec<NewJob> = (0..1_000).map(numbered).collect();
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        session.enqueue_jobs(jobs, true).await.unwrap();
        let cancelled = session.act(&ids, JobAction::Cancel { reason: String::new(), grace_ms: 0 }).await;
        assert!(cancelled.iter().all(Result::is_ok));
        children.push(session.job_after(&ids));
    }
    let completion = Completion { jobs: children, ..Completion::default() };
    let completions = leases.map(|lease| (lease, completion.clone())).to_vec();
    let refused = session.ask(Request::Complete { completions }).await;
    assert!(
        matches!(&refused, Err(error) if error.message.contains("come after 12000 others that have ended")),
        "{refused:?}"
    );
    assert_eq!(code(refused), ErrorCode::TooMany);
    assert_eq!(session.complete(leases[0], completion).await, Ok(()));
    assert_eq!(session.view(leases[1].job).await.state, JobState::Leased);
}
