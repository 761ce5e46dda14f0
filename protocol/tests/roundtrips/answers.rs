//! One of every kind of answer and push.

use crate::draw::Draw;
use jobraft_protocol::{
    AttemptError, BatchState, BatchView, CancelNotice, ClusterSettings, ClusterStatus, EndReason, EnqueueOutcome,
    Error, ErrorCode, Extended, FailureKind, FencingToken, GroupSettings, GroupView, JobPage, JobSummary, JobView,
    LeaderHint, LeaseView, LeasedJob, MemberStatus, ModuleManifest, NamespaceQuota, NamespaceView, OnFailure,
    Predecessor, Push, QueueSettings, QueueStats, Response, Role, ScheduleTick, ScheduleView, SecretView, ServerHello,
    StateValue, TokenView, Withheld, WorkerOrder, WorkerView,
};

fn hint(draw: &mut Draw) -> LeaderHint {
    LeaderHint { node: draw.node(), address: draw.address() }
}

fn error(draw: &mut Draw) -> Error {
    let codes =
        [ErrorCode::NotLeader, ErrorCode::LeaseLost, ErrorCode::TooMany, ErrorCode::QueueFull, ErrorCode::Internal];
    let error = Error { leader: draw.maybe(hint), ..Error::new(draw.pick(&codes), draw.text()) };
    if draw.yes() { error.retry_after_ms(draw.number()) } else { error }
}

pub(crate) fn hello(draw: &mut Draw) -> ServerHello {
    ServerHello {
        cluster: draw.text(),
        node: draw.node(),
        time: draw.time(),
        leader: draw.maybe(hint),
        agent: draw.text(),
        namespace: draw.namespace(),
    }
}

pub(crate) fn every(draw: &mut Draw) -> Vec<Result<Response, Error>> {
    let mut all = vec![Err(error(draw))];
    all.extend(of_jobs(draw).into_iter().map(Ok));
    all.extend(of_the_cluster(draw).into_iter().map(Ok));
    all
}

pub(crate) fn every_push(draw: &mut Draw) -> Vec<Push> {
    let order = draw.pick(&[WorkerOrder::Run, WorkerOrder::Quiet, WorkerOrder::Stop]);
    vec![
        Push::Leased { worker: draw.worker(), jobs: draw.some(leased) },
        Push::CancelRequested { worker: draw.worker(), lease: draw.lease(), notice: notice(draw) },
        Push::Ordered { worker: draw.worker(), order },
        Push::Revoked { worker: draw.worker(), leases: draw.some(Draw::lease) },
        Push::SubscriptionEnded { worker: draw.worker(), leader: draw.maybe(hint) },
    ]
}

fn notice(draw: &mut Draw) -> CancelNotice {
    CancelNotice { reason: draw.text(), hard_at: draw.time() }
}

fn predecessor(draw: &mut Draw) -> Predecessor {
    Predecessor { job: draw.job(), ended: draw.maybe(Draw::state) }
}

fn tick(draw: &mut Draw) -> ScheduleTick {
    ScheduleTick { schedule: draw.name(), tick: draw.time() }
}

fn leased(draw: &mut Draw) -> LeasedJob {
    LeasedJob {
        attempt: draw.small(),
        max_attempts: draw.small(),
        token: FencingToken(draw.number()),
        expires_at: draw.time(),
        run_timeout_ms: draw.number(),
        enqueued_at: draw.time(),
        checkpoint: draw.bytes(),
        group: draw.maybe(Draw::name),
        after: draw.some(predecessor),
        batch: draw.maybe(Draw::batch),
        label: draw.maybe(Draw::name),
        tick: draw.maybe(tick),
        has_secrets: draw.yes(),
        ..LeasedJob::new(draw.job(), draw.name(), draw.task(), draw.bytes())
    }
}

fn reason(draw: &mut Draw) -> EndReason {
    draw.pick(&[EndReason::AttemptsExhausted, EndReason::TtlOver, EndReason::Deleted, EndReason::DependencyFailed])
}

fn view(draw: &mut Draw) -> JobView {
    let lease = |draw: &mut Draw| LeaseView {
        worker: draw.worker(),
        token: FencingToken(draw.number()),
        granted_at: draw.time(),
        expires_at: draw.time(),
    };
    let failed = |draw: &mut Draw| AttemptError {
        attempt: draw.small(),
        at: draw.time(),
        kind: draw.pick(&[FailureKind::Trap, FailureKind::Timeout, FailureKind::LeaseExpired]),
        message: draw.text(),
    };
    JobView {
        id: draw.job(),
        queue: draw.name(),
        task: draw.task(),
        payload: draw.bytes(),
        state: draw.state(),
        priority: draw.byte(),
        attempt: draw.small(),
        max_attempts: draw.small(),
        run_timeout_ms: draw.number(),
        enqueued_at: draw.time(),
        run_at: draw.time(),
        finished_at: draw.maybe(Draw::time),
        lease: draw.maybe(lease),
        result: draw.bytes(),
        log: draw.bytes(),
        errors: draw.some(failed),
        cancelled_by: draw.maybe(Draw::text),
        cancel_reason: draw.maybe(Draw::text),
        end_reason: draw.maybe(reason),
        ttl_ends_at: draw.maybe(Draw::time),
        start_by: draw.maybe(Draw::time),
        backoff: draw.maybe(Draw::backoff),
        max_crashes: draw.small(),
        crashed_at: draw.some(Draw::time),
        unique: draw.maybe(Draw::unique),
        progress: draw.maybe(Draw::progress),
        checkpoint_bytes: draw.number(),
        cancel: draw.maybe(notice),
        group: draw.maybe(Draw::name),
        after: draw.some(predecessor),
        on_failure: draw.pick(&OnFailure::ALL),
        batch: draw.maybe(Draw::batch),
        is_callback: draw.yes(),
        label: draw.maybe(Draw::name),
        tick: draw.maybe(tick),
        withheld: draw.pick(&[Withheld::Nothing, Withheld::AllButResult, Withheld::All]),
    }
}

fn summary(draw: &mut Draw) -> JobSummary {
    JobSummary {
        id: draw.job(),
        queue: draw.name(),
        task: draw.task(),
        state: draw.state(),
        end_reason: draw.maybe(reason),
        priority: draw.byte(),
        attempt: draw.small(),
        max_attempts: draw.small(),
        enqueued_at: draw.time(),
        run_at: draw.time(),
        finished_at: draw.maybe(Draw::time),
        worker: draw.maybe(Draw::worker),
        key: draw.maybe(Draw::name),
        progress: draw.maybe(Draw::progress),
        error: draw.maybe(Draw::text),
        group: draw.maybe(Draw::name),
        batch: draw.maybe(Draw::batch),
        is_callback: draw.yes(),
        label: draw.maybe(Draw::name),
        after: draw.some(Draw::job),
        after_count: draw.small(),
    }
}

fn batch(draw: &mut Draw) -> BatchView {
    BatchView {
        id: draw.batch(),
        label: draw.maybe(Draw::name),
        state: draw.pick(&[BatchState::Open, BatchState::Running, BatchState::Completed, BatchState::Failed]),
        created_at: draw.time(),
        ended_at: draw.maybe(Draw::time),
        live: draw.number(),
        completed: draw.number(),
        dead: draw.number(),
        cancelled: draw.number(),
        expired: draw.number(),
        on_complete: draw.maybe(Draw::job),
        on_failure: draw.maybe(Draw::job),
        failure_called: draw.yes(),
    }
}

fn of_jobs(draw: &mut Draw) -> Vec<Response> {
    let outcomes = vec![
        EnqueueOutcome::Created,
        EnqueueOutcome::Existing,
        EnqueueOutcome::Duplicate(draw.job()),
        EnqueueOutcome::Replaced(draw.job()),
        EnqueueOutcome::Refused(error(draw)),
    ];
    let extended = Extended { expires_at: draw.time(), cancel: draw.maybe(notice) };
    vec![
        Response::Done,
        Response::Enqueued(outcomes),
        Response::Batch(Box::new(batch(draw))),
        Response::Batches(draw.some(batch)),
        Response::Leased(draw.some(leased)),
        Response::Extended(vec![Ok(extended), Err(error(draw))]),
        Response::Acted(vec![Ok(()), Err(error(draw))]),
        Response::Jobs(JobPage { jobs: draw.some(summary), next: draw.maybe(Draw::job) }),
        Response::Failed { state: draw.state(), retry_at: draw.maybe(Draw::time) },
        Response::Job(Box::new(view(draw))),
    ]
}

fn token(draw: &mut Draw) -> TokenView {
    TokenView {
        name: draw.name(),
        grant: draw.grant(),
        created_at: draw.time(),
        created_by: draw.text(),
        rotated_at: draw.maybe(Draw::time),
        expires_at: draw.maybe(Draw::time),
        former_until: draw.maybe(Draw::time),
        last_used: draw.maybe(Draw::time),
    }
}

fn of_the_cluster(draw: &mut Draw) -> Vec<Response> {
    let order = draw.pick(&[WorkerOrder::Run, WorkerOrder::Quiet, WorkerOrder::Stop]);
    let group = |draw: &mut Draw| GroupView {
        group: draw.name(),
        ready: draw.number(),
        leased: draw.number(),
        waiting: draw.number(),
        open: draw.number(),
        settings: GroupSettings {
            weight: draw.maybe(Draw::small),
            concurrency: draw.maybe(Draw::number),
            rate: draw.maybe(Draw::rate),
        },
    };
    let schedule = |draw: &mut Draw| ScheduleView {
        schedule: draw.schedule(),
        paused: draw.yes(),
        created_at: draw.time(),
        ticked_to: draw.time(),
        last_job: draw.maybe(Draw::job),
        fired: draw.number(),
        missed: draw.number(),
        skipped: draw.number(),
        last_error: draw.maybe(Draw::text),
        next: draw.some(Draw::time),
        withheld: draw.yes(),
    };
    let worker = |draw: &mut Draw| WorkerView {
        id: draw.worker(),
        info: draw.info(),
        registered_at: draw.time(),
        last_seen: draw.time(),
        order,
        held: draw.number(),
        jobs: draw.some(Draw::job),
    };
    let value = |draw: &mut Draw| StateValue {
        key: draw.name(),
        value: draw.bytes(),
        version: draw.number(),
        written_at: draw.time(),
    };
    let queue = |draw: &mut Draw| {
        let settings = QueueSettings { depth_max: draw.maybe(Draw::number), ..QueueSettings::default() };
        QueueStats { ready: draw.number(), ..QueueStats::empty(draw.name(), settings) }
    };
    let module = |draw: &mut Draw| ModuleManifest {
        digest: draw.digest(),
        size: draw.number(),
        names: draw.some(Draw::name),
        imports: draw.some(Draw::text),
        owner: draw.text(),
        signatures: draw.some(Draw::signature),
    };
    let member = |draw: &mut Draw| MemberStatus {
        node: draw.node(),
        address: draw.address(),
        role: draw.pick(&[Role::Leader, Role::Follower, Role::Candidate, Role::Learner, Role::Outside]),
        matched_index: draw.maybe(Draw::number),
    };
    let cluster = ClusterStatus {
        cluster: draw.text(),
        node: draw.node(),
        role: Role::Leader,
        leader: draw.maybe(Draw::node),
        term: draw.number(),
        last_index: draw.number(),
        applied_index: draw.number(),
        checkpoint_index: draw.number(),
        time: draw.time(),
        version: draw.text(),
        log_commits: draw.maybe(Draw::number),
        certificate_ends_at: draw.maybe(Draw::number),
        members: draw.some(member),
    };
    vec![
        Response::Groups(draw.some(group)),
        Response::Schedule(Box::new(schedule(draw))),
        Response::Schedules(draw.some(schedule)),
        Response::Registered(draw.worker()),
        Response::Order(order),
        Response::Settings(ClusterSettings { create_queues: draw.yes() }),
        Response::Workers(draw.some(worker)),
        Response::State(draw.maybe(value)),
        Response::StateList(draw.some(value)),
        Response::Queues(draw.some(queue)),
        Response::Modules(draw.some(module)),
        Response::Module(module(draw)),
        Response::Tokens(draw.some(token)),
        Response::Namespaces(draw.some(namespace)),
        Response::Secrets(draw.some(secret)),
        Response::Resealed(draw.text()),
        Response::JobSecrets(draw.some(|draw| (draw.variable(), "hush".parse().expect("a value")))),
        Response::Cluster(cluster),
        Response::Leader(draw.node()),
    ]
}

fn namespace(draw: &mut Draw) -> NamespaceView {
    let quota = NamespaceQuota {
        jobs: draw.maybe(Draw::number),
        bytes: draw.maybe(Draw::number),
        rate: draw.maybe(Draw::rate),
        queues: draw.maybe(Draw::number),
        modules: draw.maybe(Draw::number),
    };
    NamespaceView {
        name: draw.namespace(),
        created_at: draw.maybe(Draw::time),
        created_by: draw.text(),
        quota,
        jobs: draw.number(),
        bytes: draw.number(),
        queues: draw.number(),
        modules: draw.number(),
    }
}

fn secret(draw: &mut Draw) -> SecretView {
    SecretView {
        name: draw.variable(),
        grant: crate::requests::secret_grant(draw),
        version: draw.number(),
        created_at: draw.time(),
        changed_at: draw.time(),
        changed_by: draw.text(),
    }
}
