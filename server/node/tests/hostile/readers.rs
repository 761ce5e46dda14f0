//! Clients that ask and never read, and clients that wait for ever.

use crate::MIB;
use crate::attacker::{Attacker, framed, pour, session, until_it_stops};
use crate::target::{Target, soon};
use jobraft_node::transport::limits::SEND_WINDOW_BYTES;
use jobraft_protocol::limits::{
    CLIENT_FRAME_BYTES_MAX, CONNECTION_ANSWER_BYTES_MAX, CONNECTION_FETCHES_MAX, CREDITS_MAX, LIST_JOBS_MAX,
};
use jobraft_protocol::{
    ClientFrame, Consistency, ErrorCode, JobFilter, Request, Response, ServerFrame, WorkerId, WorkerInfo,
};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Sessions of one connection that ask at once.
const SESSIONS: usize = 4;
/// What a connection can make the node hold by not reading: answers that wait, what QUIC keeps of them, a frame that is
/// being written for each session, and requests not yet read; and as much again for copies and the work of honest clients.
const BY_NOT_READING: usize =
    2 * (CONNECTION_ANSWER_BYTES_MAX + SEND_WINDOW_BYTES as usize + (SESSIONS + 1) * CLIENT_FRAME_BYTES_MAX);

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_its_answers_takes_bounded_memory() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let mut jobs = Vec::new();
    for _ in 0..8 {
        jobs.push(honest.enqueue("large", 200 * 1024).await);
    }
    let attacker = Attacker::new(&target, "mallory").connect().await;
    target.begin();
    let taken = Arc::new(AtomicUsize::new(0));
    let mut unread = Vec::new();
    for _ in 0..SESSIONS {
        let session = session(&attacker).await;
        let asked = (0..1_000).flat_map(|id| {
            let job = jobs[id % jobs.len()];
            let request = Request::GetJob { job, consistency: Consistency::Stale, wait_ms: 0 };
            framed(&ClientFrame { id: id as u64, request })
        });
        pour(session.send, asked.collect(), &taken);
        unread.push(session.recv);
    }
    until_it_stops(&taken).await;
    // What is asked for is read long after the questions were taken: as much as the node is ready to hold.
    target.until_it_stops_growing().await;
    honest.works().await;
    target.honest().await.works().await;
    target.held_at_most("answers that nobody reads", BY_NOT_READING);
    drop((attacker, unread));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_its_lists_and_pushes_takes_bounded_memory() {
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let worker = honest.register().await;
    for _ in 0..100 {
        honest.enqueue("pushed", 64 * 1024).await;
    }
    let attacker = Attacker::new(&target, "mallory").connect().await;
    target.begin();
    let taken = Arc::new(AtomicUsize::new(0));
    let mut unread = Vec::new();
    for _ in 0..SESSIONS {
        let session = session(&attacker).await;
        let queues = vec!["pushed".parse().unwrap()];
        let subscribe = Request::Subscribe { worker, queues, weights: vec![], lease_ms: 60_000, credits: CREDITS_MAX };
        let list = || Request::ListJobs {
            filter: JobFilter::default(),
            after: None,
            oldest_first: true,
            limit: LIST_JOBS_MAX,
            consistency: Consistency::Stale,
        };
        let asked = std::iter::once(subscribe).chain((0..2_000).map(|_| list()));
        let asked = asked.enumerate().flat_map(|(id, request)| framed(&ClientFrame { id: id as u64, request }));
        pour(session.send, asked.collect(), &taken);
        unread.push(session.recv);
    }
    until_it_stops(&taken).await;
    target.until_it_stops_growing().await;
    honest.works().await;
    target.held_at_most("lists and pushes that nobody reads", BY_NOT_READING);
    drop((attacker, unread));
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_wait_are_bounded_and_keep_nobody_out() {
    const EACH: usize = CONNECTION_FETCHES_MAX / SESSIONS + 100;
    let mut target = Target::start();
    let mut honest = target.honest().await;
    let attacker = Attacker::new(&target, "mallory").connect().await;
    let mut first = session(&attacker).await;
    first.send(0, Request::RegisterWorker { info: WorkerInfo::default() }).await;
    let worker = match first.answer().await {
        ServerFrame::Reply { result: Ok(Response::Registered(worker)), .. } => worker,
        other => panic!("{other:?}"),
    };
    target.begin();
    let queues: Vec<_> = (0..64).map(|n| format!("{:0>120}", n).parse().unwrap()).collect();
    let wait = |worker: WorkerId| Request::Lease {
        worker,
        queues: queues.clone(),
        weights: vec![],
        max: 1,
        lease_ms: 60_000,
        wait_ms: 60_000,
    };
    let (frames, mut answers) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..SESSIONS {
        let mut session = session(&attacker).await;
        for id in 0..EACH {
            session.send(id as u64, wait(worker)).await;
        }
        // In a task of its own: who stops in the middle of a frame has lost the rest.
        let frames = frames.clone();
        tokio::spawn(async move {
            loop {
                let answer = session.answer().await;
                if frames.send(answer).is_err() {
                    return;
                }
            }
        });
    }
    // Each that is beyond the bound is told so; the others wait.
    for _ in 0..SESSIONS * EACH - CONNECTION_FETCHES_MAX {
        match soon(answers.recv()).await.expect("the sessions go on") {
            ServerFrame::Reply { result: Err(error), .. } => assert_eq!(error.code, ErrorCode::TooMany, "{error}"),
            ServerFrame::Reply { result: Ok(Response::Leased(_)), .. } => panic!("there is nothing to lease"),
            other => panic!("{other:?}"),
        }
    }
    honest.works().await;
    target.held_at_most("leases that wait", SESSIONS * EACH * 32 * 1024 + 16 * MIB);
}
