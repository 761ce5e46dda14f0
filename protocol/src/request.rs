//! Requests and answers between a client and a node.
//!
//! A client opens a stream and says what it is for ([`StreamOpen`]). On a session stream it sends [`ClientFrame`]s and
//! receives [`ServerFrame`]s; many requests are under way at once and answers come in any order, matched by id.

use crate::{
    BatchId, BatchView, CancelNotice, ClusterSettings, ClusterStatus, Completion, Digest, EnqueueOutcome, Error,
    Extended, Failure, GroupKey, GroupView, JobAction, JobFilter, JobId, JobPage, JobState, JobView, LeaderHint,
    LeaseRef, LeasedJob, LogTime, ModuleManifest, ModuleName, ModuleRef, ModuleSignature, Namespace, NamespaceChange,
    NamespaceView, NewBatch, NewJob, NodeAddress, NodeId, Progress, QueueName, QueueStats, ScheduleName, ScheduleView,
    SecretChange, SecretName, SecretValue, SecretView, Setting, StateKey, StateValue, TokenChange, TokenName,
    TokenSecret, TokenView, WorkerId, WorkerInfo, WorkerOrder, WorkerView, bounded,
};
use serde::{Deserialize, Serialize};

/// The first frame of each stream that a client opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamOpen {
    /// Says who the client is, on the first stream of a connection that showed no certificate; answered by `Result<(), Error>`,
    /// and the end of the stream. All other streams of the connection come after the answer.
    Authenticate(TokenSecret),
    /// A session; answered by [`ServerHello`] (as `Result<ServerHello, Error>`), then [`ServerFrame`]s.
    Session(ClientHello),
    /// A module follows: `size` bytes, unframed, then the end of the stream; answered by `Result<ModuleManifest, Error>`.
    Upload {
        /// SHA-256 of what follows.
        digest: Digest,
        /// How many bytes follow.
        size: u64,
        /// A name that shall point to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<ModuleName>,
        /// Signatures of it, besides those that it has.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        signatures: Vec<ModuleSignature>,
        /// As in [`ClientHello`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<Namespace>,
    },
    /// Asks for a module: answered by `Result<ModuleManifest, Error>`, then its bytes, unframed, and the end of the stream.
    Download {
        /// Which.
        module: ModuleRef,
        /// As in [`ClientHello`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<Namespace>,
    },
}

/// Who opens a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    /// Program and version, for logs: `jobraft-cli/0.1.0`.
    pub agent: String,
    /// The namespace of all that is asked for; absent: the one to which its credential is confined, or the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
}

impl ClientHello {
    /// Of a client that says nothing of namespaces.
    #[must_use]
    pub fn new(agent: impl Into<String>) -> Self {
        Self { agent: agent.into(), namespace: None }
    }
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHello {
    /// The cluster's name.
    pub cluster: String,
    /// The node.
    pub node: NodeId,
    /// Log time now, as this node knows it: clients mint job ids and reckon lease deadlines by it.
    pub time: LogTime,
    /// The leader, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<LeaderHint>,
    /// The node's software, for logs: `jobraft/0.1.0`.
    pub agent: String,
    /// The namespace of the session.
    #[serde(default)]
    pub namespace: Namespace,
}

/// A request and the number that its answer will carry, chosen by the client, unique among those under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFrame {
    /// The number.
    pub id: u64,
    /// The request.
    pub request: Request,
}

/// What a node sends on a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    /// The answer to the request of this number.
    Reply {
        /// The number.
        id: u64,
        /// The answer.
        result: Result<Response, Error>,
    },
    /// Something that the client subscribed to.
    Push(Push),
}

/// Sent without being asked each time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Push {
    /// Jobs leased against the credits of a subscription.
    Leased {
        /// The subscribed worker.
        worker: WorkerId,
        /// The jobs; each took a credit.
        jobs: Vec<LeasedJob>,
    },
    /// A job that the worker holds is to stop: cancelled. The lease goes on until the job has ended, or its grace is over.
    CancelRequested {
        /// The worker.
        worker: WorkerId,
        /// What it holds.
        lease: LeaseRef,
        /// Why, and until when.
        notice: CancelNotice,
    },
    /// What the worker is told to do. What is leased goes on.
    Ordered {
        /// The worker.
        worker: WorkerId,
        /// What to do.
        order: WorkerOrder,
    },
    /// Jobs that the worker holds no longer: cancelled.
    Revoked {
        /// The worker.
        worker: WorkerId,
        /// The leases that ended.
        leases: Vec<LeaseRef>,
    },
    /// The subscription is over, for this node leads no longer, or the worker let a lease run out: subscribe at the leader.
    /// Leases go on.
    SubscriptionEnded {
        /// The worker.
        worker: WorkerId,
        /// The leader, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        leader: Option<LeaderHint>,
    },
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Reflects everything acknowledged before it began (ReadIndex); answered by the leader.
    #[default]
    Linearizable,
    /// Whatever the asked node knows.
    Stale,
}

/// What a client can ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Enqueues 1 to [`crate::limits::BULK_JOBS_MAX`] jobs in one step; answers [`Response::Enqueued`]. Idempotent by job
    /// id, for those that became jobs: one that was answered `Duplicate` or `Replaced` is decided anew.
    Enqueue {
        /// The jobs.
        jobs: Vec<NewJob>,
        /// Whether one that is refused refuses them all: the request then fails with that refusal, which names the job. Only
        /// then may a job come after one that stands behind it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        all_or_none: bool,
    },
    /// Creates a batch with its first jobs, all or nothing; answers [`Response::Batch`]. Idempotent by the batch's id.
    CreateBatch {
        /// The batch.
        batch: Box<NewBatch>,
    },
    /// Lets a batch take no more jobs from outside; answers [`Response::Batch`]. Idempotent.
    SealBatch {
        /// Which.
        batch: BatchId,
        /// Whether it also takes none from its own jobs, and calls nobody when it ends: its jobs are about to be cancelled.
        #[serde(default)]
        cancel: bool,
    },
    /// Reads a batch; answers [`Response::Batch`].
    GetBatch {
        /// Which.
        batch: BatchId,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
        /// Waits up to this long until it has ended.
        #[serde(default)]
        wait_ms: u64,
    },
    /// Lists batches from the newest back; answers [`Response::Batches`].
    ListBatches {
        /// Only ids less than this one: where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<BatchId>,
        /// How many at most; at most [`crate::limits::BATCH_LIST_MAX`].
        limit: u32,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Lists the groups of a queue by key; answers [`Response::Groups`].
    ListGroups {
        /// The queue.
        queue: QueueName,
        /// Only keys greater than this one: where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<GroupKey>,
        /// How many at most; at most [`crate::limits::GROUP_LIST_MAX`].
        limit: u32,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Lists schedules by name, each with its next tick; answers [`Response::Schedules`]. They are put, paused and removed by
    /// [`Request::Configure`].
    ListSchedules {
        /// Only names greater than this one: where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<ScheduleName>,
        /// How many at most; at most [`crate::limits::SCHEDULE_LIST_MAX`].
        limit: u32,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Reads a schedule; answers [`Response::Schedule`].
    GetSchedule {
        /// Which.
        name: ScheduleName,
        /// How many of its next ticks; at most [`crate::limits::NEXT_TICKS_MAX`].
        next: u32,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Enqueues a schedule's job now, whether or not it is paused; answers [`Response::Enqueued`]. Idempotent by the job's id.
    RunSchedule {
        /// Which.
        name: ScheduleName,
        /// The id of the job, made by the client.
        job: JobId,
    },
    /// Mints a worker incarnation; answers [`Response::Registered`].
    RegisterWorker {
        /// What it says of itself.
        info: WorkerInfo,
    },
    /// Says that a worker is alive; answers [`Response::Order`]. To be sent every [`crate::limits::WORKER_SEEN_MS`] by one
    /// that holds nothing; one that extends leases need not.
    Heartbeat {
        /// The worker.
        worker: WorkerId,
    },
    /// Takes jobs, waiting up to `wait_ms` for the first; answers [`Response::Leased`], perhaps with none.
    Lease {
        /// The worker.
        worker: WorkerId,
        /// Where from, the first with work first.
        #[serde(deserialize_with = "bounded::texts")]
        queues: Vec<QueueName>,
        /// If given, one for each queue, 1 to [`crate::limits::QUEUE_WEIGHT_MAX`]: jobs are then taken in these proportions
        /// instead, as long as there are some.
        #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::texts")]
        weights: Vec<u32>,
        /// How many at most.
        max: u32,
        /// For how long.
        lease_ms: u64,
        /// How long to wait for the first.
        wait_ms: u64,
    },
    /// Asks that jobs be pushed ([`Push::Leased`]) as they become ready, one for each credit; answers [`Response::Done`].
    /// Replaces the worker's earlier subscription on this session.
    Subscribe {
        /// The worker.
        worker: WorkerId,
        /// Where from, the first with work first.
        #[serde(deserialize_with = "bounded::texts")]
        queues: Vec<QueueName>,
        /// As in [`Request::Lease`].
        #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "bounded::texts")]
        weights: Vec<u32>,
        /// For how long each.
        lease_ms: u64,
        /// How many may be pushed now.
        credits: u32,
    },
    /// More may be pushed; answers [`Response::Done`].
    AddCredits {
        /// The worker.
        worker: WorkerId,
        /// How many more.
        credits: u32,
    },
    /// Stops pushing; what is leased stays leased; answers [`Response::Done`].
    Unsubscribe {
        /// The worker.
        worker: WorkerId,
    },
    /// Extends leases by `lease_ms` from now; answers [`Response::Extended`], in order. Idempotent.
    Extend {
        /// Which; may be none if there is progress to tell.
        leases: Vec<LeaseRef>,
        /// By how much.
        lease_ms: u64,
        /// How far jobs are. What is told under a lease that is not held is dropped.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        progress: Vec<(LeaseRef, Progress)>,
    },
    /// Leaves bytes for the job's next attempt, instead of what was left before; answers [`Response::Done`]. Idempotent.
    Checkpoint {
        /// Which.
        lease: LeaseRef,
        /// At most [`crate::limits::CHECKPOINT_BYTES_MAX`]; none clears.
        data: bytes::Bytes,
    },
    /// Ends jobs well, each on its own, in one step; answers [`Response::Acted`], in order. Idempotent: a repetition under the
    /// same token is answered as the first.
    Complete {
        /// Which, and with what; 1 to [`crate::limits::COMPLETIONS_MAX`].
        completions: Vec<(LeaseRef, Completion)>,
    },
    /// Ends an attempt badly; answers [`Response::Failed`]. Idempotent like complete while the job still waits for
    /// its next attempt, or if this was its end.
    Fail {
        /// Which.
        lease: LeaseRef,
        /// Why.
        failure: Failure,
    },
    /// Gives a job back unfinished; the attempt does not count; answers [`Response::Done`].
    Release {
        /// Which.
        lease: LeaseRef,
        /// How long it is to wait before it may run again (snooze); 0 to [`crate::limits::DELAY_MS_MAX`].
        #[serde(default)]
        delay_ms: u64,
    },
    /// The worker goes away: all its leases are released at once; answers [`Response::Done`].
    Disconnect {
        /// The worker.
        worker: WorkerId,
    },
    /// Does something to jobs, each on its own, in one step; answers [`Response::Acted`], in order. Done again, it does no
    /// more, though it may be answered `wrong_state` or `not_found` then.
    Act {
        /// Which; 1 to [`crate::limits::ACTION_JOBS_MAX`].
        jobs: Vec<JobId>,
        /// What.
        action: JobAction,
        /// Only to those that are in one of these states then; none: in any that the action permits.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only_in: Vec<JobState>,
    },
    /// Lists jobs, page by page; answers [`Response::Jobs`].
    ListJobs {
        /// Which.
        #[serde(default)]
        filter: JobFilter,
        /// Where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<JobId>,
        /// From the oldest on, instead of from the newest back.
        #[serde(default)]
        oldest_first: bool,
        /// How many at most; at most [`crate::limits::LIST_JOBS_MAX`].
        limit: u32,
        /// How fresh. `linearizable` writes a checkpoint first; `stale` is as of the last one.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Changes settings, all or none; answers [`Response::Done`].
    Configure {
        /// Which, in order; 1 to [`crate::limits::SETTINGS_MAX`].
        settings: Vec<Setting>,
    },
    /// What the cluster as a whole is set to; answers [`Response::Settings`].
    GetSettings {
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Lists workers by id; answers [`Response::Workers`].
    ListWorkers {
        /// Only ids greater than this one: where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<WorkerId>,
        /// How many at most; at most [`crate::limits::WORKER_LIST_MAX`].
        limit: u32,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Tells a worker what to do; answers [`Response::Done`]. It hears of it at once if it is connected.
    OrderWorker {
        /// Which.
        worker: WorkerId,
        /// What.
        order: WorkerOrder,
    },
    /// Reads a value of the cluster's state; answers [`Response::State`].
    GetState {
        /// Which.
        key: StateKey,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Lists values of the cluster's state by key; answers [`Response::StateList`].
    ListState {
        /// Only keys that begin so.
        #[serde(default)]
        prefix: String,
        /// Only keys greater than this one: where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<StateKey>,
        /// How many at most; at most [`crate::limits::STATE_LIST_MAX`].
        limit: u32,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Reads a job; answers [`Response::Job`].
    GetJob {
        /// Which.
        job: JobId,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
        /// Waits up to this long until the job is in a terminal state.
        #[serde(default)]
        wait_ms: u64,
    },
    /// Lists queues with counts; answers [`Response::Queues`].
    ListQueues {
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Lists modules; answers [`Response::Modules`].
    ListModules {
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// What a module's name points to; answers [`Response::Module`].
    ResolveModule {
        /// Which.
        module: ModuleRef,
    },
    /// Makes, rotates or revokes a token; answers [`Response::Done`].
    ChangeToken {
        /// Which, and how.
        change: TokenChange,
    },
    /// Lists tokens by name; answers [`Response::Tokens`].
    ListTokens {
        /// Only names behind this one: where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<TokenName>,
        /// How many at most; at most [`crate::limits::TOKEN_LIST_MAX`].
        limit: u32,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// Makes, changes or removes a secret; answers [`Response::Done`], or [`Response::Resealed`].
    ChangeSecret {
        /// Which, and how.
        change: SecretChange,
    },
    /// Lists secrets by name, without their values; answers [`Response::Secrets`].
    ListSecrets {
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// The secrets that a job is given, asked by the worker that holds it; answers [`Response::JobSecrets`].
    GetSecrets {
        /// Under which lease.
        lease: LeaseRef,
    },
    /// Makes, changes or removes a namespace; answers [`Response::Done`].
    ChangeNamespace {
        /// Which, and how.
        change: NamespaceChange,
    },
    /// Lists the namespaces that the asker may enter, by name; answers [`Response::Namespaces`].
    ListNamespaces {
        /// Only names behind this one: where the page before ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Namespace>,
        /// How many at most; at most [`crate::limits::NAMESPACE_LIST_MAX`].
        limit: u32,
        /// How fresh.
        #[serde(default)]
        consistency: Consistency,
    },
    /// The cluster as this node knows it; answers [`Response::Cluster`].
    ClusterStatus,
    /// Adds a node that runs with an empty data directory at `address`: first as a learner, and, once it has caught up and
    /// unless `learner` is set, as a voter; answers [`Response::Done`] then.
    AddNode {
        /// Its id, never used before.
        node: NodeId,
        /// Where it listens.
        address: NodeAddress,
        /// Whether it shall stay without a vote.
        #[serde(default)]
        learner: bool,
    },
    /// Removes a node; the leader may remove itself; answers [`Response::Done`].
    RemoveNode {
        /// Which.
        node: NodeId,
    },
    /// Hands leadership over; answers [`Response::Leader`] once another node leads.
    TransferLeader {
        /// To whom; absent: to the voter that is furthest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<NodeId>,
    },
}

impl Request {
    /// The name as it stands on the wire and in the audit log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Enqueue { .. } => "enqueue",
            Self::CreateBatch { .. } => "create_batch",
            Self::SealBatch { .. } => "seal_batch",
            Self::GetBatch { .. } => "get_batch",
            Self::ListBatches { .. } => "list_batches",
            Self::ListGroups { .. } => "list_groups",
            Self::ListSchedules { .. } => "list_schedules",
            Self::GetSchedule { .. } => "get_schedule",
            Self::RunSchedule { .. } => "run_schedule",
            Self::RegisterWorker { .. } => "register_worker",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Lease { .. } => "lease",
            Self::Subscribe { .. } => "subscribe",
            Self::AddCredits { .. } => "add_credits",
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Extend { .. } => "extend",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Complete { .. } => "complete",
            Self::Fail { .. } => "fail",
            Self::Release { .. } => "release",
            Self::Disconnect { .. } => "disconnect",
            Self::Act { .. } => "act",
            Self::ListJobs { .. } => "list_jobs",
            Self::Configure { .. } => "configure",
            Self::GetSettings { .. } => "get_settings",
            Self::ListWorkers { .. } => "list_workers",
            Self::OrderWorker { .. } => "order_worker",
            Self::GetState { .. } => "get_state",
            Self::ListState { .. } => "list_state",
            Self::GetJob { .. } => "get_job",
            Self::ListQueues { .. } => "list_queues",
            Self::ListModules { .. } => "list_modules",
            Self::ResolveModule { .. } => "resolve_module",
            Self::ChangeToken { .. } => "change_token",
            Self::ListTokens { .. } => "list_tokens",
            Self::ChangeSecret { .. } => "change_secret",
            Self::ListSecrets { .. } => "list_secrets",
            Self::GetSecrets { .. } => "get_secrets",
            Self::ChangeNamespace { .. } => "change_namespace",
            Self::ListNamespaces { .. } => "list_namespaces",
            Self::ClusterStatus => "cluster_status",
            Self::AddNode { .. } => "add_node",
            Self::RemoveNode { .. } => "remove_node",
            Self::TransferLeader { .. } => "transfer_leader",
        }
    }
}

/// The answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Done.
    Done,
    /// For each job of the enqueue, in order.
    Enqueued(Vec<EnqueueOutcome>),
    /// The batch.
    Batch(Box<BatchView>),
    /// Batches, from the newest back; fewer than were asked for only at the end.
    Batches(Vec<BatchView>),
    /// Groups, by key; fewer than were asked for only at the end.
    Groups(Vec<GroupView>),
    /// The schedule.
    Schedule(Box<ScheduleView>),
    /// Schedules, by name; fewer than were asked for only at the end, or where a page has as many bytes as one answer takes:
    /// an empty page is the end.
    Schedules(Vec<ScheduleView>),
    /// The worker's incarnation.
    Registered(WorkerId),
    /// The leased jobs.
    Leased(Vec<LeasedJob>),
    /// For each lease, in order: its new end, or why it is lost.
    Extended(Vec<Result<Extended, Error>>),
    /// What the worker is told to do.
    Order(WorkerOrder),
    /// For each job, in order: done, or why not.
    Acted(Vec<Result<(), Error>>),
    /// Jobs.
    Jobs(JobPage),
    /// The cluster's settings.
    Settings(ClusterSettings),
    /// Workers, by id; fewer than were asked for only at the end, or where a page has as many bytes as one answer takes: an
    /// empty page is the end.
    Workers(Vec<WorkerView>),
    /// A value; `None` if there is none.
    State(Option<StateValue>),
    /// Values, by key; fewer than were asked for only at the end, or where a page has as many bytes as one answer takes:
    /// an empty page is the end.
    StateList(Vec<StateValue>),
    /// Where the failed job stands now.
    Failed {
        /// `scheduled`, `dead`, or `cancelled` if it had been asked to stop.
        state: JobState,
        /// When it will be tried again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<LogTime>,
    },
    /// The job.
    Job(Box<JobView>),
    /// The queues, by name.
    Queues(Vec<QueueStats>),
    /// The modules, by digest.
    Modules(Vec<ModuleManifest>),
    /// The module.
    Module(ModuleManifest),
    /// Tokens, by name; fewer than were asked for only at the end, or where a page has as many bytes as one answer takes: an
    /// empty page is the end.
    Tokens(Vec<TokenView>),
    /// Secrets, by name, all of them.
    Secrets(Vec<SecretView>),
    /// The secrets of a job, by name.
    JobSecrets(Vec<(SecretName, SecretValue)>),
    /// All secrets are sealed under the first key of the leader's file, which is known by this: `jobraft storage keygen` wrote it
    /// beside the key.
    Resealed(String),
    /// Namespaces, by name; fewer than were asked for only at the end.
    Namespaces(Vec<NamespaceView>),
    /// The cluster.
    Cluster(ClusterStatus),
    /// The leader now.
    Leader(NodeId),
}
