//! What many ask for at the same time goes in one request, and each gets the answer to what it asked.

use crate::client::job;
use crate::node::{Asked, Authority, Node, leased};
use futures_util::future::join_all;
use jobraft_protocol::{
    Completion, Consistency, EnqueueOutcome, Error, ErrorCode, JobId, LeaseRef, NewJob, Request, Response,
};
use jobraft_sdk::{Client, ClientConfig, SdkError};
use std::time::Duration;
use tokio::task::JoinHandle;

type Enqueued = Result<EnqueueOutcome, SdkError>;

async fn start() -> (Node, Client) {
    let authority = Authority::new();
    let node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    (node, client)
}

/// Enqueues each of these by a call of its own. All calls have been made when this returns.
async fn enqueue_each(client: &Client, jobs: &[NewJob]) -> JoinHandle<Vec<Enqueued>> {
    let calls: Vec<_> = jobs.iter().cloned().map(|job| (client.clone(), job)).collect();
    let calls = calls.into_iter().map(|(client, job)| async move {
        client.enqueue(vec![job]).await.map(|mut outcomes| outcomes.pop().unwrap())
    });
    let calls = tokio::spawn(join_all(calls));
    // They run on this thread: now.
    tokio::task::yield_now().await;
    calls
}

/// Enqueues until no request more is made before one is answered.
async fn fill(client: &Client, node: &mut Node) -> Vec<Asked> {
    let mut under_way = Vec::new();
    for _ in 0..4 {
        enqueue_each(client, &[job(client)]).await;
        under_way.push(node.next().await);
    }
    under_way
}

fn jobs(asked: &Asked) -> &[NewJob] {
    let Request::Enqueue { jobs, all_or_none: false } = &asked.request else { panic!("{:?}", asked.request) };
    jobs
}

fn created(asked: &Asked) {
    asked.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Created; jobs(asked).len()])));
}

#[tokio::test]
async fn what_is_enqueued_while_requests_are_under_way_goes_in_one_and_each_gets_its_own_outcome() {
    let (mut node, client) = start().await;
    let under_way = fill(&client, &mut node).await;
    let many: Vec<NewJob> = (0..300).map(|_| job(&client)).collect();
    let calls = enqueue_each(&client, &many).await;
    // Had they been asked for, that would come before this.
    let looks = tokio::spawn({
        let client = client.clone();
        async move { client.queues(Consistency::Stale).await }
    });
    let asked = node.next().await;
    assert!(matches!(asked.request, Request::ListQueues { .. }), "{:?}", asked.request);
    asked.answer(Ok(Response::Queues(Vec::new())));
    looks.await.unwrap().unwrap();
    created(&under_way[0]);
    let outcome =
        |place: usize| if place.is_multiple_of(3) { EnqueueOutcome::Existing } else { EnqueueOutcome::Created };
    for places in [0..256, 256..300] {
        let asked = node.next().await;
        assert_eq!(jobs(&asked), &many[places.clone()]);
        asked.answer(Ok(Response::Enqueued(places.map(outcome).collect())));
    }
    let outcomes: Vec<_> = calls.await.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes, (0..300).map(outcome).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_has_given_up_is_not_asked_for() {
    let (mut node, client) = start().await;
    let under_way = fill(&client, &mut node).await;
    let (gone, stays) = (job(&client), job(&client));
    let calls = enqueue_each(&client, &[gone]).await;
    calls.abort();
    assert!(calls.await.unwrap_err().is_cancelled());
    enqueue_each(&client, std::slice::from_ref(&stays)).await;
    created(&under_way[0]);
    assert_eq!(jobs(&node.next().await), [stays]);
}

#[tokio::test]
async fn when_a_request_is_refused_as_a_whole_each_asks_alone() {
    let (mut node, client) = start().await;
    let under_way = fill(&client, &mut node).await;
    let many: Vec<NewJob> = (0..3).map(|_| job(&client)).collect();
    let calls = enqueue_each(&client, &many).await;
    created(&under_way[0]);
    let refusal = || Error::new(ErrorCode::TooLarge, "the second is too large");
    let asked = node.next().await;
    assert_eq!(jobs(&asked).len(), 3);
    asked.answer(Err(refusal()));
    let mut alone: Vec<JobId> = Vec::new();
    for _ in 0..3 {
        let asked = node.next().await;
        let [job] = jobs(&asked) else { panic!("{:?}", asked.request) };
        alone.push(job.id);
        if job.id == many[1].id {
            asked.answer(Err(refusal()));
        } else {
            created(&asked);
        }
    }
    alone.sort_unstable();
    assert_eq!(alone, many.iter().map(|job| job.id).collect::<Vec<_>>());
    let outcomes = calls.await.unwrap();
    assert!(matches!(outcomes[..], [Ok(EnqueueOutcome::Created), Err(_), Ok(EnqueueOutcome::Created)]), "{outcomes:?}");
    assert_eq!(outcomes[1].as_ref().unwrap_err().code(), Some(ErrorCode::TooLarge));
}

#[tokio::test]
async fn who_hears_nothing_of_what_went_together_is_told_that_it_may_have_been_done() {
    let authority = Authority::new();
    let mut node = Node::start(&authority, 1);
    let config = ClientConfig { request_timeout: Duration::from_millis(500), ..authority.config(&[&node]) };
    let client = Client::connect(config).await.unwrap();
    let under_way = fill(&client, &mut node).await;
    let calls = enqueue_each(&client, &[job(&client), job(&client)]).await;
    created(&under_way[0]);
    let asked = node.next().await;
    assert_eq!(jobs(&asked).len(), 2);
    // From here on nothing can be sent.
    node.fall_silent();
    asked.session.cut();
    for outcome in calls.await.unwrap() {
        let error = outcome.unwrap_err();
        assert!(error.outcome_unknown(), "{error:?}");
        assert!(error.to_string().starts_with("enqueue was not answered within 500ms"), "{error}");
    }
}

#[tokio::test]
async fn large_payloads_do_not_go_together_beyond_what_a_request_may_have() {
    let (mut node, client) = start().await;
    let under_way = fill(&client, &mut node).await;
    let large: Vec<NewJob> = (0..5).map(|_| NewJob { payload: vec![0; 1 << 20].into(), ..job(&client) }).collect();
    enqueue_each(&client, &large).await;
    created(&under_way[0]);
    created(&under_way[1]);
    let (first, second) = (node.next().await, node.next().await);
    let mut sizes = [jobs(&first).len(), jobs(&second).len()];
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 4]);
}

/// Completes each of these by a call of its own. All calls have been made when this returns.
async fn complete_each(
    client: &Client,
    completions: Vec<(LeaseRef, Completion)>,
) -> JoinHandle<Vec<Result<(), SdkError>>> {
    let client = client.clone();
    let calls = tokio::spawn(async move {
        join_all(completions.into_iter().map(|(lease, completion)| client.complete(lease, completion))).await
    });
    tokio::task::yield_now().await;
    calls
}

fn lease(token: u64) -> LeaseRef {
    leased("t", token, 30_000, "").lease()
}

/// Completes jobs until no request more is made before one is answered.
async fn fill_with_completions(client: &Client, node: &mut Node) -> Vec<Asked> {
    let mut under_way = Vec::new();
    for token in 1..=4 {
        complete_each(client, vec![(lease(token), Completion::default())]).await;
        under_way.push(node.next().await);
    }
    under_way
}

#[tokio::test]
async fn completions_go_together_and_one_that_is_refused_refuses_no_other() {
    let (mut node, client) = start().await;
    let under_way = fill_with_completions(&client, &mut node).await;
    let completions: Vec<_> = (5..=7).map(|token| (lease(token), Completion::default())).collect();
    let calls = complete_each(&client, completions.clone()).await;
    under_way[0].take();
    let asked = node.next().await;
    assert_eq!(asked.request, Request::Complete { completions });
    let lost = Error::new(ErrorCode::LeaseLost, "too late");
    asked.answer(Ok(Response::Acted(vec![Ok(()), Err(lost.clone()), Ok(())])));
    let answers = calls.await.unwrap();
    assert!(matches!(&answers[..], [Ok(()), Err(SdkError::Refused(error)), Ok(())] if *error == lost), "{answers:?}");
}

#[tokio::test]
async fn completions_that_go_together_bring_no_more_jobs_than_one_step_takes() {
    let (mut node, client) = start().await;
    let under_way = fill_with_completions(&client, &mut node).await;
    let brings = Completion { jobs: vec![job(&client); 400], ..Completion::default() };
    let calls = complete_each(&client, (5..=7).map(|token| (lease(token), brings.clone())).collect()).await;
    under_way[0].take();
    for count in [2, 1] {
        let asked = node.next().await;
        let Request::Complete { completions } = &asked.request else { panic!("{:?}", asked.request) };
        assert_eq!(completions.len(), count);
        asked.take();
    }
    assert!(calls.await.unwrap().iter().all(Result::is_ok));
}
