//! One of every kind of request.

use crate::draw::Draw;
use jobraft_protocol::{
    ClientHello, Completion, Consistency, Failure, FailureKind, GroupSetting, JobAction, JobFilter, ModuleRef,
    NamespaceChange, NamespaceSetting, NewBatch, NewToken, QueueMode, QueueSetting, Request, Retention, SecretChange,
    SecretGrant, Setting, StateWrite, StreamOpen, TokenChange, TokenSecret, WorkerOrder,
};

fn consistency(draw: &mut Draw) -> Consistency {
    draw.pick(&[Consistency::Linearizable, Consistency::Stale])
}

pub(crate) fn module(draw: &mut Draw) -> ModuleRef {
    if draw.yes() { ModuleRef::Name(draw.name()) } else { ModuleRef::Digest(draw.digest()) }
}

pub(crate) fn every_opening(draw: &mut Draw) -> Vec<StreamOpen> {
    vec![
        StreamOpen::Session(ClientHello { agent: draw.text(), namespace: draw.maybe(Draw::namespace) }),
        StreamOpen::Upload {
            digest: draw.digest(),
            size: draw.number(),
            name: draw.maybe(Draw::name),
            signatures: draw.some(Draw::signature),
            namespace: draw.maybe(Draw::namespace),
        },
        StreamOpen::Download { module: module(draw), namespace: draw.maybe(Draw::namespace) },
        StreamOpen::Authenticate(TokenSecret::new(draw.digest().0)),
    ]
}

pub(crate) fn every(draw: &mut Draw) -> Vec<Request> {
    let mut all = of_jobs(draw);
    all.extend(of_workers(draw));
    all.extend(of_the_cluster(draw));
    all
}

fn of_jobs(draw: &mut Draw) -> Vec<Request> {
    let batch = NewBatch {
        label: draw.maybe(Draw::name),
        on_complete: draw.maybe(|draw| Box::new(draw.new_job())),
        on_failure: draw.maybe(|draw| Box::new(draw.new_job())),
        open: draw.yes(),
        ..NewBatch::new(draw.batch(), draw.some(Draw::new_job))
    };
    let filter = JobFilter {
        queues: draw.some(Draw::name),
        // Not on the wire.
        namespace: None,
        states: draw.some(Draw::state),
        task: draw.maybe(Draw::text),
        key: draw.maybe(Draw::name),
        batch: draw.maybe(Draw::batch),
        enqueued_from: draw.maybe(Draw::time),
        enqueued_before: draw.maybe(Draw::time),
        error: draw.maybe(Draw::text),
    };
    let action = match draw.below(5) {
        0 => JobAction::Cancel { reason: draw.text(), grace_ms: draw.number() },
        1 => JobAction::Delete,
        2 => JobAction::Retry,
        3 => JobAction::Move { queue: draw.name() },
        _ => JobAction::Prioritize { priority: draw.byte() },
    };
    vec![
        Request::Enqueue { jobs: draw.some(Draw::new_job), all_or_none: draw.yes() },
        Request::CreateBatch { batch: Box::new(batch) },
        Request::SealBatch { batch: draw.batch(), cancel: draw.yes() },
        Request::GetBatch { batch: draw.batch(), consistency: consistency(draw), wait_ms: draw.number() },
        Request::ListBatches { after: draw.maybe(Draw::batch), limit: draw.small(), consistency: consistency(draw) },
        Request::Act { jobs: draw.some(Draw::job), action, only_in: draw.some(Draw::state) },
        Request::ListJobs {
            filter,
            after: draw.maybe(Draw::job),
            oldest_first: draw.yes(),
            limit: draw.small(),
            consistency: consistency(draw),
        },
        Request::GetJob { job: draw.job(), consistency: consistency(draw), wait_ms: draw.number() },
    ]
}

fn of_workers(draw: &mut Draw) -> Vec<Request> {
    let write = |draw: &mut Draw| StateWrite {
        key: draw.name(),
        value: draw.maybe(Draw::bytes),
        if_version: draw.maybe(Draw::number),
    };
    let completion =
        Completion { result: draw.bytes(), log: draw.bytes(), jobs: draw.some(Draw::new_job), state: draw.some(write) };
    let kind = draw.pick(&[FailureKind::Error, FailureKind::Panic, FailureKind::OutOfMemory, FailureKind::UnknownTask]);
    let failure = Failure { log: draw.bytes(), ..Failure::of_kind(kind, draw.yes(), draw.text()) };
    let progress = draw.some(|draw| (draw.lease(), draw.progress()));
    vec![
        Request::RegisterWorker { info: draw.info() },
        Request::Heartbeat { worker: draw.worker() },
        Request::Lease {
            worker: draw.worker(),
            queues: draw.some(Draw::name),
            weights: draw.some(Draw::small),
            max: draw.small(),
            lease_ms: draw.number(),
            wait_ms: draw.number(),
        },
        Request::Subscribe {
            worker: draw.worker(),
            queues: draw.some(Draw::name),
            weights: draw.some(Draw::small),
            lease_ms: draw.number(),
            credits: draw.small(),
        },
        Request::AddCredits { worker: draw.worker(), credits: draw.small() },
        Request::Unsubscribe { worker: draw.worker() },
        Request::Extend { leases: draw.some(Draw::lease), lease_ms: draw.number(), progress },
        Request::Checkpoint { lease: draw.lease(), data: draw.bytes() },
        Request::Complete { completions: vec![(draw.lease(), completion)] },
        Request::Fail { lease: draw.lease(), failure },
        Request::Release { lease: draw.lease(), delay_ms: draw.number() },
        Request::Disconnect { worker: draw.worker() },
        Request::ListWorkers { after: draw.maybe(Draw::worker), limit: draw.small(), consistency: consistency(draw) },
        Request::OrderWorker {
            worker: draw.worker(),
            order: draw.pick(&[WorkerOrder::Run, WorkerOrder::Quiet, WorkerOrder::Stop]),
        },
    ]
}

fn of_the_cluster(draw: &mut Draw) -> Vec<Request> {
    vec![
        Request::ListGroups {
            queue: draw.name(),
            after: draw.maybe(Draw::name),
            limit: draw.small(),
            consistency: consistency(draw),
        },
        Request::ListSchedules { after: draw.maybe(Draw::name), limit: draw.small(), consistency: consistency(draw) },
        Request::GetSchedule { name: draw.name(), next: draw.small(), consistency: consistency(draw) },
        Request::RunSchedule { name: draw.name(), job: draw.job() },
        Request::Configure { settings: settings(draw) },
        Request::GetSettings { consistency: consistency(draw) },
        Request::GetState { key: draw.name(), consistency: consistency(draw) },
        Request::ListState {
            prefix: draw.text(),
            after: draw.maybe(Draw::name),
            limit: draw.small(),
            consistency: consistency(draw),
        },
        Request::ListQueues { consistency: consistency(draw) },
        Request::ListModules { consistency: consistency(draw) },
        Request::ResolveModule { module: module(draw) },
        Request::ListTokens { after: draw.maybe(Draw::name), limit: draw.small(), consistency: consistency(draw) },
        Request::ChangeToken { change: change(draw) },
        Request::ChangeSecret { change: secret(draw) },
        Request::ListSecrets { consistency: consistency(draw) },
        Request::GetSecrets { lease: draw.lease() },
        Request::ChangeNamespace { change: ruling(draw) },
        Request::ListNamespaces {
            after: draw.maybe(Draw::namespace),
            limit: draw.small(),
            consistency: consistency(draw),
        },
        Request::ClusterStatus,
        Request::AddNode { node: draw.node(), address: draw.address(), learner: draw.yes() },
        Request::RemoveNode { node: draw.node() },
        Request::TransferLeader { to: draw.maybe(Draw::node) },
    ]
}

fn change(draw: &mut Draw) -> TokenChange {
    match draw.below(3) {
        0 => TokenChange::Create(NewToken {
            name: draw.name(),
            hash: draw.digest(),
            grant: draw.grant(),
            ttl_ms: draw.maybe(Draw::number),
        }),
        1 => TokenChange::Rotate { name: draw.name(), hash: draw.digest(), grace_ms: draw.number() },
        _ => TokenChange::Revoke { name: draw.name() },
    }
}

fn settings(draw: &mut Draw) -> Vec<Setting> {
    let retention =
        |draw: &mut Draw| draw.maybe(|draw| Retention { age_ms: draw.number(), count: draw.maybe(Draw::number) });
    let of_queue = [
        QueueSetting::Mode(draw.pick(&[QueueMode::Open, QueueMode::Paused, QueueMode::Draining])),
        QueueSetting::DepthMax(draw.maybe(Draw::number)),
        QueueSetting::BytesMax(draw.maybe(Draw::number)),
        QueueSetting::KeepCompleted(retention(draw)),
        QueueSetting::KeepDead(retention(draw)),
        QueueSetting::KeepCancelled(retention(draw)),
        QueueSetting::KeepExpired(retention(draw)),
        QueueSetting::Concurrency(draw.maybe(Draw::number)),
        QueueSetting::Rate(draw.maybe(Draw::rate)),
        QueueSetting::GroupConcurrency(draw.maybe(Draw::number)),
        QueueSetting::GroupRate(draw.maybe(Draw::rate)),
    ];
    let of_group = [
        GroupSetting::Weight(draw.maybe(Draw::small)),
        GroupSetting::Concurrency(draw.maybe(Draw::number)),
        GroupSetting::Rate(draw.maybe(Draw::rate)),
    ];
    let mut all = vec![
        Setting::CreateQueues(draw.yes()),
        Setting::PutSchedule(Box::new(draw.schedule())),
        Setting::PauseSchedule(draw.name(), draw.yes()),
        Setting::RemoveSchedule(draw.name()),
    ];
    all.extend(of_queue.into_iter().map(|setting| Setting::Queue(draw.name(), setting)));
    all.extend(of_group.into_iter().map(|setting| Setting::Group(draw.name(), draw.name(), setting)));
    all
}

fn ruling(draw: &mut Draw) -> NamespaceChange {
    let setting = |draw: &mut Draw| match draw.below(5) {
        0 => NamespaceSetting::Jobs(draw.maybe(Draw::number)),
        1 => NamespaceSetting::Bytes(draw.maybe(Draw::number)),
        2 => NamespaceSetting::Rate(draw.maybe(Draw::rate)),
        3 => NamespaceSetting::Queues(draw.maybe(Draw::number)),
        _ => NamespaceSetting::Modules(draw.maybe(Draw::number)),
    };
    let (name, quota) = (draw.namespace(), draw.some(setting));
    match draw.below(3) {
        0 => NamespaceChange::Create { name, quota },
        1 => NamespaceChange::Set { name, quota },
        _ => NamespaceChange::Delete { name },
    }
}

pub(crate) fn secret_grant(draw: &mut Draw) -> SecretGrant {
    SecretGrant { modules: draw.some(module), queues: draw.some(|draw| draw.name()) }
}

fn secret(draw: &mut Draw) -> SecretChange {
    let name = draw.variable();
    match draw.below(4) {
        0 => {
            let value = format!("v{}", draw.number()).parse().expect("a value");
            SecretChange::Put { name, value, grant: draw.maybe(secret_grant) }
        }
        1 => SecretChange::Grant { name, grant: secret_grant(draw) },
        2 => SecretChange::Reseal,
        _ => SecretChange::Delete { name },
    }
}
