//! The protocol of clients, spoken frame by frame to a real node.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, MINUTE_MS, code, fetch, leased, log_index, soon, subscription};
use crate::transport::TransportError;
use bytes::Bytes;
use jobraft_protocol::{
    Completion, Consistency, Digest, EnqueueOutcome, Error, ErrorCode, JobAction, JobState, ModuleManifest, ModuleRef,
    NewJob, NodeId, OnConflict, Push, Request, Response, ServerFrame, Start, StreamOpen, Unique, UniqueScope, WorkerId,
    limits,
};
use sha2::{Digest as _, Sha256};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_from_enqueue_to_its_waiting_reader() {
    let bench = Bench::start().await;
    let (mut producer, mut worker) = (bench.session().await, bench.session().await);
    let id = worker.register().await;
    assert_eq!(leased(worker.ask(fetch(id, 0)).await), []);

    let fetching = worker.send(fetch(id, MINUTE_MS)).await;
    let job = producer.enqueue(Start::Now).await;
    let jobs = leased(worker.answer(fetching).await);
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [job]);

    let waiting =
        producer.send(Request::GetJob { job, consistency: Consistency::Linearizable, wait_ms: MINUTE_MS }).await;
    let completion = Completion { result: "done".into(), ..Completion::default() };
    let done = worker.complete(jobs[0].lease(), completion).await;
    assert_eq!(done, Ok(()));
    let Ok(Response::Job(view)) = producer.answer(waiting).await else { panic!("the job is there") };
    assert_eq!((view.state, &view.result[..]), (JobState::Completed, &b"done"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_leases_a_job_in_the_very_entry_that_brings_it() {
    let bench = Bench::start().await;
    let (mut producer, mut worker) = (bench.session().await, bench.session().await);
    let (fetcher, subscriber) = (worker.register().await, worker.register().await);

    let fetching = worker.send(fetch(fetcher, MINUTE_MS)).await;
    let before = log_index(&bench).await;
    let job = producer.enqueue(Start::Now).await;
    let jobs = leased(worker.answer(fetching).await);
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [job]);
    assert_eq!(log_index(&bench).await, before + 1);

    assert_eq!(worker.ask(subscription(subscriber, 1)).await, Ok(Response::Done));
    let before = log_index(&bench).await;
    let job = producer.enqueue(Start::Now).await;
    assert_eq!(worker.leased_push().await.iter().map(|job| job.id).collect::<Vec<_>>(), [job]);
    assert_eq!(log_index(&bench).await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_were_foreseen_and_did_not_come_do_not_make_a_queue_rest() {
    let bench = Bench::start().await;
    let (mut producer, mut worker) = (bench.session().await, bench.session().await);
    let (holder, subscriber) = (worker.register().await, worker.register().await);
    let unique =
        Unique { key: "k".parse().unwrap(), scope: UniqueScope::UntilDone, on_conflict: OnConflict::ReturnExisting };
    let mut enqueue = async |start| {
        let job = NewJob { unique: Some(unique.clone()), ..producer.job(start) };
        producer.ask(Request::Enqueue { jobs: vec![job], all_or_none: false }).await
    };
    assert_eq!(enqueue(Start::Now).await, Ok(Response::Enqueued(vec![EnqueueOutcome::Created])));
    let held = leased(worker.ask(fetch(holder, 0)).await)[0].id;

    assert_eq!(worker.ask(subscription(subscriber, 1)).await, Ok(Response::Done));
    let before = log_index(&bench).await;
    for _ in 0..3 {
        let duplicate = Ok(Response::Enqueued(vec![EnqueueOutcome::Duplicate(held)]));
        assert_eq!(enqueue(Start::Now).await, duplicate);
        // Until the demand waits again, and for less than a queue rests.
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    let job = producer.enqueue(Start::Now).await;
    assert_eq!(worker.leased_push().await.iter().map(|job| job.id).collect::<Vec<_>>(), [job]);
    assert_eq!(log_index(&bench).await, before + 4);
}

/// In the term before, it may have given positions to entries that stand in the logs of others and not in its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_starts_again_leads_in_a_new_term() {
    let bench = Bench::start().await;
    let before = bench.node.consensus().leadership().borrow().term;
    let bench = bench.restart().await;
    let mut leadership = bench.node.consensus().leadership();
    soon(leadership.wait_for(|now| now.is_leader && now.term > before)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_pushed_one_for_each_credit_and_a_cancelled_one_is_revoked() {
    let bench = Bench::start().await;
    let (mut producer, mut worker) = (bench.session().await, bench.session().await);
    let id = worker.register().await;
    assert_eq!(worker.ask(subscription(id, 2)).await, Ok(Response::Done));
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(producer.enqueue(Start::Now).await);
    }
    let mut pushed = Vec::new();
    while pushed.len() < 2 {
        pushed.extend(worker.leased_push().await.into_iter().map(|job| job.id));
    }
    assert_eq!(pushed, jobs[..2]);
    assert_eq!(producer.view(jobs[2]).await.state, JobState::Ready, "there is no credit for it");

    let cancel = JobAction::Cancel { reason: "enough".to_owned(), grace_ms: 0 };
    assert_eq!(producer.act(&jobs[..1], cancel).await, [Ok(())]);
    let Push::Revoked { worker: whose, leases } = worker.push().await else { panic!("it is revoked") };
    assert_eq!((whose, leases.iter().map(|lease| lease.job).collect::<Vec<_>>()), (id, vec![jobs[0]]));

    assert_eq!(worker.ask(Request::AddCredits { worker: id, credits: 5 }).await, Ok(Response::Done));
    assert_eq!(worker.leased_push().await[0].id, jobs[2]);
    assert_eq!(worker.ask(Request::Unsubscribe { worker: id }).await, Ok(Response::Done));
    assert_eq!(code(worker.ask(Request::AddCredits { worker: id, credits: 1 }).await), ErrorCode::NotFound);
    assert_eq!(code(worker.ask(subscription(WorkerId(999), 1)).await), ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_falls_due_on_an_idle_cluster_is_offered_in_time() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    session.ask(subscription(worker, 5)).await.unwrap();
    let begun = Instant::now();
    let job = session.enqueue(Start::AfterMs(300)).await;
    assert_eq!(session.leased_push().await[0].id, job);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(290) && waited < Duration::from_secs(5), "{waited:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_stops_its_subscription_and_its_fetches() {
    let bench = Bench::start().await;
    let (mut gone, mut stays) = (bench.session().await, bench.session().await);
    let (one, other) = (gone.register().await, stays.register().await);
    gone.ask(subscription(one, 100)).await.unwrap();
    gone.send(fetch(one, MINUTE_MS)).await;
    gone.sender.finish().await.unwrap();
    // The end of the stream says that all requests are answered, the fetch too.
    while soon(gone.receiver.recv::<ServerFrame>()).await.unwrap().is_some() {}
    let job = stays.enqueue(Start::Now).await;
    let jobs = leased(stays.ask(fetch(other, MINUTE_MS)).await);
    assert_eq!(jobs.iter().map(|job| (job.id, job.attempt)).collect::<Vec<_>>(), [(job, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exceeds_its_bounds_is_refused_by_name() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let many: Vec<NewJob> = {
        let job = session.job(Start::Now);
        vec![job; limits::BULK_JOBS_MAX + 1]
    };
    for (request, expected) in [
        (Request::Enqueue { jobs: vec![], all_or_none: false }, ErrorCode::InvalidArgument),
        (Request::Enqueue { jobs: many, all_or_none: false }, ErrorCode::TooLarge),
        (Request::ResolveModule { module: ModuleRef::Digest(Digest([0; 32])) }, ErrorCode::ModuleUnknown),
        (Request::RemoveNode { node: NodeId(9) }, ErrorCode::Membership),
    ] {
        assert_eq!(code(session.ask(request).await), expected);
    }
    assert!(matches!(session.ask(Request::ClusterStatus).await, Ok(Response::Cluster(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_frame_ends_its_session_alone() {
    let bench = Bench::start().await;
    let (mut broken, mut honest) = (bench.session().await, bench.session().await);
    broken.sender.send_bytes(Bytes::from_static(b"\0\0\0\x03abc")).await.unwrap();
    let ended = soon(broken.receiver.recv::<ServerFrame>()).await;
    assert!(matches!(ended, Err(TransportError::StreamReset { .. })), "{ended:?}");
    assert!(!broken.connection.is_closed());
    honest.enqueue(Start::Now).await;
}

async fn upload(bench: &Bench, digest: Digest, bytes: &[u8]) -> Result<ModuleManifest, Error> {
    let (mut sender, mut receiver) = bench.connect().await.open().await.unwrap();
    let name = Some("noop@1".parse().unwrap());
    sender
        .send(&StreamOpen::Upload { digest, size: bytes.len() as u64, name, signatures: vec![], namespace: None })
        .await
        .unwrap();
    sender.send_bytes(Bytes::copy_from_slice(bytes)).await.unwrap();
    sender.finish().await.unwrap();
    soon(receiver.recv::<Result<ModuleManifest, Error>>()).await.unwrap().expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_goes_up_and_comes_down_and_what_is_none_is_refused() {
    // (module (func (export "_start")))
    const NOOP: &[u8] =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0a\x01\x06_start\0\0\x0a\x04\x01\x02\0\x0b";
    let bench = Bench::start().await;
    let digest = |bytes: &[u8]| Digest(Sha256::digest(bytes).into());
    let refused = upload(&bench, digest(b"other"), NOOP).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DigestMismatch);
    let refused = upload(&bench, digest(b"#!/bin/sh"), b"#!/bin/sh").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ModuleInvalid);

    let manifest = upload(&bench, digest(NOOP), NOOP).await.unwrap();
    assert_eq!((manifest.digest, manifest.size, manifest.owner.as_str()), (digest(NOOP), NOOP.len() as u64, "tester"));
    assert_eq!(manifest.names, ["noop@1".parse().unwrap()]);
    assert_eq!(upload(&bench, digest(NOOP), NOOP).await, Ok(manifest.clone()), "again is the same as once");

    let (mut sender, mut receiver) = bench.connect().await.open().await.unwrap();
    sender
        .send(&StreamOpen::Download { module: ModuleRef::Name("noop@1".parse().unwrap()), namespace: None })
        .await
        .unwrap();
    let answer = soon(receiver.recv::<Result<ModuleManifest, Error>>()).await.unwrap().expect("an answer");
    assert_eq!(answer, Ok(manifest.clone()));
    let mut bytes = Vec::new();
    while let Some(chunk) = soon(receiver.recv_chunk()).await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes, NOOP);
    let mut session = bench.session().await;
    let listed = session.ask(Request::ListModules { consistency: Consistency::Linearizable }).await;
    assert_eq!(listed, Ok(Response::Modules(vec![manifest])));
}
