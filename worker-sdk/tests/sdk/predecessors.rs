//! What a running job knows of its place in a workflow, and of the jobs that it waited for.

use crate::node::{leased, now, view};
use crate::worker::{completed, is_report, run};
use jobraft_protocol::{
    AttemptError, BatchId, Consistency, Error, ErrorCode, FailureKind, JobId, JobState, LeasedJob, NewJob, Predecessor,
    Request, Response, ScheduleTick,
};
use jobraft_sdk::{JobContext, WorkerBuilder};

fn ids(count: u8) -> Vec<JobId> {
    (0..count).map(|seed| JobId::new(now(), [seed; 10])).collect()
}

/// A job of `task` that waited for `jobs`, all of which completed.
fn behind(task: &str, jobs: &[JobId]) -> LeasedJob {
    let after = jobs.iter().map(|job| Predecessor { job: *job, ended: Some(JobState::Completed) }).collect();
    LeasedJob { after, ..leased(task, 1, 30_000, "null") }
}

/// A handler that sums up what those before it made.
fn sum(builder: WorkerBuilder) -> WorkerBuilder {
    builder.handler("sum", |context: JobContext, (): ()| async move { Ok(context.results::<u32>().await?) })
}

#[tokio::test]
async fn results_come_in_the_order_in_which_their_jobs_were_named_however_they_are_answered() {
    let mut run = run(sum).await;
    let (session, _) = run.node.subscribed().await;
    let jobs = ids(3);
    session.push(vec![behind("sum", &jobs)]);
    let mut asked = Vec::new();
    for job in &jobs {
        asked.push(run.node.next().await);
        let read = Request::GetJob { job: *job, consistency: Consistency::Linearizable, wait_ms: 0 };
        assert_eq!(asked[asked.len() - 1].request, read);
    }
    for (number, asked) in asked.iter().enumerate().rev() {
        let answer = view(jobs[number], JobState::Completed, &(number * 10).to_string());
        asked.answer(Ok(Response::Job(Box::new(answer))));
    }
    let (_, completion) = completed(run.node.until(is_report).await.request);
    assert_eq!(&completion.result[..], b"[0,10,20]");
}

#[tokio::test]
async fn no_more_than_so_many_results_are_read_at_once() {
    let builder = |builder| sum(builder).handler("other", |_, (): ()| async { Ok(()) });
    let mut run = run(builder).await;
    let (session, _) = run.node.subscribed().await;
    let jobs = ids(40);
    session.push(vec![behind("sum", &jobs)]);
    let mut asked = Vec::new();
    for _ in 0..16 {
        asked.push(run.node.next().await);
    }
    // What is sent next is of another job: no seventeenth is under way.
    session.push(vec![leased("other", 2, 30_000, "")]);
    let other = run.node.until(|request| !matches!(request, Request::Extend { .. })).await;
    assert!(matches!(other.request, Request::Complete { .. }), "{:?}", other.request);
    other.answer(Ok(Response::Done));
    let mut rest = jobs.len() - asked.len();
    loop {
        for asked in asked.drain(..) {
            let Request::GetJob { job, .. } = asked.request else { panic!("{:?}", asked.request) };
            asked.answer(Ok(Response::Job(Box::new(view(job, JobState::Completed, "1")))));
        }
        if rest == 0 {
            break;
        }
        asked.push(run.node.until(|request| matches!(request, Request::GetJob { .. })).await);
        rest -= 1;
    }
    assert!(matches!(run.node.until(is_report).await.request, Request::Complete { .. }));
}

#[tokio::test]
async fn a_predecessor_that_did_not_complete_is_named_and_fails_the_attempt() {
    let mut run = run(sum).await;
    let (session, _) = run.node.subscribed().await;
    let jobs = ids(2);
    session.push(vec![behind("sum", &jobs)]);
    let mut dead = view(jobs[1], JobState::Dead, "");
    dead.label = Some("part-1".parse().unwrap());
    let message = "not UTF-8".to_owned();
    dead.errors = vec![AttemptError { attempt: 1, at: now(), kind: FailureKind::Error, message }];
    for answer in [view(jobs[0], JobState::Completed, "1"), dead] {
        run.node.next().await.answer(Ok(Response::Job(Box::new(answer))));
    }
    let Request::Fail { failure, .. } = run.node.until(is_report).await.request else { panic!() };
    assert_eq!(failure.message, format!("job part-1 ({}) ended dead: not UTF-8", jobs[1]));
    assert!(failure.retryable, "it may be retried, and complete");
}

#[tokio::test]
async fn a_predecessor_that_cannot_be_read_fails_the_attempt() {
    let mut run = run(sum).await;
    let (session, _) = run.node.subscribed().await;
    session.push(vec![behind("sum", &ids(1))]);
    run.node.next().await.answer(Err(Error::new(ErrorCode::NotFound, "there is no job x")));
    let Request::Fail { failure, .. } = run.node.until(is_report).await.request else { panic!() };
    assert_eq!((failure.message.as_str(), failure.retryable), ("there is no job x (not_found)", true));
}

#[tokio::test]
async fn what_modules_wrote_is_read_as_it_is() {
    let mut run = run(|builder| {
        builder.handler("join", |context: JobContext, (): ()| async move {
            let texts = context.results_bytes().await?;
            Ok(String::from_utf8(texts.concat())?)
        })
    })
    .await;
    let (session, _) = run.node.subscribed().await;
    let jobs = ids(2);
    session.push(vec![behind("join", &jobs)]);
    for (job, text) in jobs.iter().zip(["not ", "JSON"]) {
        run.node.next().await.answer(Ok(Response::Job(Box::new(view(*job, JobState::Completed, text)))));
    }
    let (_, completion) = completed(run.node.until(is_report).await.request);
    assert_eq!(&completion.result[..], b"\"not JSON\"");
}

#[tokio::test]
async fn a_job_knows_its_place_and_its_children_can_share_it() {
    let mut run = run(|builder| {
        builder.handler("look", |context: JobContext, (): ()| async move {
            let child = leased("child", 1, 30_000, "");
            let child = NewJob::new(child.id, child.queue, child.task, "");
            context.complete_with_job(NewJob { batch: context.batch(), ..child });
            let tick = context.tick().map(|tick| (tick.schedule.to_string(), tick.tick.as_ms()));
            let (group, label) = (context.group().map(ToString::to_string), context.label().map(ToString::to_string));
            let ended: Vec<_> = context.predecessors().iter().map(|predecessor| predecessor.ended).collect();
            Ok((group, label, tick, ended))
        })
    })
    .await;
    let (session, _) = run.node.subscribed().await;
    let batch = BatchId(ids(1)[0]);
    let job = LeasedJob {
        group: Some("tenant/7".parse().unwrap()),
        batch: Some(batch),
        label: Some("look".parse().unwrap()),
        tick: Some(ScheduleTick { schedule: "nightly".parse().unwrap(), tick: jobraft_protocol::LogTime::from_ms(5) }),
        after: vec![Predecessor { job: ids(1)[0], ended: Some(JobState::Dead) }],
        ..leased("look", 1, 30_000, "")
    };
    session.push(vec![job]);
    let (_, completion) = completed(run.node.until(is_report).await.request);
    assert_eq!(&completion.result[..], br#"["tenant/7","look",["nightly",5],["dead"]]"#);
    assert_eq!(completion.jobs[0].batch, Some(batch));
}
