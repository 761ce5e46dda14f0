//! Damage on the disk of a node that runs.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, code, soon};
use crate::storage::tests::tamper;
use jobraft_protocol::{Consistency, ErrorCode, JobAction, JobFilter, JobId, Request, Response, Start};

const FRESH: Consistency = Consistency::Linearizable;

fn list() -> Request {
    Request::ListJobs { filter: JobFilter::default(), after: None, oldest_first: true, limit: 10, consistency: FRESH }
}

/// A node whose disk holds a job that has ended, damaged behind its back.
async fn damaged() -> (Bench, super::testing::Session, JobId) {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let job = session.enqueue(Start::Now).await;
    assert_eq!(session.act(&[job], JobAction::Cancel { reason: String::new(), grace_ms: 0 }).await, [Ok(())]);
    // So that there is a checkpoint.
    assert!(matches!(session.ask(list()).await, Ok(Response::Jobs(_))));
    tamper(&bench.data_dir().join("group-0/state.db"), "UPDATE jobs SET task = 'another'");
    (bench, session, job)
}

#[tokio::test]
async fn damage_that_a_reader_of_a_job_finds_stops_the_node() {
    let (bench, mut session, job) = damaged().await;
    let request = Request::GetJob { job, consistency: FRESH, wait_ms: 0 };
    assert_eq!(code(session.ask(request).await), ErrorCode::Internal);
    let stopped = soon(bench.node.stopped()).await.unwrap_err();
    assert!(stopped.to_string().contains("is corrupt"), "{stopped}");
}

#[tokio::test]
async fn damage_that_a_list_of_jobs_finds_stops_the_node() {
    let (bench, mut session, _) = damaged().await;
    assert_eq!(code(session.ask(list()).await), ErrorCode::Internal);
    soon(bench.node.stopped()).await.unwrap_err();
}
