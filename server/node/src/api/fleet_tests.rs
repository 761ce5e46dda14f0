//! Workers: heard of, listed, told what to do.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, MINUTE_MS, Session, code, fetch, info, leased, subscription};
use futures_util::future::join_all;
use jobraft_core::command::Command;
use jobraft_protocol::name::NAME_BYTES_MAX;
use jobraft_protocol::{
    Consistency, ErrorCode, Push, Request, Response, Start, WorkerId, WorkerInfo, WorkerOrder, WorkerView, limits,
};
use std::time::{Duration, Instant};

impl Session {
    async fn workers(&mut self, consistency: Consistency) -> Vec<WorkerView> {
        self.workers_page(None, limits::WORKER_LIST_MAX, consistency).await
    }

    async fn workers_page(&mut self, after: Option<WorkerId>, limit: u32, consistency: Consistency) -> Vec<WorkerView> {
        match self.ask(Request::ListWorkers { after, limit, consistency }).await {
            Ok(Response::Workers(workers)) => workers,
            other => panic!("{other:?}"),
        }
    }

    async fn tell(&mut self, worker: WorkerId, order: WorkerOrder) {
        self.done(Request::OrderWorker { worker, order }).await;
    }

    async fn heartbeat(&mut self, worker: WorkerId) -> WorkerOrder {
        match self.ask(Request::Heartbeat { worker }).await {
            Ok(Response::Order(order)) => order,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_listed_with_what_it_says_and_holds_until_it_disconnects() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let info = WorkerInfo {
        name: "w".to_owned(),
        agent: "test/1".to_owned(),
        queues: vec!["q".parse().unwrap()],
        concurrency: 4,
        owner: "somebody else".to_owned(),
        namespace: "elsewhere".parse().unwrap(),
    };
    let Ok(Response::Registered(worker)) = session.ask(Request::RegisterWorker { info: info.clone() }).await else {
        panic!("it is registered")
    };
    let info = WorkerInfo { owner: "tester".to_owned(), namespace: Default::default(), ..info };
    let lease = session.hold(worker).await;
    for consistency in [Consistency::Linearizable, Consistency::Stale] {
        let listed = session.workers(consistency).await;
        assert_eq!(listed.len(), 1);
        let WorkerView { id, info: said, order, held, jobs, .. } = &listed[0];
        assert_eq!((*id, said, *order, *held, jobs), (worker, &info, WorkerOrder::Run, 1, &vec![lease.job]));
    }
    session.done(Request::Disconnect { worker }).await;
    assert_eq!(session.workers(Consistency::Linearizable).await, []);
    assert_eq!(code(session.ask(Request::Heartbeat { worker }).await), ErrorCode::NotFound);
    let order = Request::OrderWorker { worker, order: WorkerOrder::Stop };
    assert_eq!(code(session.ask(order).await), ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_fit_into_no_frame_are_listed_page_by_page() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    // What is said of them is more than 6 MiB.
    let queue = |number| format!("{number:0>width$}", width = NAME_BYTES_MAX).parse().unwrap();
    let queues: Vec<_> = (0..limits::WORKER_QUEUES_MAX).map(queue).collect();
    let register = || Command::RegisterWorker { info: WorkerInfo { queues: queues.clone(), ..info("large") } };
    let registered = (0..800).map(|_| bench.node.consensus().propose(register()));
    assert!(join_all(registered).await.iter().all(Result::is_ok));
    let (mut listed, mut pages): (Vec<WorkerView>, _) = (Vec::new(), 0);
    loop {
        let after = listed.last().map(|worker| worker.id);
        let page = session.workers_page(after, u32::MAX, Consistency::Linearizable).await;
        if page.is_empty() {
            break;
        }
        pages += 1;
        listed.extend(page);
    }
    assert!((3..=8).contains(&pages), "{pages}");
    assert_eq!(listed.iter().map(|worker| worker.id.0).collect::<Vec<_>>(), (1..=800).collect::<Vec<_>>());
    let few = session.workers_page(Some(WorkerId(798)), 1, Consistency::Linearizable).await;
    assert_eq!(few, listed[798..799]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_sends_heartbeats_stays_seen_and_a_silent_one_does_not() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let (alive, silent) = (session.register().await, session.register().await);
    let begun = Instant::now();
    let patience = Duration::from_millis(2 * limits::WORKER_SEEN_MS + 5_000);
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(session.heartbeat(alive).await, WorkerOrder::Run);
        let listed = session.workers(Consistency::Linearizable).await;
        let seen =
            |id| listed.iter().find(|worker| worker.id == id).map(|worker| (worker.registered_at, worker.last_seen));
        let (registered_at, last_seen) = seen(silent).unwrap();
        assert_eq!(registered_at, last_seen);
        let (registered_at, last_seen) = seen(alive).unwrap();
        if last_seen > registered_at {
            return;
        }
        assert!(begun.elapsed() < patience, "nobody noted its heartbeats");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_worker_is_told_so_and_leased_nothing_until_it_is_to_run() {
    let bench = Bench::start().await;
    let (mut admin, mut session) = (bench.session().await, bench.session().await);
    let worker = session.register().await;
    session.done(subscription(worker, 10)).await;
    admin.tell(worker, WorkerOrder::Quiet).await;
    let order = WorkerOrder::Quiet;
    assert_eq!(session.push().await, Push::Ordered { worker, order });
    assert_eq!(session.heartbeat(worker).await, order);

    let job = admin.enqueue(Start::Now).await;
    assert_eq!(leased(session.ask(fetch(worker, 0)).await), []);
    assert_eq!(leased(session.ask(fetch(worker, 300)).await), []);
    let fetching = session.send(fetch(worker, MINUTE_MS)).await;
    // A subscription of a worker that is not to run is told again.
    session.done(subscription(worker, 0)).await;
    assert_eq!(session.push().await, Push::Ordered { worker, order });

    admin.tell(worker, WorkerOrder::Run).await;
    let jobs = leased(session.answer(fetching).await);
    assert_eq!(jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [job]);
    assert_eq!(session.push().await, Push::Ordered { worker, order: WorkerOrder::Run });
    let next = admin.enqueue(Start::Now).await;
    session.done(Request::AddCredits { worker, credits: 1 }).await;
    assert_eq!(session.leased_push().await[0].id, next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_not_to_run_costs_no_place_in_the_log() {
    let bench = Bench::start().await;
    let mut session = bench.session().await;
    let worker = session.register().await;
    session.done(subscription(worker, 10)).await;
    session.tell(worker, WorkerOrder::Stop).await;
    session.enqueue(Start::Now).await;
    let entries = || bench.node.consensus().status().applied_index;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = entries();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(entries(), before, "nothing is asked for it over and over");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subscription_of_a_worker_that_disconnected_elsewhere_ends() {
    let bench = Bench::start().await;
    let (mut other, mut session) = (bench.session().await, bench.session().await);
    let worker = session.register().await;
    session.done(subscription(worker, 1)).await;
    other.done(Request::Disconnect { worker }).await;
    other.enqueue(Start::Now).await;
    assert_eq!(session.push().await, Push::SubscriptionEnded { worker, leader: None });
}
