//! Every request under every role, against the table that users read.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use jobraft_protocol::{
    BatchId, ClientRole, Completion, Consistency, Failure, FailureKind, JobAction, JobFilter, JobId, LeaseRef, LogTime,
    Namespace, NamespaceChange, NewBatch, NewJob, NodeId, QueueMode, QueueSetting, Request, Schedule, SecretChange,
    Setting, StateWrite, Task, TokenChange, WorkerInfo, WorkerOrder,
};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use std::collections::BTreeSet;

/// The page of the book that says who may do what.
const PAGE: &str = include_str!("../../../../docs/src/access.md");

fn id() -> JobId {
    JobId::new(LogTime::from_ms(1), [1; 10])
}

fn lease() -> LeaseRef {
    LeaseRef { job: id(), token: jobraft_protocol::FencingToken(1) }
}

fn job(queue: &str) -> NewJob {
    NewJob::new(id(), queue.parse().unwrap(), Task::Handler("t".parse().unwrap()), "")
}

fn schedule(queue: &str) -> Schedule {
    let job = jobraft_protocol::JobTemplate::new(queue.parse().unwrap(), Task::Handler("t".parse().unwrap()), "");
    Schedule::new("s".parse().unwrap(), "* * * * *", job)
}

/// One of each request that there is, whatever it names within `queue`.
fn requests(queue: &str) -> Vec<Request> {
    let name = || queue.parse().unwrap();
    let (worker, consistency) = (jobraft_protocol::WorkerId(1), Consistency::Stale);
    let batch = || BatchId(id());
    let act = |action| Request::Act { jobs: vec![id()], action, only_in: Vec::new() };
    let filter = JobFilter { queues: vec![name()], ..JobFilter::default() };
    let state = vec![StateWrite { key: queue.parse().unwrap(), value: None, if_version: None }];
    let completion = Completion { jobs: vec![job(queue)], state, ..Completion::default() };
    let failure =
        Failure { kind: FailureKind::Error, message: String::new(), log: Default::default(), retryable: true };
    let new_batch = NewBatch { on_complete: Some(Box::new(job(queue))), ..NewBatch::new(batch(), vec![job(queue)]) };
    vec![
        Request::Enqueue { jobs: vec![job(queue)], all_or_none: false },
        Request::CreateBatch { batch: Box::new(new_batch) },
        Request::SealBatch { batch: batch(), cancel: false },
        Request::RunSchedule { name: "s".parse().unwrap(), job: id() },
        act(JobAction::Cancel { reason: String::new(), grace_ms: 0 }),
        act(JobAction::Retry),
        act(JobAction::Delete),
        act(JobAction::Move { queue: name() }),
        act(JobAction::Prioritize { priority: 1 }),
        Request::Configure {
            settings: vec![
                Setting::Queue(name(), QueueSetting::Mode(QueueMode::Paused)),
                Setting::PutSchedule(Box::new(schedule(queue))),
            ],
        },
        Request::OrderWorker { worker, order: WorkerOrder::Stop },
        Request::RegisterWorker { info: WorkerInfo { queues: vec![name()], ..WorkerInfo::default() } },
        Request::Heartbeat { worker },
        Request::Lease { worker, queues: vec![name()], weights: vec![], max: 1, lease_ms: 1, wait_ms: 0 },
        Request::Subscribe { worker, queues: vec![name()], weights: vec![], lease_ms: 1, credits: 1 },
        Request::AddCredits { worker, credits: 1 },
        Request::Unsubscribe { worker },
        Request::Extend { leases: vec![lease()], lease_ms: 1, progress: vec![] },
        Request::Checkpoint { lease: lease(), data: Default::default() },
        Request::Complete { completions: vec![(lease(), completion)] },
        Request::Fail { lease: lease(), failure },
        Request::Release { lease: lease(), delay_ms: 0 },
        Request::Disconnect { worker },
        Request::GetJob { job: id(), consistency, wait_ms: 0 },
        Request::ListJobs { filter, after: None, oldest_first: false, limit: 1, consistency },
        Request::ListQueues { consistency },
        Request::ListGroups { queue: name(), after: None, limit: 1, consistency },
        Request::GetBatch { batch: batch(), consistency, wait_ms: 0 },
        Request::ListBatches { after: None, limit: 1, consistency },
        Request::GetSchedule { name: "s".parse().unwrap(), next: 1, consistency },
        Request::ListSchedules { after: None, limit: 1, consistency },
        Request::ListWorkers { after: None, limit: 1, consistency },
        Request::GetSettings { consistency },
        Request::ListModules { consistency },
        Request::GetState { key: queue.parse().unwrap(), consistency },
        Request::ListState { prefix: queue.to_owned(), after: None, limit: 1, consistency },
        Request::ResolveModule { module: queue.parse().unwrap() },
        Request::ClusterStatus,
        Request::AddNode { node: NodeId(2), address: "127.0.0.1:1".parse().unwrap(), learner: false },
        Request::RemoveNode { node: NodeId(2) },
        Request::TransferLeader { to: None },
        Request::ChangeToken { change: TokenChange::Revoke { name: "t".parse().unwrap() } },
        Request::ListTokens { after: None, limit: 1, consistency },
        Request::ChangeSecret { change: SecretChange::Delete { name: "S".parse().unwrap() } },
        Request::ListSecrets { consistency },
        Request::GetSecrets { lease: lease() },
        Request::ChangeNamespace { change: NamespaceChange::Delete { name: "acme".parse().unwrap() } },
        Request::ListNamespaces { after: None, limit: 1, consistency },
    ]
}

/// `lease`, `act cancel`: the name on the wire, and of an action which.
fn name(request: &Request) -> String {
    match request {
        Request::Act { action, .. } => format!("act {}", action.as_str()),
        _ => request.name().to_owned(),
    }
}

/// The names of all variants, as serde knows them: it names them when it is given one that there is not.
fn variants<'de, T: Deserialize<'de>>() -> BTreeSet<String> {
    let Err::<T, ValueError>(error) = T::deserialize("?".into_deserializer()) else { panic!("? is none") };
    let text = error.to_string();
    let listed = text.split_once("expected one of ").expect("it lists what it expected").1;
    listed.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

fn client(grant: Grant) -> Identity {
    Identity::client("somebody", grant).unwrap()
}

fn may(identity: &Identity, request: &Request) -> bool {
    match decide(identity, &mut Need::of(request)) {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.code, ErrorCode::Forbidden);
            false
        }
    }
}

#[test]
fn the_table_has_every_request_and_every_action() {
    let requests: Vec<Request> = requests("q");
    let named: BTreeSet<String> =
        requests.iter().map(|request| name(request).split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(named, variants::<Request>());
    let actions = requests.iter().filter_map(|request| name(request).strip_prefix("act ").map(str::to_owned));
    assert_eq!(actions.collect::<BTreeSet<_>>(), variants::<JobAction>());
}

#[test]
fn every_role_may_do_what_the_book_says_and_nothing_else() {
    let mut table =
        String::from("| Request | admin | operator | producer | worker | viewer |\n|---|---|---|---|---|---|\n");
    let mut row = |name: &str, may: &dyn Fn(&Identity) -> bool| {
        let cells = ClientRole::ALL.map(|role| if may(&client(Grant::new([role]))) { "yes" } else { "–" });
        table.push_str(&format!("| `{name}` | {} |\n", cells.join(" | ")));
        assert!(may(&Identity::Node(NodeId(1))), "a node may do {name}");
        assert!(!may(&client(Grant::new([]))), "without a role nobody may do {name}");
    };
    for request in requests("q") {
        row(&name(&request), &|identity| may(identity, &request));
    }
    row("push a module", &|identity| decide(identity, &mut Need::of_upload(None)).is_ok());
    row("move another's module name", &|identity| decide(identity, &mut Need::of_foreign_name()).is_ok());
    row("get a module", &|identity| decide(identity, &mut Need::of_download()).is_ok());
    assert!(PAGE.contains(&table), "docs/src/access.md does not have this table:\n{table}");
}

#[test]
fn whoever_has_two_roles_may_do_what_either_may() {
    use ClientRole::{Producer, Worker};
    let (producer, worker) = (client(Grant::new([Producer])), client(Grant::new([Worker])));
    let both = client(Grant::new([Producer, Worker]));
    for request in requests("q") {
        assert_eq!(may(&both, &request), may(&producer, &request) || may(&worker, &request), "{}", name(&request));
    }
}

#[test]
fn a_limited_grant_reaches_what_it_covers_and_nothing_of_the_whole() {
    let limited = Grant::admin().for_queues(vec!["shop/*".parse().unwrap()]).unwrap();
    let refused = |queue: &str| -> Vec<String> {
        let refused = |request: &Request| !may(&client(limited.clone()), request);
        requests(queue).iter().filter(|request| refused(request)).map(name).collect()
    };
    let whole = [
        "list_batches",
        "add_node",
        "remove_node",
        "transfer_leader",
        "change_token",
        "list_tokens",
        "change_secret",
        "list_secrets",
        "change_namespace",
    ];
    assert_eq!(refused("shop/mail"), whole);
    assert_eq!(
        refused("mail"),
        [
            "enqueue",
            "create_batch",
            "act move",
            "configure",
            "register_worker",
            "lease",
            "subscribe",
            "complete",
            "list_jobs",
            "list_groups",
            "list_batches",
            "get_state",
            "list_state",
            "add_node",
            "remove_node",
            "transfer_leader",
            "change_token",
            "list_tokens",
            "change_secret",
            "list_secrets",
            "change_namespace",
        ]
    );
    // A prefix that more begins with than is covered.
    let all = Request::ListState { prefix: "shop".to_owned(), after: None, limit: 1, consistency: Consistency::Stale };
    assert!(!may(&client(limited.clone()), &all));
    let create = Request::Configure { settings: vec![Setting::CreateQueues(false)] };
    assert!(!may(&client(limited), &create) && may(&client(Grant::admin()), &create));
}

#[test]
fn who_administers_a_namespace_has_it_whole_and_nothing_of_the_cluster() {
    let acme: Namespace = "acme".parse().unwrap();
    let tenant = client(Grant::admin().in_namespace(acme.clone()));
    let of_cluster = enter(&client(Grant::admin()), Some(acme.clone())).unwrap();
    let refused = |who: &Identity| -> Vec<String> {
        let mut requests = requests("mail");
        requests.iter_mut().for_each(|request| request.enter(&acme).unwrap());
        requests.iter().filter(|request| !may(who, request)).map(name).collect()
    };
    assert_eq!(refused(&tenant), ["add_node", "remove_node", "transfer_leader", "change_namespace"]);
    assert_eq!(refused(&of_cluster), [""; 0]);
    let create = Request::Configure { settings: vec![Setting::CreateQueues(false)] };
    assert!(!may(&tenant, &create) && may(&of_cluster, &create));
    let reseal = Request::ChangeSecret { change: SecretChange::Reseal };
    assert!(!may(&tenant, &reseal) && may(&of_cluster, &reseal));
}

#[test]
fn whoever_is_confined_to_a_namespace_enters_no_other() {
    let [acme, beta] = ["acme", "beta"].map(|name| name.parse::<Namespace>().unwrap());
    let goes = |grant: Grant, wanted: Option<&Namespace>| {
        let entered = enter(&client(grant), wanted.cloned());
        entered.map(|identity| identity.namespace().to_string()).map_err(|error| error.code)
    };
    for role in ClientRole::ALL {
        let tenant = Grant::new([role]).in_namespace(acme.clone());
        assert_eq!(goes(tenant.clone(), None), Ok("acme".to_owned()));
        assert_eq!(goes(tenant.clone(), Some(&acme)), Ok("acme".to_owned()));
        for other in [&beta, &Namespace::default()] {
            assert_eq!(goes(tenant.clone(), Some(other)), Err(ErrorCode::Forbidden));
        }
        let of_none = Grant::new([role]);
        assert_eq!(goes(of_none.clone(), None), Ok("default".to_owned()));
        let enters = if role == ClientRole::Admin { Ok("acme".to_owned()) } else { Err(ErrorCode::Forbidden) };
        assert_eq!(goes(of_none.clone(), Some(&acme)), enters);
        // Nor does an administrator of some queues run the cluster.
        let of_some = of_none.clone().for_queues(vec!["shop/*".parse().unwrap()]).unwrap();
        assert_eq!(goes(of_some, Some(&acme)), Err(ErrorCode::Forbidden));
        let of_default = of_none.in_namespace(Namespace::default());
        assert_eq!(goes(of_default, Some(&acme)), Err(ErrorCode::Forbidden));
    }
    let node = Identity::Node(NodeId(1));
    assert!(enter(&node, None).is_ok() && enter(&node, Some(acme)).is_err());
}

#[test]
fn a_pattern_reaches_no_further_than_its_namespace() {
    let acme: Namespace = "acme".parse().unwrap();
    let grant = Grant::new([ClientRole::Producer]).for_queues(vec!["shop/*".parse().unwrap()]).unwrap();
    let tenant = client(grant.clone().in_namespace(acme.clone()));
    let reaches = |who: &Identity, queue: &str| covered(who, queue, || "it".to_owned()).map_err(|error| error.code);
    assert_eq!(reaches(&tenant, &acme.full("shop/mail")), Ok(()));
    for other in ["shop/mail".to_owned(), acme.full("mail"), Namespace::default().full("shop/mail"), "acme".to_owned()]
    {
        assert_eq!(reaches(&tenant, &other), Err(ErrorCode::Forbidden), "{other:?}");
    }
    let other: Namespace = "acme2".parse().unwrap();
    assert_eq!(reaches(&tenant, &other.full("shop/mail")), Err(ErrorCode::Forbidden));
    // Not even that of everything.
    let of_default = client(Grant::admin());
    assert_eq!(reaches(&of_default, &acme.full("shop/mail")), Err(ErrorCode::Forbidden));
}

#[test]
fn each_queue_of_a_request_must_be_covered() {
    let limited = client(Grant::admin().for_queues(vec!["a".parse().unwrap()]).unwrap());
    let jobs = |queues: &[&str]| Request::Enqueue { jobs: queues.iter().map(|q| job(q)).collect(), all_or_none: false };
    assert!(may(&limited, &jobs(&["a", "a"])) && !may(&limited, &jobs(&["a", "b"])));
    let failure_in = |queue: &str| {
        let batch = NewBatch::new(BatchId(id()), vec![job("a")]);
        Request::CreateBatch { batch: Box::new(NewBatch { on_failure: Some(Box::new(job(queue))), ..batch }) }
    };
    assert!(may(&limited, &failure_in("a")) && !may(&limited, &failure_in("b")));
    let completes = |child: &str, key: &str| {
        let state = vec![StateWrite { key: key.parse().unwrap(), value: None, if_version: None }];
        let completion = Completion { jobs: vec![job(child)], state, ..Completion::default() };
        Request::Complete { completions: vec![(lease(), Completion::default()), (lease(), completion)] }
    };
    assert!(may(&limited, &completes("a", "a")));
    assert!(!may(&limited, &completes("b", "a")) && !may(&limited, &completes("a", "b")));
}

#[test]
fn values_are_read_by_those_who_work_and_by_readers_who_see_payloads() {
    let get = Request::GetState { key: "k".parse().unwrap(), consistency: Consistency::Stale };
    let sees = |role, payloads| may(&client(Grant::new([role]).with_payloads(payloads)), &get);
    assert!(sees(ClientRole::Worker, false) && sees(ClientRole::Viewer, true) && sees(ClientRole::Admin, true));
    assert!(!sees(ClientRole::Viewer, false) && !sees(ClientRole::Admin, false));
}

#[test]
fn a_refusal_says_who_may_not_what_and_why() {
    let refusal = |grant: Grant, request: &Request| decide(&client(grant), &mut Need::of(request)).unwrap_err().message;
    let enqueue = Request::Enqueue { jobs: vec![job("mail")], all_or_none: false };
    let none = refusal(Grant::new([]), &enqueue);
    assert!(none.contains("client somebody may not enqueue jobs") && none.contains("no role"), "{none}");
    let viewer = refusal(Grant::new([ClientRole::Viewer]), &enqueue);
    assert!(viewer.contains("its role is viewer"), "{viewer}");
    let limited = Grant::new([ClientRole::Producer]).for_queues(vec!["shop/*".parse().unwrap()]).unwrap();
    let limited = refusal(limited, &enqueue);
    assert!(limited.contains("\"mail\"") && limited.contains("shop/*"), "{limited}");
}
