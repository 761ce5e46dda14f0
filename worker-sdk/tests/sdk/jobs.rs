//! What the client sends for jobs that are listed, acted on, unique, or too many, and what it makes of the answers.

use crate::node::{Authority, Node};
use futures_util::TryStreamExt;
use jobraft_protocol::{
    EnqueueOutcome, Error, ErrorCode, JobAction, JobFilter, JobId, JobPage, JobState, JobSummary, LogTime, NewJob,
    OnConflict, Request, Response, Task, Unique, UniqueKey, UniqueScope, limits,
};
use jobraft_sdk::{Client, Listing, Producer};
use std::time::Duration;

fn full() -> EnqueueOutcome {
    EnqueueOutcome::Refused(Error::new(ErrorCode::QueueFull, "queue q is full").retry_after_ms(20))
}

fn ids(count: u8) -> Vec<JobId> {
    (0..count).map(|seed| JobId::new(LogTime::from_ms(1_000), [seed; 10])).collect()
}

pub(crate) fn summary(id: JobId) -> JobSummary {
    JobSummary {
        id,
        queue: "q".parse().unwrap(),
        task: Task::Handler("t".parse().unwrap()),
        state: JobState::Ready,
        end_reason: None,
        priority: 5,
        attempt: 0,
        max_attempts: 25,
        enqueued_at: LogTime::ZERO,
        run_at: LogTime::ZERO,
        finished_at: None,
        worker: None,
        key: None,
        progress: None,
        error: None,
        group: None,
        batch: None,
        is_callback: false,
        label: None,
        after: Vec::new(),
        after_count: 0,
    }
}

async fn one_node() -> (Authority, Node, Client) {
    let authority = Authority::new();
    let node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    (authority, node, client)
}

#[tokio::test]
async fn only_what_a_full_queue_refused_is_sent_again_under_new_ids() {
    let (_authority, mut node, client) = one_node().await;
    let producer = Producer::<str>::new(client, "q", "t").unwrap().wait_when_full(Duration::from_secs(30));
    let enqueue = tokio::spawn(async move { producer.enqueue_many(["a", "b", "c"]).await });
    let asked = node.next().await;
    let Request::Enqueue { jobs, .. } = asked.request.clone() else { panic!("{:?}", asked.request) };
    asked.answer(Ok(Response::Enqueued(vec![full(), EnqueueOutcome::Created, full()])));
    let asked = node.next().await;
    let Request::Enqueue { jobs: again, .. } = asked.request.clone() else { panic!("{:?}", asked.request) };
    assert!(again[0].id != jobs[0].id && again[1].id != jobs[2].id, "an id grows too old to be taken");
    let same = [NewJob { id: again[0].id, ..jobs[0].clone() }, NewJob { id: again[1].id, ..jobs[2].clone() }];
    assert_eq!(again, same);
    let draining = Error::new(ErrorCode::QueueDraining, "queue q is draining");
    asked.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Created, EnqueueOutcome::Refused(draining.clone())])));
    let outcomes = enqueue.await.unwrap().unwrap();
    assert_eq!(
        outcomes,
        [Ok(again[0].id), Ok(jobs[1].id), Err(draining)],
        "what waiting does not mend is not waited for"
    );
}

#[tokio::test]
async fn who_brings_ids_of_their_own_keeps_them_in_front_of_a_full_queue() {
    let (_authority, mut node, client) = one_node().await;
    let job = Producer::<str>::new(client.clone(), "q", "t").unwrap().job("a").unwrap();
    let enqueue = tokio::spawn({
        let job = job.clone();
        async move { client.enqueue_waiting(vec![job], Duration::MAX).await }
    });
    for outcome in [full(), EnqueueOutcome::Created] {
        let asked = node.next().await;
        assert_eq!(asked.request, Request::Enqueue { jobs: vec![job.clone()], all_or_none: false });
        asked.answer(Ok(Response::Enqueued(vec![outcome])));
    }
    assert_eq!(enqueue.await.unwrap().unwrap(), [EnqueueOutcome::Created]);
}

#[tokio::test]
async fn a_wait_without_end_is_no_mistake() {
    let (_authority, mut node, client) = one_node().await;
    let wait = tokio::spawn(async move { client.wait_job(ids(1)[0], Duration::MAX).await });
    let asked = node.next().await;
    assert!(matches!(asked.request, Request::GetJob { wait_ms: limits::WAIT_MS_MAX, .. }), "{:?}", asked.request);
    asked.answer(Err(Error::new(ErrorCode::NotFound, "no such job")));
    assert_eq!(wait.await.unwrap().unwrap_err().code(), Some(ErrorCode::NotFound));
}

#[tokio::test]
async fn patience_with_a_full_queue_ends() {
    let (_authority, mut node, client) = one_node().await;
    let producer = Producer::<str>::new(client, "q", "t").unwrap();
    let enqueue = tokio::spawn(async move { producer.enqueue("a").await });
    node.next().await.answer(Ok(Response::Enqueued(vec![full()])));
    assert_eq!(enqueue.await.unwrap().unwrap_err().code(), Some(ErrorCode::QueueFull));
}

#[tokio::test]
async fn a_producer_says_all_that_it_was_told() {
    let (_authority, mut node, client) = one_node().await;
    let backoff = jobraft_sdk::parse_backoff("fixed:1m").unwrap();
    let producer = Producer::<str>::new(client, "q", "t")
        .unwrap()
        .ttl(Duration::from_secs(1))
        .start_deadline(Duration::from_secs(2))
        .backoff(backoff.clone())
        .max_crashes(1)
        .unique_by(|name: &str| format!("mail/{name}"))
        .unique_scope(UniqueScope::Waiting)
        .on_conflict(OnConflict::Replace { payload: true, start: false });
    let enqueue = tokio::spawn(async move { producer.enqueue("ada").await });
    let asked = node.next().await;
    let Request::Enqueue { jobs, .. } = &asked.request else { panic!("{:?}", asked.request) };
    let unique = Unique {
        key: UniqueKey::new("mail/ada").unwrap(),
        scope: UniqueScope::Waiting,
        on_conflict: OnConflict::Replace { payload: true, start: false },
    };
    let told = NewJob {
        ttl_ms: Some(1_000),
        start_deadline_ms: Some(2_000),
        backoff: Some(backoff),
        max_crashes: Some(1),
        unique: Some(unique),
        ..NewJob::new(jobs[0].id, "q".parse().unwrap(), Task::Handler("t".parse().unwrap()), "\"ada\"")
    };
    assert_eq!(jobs[0], told);
    let holder = ids(1)[0];
    asked.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Replaced(holder)])));
    assert_eq!(enqueue.await.unwrap().unwrap(), holder, "the job that stands for it");
}

#[tokio::test]
async fn a_list_is_followed_to_its_end_over_pages_that_are_empty() {
    let (_authority, mut node, client) = one_node().await;
    let filter = JobFilter { states: vec![JobState::Dead], ..JobFilter::default() };
    let listing = Listing { oldest_first: true, limit: 2, ..Listing::default() };
    let all = tokio::spawn({
        let filter = filter.clone();
        async move { client.jobs(filter, listing).map_ok(|job| job.id).try_collect::<Vec<_>>().await }
    });
    let ids = ids(4);
    let pages = [
        (None, vec![ids[0], ids[1]], Some(ids[1])),
        (Some(ids[1]), vec![], Some(ids[2])),
        (Some(ids[2]), vec![ids[3]], None),
    ];
    for (after, jobs, next) in pages {
        let asked = node.next().await;
        let Listing { oldest_first, limit, consistency, .. } = listing;
        assert_eq!(
            asked.request,
            Request::ListJobs { filter: filter.clone(), after, oldest_first, limit, consistency }
        );
        asked.answer(Ok(Response::Jobs(JobPage { jobs: jobs.into_iter().map(summary).collect(), next })));
    }
    assert_eq!(all.await.unwrap().unwrap(), [ids[0], ids[1], ids[3]]);
}

#[tokio::test]
async fn an_action_on_many_goes_in_steps_and_a_lost_answer_is_no_refusal() {
    let (_authority, mut node, client) = one_node().await;
    let many: Vec<JobId> = (0..=limits::ACTION_JOBS_MAX as u64)
        .map(|number| {
            let mut random = [0; 10];
            random[2..].copy_from_slice(&number.to_be_bytes());
            JobId::new(LogTime::from_ms(1_000), random)
        })
        .collect();
    let act = tokio::spawn({
        let many = many.clone();
        async move { client.act(&many, JobAction::Delete, &[JobState::Dead]).await }
    });
    let asked = node.next().await;
    assert!(matches!(&asked.request, Request::Act { jobs, .. } if jobs.len() == limits::ACTION_JOBS_MAX));
    asked.answer(Ok(Response::Acted(vec![Ok(()); limits::ACTION_JOBS_MAX])));
    let asked = node.next().await;
    let last = Request::Act {
        jobs: vec![many[limits::ACTION_JOBS_MAX]],
        action: JobAction::Delete,
        only_in: vec![JobState::Dead],
    };
    assert_eq!(asked.request, last);
    asked.answer(Err(Error::new(ErrorCode::OutcomeUnknown, "no majority answered")));
    node.next().await.answer(Ok(Response::Acted(vec![Err(Error::new(ErrorCode::NotFound, "no such job"))])));
    assert!(act.await.unwrap().unwrap().iter().all(Result::is_ok));
}

#[tokio::test]
async fn what_an_action_did_not_get_to_is_sent_again() {
    let (_authority, mut node, client) = one_node().await;
    let ids = ids(4);
    let act = tokio::spawn({
        let ids = ids.clone();
        async move { client.act(&ids, JobAction::Retry, &[]).await }
    });
    let asked = node.next().await;
    let away = Error::new(ErrorCode::Unavailable, "no leader");
    let wrong = Error::new(ErrorCode::WrongState, "it is ready");
    asked.answer(Ok(Response::Acted(vec![Ok(()), Err(away.clone()), Err(wrong.clone()), Err(away)])));
    let asked = node.next().await;
    let rest = Request::Act { jobs: vec![ids[1], ids[3]], action: JobAction::Retry, only_in: vec![] };
    assert_eq!(asked.request, rest);
    asked.answer(Ok(Response::Acted(vec![Ok(()), Err(wrong.clone())])));
    // The first answer said that nothing was done: the second is taken as it is.
    assert_eq!(act.await.unwrap().unwrap(), [Ok(()), Ok(()), Err(wrong.clone()), Err(wrong)]);
}

#[tokio::test]
async fn what_an_action_never_gets_to_is_answered_so() {
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let config = authority.config(&[&node]).request_timeout(Duration::from_millis(500));
    let client = Client::connect(config).await.unwrap();
    let act = tokio::spawn(async move { client.act(&ids(2), JobAction::Delete, &[]).await });
    let away = Error::new(ErrorCode::Unavailable, "no leader");
    node.next().await.answer(Ok(Response::Acted(vec![Ok(()), Err(away)])));
    // Silence.
    let _asked = node.next().await;
    let answers = act.await.unwrap().unwrap();
    let codes: Vec<_> = answers.into_iter().map(|answer| answer.map_err(|error| error.code)).collect();
    assert_eq!(codes, [Ok(()), Err(ErrorCode::OutcomeUnknown)]);
}

#[tokio::test]
async fn a_retry_whose_answer_was_lost_is_no_refusal() {
    let (_authority, mut node, client) = one_node().await;
    let retry = tokio::spawn(async move { client.retry(ids(1)[0]).await });
    node.next().await.session.cut();
    node.next().await.answer(Ok(Response::Acted(vec![Err(Error::new(ErrorCode::WrongState, "it is ready"))])));
    retry.await.unwrap().unwrap();
}
