//! What the log carries, and what applying it answers.

use crate::UnwrittenJob;
use bytes::Bytes;
use jobraft_protocol::{
    BackoffCurve, BatchId, BatchView, CancelNotice, Completion, Digest, EnqueueOutcome, Error, Extended, Failure,
    JobAction, JobId, JobState, LeaseRef, LeasedJob, LogTime, ModuleManifest, ModuleName, ModuleRef, Namespace,
    NamespaceChange, NewBatch, NewJob, Progress, QueueName, ScheduleName, SecretGrant, SecretName, Setting, Start,
    Task, TokenChange, TokenName, UniqueKey, WorkerId, WorkerInfo, WorkerOrder, limits,
};
use serde::{Deserialize, Serialize};

/// One entry of the replicated log: everything that happens at one instant of log time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Stamped by the leader; the state machine never goes back behind what it has seen.
    pub at: LogTime,
    /// Whether this is the first entry of a new leader's term: every live lease then gets a full lease anew, because
    /// workers could not extend while there was no leader.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leader_change: bool,
    /// Applied in order, after the timers that are due. May be empty: a timer that falls due on an idle cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
}

/// A step of the replicated state machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Enqueues jobs. Answers [`Outcome::Enqueued`].
    Enqueue {
        /// The jobs.
        jobs: Vec<NewJob>,
        /// Whether one that is refused refuses the command; else each is on its own.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        all_or_none: bool,
        /// Those that they come after and that have ended, read by the leader.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        known: Vec<Target>,
    },
    /// Creates a batch with its first jobs, all or nothing. Answers [`Outcome::Batch`].
    CreateBatch {
        /// The batch.
        batch: Box<NewBatch>,
        /// As in [`Command::Enqueue`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        known: Vec<Target>,
        /// In which it is, with all of its jobs.
        #[serde(default, skip_serializing_if = "Namespace::is_default")]
        namespace: Namespace,
    },
    /// Lets a batch take no more jobs. Answers [`Outcome::Batch`].
    SealBatch {
        /// Which.
        batch: BatchId,
        /// Whether it is cancelled: takes none from its own jobs either, and calls nobody.
        cancel: bool,
    },
    /// Enqueues a schedule's job now. Answers [`Outcome::Enqueued`].
    RunSchedule {
        /// Which.
        name: ScheduleName,
        /// The id of the job.
        job: JobId,
    },
    /// Ticks of a schedule fell due: the leader read the calendar. Those that were dealt with are passed over, as are all if
    /// the schedule is another by now. Answers [`Outcome::Done`].
    Tick {
        /// Which.
        name: ScheduleName,
        /// What was read: see [`crate::Plan`].
        revision: u64,
        /// The ticks, oldest first; at most [`jobraft_protocol::limits::TICKS_MAX`].
        ticks: Vec<LogTime>,
        /// How many came before them that need not be told one by one, for they are late and passed over.
        passed_over: u64,
        /// Whether more are due behind them.
        more: bool,
    },
    /// Mints a worker incarnation. Answers [`Outcome::Registered`].
    RegisterWorker {
        /// What it says of itself.
        info: WorkerInfo,
    },
    /// Notes that the leader heard of these workers. Those that are not known are passed over. Answers [`Outcome::Done`].
    WorkersSeen {
        /// Which.
        workers: Vec<WorkerId>,
    },
    /// Tells a worker what to do: one that is not to run is leased nothing. Answers [`Outcome::Done`].
    OrderWorker {
        /// Which.
        worker: WorkerId,
        /// What.
        order: WorkerOrder,
    },
    /// Leases up to `max` ready jobs, from the first queue that has some, then the next. Answers [`Outcome::Leased`].
    Lease {
        /// To whom.
        worker: WorkerId,
        /// Where from.
        queues: Vec<QueueName>,
        /// For each queue, how many of it at most; none: as many as `max` allows.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        shares: Vec<u32>,
        /// How many at most.
        max: u32,
        /// For how long.
        lease_ms: u64,
    },
    /// Extends leases. Answers [`Outcome::Extended`].
    Extend {
        /// Which.
        leases: Vec<LeaseRef>,
        /// Until this long after now.
        lease_ms: u64,
        /// How far jobs are; under a lease that is not held it is dropped.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        progress: Vec<(LeaseRef, Progress)>,
    },
    /// Leaves bytes for the next attempt. Answers [`Outcome::Done`].
    Checkpoint {
        /// Which.
        lease: LeaseRef,
        /// What; none clears.
        data: Bytes,
    },
    /// Completes a job. Answers [`Outcome::Done`].
    Complete {
        /// Which.
        lease: LeaseRef,
        /// With what.
        completion: Completion,
        /// As in [`Command::Enqueue`].
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        known: Vec<Target>,
    },
    /// Fails an attempt. Answers [`Outcome::Failed`].
    Fail {
        /// Which.
        lease: LeaseRef,
        /// Why.
        failure: Failure,
    },
    /// Gives a job back; its attempt does not count. Answers [`Outcome::Done`].
    Release {
        /// Which.
        lease: LeaseRef,
        /// How long it waits before it may run again.
        #[serde(default)]
        delay_ms: u64,
    },
    /// Releases all that a worker holds. Answers [`Outcome::Done`].
    Disconnect {
        /// Who.
        worker: WorkerId,
    },
    /// Does something to jobs, each on its own. Answers [`Outcome::Acted`].
    Act {
        /// Which.
        targets: Vec<Target>,
        /// What.
        action: JobAction,
        /// Only to those in one of these states; none: any.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only_in: Vec<JobState>,
        /// Who asked for it; empty: nobody who has a name.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        by: String,
    },
    /// Changes settings, all or none. Answers [`Outcome::Done`].
    Configure {
        /// Which, in order.
        settings: Vec<Setting>,
    },
    /// Makes, rotates or revokes a token. Answers [`Outcome::Done`].
    ChangeToken {
        /// Which, and how.
        change: TokenChange,
        /// Who asked for it.
        by: String,
    },
    /// Notes that tokens were used, those that are there. Answers [`Outcome::Done`].
    TokensUsed {
        /// Which.
        tokens: Vec<TokenName>,
    },
    /// Makes a module known whose bytes a quorum holds, and points a name to it. Answers [`Outcome::Done`].
    PutModule {
        /// The module; its `names` are ignored.
        manifest: ModuleManifest,
        /// The name, if any.
        name: Option<ModuleName>,
        /// In which it is known by that.
        #[serde(default, skip_serializing_if = "Namespace::is_default")]
        namespace: Namespace,
        /// Refuses a name that somebody else gave first.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        only_own: bool,
    },
    /// Makes, changes or removes a secret. Answers [`Outcome::Done`].
    ChangeSecret {
        /// Which, and how.
        change: SecretCommand,
        /// Who asked for it.
        by: String,
    },
    /// Makes, changes or removes a namespace. Answers [`Outcome::Done`].
    ChangeNamespace {
        /// Which, and how.
        change: NamespaceChange,
        /// Who asked for it.
        by: String,
    },
}

/// A change of a secret, as [`jobraft_protocol::SecretChange`] asks for it, with its value sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretCommand {
    /// Makes one, or gives one another value.
    Put {
        /// Which.
        name: SecretName,
        /// Its value, as only nodes that have the key can read it.
        sealed: Bytes,
        /// To whose jobs it is given, if that changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grant: Option<SecretGrant>,
    },
    /// Gives one to other jobs.
    Grant {
        /// Which.
        name: SecretName,
        /// To whose.
        grant: SecretGrant,
    },
    /// Puts the same value under another key, unless it has another one by now.
    Reseal {
        /// Which.
        name: SecretName,
        /// As it was sealed when it was opened.
        former: Bytes,
        /// As it is sealed now.
        sealed: Bytes,
    },
    /// Removes one.
    Delete {
        /// Which.
        name: SecretName,
    },
}

impl SecretCommand {
    /// The secret that is changed.
    #[must_use]
    pub const fn name(&self) -> &SecretName {
        match self {
            Self::Put { name, .. } | Self::Grant { name, .. } | Self::Reseal { name, .. } | Self::Delete { name } => {
                name
            }
        }
    }
}

/// What a command, a job or another composite value takes beyond its names, keys, lists and bytes, at most.
const ENVELOPE_BYTES: usize = 128;
/// What a number or a short word takes with its name, at most.
const FIELD_BYTES: usize = 40;
/// What a number in a list takes, at most.
const NUMBER_BYTES: usize = 9;
/// What a module's signature takes.
const SIGNATURE_BYTES: usize = 300;
/// What an id in a list takes.
const ID_BYTES: usize = 17;

impl Command {
    /// Enqueues jobs, each on its own, that come after none that has ended.
    #[must_use]
    pub const fn enqueue(jobs: Vec<NewJob>) -> Self {
        Self::Enqueue { jobs, all_or_none: false, known: Vec::new() }
    }

    /// Completes a job whose children come after none that had ended before.
    #[must_use]
    pub const fn complete(lease: LeaseRef, completion: Completion) -> Self {
        Self::Complete { lease, completion, known: Vec::new() }
    }

    /// How many bytes this command takes in an entry, at most: what batching counts, so that no entry outgrows the frames
    /// in which it travels.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        ENVELOPE_BYTES
            + match self {
                Self::Enqueue { jobs, known, .. } => jobs_bytes(jobs) + targets_bytes(known),
                Self::CreateBatch { batch, known, namespace } => {
                    let callbacks = batch.on_complete.iter().chain(&batch.on_failure);
                    let callbacks = callbacks.map(|job| jobs_bytes(std::slice::from_ref(job))).sum::<usize>();
                    let label = batch.label.as_ref().map_or(0, |label| label.as_str().len());
                    let texts = label + namespace.as_str().len();
                    ENVELOPE_BYTES + texts + callbacks + jobs_bytes(&batch.jobs) + targets_bytes(known)
                }
                Self::Complete { completion, known, .. } => {
                    let Completion { result, log, jobs, state } = completion;
                    let state = state.iter().map(|write| {
                        ENVELOPE_BYTES + write.key.as_str().len() + write.value.as_ref().map_or(0, |value| value.len())
                    });
                    result.len() + log.len() + jobs_bytes(jobs) + state.sum::<usize>() + targets_bytes(known)
                }
                Self::Fail { failure, .. } => failure.message.len() + failure.log.len(),
                Self::Extend { leases, progress, .. } => {
                    let progress = progress.iter().map(|(_, progress)| ENVELOPE_BYTES + progress.message.len());
                    leases.len() * FIELD_BYTES + progress.sum::<usize>()
                }
                Self::Checkpoint { data, .. } => data.len(),
                Self::Lease { queues, .. } => names_bytes(queues),
                Self::Act { targets, action, by, .. } => {
                    let said = match action {
                        JobAction::Cancel { reason, .. } => reason.len(),
                        JobAction::Move { queue } => queue.as_str().len(),
                        JobAction::Delete | JobAction::Retry | JobAction::Prioritize { .. } => 0,
                    };
                    said + by.len() + ENVELOPE_BYTES + targets_bytes(targets)
                }
                Self::Configure { settings } => settings
                    .iter()
                    .map(|setting| match setting {
                        Setting::Queue(queue, _) => 2 * ENVELOPE_BYTES + queue.as_str().len(),
                        Setting::Group(queue, group, _) => {
                            2 * ENVELOPE_BYTES + queue.as_str().len() + group.as_str().len()
                        }
                        Setting::PutSchedule(schedule) => {
                            let job = schedule.job.job(JobId::new(LogTime::ZERO, [0; 10]), LogTime::ZERO);
                            let texts = schedule.name.as_str().len() + schedule.cron.len() + schedule.time_zone.len();
                            2 * ENVELOPE_BYTES + texts + jobs_bytes(&[job])
                        }
                        Setting::PauseSchedule(name, _) | Setting::RemoveSchedule(name) => {
                            ENVELOPE_BYTES + name.as_str().len()
                        }
                        Setting::CreateQueues(_) => FIELD_BYTES,
                    })
                    .sum(),
                Self::WorkersSeen { workers } => workers.len() * FIELD_BYTES,
                Self::ChangeToken { change, by } => {
                    let patterns = match change {
                        TokenChange::Create(token) => token.grant.queues(),
                        TokenChange::Rotate { .. } | TokenChange::Revoke { .. } => &[],
                    };
                    let patterns = patterns.iter().map(|pattern| FIELD_BYTES + pattern.as_str().len());
                    let texts = change.name().as_str().len() + by.len() + limits::NAMESPACE_BYTES_MAX;
                    2 * ENVELOPE_BYTES + texts + patterns.sum::<usize>()
                }
                Self::TokensUsed { tokens } => tokens.iter().map(|name| FIELD_BYTES + name.as_str().len()).sum(),
                Self::PutModule { manifest, name, namespace, only_own: _ } => {
                    let imports = manifest.imports.iter().map(|import| FIELD_BYTES + import.len()).sum::<usize>();
                    let names = manifest.names.iter().chain(name).map(|name| FIELD_BYTES + name.as_str().len());
                    let signatures = manifest.signatures.len() * SIGNATURE_BYTES;
                    let texts = manifest.owner.len() + FIELD_BYTES + namespace.as_str().len();
                    ENVELOPE_BYTES + texts + imports + names.sum::<usize>() + signatures
                }
                Self::ChangeSecret { change, by } => {
                    let (sealed, grant) = match change {
                        SecretCommand::Put { sealed, grant, .. } => (sealed.len(), grant.as_ref()),
                        SecretCommand::Grant { grant, .. } => (0, Some(grant)),
                        SecretCommand::Reseal { former, sealed, .. } => (former.len() + sealed.len(), None),
                        SecretCommand::Delete { .. } => (0, None),
                    };
                    let (modules, queues) =
                        grant.map_or((&[][..], &[][..]), |grant| (&grant.modules[..], &grant.queues[..]));
                    let queues = queues.iter().map(|pattern| FIELD_BYTES + pattern.as_str().len()).sum::<usize>();
                    let modules = modules.iter().map(|module| match module {
                        ModuleRef::Name(name) => FIELD_BYTES + name.as_str().len(),
                        ModuleRef::Digest(_) => 2 * FIELD_BYTES,
                    });
                    let texts = change.name().as_str().len() + by.len();
                    2 * ENVELOPE_BYTES + texts + sealed + modules.sum::<usize>() + queues
                }
                Self::ChangeNamespace { change, by } => {
                    let quota = match change {
                        NamespaceChange::Create { quota, .. } | NamespaceChange::Set { quota, .. } => quota.len(),
                        NamespaceChange::Delete { .. } => 0,
                    };
                    2 * ENVELOPE_BYTES + change.name().as_str().len() + by.len() + quota * ENVELOPE_BYTES
                }
                Self::RegisterWorker { info } => {
                    let texts = info.name.len() + info.agent.len() + info.owner.len() + info.namespace.as_str().len();
                    names_bytes(&info.queues) + FIELD_BYTES + texts
                }
                Self::Tick { name, ticks, .. } => ENVELOPE_BYTES + name.as_str().len() + ticks.len() * NUMBER_BYTES,
                Self::RunSchedule { name, .. } => name.as_str().len(),
                Self::OrderWorker { .. } | Self::Release { .. } | Self::Disconnect { .. } | Self::SealBatch { .. } => 0,
            }
    }
}

fn jobs_bytes(jobs: &[NewJob]) -> usize {
    let bytes = |job: &NewJob| {
        let NewJob { queue, task, payload, backoff, unique, group, after, label, .. } = job;
        let task = match task {
            Task::Handler(name) => name.as_str().len(),
            Task::Module(_) => FIELD_BYTES,
        };
        let backoff = backoff.as_ref().map_or(0, |backoff| match &backoff.curve {
            BackoffCurve::List { delays_ms } => ENVELOPE_BYTES + delays_ms.len() * NUMBER_BYTES,
            _ => ENVELOPE_BYTES,
        });
        let unique = unique.as_ref().map_or(0, |unique| ENVELOPE_BYTES + unique.key.as_str().len());
        let workflow = group.as_ref().map_or(0, |group| FIELD_BYTES + group.as_str().len())
            + after.as_ref().map_or(0, |after| ENVELOPE_BYTES + after.jobs.len() * ID_BYTES)
            + label.as_ref().map_or(0, |label| FIELD_BYTES + label.as_str().len())
            + job.batch.map_or(0, |_| FIELD_BYTES);
        let numbers = [job.run_timeout_ms, job.ttl_ms, job.start_deadline_ms].iter().flatten().count()
            + [job.max_attempts, job.max_crashes].iter().flatten().count()
            + job.priority.iter().count()
            + usize::from(job.start != Start::Now);
        let texts = queue.as_str().len() + task + payload.len() + backoff + unique + workflow;
        ENVELOPE_BYTES + texts + numbers * FIELD_BYTES
    };
    jobs.iter().map(bytes).sum()
}

fn targets_bytes(targets: &[Target]) -> usize {
    targets.iter().map(|target| FIELD_BYTES + target.row.as_ref().map_or(0, Bytes::len)).sum()
}

fn names_bytes(names: &[QueueName]) -> usize {
    names.iter().map(|name| FIELD_BYTES + name.as_str().len()).sum()
}

/// A job that something is done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Which.
    pub job: JobId,
    /// If it has ended: its row, as [`crate::Core::row`] gives it or as it stands in `state.db`, read by the leader; for
    /// anything but a retry [`crate::identity`] of it will do. It is believed only as far as the state knows nothing better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<Bytes>,
}

/// The answer to a command that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// For each job, in order.
    Enqueued(Vec<EnqueueOutcome>),
    /// The batch.
    Batch(Box<BatchView>),
    /// The new incarnation.
    Registered(WorkerId),
    /// The leased jobs.
    Leased(Leased),
    /// For each lease, in order: its new end, or why it is lost.
    Extended(Vec<Result<Extended, Error>>),
    /// For each target, in order.
    Acted(Vec<Result<(), Error>>),
    /// Where the failed job stands.
    Failed {
        /// `scheduled`, `dead`, or `cancelled` if it had been asked to stop.
        state: JobState,
        /// When it is due again.
        retry_at: Option<LogTime>,
    },
}

/// Jobs that were leased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leased {
    /// The jobs; may be none.
    pub jobs: Vec<LeasedJob>,
    /// Those of them, in order, whose payloads are in their rows alone and are to be read there. That differs between nodes.
    pub at_rest: Vec<JobId>,
}

impl Leased {
    /// The jobs with their payloads, as `read` reads those that rest. A job without a row has been deleted meanwhile, and its
    /// lease is over: it is left out.
    ///
    /// # Errors
    /// The first of `read`.
    pub fn complete<E>(self, mut read: impl FnMut(JobId) -> Result<Option<Bytes>, E>) -> Result<Vec<LeasedJob>, E> {
        let Self { jobs, at_rest } = self;
        let mut at_rest = at_rest.into_iter().peekable();
        let mut complete = Vec::with_capacity(jobs.len());
        for mut job in jobs {
            if at_rest.next_if_eq(&job.id).is_some() {
                let Some(payload) = read(job.id)? else { continue };
                job.payload = payload;
            }
            complete.push(job);
        }
        Ok(complete)
    }
}

/// What applying one entry gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// One answer for each command, in order.
    pub outcomes: Vec<Result<Outcome, Error>>,
    /// What others may wait for. No part of the state: a node that nobody waits at drops them.
    pub events: Vec<Event>,
}

/// Something that happened to which someone outside the state machine may react.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The queue got ready jobs; at most once per queue and entry.
    Ready(QueueName),
    /// The job reached a terminal state.
    Ended(JobId),
    /// The batch has ended.
    BatchEnded(BatchId),
    /// A schedule was put, paused, resumed or removed.
    Scheduled,
    /// A worker is to stop a job that it holds.
    CancelRequested {
        /// The worker.
        worker: WorkerId,
        /// What it holds.
        lease: LeaseRef,
        /// Why, and until when.
        notice: CancelNotice,
    },
    /// A worker was told what to do.
    Ordered {
        /// The worker.
        worker: WorkerId,
        /// What.
        order: WorkerOrder,
    },
    /// A worker lost a lease that it still counts on, because the job was cancelled.
    Revoked {
        /// The worker.
        worker: WorkerId,
        /// What it held.
        lease: LeaseRef,
    },
    /// A worker let a lease run out: it died, hangs or is cut off, until it shows otherwise.
    LeaseExpired {
        /// The worker.
        worker: WorkerId,
    },
    /// A token was made, rotated or revoked.
    TokenChanged,
    /// The module became known: a node without its bytes may fetch them.
    ModuleReady(Digest),
}

/// What a checkpoint has to write: everything that changed since the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Counters and log time; replaces the former header. Opaque to storage.
    pub header: Bytes,
    /// Jobs that changed, live and ended, by id. Of one that ended and lives again under its id, the ended one is first.
    pub jobs: Vec<JobRow>,
    /// Jobs whose rows are to go, after `jobs` was written, by id; some may have none.
    pub deleted: Vec<JobId>,
    /// Other things that changed.
    pub rows: Vec<Row>,
}

/// How a job left memory.
#[derive(Clone, Debug)]
pub enum Departed {
    /// It ended, and its row is not written yet.
    Ended(Box<UnwrittenJob>),
    /// It was deleted.
    Deleted,
}

/// A job as it rests in `state.db`: columns to search by, and the whole job, opaque to storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// Primary key.
    pub id: JobId,
    /// For listings.
    pub queue: QueueName,
    /// For listings and for loading: rows in a terminal state stay on disk.
    pub state: JobState,
    /// For listings.
    pub enqueued_at: LogTime,
    /// For retention, and for the ids that are remembered.
    pub finished_at: Option<LogTime>,
    /// Which one of its queue it was to end in this state, from 1, without gaps at the time; for retention. Greater means
    /// `finished_at` is the same or later. There exactly for ended jobs.
    pub ended_seq: Option<u64>,
    /// For listings: what it runs, as [`jobraft_protocol::Task`] prints it.
    pub task: String,
    /// For listings: its unique key.
    pub key: Option<UniqueKey>,
    /// For listings: the batch of which it is a part.
    pub batch: Option<BatchId>,
    /// For listings: the message of its last error.
    pub error: Option<String>,
    /// Whether there may be a row of it that this one replaces; if not, it is the first.
    pub rests: bool,
    /// CBOR of the job.
    pub body: Bytes,
}

/// A row of a small table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which table.
    pub table: Table,
    /// Its key.
    pub key: String,
    /// CBOR of the value; `None` deletes.
    pub body: Option<Vec<u8>>,
}

/// The small tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Queues with their counters, by name.
    Queue,
    /// Module manifests, by digest.
    Module,
    /// Module names, pointing to digests.
    ModuleName,
    /// Unique keys that are held for a period.
    UniqueKey,
    /// Workers, by incarnation.
    Worker,
    /// The cluster's state for jobs.
    State,
    /// Jobs whose rows are gone while their ids are still remembered.
    Tombstone,
    /// Groups of queues, by queue and key.
    Group,
    /// Batches.
    Batch,
    /// Schedules, by name.
    Schedule,
    /// Tokens, by name.
    Token,
    /// Namespaces, by name.
    Namespace,
    /// Who brought a module into a namespace, by namespace and digest.
    ModuleHolder,
    /// Secrets for jobs, sealed, by name.
    Secret,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 14] = [
        Self::Queue,
        Self::Module,
        Self::ModuleName,
        Self::UniqueKey,
        Self::Worker,
        Self::State,
        Self::Tombstone,
        Self::Group,
        Self::Batch,
        Self::Schedule,
        Self::Token,
        Self::Namespace,
        Self::ModuleHolder,
        Self::Secret,
    ];

    /// The table's name on disk.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Module => "module",
            Self::ModuleName => "module_name",
            Self::UniqueKey => "unique_key",
            Self::Worker => "worker",
            Self::State => "state",
            Self::Tombstone => "tombstone",
            Self::Group => "group",
            Self::Batch => "batch",
            Self::Schedule => "schedule",
            Self::Token => "token",
            Self::Namespace => "namespace",
            Self::ModuleHolder => "module_holder",
            Self::Secret => "secret",
        }
    }
}

/// What the leader reads the calendar for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The schedule.
    pub name: ScheduleName,
    /// Another one each time that the schedule is put or resumed.
    pub revision: u64,
    /// Its expression.
    pub cron: String,
    /// Its time zone.
    pub time_zone: String,
    /// Whether each late tick is made up for; else the leader need not tell them one by one.
    pub tells_all: bool,
    /// Every tick up to here is dealt with.
    pub ticked_to: LogTime,
}

/// Which of a queue's ended jobs are still kept: those that ended at `from` or later and are numbered above `above`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The queue.
    pub queue: QueueName,
    /// A terminal state.
    pub state: JobState,
    /// In log time.
    pub from: LogTime,
    /// In [`JobRow::ended_seq`].
    pub above: u64,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_protocol::{
        After, Backoff, FencingToken, GroupSetting, JobTemplate, NamespaceSetting, OnConflict, OnFailure, QueueSetting,
        Rate, Schedule, StateKey, StateWrite, Unique, UniqueScope, cbor,
    };

    fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(bytes: usize) -> T {
        "n".repeat(bytes).parse().unwrap()
    }

    /// A job that says all that can be said, in as many bytes as it takes.
    fn largest(payload: usize) -> NewJob {
        let id = JobId::new(LogTime::from_ms(u64::MAX >> 16), [0xff; 10]);
        let curve = BackoffCurve::List { delays_ms: vec![limits::BACKOFF_MS_MAX; limits::BACKOFF_LIST_MAX] };
        NewJob {
            priority: Some(9),
            start: Start::At(LogTime::from_ms(u64::MAX)),
            max_attempts: Some(u32::MAX),
            run_timeout_ms: Some(u64::MAX),
            ttl_ms: Some(u64::MAX),
            start_deadline_ms: Some(u64::MAX),
            backoff: Some(Backoff { max_ms: u64::MAX, jitter_percent: 100, curve }),
            max_crashes: Some(u32::MAX),
            unique: Some(Unique {
                key: UniqueKey::new(&"k".repeat(256)).unwrap(),
                scope: UniqueScope::ForMs(u64::MAX),
                on_conflict: OnConflict::Replace { payload: true, start: true },
            }),
            group: Some("g".repeat(256).parse().unwrap()),
            after: Some(After { jobs: vec![id; 100], on_failure: OnFailure::Cancel }),
            batch: Some(BatchId(id)),
            label: Some(name(128)),
            ..NewJob::new(id, name(128), Task::Handler(name(128)), vec![0xff; payload])
        }
    }

    #[test]
    fn a_command_weighs_no_less_than_it_takes() {
        let lease = LeaseRef { job: largest(0).id, token: FencingToken(u64::MAX) };
        let plain = NewJob::new(lease.job, name(1), Task::Handler(name(1)), "");
        let module = NewJob { task: Task::Module(Digest([0xff; 32])), ..plain.clone() };
        let exponential = BackoffCurve::Exponential { first_ms: u64::MAX, factor: u32::MAX };
        let backoff = Some(Backoff { max_ms: u64::MAX, ..Backoff::new(exponential) });
        let write = StateWrite {
            key: StateKey::new(&"k".repeat(128)).unwrap(),
            value: Some(vec![0xff; 100].into()),
            if_version: Some(u64::MAX),
        };
        let progress = Progress { percent: 100, message: "m".repeat(256) };
        let target = Target { job: lease.job, row: Some(vec![0xff; 1_000].into()) };
        let rate = Rate { count: u64::MAX, per_ms: u64::MAX, burst: Some(u64::MAX) };
        let info = WorkerInfo {
            name: name(128),
            agent: name(128),
            queues: vec![name(128); 64],
            concurrency: u32::MAX,
            owner: name(128),
            namespace: name(32),
        };
        let (worker, lease_ms) = (WorkerId(u64::MAX), u64::MAX);
        let commands = [
            Command::Enqueue { jobs: vec![largest(70_000); 3], all_or_none: true, known: vec![target.clone(); 9] },
            Command::Enqueue {
                jobs: vec![plain, module.clone(), NewJob { backoff, ..module }],
                all_or_none: false,
                known: Vec::new(),
            },
            Command::CreateBatch {
                batch: Box::new(NewBatch {
                    label: Some(name(128)),
                    on_complete: Some(Box::new(largest(3))),
                    on_failure: Some(Box::new(largest(3))),
                    open: true,
                    ..NewBatch::new(BatchId(lease.job), vec![largest(3)])
                }),
                known: vec![target.clone()],
                namespace: name(32),
            },
            Command::SealBatch { batch: BatchId(lease.job), cancel: true },
            Command::RunSchedule { name: name(128), job: lease.job },
            Command::Tick {
                name: name(128),
                revision: u64::MAX,
                ticks: vec![LogTime::from_ms(u64::MAX); limits::TICKS_MAX],
                passed_over: u64::MAX,
                more: true,
            },
            Command::Configure {
                settings: vec![
                    Setting::Queue(name(128), QueueSetting::GroupRate(Some(rate))),
                    Setting::Group(name(128), "g".repeat(256).parse().unwrap(), GroupSetting::Rate(Some(rate))),
                    Setting::PutSchedule(Box::new(Schedule {
                        name: name(128),
                        cron: "*".repeat(256),
                        time_zone: "z".repeat(256),
                        job: JobTemplate {
                            group: largest(0).group,
                            label: largest(0).label,
                            unique: largest(0).unique,
                            ..JobTemplate::new(name(128), Task::Handler(name(128)), vec![0xff; 10])
                        },
                        catch_up: jobraft_protocol::CatchUp::All,
                        overlap: jobraft_protocol::Overlap::Replace,
                    })),
                    Setting::PauseSchedule(name(128), true),
                ],
            },
            Command::Complete {
                lease,
                completion: Completion {
                    result: vec![1; 70_000].into(),
                    log: vec![1; 300].into(),
                    jobs: vec![largest(1); 100],
                    state: vec![write; 64],
                },
                known: vec![target.clone(); 3],
            },
            Command::Fail { lease, failure: Failure::retryable("m".repeat(4_096)) },
            Command::Extend { leases: vec![lease; 500], lease_ms, progress: vec![(lease, progress); 500] },
            Command::Lease { worker, queues: vec![name(128); 64], shares: vec![u32::MAX; 64], max: u32::MAX, lease_ms },
            Command::RegisterWorker { info },
            Command::WorkersSeen { workers: vec![worker; 1_000] },
            Command::Act {
                targets: vec![target; 100],
                action: JobAction::Cancel { reason: "r".repeat(1_024), grace_ms: u64::MAX },
                only_in: JobState::ALL.to_vec(),
                by: "x".repeat(70),
            },
            Command::ChangeSecret {
                change: SecretCommand::Put {
                    name: name(64),
                    sealed: vec![0xff; 20_000].into(),
                    grant: Some(SecretGrant {
                        modules: vec![ModuleRef::Name(name(128)), ModuleRef::Digest(Digest([0xff; 32]))],
                        queues: vec![name(128); 8],
                    }),
                },
                by: "x".repeat(103),
            },
            Command::ChangeNamespace {
                change: NamespaceChange::Create {
                    name: name(32),
                    quota: vec![
                        NamespaceSetting::Jobs(Some(u64::MAX)),
                        NamespaceSetting::Bytes(Some(u64::MAX)),
                        NamespaceSetting::Rate(Some(rate)),
                        NamespaceSetting::Queues(Some(u64::MAX)),
                        NamespaceSetting::Modules(Some(u64::MAX)),
                    ],
                },
                by: "x".repeat(103),
            },
        ];
        for command in commands {
            let mut encoded = Vec::new();
            cbor::write(&command, &mut encoded).unwrap();
            let (bytes, weight) = (encoded.len(), command.weight_bytes());
            assert!(bytes <= weight, "{bytes} bytes, said to be {weight}: {command:?}");
        }
    }
}
