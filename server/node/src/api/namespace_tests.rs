//! Two tenants and who runs the cluster: nobody sees or touches what is in another namespace, by name or by id.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::testing::{Bench, Session, code, fetch, info, soon};
use jobraft_protocol::{
    After, BatchId, ClientRole, Completion, Consistency, EnqueueOutcome, Error, ErrorCode, Grant, JobAction, JobFilter,
    JobId, JobState, JobTemplate, Namespace, NamespaceChange, NamespaceSetting, NewBatch, NewJob, NewToken, Request,
    Response, Schedule, ServerFrame, Setting, Start, StateWrite, Task, TokenChange, TokenSecret, Unique, WorkerId,
    WorkerInfo, WorkerOrder,
};

const FRESH: Consistency = Consistency::Linearizable;

fn namespace(name: &str) -> Namespace {
    name.parse().unwrap()
}

fn tenant(name: &str) -> Grant {
    Grant::new([ClientRole::Admin, ClientRole::Worker]).in_namespace(namespace(name))
}

fn create(name: &str, quota: Vec<NamespaceSetting>) -> Request {
    Request::ChangeNamespace { change: NamespaceChange::Create { name: namespace(name), quota } }
}

/// What a tenant made.
struct Made {
    jobs: Vec<JobId>,
    batch: BatchId,
    worker: WorkerId,
}

impl Session {
    /// One of everything, under names that every tenant uses. `mark` stands in what others must not see.
    async fn make(&mut self, mark: &str) -> Made {
        let unique =
            Some(Unique { key: "k".parse().unwrap(), scope: Default::default(), on_conflict: Default::default() });
        let held = NewJob { unique, payload: mark.to_owned().into(), ..self.job(Start::Now) };
        let done = self.job(Start::Now);
        let jobs = vec![held.id, done.id];
        let answer = self.ask(Request::Enqueue { jobs: vec![done, held], all_or_none: false }).await;
        assert_eq!(answer, Ok(Response::Enqueued(vec![EnqueueOutcome::Created; 2])));
        let worker = WorkerInfo { queues: vec!["q".parse().unwrap()], ..info(mark) };
        let Ok(Response::Registered(worker)) = self.ask(Request::RegisterWorker { info: worker }).await else {
            panic!()
        };
        let Ok(Response::Leased(leased)) = self.ask(with_max(fetch(worker, 0))).await else { panic!() };
        let value = StateWrite { key: "v".parse().unwrap(), value: Some(mark.to_owned().into()), if_version: None };
        let completion = Completion { state: vec![value], ..Completion::default() };
        self.complete(leased[0].lease(), completion).await.unwrap();
        let job = JobTemplate::new("q".parse().unwrap(), Task::Handler("t".parse().unwrap()), mark.to_owned());
        let schedule = Setting::PutSchedule(Box::new(Schedule::new("s".parse().unwrap(), "0 0 1 1 *", job)));
        self.done(Request::Configure { settings: vec![schedule] }).await;
        let batch = BatchId(self.job(Start::Now).id);
        let new = NewBatch { open: true, label: Some(mark.parse().unwrap()), ..NewBatch::new(batch, vec![]) };
        self.ask(Request::CreateBatch { batch: Box::new(new) }).await.unwrap();
        let secret = TokenSecret::new([self.job(Start::Now).id.as_bytes()[15]; 32]);
        let grant = Grant::new([ClientRole::Viewer]);
        let token = NewToken { name: "t".parse().unwrap(), hash: secret.hash(), grant, ttl_ms: None };
        self.done(Request::ChangeToken { change: TokenChange::Create(token) }).await;
        Made { jobs, batch, worker }
    }

    /// Everything that can be listed, as one text.
    async fn everything(&mut self) -> String {
        let filter = JobFilter::default();
        let (after, limit, consistency) = (None, 100, FRESH);
        let lists = vec![
            Request::ListJobs { filter, after, oldest_first: true, limit, consistency },
            Request::ListQueues { consistency },
            Request::ListGroups { queue: "q".parse().unwrap(), after: None, limit, consistency },
            Request::ListBatches { after: None, limit, consistency },
            Request::ListSchedules { after: None, limit, consistency },
            Request::GetSchedule { name: "s".parse().unwrap(), next: 1, consistency },
            Request::ListWorkers { after: None, limit, consistency },
            Request::ListModules { consistency },
            Request::ListState { prefix: String::new(), after: None, limit, consistency },
            Request::GetState { key: "v".parse().unwrap(), consistency },
            Request::ListTokens { after: None, limit, consistency },
            Request::ListNamespaces { after: None, limit, consistency },
        ];
        let mut text = String::new();
        for list in lists {
            let answer = self.ask(list).await.unwrap();
            text += &serde_json::to_string(&answer).unwrap();
        }
        text
    }
}

/// One job of those that wait.
fn with_max(fetch: Request) -> Request {
    match fetch {
        Request::Lease { worker, queues, weights, lease_ms, wait_ms, .. } => {
            Request::Lease { worker, queues, weights, max: 1, lease_ms, wait_ms }
        }
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_names_are_other_things_and_nobody_sees_that_there_are_others() {
    let bench = Bench::start().await;
    let mut ops = bench.session().await;
    ops.done(create("acme", vec![])).await;
    ops.done(create("beta", vec![])).await;
    let mut sessions = [
        ("mark-acme", bench.session_as("ann", tenant("acme"), 10).await),
        ("mark-beta", bench.session_as("bob", tenant("beta"), 60).await),
        ("mark-default", ops),
    ];
    for (mark, session) in &mut sessions {
        session.make(mark).await;
    }
    let marks = sessions.each_ref().map(|(mark, _)| *mark);
    for (mark, session) in &mut sessions {
        let seen = session.everything().await;
        for other in marks {
            assert_eq!(seen.contains(other), other == *mark, "{mark} sees of {other}: {seen}");
        }
        assert!(!seen.contains("\\u001f") && !seen.contains('~'), "names are local: {seen}");
        // Only who runs the cluster sees which other namespaces there are.
        let names = ["acme", "beta"].map(|name| seen.contains(&format!("{{\"name\":\"{name}\"")));
        let sees = |name: &str| *mark == "mark-default" || mark.ends_with(name);
        assert_eq!(names, [sees("acme"), sees("beta")], "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_by_its_id_is_refused_from_another_namespace() {
    let bench = Bench::start().await;
    let mut ops = bench.session().await;
    ops.done(create("acme", vec![])).await;
    ops.done(create("beta", vec![])).await;
    let mut ann = bench.session_as("ann", tenant("acme"), 10).await;
    let Made { jobs, batch, worker } = ann.make("mark").await;
    let bob = bench.session_as("bob", tenant("beta"), 60).await;
    // Who runs the cluster reaches into a namespace only by entering it.
    for (who, mut foreign) in [("bob", bob), ("ops", ops)] {
        let mut requests = vec![
            Request::GetBatch { batch, consistency: FRESH, wait_ms: 0 },
            Request::SealBatch { batch, cancel: true },
            Request::OrderWorker { worker, order: WorkerOrder::Stop },
            Request::Heartbeat { worker },
            Request::Lease {
                worker,
                queues: vec!["q".parse().unwrap()],
                weights: vec![],
                max: 1,
                lease_ms: 1,
                wait_ms: 0,
            },
            Request::Disconnect { worker },
        ];
        for &job in &jobs {
            requests.push(Request::GetJob { job, consistency: FRESH, wait_ms: 0 });
            let after = Some(After { jobs: vec![job], on_failure: Default::default() });
            let dependent = NewJob { after, ..foreign.job(Start::Now) };
            requests.push(Request::Enqueue { jobs: vec![dependent.clone()], all_or_none: false });
            let id = BatchId(foreign.job(Start::Now).id);
            requests.push(Request::CreateBatch { batch: Box::new(NewBatch::new(id, vec![dependent])) });
            for action in [
                JobAction::Cancel { reason: String::new(), grace_ms: 0 },
                JobAction::Retry,
                JobAction::Delete,
                JobAction::Move { queue: "q".parse().unwrap() },
                JobAction::Prioritize { priority: 0 },
            ] {
                requests.push(Request::Act { jobs: vec![job], action, only_in: vec![] });
            }
        }
        for request in requests {
            let name = format!("{who}: {request:?}");
            assert_eq!(code(foreign.ask(request).await), ErrorCode::Forbidden, "{name}");
        }
        // To these it is as if there were none.
        let joins = NewJob { batch: Some(batch), ..foreign.job(Start::Now) };
        let Ok(Response::Enqueued(outcomes)) =
            foreign.ask(Request::Enqueue { jobs: vec![joins], all_or_none: false }).await
        else {
            panic!()
        };
        assert!(matches!(&outcomes[0], EnqueueOutcome::Refused(error) if error.code == ErrorCode::NotFound));
        let same = NewBatch::new(batch, vec![]);
        assert_eq!(code(foreign.ask(Request::CreateBatch { batch: Box::new(same) }).await), ErrorCode::Conflict);
        let named = Request::RunSchedule { name: "s".parse().unwrap(), job: foreign.job(Start::Now).id };
        assert_eq!(code(foreign.ask(named).await), ErrorCode::NotFound);
        let module = Request::ResolveModule { module: "m".parse().unwrap() };
        assert_eq!(code(foreign.ask(module).await), ErrorCode::ModuleUnknown);
    }
    // Nothing of it was done; and who runs the cluster does it once there.
    let mut ops = bench.session_in("acme", 120).await.unwrap();
    let seen = ops.everything().await;
    assert!(seen.contains("mark") && seen.contains("\"state\":\"open\""), "{seen}");
    assert_eq!(ops.act(&jobs[..1], JobAction::Delete).await, [Ok(())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_says_a_namespace_itself_is_refused() {
    let bench = Bench::start().await;
    let mut ops = bench.session().await;
    ops.done(create("acme", vec![])).await;
    let full = namespace("acme").full("q");
    let job = NewJob { queue: full.parse().unwrap(), ..ops.job(Start::Now) };
    let key = Some(Unique { key: full.parse().unwrap(), scope: Default::default(), on_conflict: Default::default() });
    let keyed = NewJob { unique: key, ..ops.job(Start::Now) };
    let mut acme = bench.session_in("acme", 50).await.unwrap();
    for session in [&mut ops, &mut acme] {
        for request in [
            Request::Enqueue { jobs: vec![job.clone()], all_or_none: false },
            Request::Enqueue { jobs: vec![keyed.clone()], all_or_none: false },
            Request::GetState { key: full.parse().unwrap(), consistency: FRESH },
            Request::ListState { prefix: namespace("acme").full(""), after: None, limit: 1, consistency: FRESH },
            Request::ChangeToken { change: TokenChange::Revoke { name: full.parse().unwrap() } },
        ] {
            assert_eq!(code(session.ask(request).await), ErrorCode::InvalidArgument);
        }
        // The session goes on.
        assert!(session.ask(Request::ListQueues { consistency: FRESH }).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_enters_a_namespace_that_is_not_theirs_or_not_there() {
    let bench = Bench::start().await;
    let mut ops = bench.session().await;
    let refused = |entered: Result<Session, Error>| entered.err().map(|error| error.code);
    assert_eq!(refused(bench.session_in("acme", 1).await), Some(ErrorCode::NotFound));
    ops.done(create("acme", vec![])).await;
    ops.done(create("beta", vec![])).await;
    let ann = bench.session_as("ann", tenant("acme"), 10).await;
    for (name, expected) in [("beta", ErrorCode::Forbidden), ("default", ErrorCode::Forbidden)] {
        let entered = bench.enter(ann.connection.clone(), 2, Some(namespace(name))).await;
        assert_eq!(refused(entered), Some(expected), "{name}");
    }
    let plain = bench.session_as("plain", Grant::new([ClientRole::Producer]), 20).await;
    let entered = bench.enter(plain.connection.clone(), 2, Some(namespace("acme"))).await;
    assert_eq!(refused(entered), Some(ErrorCode::Forbidden));
    // A tenant's administrator makes no namespaces, and bounds none.
    let mut ann = ann;
    let quota = vec![NamespaceSetting::Jobs(None)];
    for change in [
        NamespaceChange::Create { name: namespace("more"), quota: quota.clone() },
        NamespaceChange::Set { name: namespace("acme"), quota },
        NamespaceChange::Delete { name: namespace("beta") },
    ] {
        assert_eq!(code(ann.ask(Request::ChangeNamespace { change }).await), ErrorCode::Forbidden);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_of_the_namespace_in_which_it_is_made_whatever_it_asks_for() {
    let bench = Bench::start().await;
    let mut ops = bench.session().await;
    ops.done(create("acme", vec![])).await;
    let mut ann = bench.session_as("ann", tenant("acme"), 10).await;
    let make = |name: &str, secret: &TokenSecret, grant: Grant| {
        let token = NewToken { name: name.parse().unwrap(), hash: secret.hash(), grant, ttl_ms: None };
        Request::ChangeToken { change: TokenChange::Create(token) }
    };
    let [of_acme, of_cluster, stolen] = [1, 2, 3].map(|seed| TokenSecret::new([seed; 32]));
    ann.done(make("t", &of_acme, Grant::admin())).await;
    ops.done(make("t", &of_cluster, Grant::admin())).await;
    let elsewhere = Grant::admin().in_namespace(Namespace::default());
    assert_eq!(code(ann.ask(make("u", &stolen, elsewhere)).await), ErrorCode::InvalidArgument);

    let mut tenant = bench.session_with(&of_acme, 30).await.unwrap();
    tenant.enqueue(Start::Now).await;
    assert_eq!(code(tenant.ask(create("more", vec![])).await), ErrorCode::Forbidden);
    let jobs = ann.everything_named("q").await;
    assert_eq!(jobs, 1, "what the token enqueued is in its namespace");
    assert_eq!(ops.everything_named("q").await, 0);
    // That of the cluster is another one, though it has the same name.
    let revoke = || Request::ChangeToken { change: TokenChange::Revoke { name: "t".parse().unwrap() } };
    ann.done(revoke()).await;
    let ended = bench.session_with(&of_acme, 40).await;
    assert_eq!(ended.err().map(|error| error.code), Some(ErrorCode::Unauthenticated));
    let mut whole = bench.session_with(&of_cluster, 50).await.unwrap();
    whole.done(create("more", vec![])).await;
}

impl Session {
    /// How many jobs wait in a queue.
    async fn everything_named(&mut self, queue: &str) -> u64 {
        let Ok(Response::Queues(queues)) = self.ask(Request::ListQueues { consistency: FRESH }).await else { panic!() };
        queues.iter().find(|stats| stats.queue.as_str() == queue).map_or(0, |stats| stats.ready)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_in_a_namespace_that_is_deleted_is_refused_from_then_on() {
    let bench = Bench::start().await;
    let mut ops = bench.session().await;
    ops.done(create("acme", vec![])).await;
    let mut ann = bench.session_as("ann", tenant("acme"), 10).await;
    let job = ann.enqueue(Start::Now).await;
    let secret = TokenSecret::new([9; 32]);
    let grant = Grant::new([ClientRole::Producer]);
    let token = NewToken { name: "t".parse().unwrap(), hash: secret.hash(), grant, ttl_ms: None };
    ann.done(Request::ChangeToken { change: TokenChange::Create(token) }).await;
    let tenant = bench.session_with(&secret, 30).await.unwrap();
    let delete = || Request::ChangeNamespace { change: NamespaceChange::Delete { name: namespace("acme") } };
    assert_eq!(code(ops.ask(delete()).await), ErrorCode::WrongState);
    ann.act(&[job], JobAction::Cancel { reason: String::new(), grace_ms: 0 }).await;
    ops.done(delete()).await;
    let new = ann.job(Start::Now);
    let enqueue = Request::Enqueue { jobs: vec![new], all_or_none: false };
    assert_eq!(code(ann.ask(enqueue).await), ErrorCode::NotFound);
    assert_eq!(code(ann.ask(Request::GetJob { job, consistency: FRESH, wait_ms: 0 }).await), ErrorCode::NotFound);
    let mut tenant = tenant;
    let _ = soon(tenant.receiver.recv::<ServerFrame>()).await;
    assert!(tenant.connection.is_closed());
    assert_eq!(code(ops.ask(create("acme", vec![])).await), ErrorCode::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_of_the_default_namespace_gets_no_hold_of_the_cluster_by_its_tokens() {
    let bench = Bench::start().await;
    let mut ops = bench.session().await;
    let [secret, stolen] = [1, 2].map(|seed| TokenSecret::new([seed; 32]));
    let token = NewToken { name: "ops".parse().unwrap(), hash: secret.hash(), grant: Grant::admin(), ttl_ms: None };
    ops.done(Request::ChangeToken { change: TokenChange::Create(token) }).await;
    let confined = Grant::admin().in_namespace(Namespace::default());
    let mut bob = bench.session_as("bob", confined, 10).await;
    let name = || "ops".parse().unwrap();
    for change in
        [TokenChange::Rotate { name: name(), hash: stolen.hash(), grace_ms: 0 }, TokenChange::Revoke { name: name() }]
    {
        assert_eq!(code(bob.ask(Request::ChangeToken { change }).await), ErrorCode::Forbidden);
    }
    assert!(bench.session_with(&secret, 20).await.is_ok() && bench.session_with(&stolen, 30).await.is_err());
    // One that is not there is no matter of the log: by then it might be one of the whole cluster.
    let (proposed, next) = (|| bench.node.consensus().pulse().last_index, || "next".parse().unwrap());
    let before = proposed();
    for change in
        [TokenChange::Rotate { name: next(), hash: stolen.hash(), grace_ms: 0 }, TokenChange::Revoke { name: next() }]
    {
        assert_eq!(code(bob.ask(Request::ChangeToken { change }).await), ErrorCode::NotFound);
    }
    assert_eq!(proposed(), before);
    // What is its own it changes as it likes.
    let own = NewToken { name: "own".parse().unwrap(), hash: stolen.hash(), grant: Grant::admin(), ttl_ms: None };
    bob.done(Request::ChangeToken { change: TokenChange::Create(own) }).await;
    bob.done(Request::ChangeToken { change: TokenChange::Revoke { name: "own".parse().unwrap() } }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_walks_over_no_job_of_another_namespace() {
    let bench = Bench::start().await;
    let mut ops = bench.session().await;
    ops.done(create("acme", vec![])).await;
    for _ in 0..20 {
        ops.enqueue(Start::Now).await;
    }
    let mut acme = bench.session_in("acme", 100).await.unwrap();
    let mine = acme.enqueue(Start::Now).await;
    for (oldest_first, states) in [(true, vec![]), (false, vec![]), (true, vec![JobState::Ready])] {
        let filter = JobFilter { states, ..JobFilter::default() };
        let list = Request::ListJobs { filter, after: None, oldest_first, limit: 1, consistency: FRESH };
        let Ok(Response::Jobs(page)) = acme.ask(list).await else { panic!() };
        assert_eq!(page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [mine]);
        assert_eq!(page.next, None, "it does not know that there are others");
    }
}
