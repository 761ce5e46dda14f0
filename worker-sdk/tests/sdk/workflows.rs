//! What the client sends for jobs that belong together, and what it makes of the answers.

use crate::node::{Authority, Node, view};
use jobraft_protocol::limits::{
    AFTER_JOBS_MAX, BULK_BYTES_MAX, BULK_JOBS_MAX, CANCEL_GRACE_MS_DEFAULT, DEPENDENTS_MAX, LIST_JOBS_MAX, WAIT_MS_MAX,
};
use jobraft_protocol::{
    After, BatchId, BatchState, BatchView, Consistency, EnqueueOutcome, Error, ErrorCode, JobAction, JobFilter, JobId,
    JobPage, JobState, LogTime, NewBatch, NewJob, OnFailure, Request, Response, Start, Task,
};
use jobraft_sdk::{Batch, BulkReport, Client, Producer, SdkError, Step, Workflow};
use std::time::Duration;

async fn one_node() -> (Authority, Node, Client) {
    let authority = Authority::new();
    let node = Node::start(&authority, 1);
    let client = authority.client(&[&node]).await;
    (authority, node, client)
}

fn texts(client: &Client) -> Producer<str> {
    Producer::new(client.clone(), "q", "count").unwrap()
}

fn sum(client: &Client) -> Producer<()> {
    Producer::new(client.clone(), "q", "sum").unwrap()
}

fn standing(id: BatchId, state: BatchState) -> Response {
    Response::Batch(Box::new(BatchView {
        id,
        label: None,
        state,
        created_at: LogTime::ZERO,
        ended_at: None,
        live: 1,
        completed: 2,
        dead: 0,
        cancelled: 0,
        expired: 0,
        on_complete: None,
        on_failure: None,
        failure_called: false,
    }))
}

/// Nothing else was asked of the node so far: what is asked now is what it hears of next.
async fn nothing_else(node: &mut Node, client: &Client) {
    let client = client.clone();
    let status = tokio::spawn(async move { client.cluster_status(None).await.map(|_| ()) });
    let asked = node.next().await;
    assert_eq!(asked.request, Request::ClusterStatus);
    asked.answer(Err(Error::new(ErrorCode::Forbidden, "no")));
    status.await.unwrap().unwrap_err();
}

fn created(asked: &crate::node::Asked) -> NewBatch {
    let Request::CreateBatch { batch } = &asked.request else { panic!("{:?}", asked.request) };
    (**batch).clone()
}

fn enqueued(asked: &crate::node::Asked) -> Vec<NewJob> {
    let Request::Enqueue { jobs, all_or_none: true } = &asked.request else { panic!("{:?}", asked.request) };
    jobs.clone()
}

fn predecessors(job: &NewJob) -> &[JobId] {
    job.after.as_ref().map_or(&[], |after| &after.jobs)
}

#[tokio::test]
async fn a_workflow_is_one_request_that_says_all_of_it() {
    let (_authority, mut node, client) = one_node().await;
    let (count, sum, mail) = (texts(&client), sum(&client), Producer::<u32>::new(client.clone(), "mail", "m").unwrap());
    let outside = client.job_id();
    let mut flow = Workflow::new(&client).label("wordcount").unwrap();
    let parts: Vec<Step> = ["a", "b"].into_iter().map(|text| flow.add(&count, text)).collect::<Result<_, _>>().unwrap();
    let total = flow.add_after(&sum.after([outside], OnFailure::Run), &(), &parts).unwrap();
    flow.step(parts[1]).unwrap().label("part-1").unwrap().priority(2).delay(Duration::from_secs(1));
    let complete = flow.on_complete(&mail, &1).unwrap();
    let failure = flow.on_failure(&mail, &2).unwrap();
    let id = flow.id();
    let submit = tokio::spawn(async move { flow.submit().await });
    let asked = node.next().await;
    let batch = created(&asked);
    assert_eq!((batch.id, batch.label.as_ref().unwrap().as_str(), batch.open), (id, "wordcount", false));
    assert_eq!((batch.on_complete.unwrap().id, batch.on_failure.unwrap().id), (complete, failure));
    let [first, second, last] = &batch.jobs[..] else { panic!("{:?}", batch.jobs) };
    let told = NewJob::new(parts[0].job(), "q".parse().unwrap(), Task::Handler("count".parse().unwrap()), "\"a\"");
    assert_eq!(*first, NewJob { batch: Some(id), ..told });
    assert_eq!((second.id, second.priority, second.start), (parts[1].job(), Some(2), Start::AfterMs(1_000)));
    assert_eq!(second.label.as_ref().unwrap().as_str(), "part-1");
    let jobs = vec![outside, parts[0].job(), parts[1].job()];
    assert_eq!((last.id, &last.after), (total.job(), &Some(After { jobs, on_failure: OnFailure::Run })));
    asked.answer(Ok(standing(id, BatchState::Running)));
    assert_eq!(submit.await.unwrap().unwrap().id(), id);
}

#[tokio::test]
async fn a_step_stands_behind_those_that_it_comes_after() {
    let (_authority, _node, client) = one_node().await;
    let (count, sum) = (texts(&client), sum(&client));
    let mut flow = Workflow::new(&client);
    let late = count.job("late").unwrap();
    flow.add_after(&sum, &(), [late.id]).unwrap();
    let text = flow.push(late).unwrap_err().to_string();
    assert!(text.contains("one that was added before comes after it"), "{text}");
    let job = count.job("twice").unwrap();
    flow.push(job.clone()).unwrap();
    assert!(matches!(flow.push(job), Err(SdkError::Invalid(_))), "a step twice");
    let mut circle = count.job("itself").unwrap();
    circle.after = Some(After { jobs: vec![circle.id], on_failure: OnFailure::Wait });
    assert!(flow.push(circle).unwrap_err().to_string().contains("after itself"));
    let foreign = Workflow::new(&client).add(&count, "elsewhere").unwrap();
    assert!(matches!(flow.step(foreign), Err(SdkError::Invalid(_))));
    assert_eq!(flow.len(), 2, "what is refused is not added");
}

#[tokio::test]
async fn a_step_has_no_more_before_and_behind_it_than_a_job_may() {
    let (_authority, _node, client) = one_node().await;
    let (count, sum) = (texts(&client), sum(&client));
    let mut flow = Workflow::new(&client);
    let ids: Vec<JobId> = (0..=AFTER_JOBS_MAX).map(|_| client.job_id()).collect();
    assert!(matches!(flow.add_after(&sum, &(), ids.clone()), Err(SdkError::TooLarge(_))));
    let once = flow.add_after(&sum, &(), [&ids[..AFTER_JOBS_MAX], &ids[..1]].concat()).unwrap();
    assert!(flow.add_after(&sum, &(), [once, once]).is_ok(), "named twice counts once");
    let first = flow.add(&count, "first").unwrap();
    for _ in 0..DEPENDENTS_MAX {
        flow.add_after(&sum, &(), [first]).unwrap();
    }
    assert!(matches!(flow.add_after(&sum, &(), [first]), Err(SdkError::TooLarge(_))));
}

/// A chain of so many steps.
fn chain(client: &Client, steps: usize) -> Workflow {
    let (count, mut flow) = (texts(client), Workflow::new(client));
    let mut last = flow.add(&count, "0").unwrap();
    for number in 1..steps {
        last = flow.add_after(&count, &number.to_string(), [last]).unwrap();
    }
    flow
}

#[tokio::test]
async fn a_large_workflow_goes_in_parts_none_of_which_needs_a_later_one_and_is_sealed_last() {
    let (_authority, mut node, client) = one_node().await;
    let flow = chain(&client, 2 * BULK_JOBS_MAX + 1);
    let id = flow.id();
    let submit = tokio::spawn(async move { flow.submit().await.map(|_| ()) });
    let asked = node.next().await;
    let batch = created(&asked);
    assert_eq!((batch.jobs.len(), batch.open), (BULK_JOBS_MAX, true));
    let mut all = batch.jobs;
    asked.answer(Ok(standing(id, BatchState::Open)));
    for count in [BULK_JOBS_MAX, 1] {
        let asked = node.next().await;
        // The next part may need this one.
        nothing_else(&mut node, &client).await;
        let part = enqueued(&asked);
        assert_eq!(part.len(), count);
        asked.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Created; part.len()])));
        all.extend(part);
    }
    let asked = node.next().await;
    assert_eq!(asked.request, Request::SealBatch { batch: id, cancel: false });
    asked.answer(Ok(standing(id, BatchState::Running)));
    submit.await.unwrap().unwrap();
    assert!(all.iter().all(|job| job.batch == Some(id)));
    for pair in all.windows(2) {
        assert_eq!(predecessors(&pair[1]), [pair[0].id]);
    }
}

#[tokio::test]
async fn many_predecessors_count_as_bytes_of_a_part() {
    let (_authority, mut node, client) = one_node().await;
    let (count, sum, mut flow) = (texts(&client), sum(&client), Workflow::new(&client));
    let first: Vec<Step> = (0..500).map(|_| flow.add(&count, "x").unwrap()).collect();
    for _ in 0..500 {
        flow.add_after(&sum, &(), &first).unwrap();
    }
    let submit = tokio::spawn(async move { flow.submit().await.map(|_| ()) });
    let asked = node.next().await;
    let jobs = created(&asked).jobs;
    let named: usize = jobs.iter().map(|job| predecessors(job).len() * 16).sum();
    assert!(jobs.len() < 1_000 && named <= BULK_BYTES_MAX, "{} jobs that name {named} bytes", jobs.len());
    asked.answer(Err(Error::new(ErrorCode::Forbidden, "no")));
    assert!(submit.await.unwrap().is_err());
}

#[tokio::test]
async fn a_workflow_that_is_submitted_again_is_the_same_and_goes_on_where_it_was() {
    let (_authority, mut node, client) = one_node().await;
    let flow = chain(&client, BULK_JOBS_MAX + 2);
    let id = flow.id();
    let again = flow.clone();
    let submit = tokio::spawn(async move { flow.submit().await.map(|_| ()) });
    let asked = node.next().await;
    let first = created(&asked);
    asked.answer(Ok(standing(id, BatchState::Open)));
    let asked = node.next().await;
    let rest = enqueued(&asked);
    asked.answer(Err(Error::new(ErrorCode::QueueFull, "queue q is full")));
    assert_eq!(submit.await.unwrap().unwrap_err().code(), Some(ErrorCode::QueueFull));

    let submit = tokio::spawn({
        let again = again.clone();
        async move { again.submit().await.map(|_| ()) }
    });
    let asked = node.next().await;
    assert_eq!(created(&asked), first);
    asked.answer(Ok(standing(id, BatchState::Open)));
    let asked = node.next().await;
    assert_eq!(enqueued(&asked), rest);
    asked.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Existing, EnqueueOutcome::Created])));
    node.next().await.answer(Ok(standing(id, BatchState::Running)));
    submit.await.unwrap().unwrap();

    // Sealed: nothing is left to be sent.
    let submit = tokio::spawn(async move { again.submit().await.map(|_| ()) });
    node.next().await.answer(Ok(standing(id, BatchState::Running)));
    submit.await.unwrap().unwrap();
    nothing_else(&mut node, &client).await;
}

#[tokio::test]
async fn a_workflow_whose_answer_was_lost_is_sent_again_as_it_was() {
    let (_authority, mut node, client) = one_node().await;
    let flow = chain(&client, 3);
    let id = flow.id();
    let submit = tokio::spawn(async move { flow.submit().await.map(|_| ()) });
    let lost = node.next().await;
    lost.session.cut();
    let asked = node.next().await;
    assert_eq!(asked.request, lost.request);
    asked.answer(Ok(standing(id, BatchState::Running)));
    submit.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_wait_goes_on_until_the_batch_has_ended_and_shows_how_it_stands() {
    let (_authority, mut node, client) = one_node().await;
    let batch = Batch::new(&client, client.batch_id());
    let id = batch.id();
    let wait = tokio::spawn(async move {
        let mut seen = Vec::new();
        let end = batch.wait_watching(Duration::from_secs(600), |view| seen.push(view.completed)).await;
        (end, seen)
    });
    for state in [BatchState::Open, BatchState::Running, BatchState::Failed] {
        let asked = node.next().await;
        let read = Request::GetBatch { batch: id, consistency: Consistency::Linearizable, wait_ms: 1_000 };
        assert_eq!(asked.request, read);
        asked.answer(Ok(standing(id, state)));
    }
    let (end, seen) = wait.await.unwrap();
    assert_eq!((end.unwrap().state, seen), (BatchState::Failed, vec![2, 2]));

    let wait = tokio::spawn({
        let client = client.clone();
        async move { client.wait_batch(id, Duration::MAX).await }
    });
    let asked = node.next().await;
    assert!(matches!(asked.request, Request::GetBatch { wait_ms: WAIT_MS_MAX, .. }), "{:?}", asked.request);
    asked.answer(Ok(standing(id, BatchState::Completed)));
    assert_eq!(wait.await.unwrap().unwrap().state, BatchState::Completed);

    let wait = tokio::spawn(async move { client.wait_batch(id, Duration::ZERO).await });
    node.next().await.answer(Ok(standing(id, BatchState::Running)));
    let text = wait.await.unwrap().unwrap_err().to_string();
    assert!(text.contains("the batch is running, 1 of its 3 jobs live"), "{text}");
}

#[tokio::test]
async fn a_result_is_read_once_there_is_one() {
    let (_authority, mut node, client) = one_node().await;
    let mut flow = Workflow::new(&client);
    let step = flow.add(&texts(&client), "a").unwrap();
    let batch = flow.batch();
    let read = tokio::spawn(async move {
        let lives = batch.result::<u32>(step).await;
        (lives, batch.result::<u32>(step).await, batch.result_bytes(step).await)
    });
    for (state, result) in [(JobState::Leased, ""), (JobState::Completed, "7"), (JobState::Completed, "7")] {
        let asked = node.next().await;
        assert!(matches!(asked.request, Request::GetJob { job, .. } if job == step.job()));
        asked.answer(Ok(Response::Job(Box::new(view(step.job(), state, result)))));
    }
    let (lives, result, bytes) = read.await.unwrap();
    let lives = lives.unwrap_err();
    assert!(matches!(lives, SdkError::JobLives { state: JobState::Leased, .. }) && lives.retryable(), "{lives}");
    assert_eq!((result.unwrap(), &bytes.unwrap()[..]), (7, &b"7"[..]));
}

fn page(jobs: &[JobId], next: Option<JobId>) -> Response {
    Response::Jobs(JobPage { jobs: jobs.iter().map(|job| crate::jobs::summary(*job)).collect(), next })
}

#[tokio::test]
async fn a_cancelled_batch_takes_no_more_before_its_jobs_are_called_off_the_newest_first() {
    let (_authority, mut node, client) = one_node().await;
    let batch = Batch::new(&client, client.batch_id());
    let (id, jobs) = (batch.id(), [client.job_id(), client.job_id(), client.job_id()]);
    let cancel = tokio::spawn(async move { batch.cancel("enough").await });
    let asked = node.next().await;
    assert_eq!(asked.request, Request::SealBatch { batch: id, cancel: true });
    asked.answer(Ok(standing(id, BatchState::Running)));
    let live = vec![JobState::Scheduled, JobState::Blocked, JobState::Ready, JobState::Leased];
    let forbidden = Error::new(ErrorCode::Forbidden, "another queue");
    let gone = Error::new(ErrorCode::WrongState, "it has ended");
    let pages = [
        (None, &jobs[1..], Some(jobs[1]), vec![Ok(()), Err(gone)]),
        (Some(jobs[1]), &jobs[..1], None, vec![Err(forbidden.clone())]),
    ];
    for (after, part, next, answers) in pages {
        let asked = node.next().await;
        let filter = JobFilter { batch: Some(id), states: live.clone(), ..JobFilter::default() };
        let consistency = Consistency::Linearizable;
        let list = Request::ListJobs { filter, after, oldest_first: false, limit: LIST_JOBS_MAX, consistency };
        assert_eq!(asked.request, list);
        asked.answer(Ok(page(part, next)));
        let asked = node.next().await;
        let action = JobAction::Cancel { reason: "enough".to_owned(), grace_ms: CANCEL_GRACE_MS_DEFAULT };
        assert_eq!(asked.request, Request::Act { jobs: part.to_vec(), action, only_in: live.clone() });
        asked.answer(Ok(Response::Acted(answers)));
    }
    let report = cancel.await.unwrap().unwrap();
    assert_eq!(report, BulkReport { done: 1, moved_on: 1, refused: vec![(jobs[0], forbidden)] });
}

#[tokio::test]
async fn a_retry_lets_the_dead_jobs_of_a_batch_run_again() {
    let (_authority, mut node, client) = one_node().await;
    let batch = Batch::new(&client, client.batch_id());
    let (id, job) = (batch.id(), client.job_id());
    let retry = tokio::spawn(async move { batch.retry().await });
    let asked = node.next().await;
    let Request::ListJobs { filter, oldest_first: true, .. } = &asked.request else { panic!("{:?}", asked.request) };
    assert_eq!((filter.batch, &filter.states[..]), (Some(id), &[JobState::Dead][..]));
    asked.answer(Ok(page(&[job], None)));
    let asked = node.next().await;
    let act = Request::Act { jobs: vec![job], action: JobAction::Retry, only_in: vec![JobState::Dead] };
    assert_eq!(asked.request, act);
    asked.answer(Ok(Response::Acted(vec![Ok(())])));
    assert_eq!(retry.await.unwrap().unwrap().done, 1);
}

#[tokio::test]
async fn all_or_none_and_a_new_batch_are_one_request_or_none() {
    let (_authority, mut node, client) = one_node().await;
    let count = texts(&client);
    let jobs: Vec<NewJob> = (0..=BULK_JOBS_MAX).map(|_| count.job("x").unwrap()).collect();
    let batch = NewBatch::new(client.batch_id(), jobs.clone());
    for refused in [client.enqueue_all(jobs).await.unwrap_err(), client.create_batch(batch).await.unwrap_err()] {
        assert!(matches!(&refused, SdkError::TooLarge(text) if text.starts_with("1001 jobs")), "{refused}");
    }
    let large: Vec<NewJob> = (0..5).map(|_| count.job(&"x".repeat(1_000_000)).unwrap()).collect();
    let batch = NewBatch::new(client.batch_id(), large.clone());
    assert!(matches!(client.create_batch(batch).await, Err(SdkError::TooLarge(_))));
    assert!(matches!(client.enqueue_all(large).await, Err(SdkError::TooLarge(_))));
    assert_eq!(client.enqueue_all(Vec::new()).await.unwrap(), []);
    nothing_else(&mut node, &client).await;
}

#[tokio::test]
async fn all_or_none_waits_for_room_under_new_ids() {
    let (_authority, mut node, client) = one_node().await;
    let count = texts(&client).wait_when_full(Duration::from_secs(30));
    let enqueue = tokio::spawn(async move { count.enqueue_all(["a", "b"]).await });
    let asked = node.next().await;
    let first = enqueued(&asked);
    asked.answer(Err(Error::new(ErrorCode::QueueFull, "queue q is full").retry_after_ms(20)));
    let asked = node.next().await;
    let second = enqueued(&asked);
    assert!(second[0].id != first[0].id && second[1].payload == first[1].payload, "an id grows too old to be taken");
    let holder = JobId::new(LogTime::from_ms(1), [1; 10]);
    asked.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Created, EnqueueOutcome::Duplicate(holder)])));
    assert_eq!(enqueue.await.unwrap().unwrap(), [second[0].id, holder]);
}

#[tokio::test]
async fn jobs_that_come_after_others_do_not_overtake_them() {
    let (_authority, mut node, client) = one_node().await;
    let count = texts(&client);
    let mut jobs: Vec<NewJob> = (0..=BULK_JOBS_MAX).map(|_| count.job("x").unwrap()).collect();
    jobs[BULK_JOBS_MAX].after = Some(After { jobs: vec![jobs[0].id], on_failure: OnFailure::Wait });
    let enqueue = tokio::spawn({
        let client = client.clone();
        async move { client.enqueue(jobs).await }
    });
    let asked = node.next().await;
    assert!(matches!(&asked.request, Request::Enqueue { jobs, all_or_none: false } if jobs.len() == BULK_JOBS_MAX));
    // The second part may need the first.
    nothing_else(&mut node, &client).await;
    asked.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Created; BULK_JOBS_MAX])));
    node.next().await.answer(Ok(Response::Enqueued(vec![EnqueueOutcome::Created])));
    assert_eq!(enqueue.await.unwrap().unwrap().len(), BULK_JOBS_MAX + 1);
}

#[tokio::test]
async fn a_producer_says_to_what_its_jobs_belong() {
    let (_authority, _node, client) = one_node().await;
    let (before, batch) = (client.job_id(), client.batch_id());
    let count = texts(&client)
        .group_by(|text: &str| format!("tenant/{text}"))
        .after([before], OnFailure::Cancel)
        .batch(batch)
        .label("part")
        .unwrap();
    let job = count.job("7").unwrap();
    let told = NewJob {
        group: Some("tenant/7".parse().unwrap()),
        after: Some(After { jobs: vec![before], on_failure: OnFailure::Cancel }),
        batch: Some(batch),
        label: Some("part".parse().unwrap()),
        ..NewJob::new(job.id, "q".parse().unwrap(), Task::Handler("count".parse().unwrap()), "\"7\"")
    };
    assert_eq!(job, told);
    assert!(matches!(count.clone().group_by(|_| String::new()).job("7"), Err(SdkError::Key(_))));
    assert!(matches!(count.clone().label("not a label"), Err(SdkError::Name(_))));
    assert_eq!(count.after(Vec::<JobId>::new(), OnFailure::Run).job("7").unwrap().after, None, "after nothing");
    let raw = Producer::of_bytes(client, "q".parse().unwrap(), Task::Handler("t".parse().unwrap()));
    assert_eq!(&raw.job("as it is").unwrap().payload[..], b"as it is");
}

#[tokio::test]
async fn batches_are_listed_from_the_newest_back() {
    let (_authority, mut node, client) = one_node().await;
    let (before, id) = (client.batch_id(), client.batch_id());
    let list = tokio::spawn(async move { client.batches(Some(before), 5, Consistency::Stale).await });
    let asked = node.next().await;
    let page = Request::ListBatches { after: Some(before), limit: 5, consistency: Consistency::Stale };
    assert_eq!(asked.request, page);
    let Response::Batch(view) = standing(id, BatchState::Open) else { unreachable!() };
    asked.answer(Ok(Response::Batches(vec![*view])));
    assert_eq!(list.await.unwrap().unwrap()[0].id, id);
}
