//! What the log carries, and what applying it answers.

use bytes::Bytes;
use jobraft_protocol::{
    Completion, Digest, EnqueueOutcome, Error, Failure, JobId, JobState, LeaseRef, LeasedJob, LogTime, ModuleManifest,
    ModuleName, NewJob, QueueName, WorkerId,
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
    /// Enqueues jobs, each on its own: one may be refused and the next accepted. Answers [`Outcome::Enqueued`].
    Enqueue {
        /// The jobs.
        jobs: Vec<NewJob>,
    },
    /// Mints a worker incarnation. Answers [`Outcome::Registered`].
    RegisterWorker {
        /// Its name, for people.
        name: String,
    },
    /// Leases up to `max` ready jobs, from the first queue that has some, then the next. Answers [`Outcome::Leased`].
    Lease {
        /// To whom.
        worker: WorkerId,
        /// Where from.
        queues: Vec<QueueName>,
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
    },
    /// Completes a job. Answers [`Outcome::Done`].
    Complete {
        /// Which.
        lease: LeaseRef,
        /// With what.
        completion: Completion,
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
    },
    /// Releases all that a worker holds. Answers [`Outcome::Done`].
    Disconnect {
        /// Who.
        worker: WorkerId,
    },
    /// Calls a job off. Answers [`Outcome::Done`].
    Cancel {
        /// Which.
        job: JobId,
        /// Why, for people.
        reason: String,
    },
    /// Makes a module known whose bytes a quorum holds, and points a name to it. Answers [`Outcome::Done`].
    PutModule {
        /// The module; its `names` are ignored.
        manifest: ModuleManifest,
        /// The name, if any.
        name: Option<ModuleName>,
    },
}

impl Command {
    /// Roughly how many bytes this command takes in an entry: what batching counts.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        const ENVELOPE_BYTES: usize = 128;
        ENVELOPE_BYTES
            + match self {
                Self::Enqueue { jobs } => jobs.iter().map(|job| ENVELOPE_BYTES + job.payload.len()).sum(),
                Self::Complete { completion, .. } => completion.result.len() + completion.log.len(),
                Self::Fail { failure, .. } => failure.message.len() + failure.log.len(),
                Self::Extend { leases, .. } => leases.len() * 32,
                Self::Lease { queues, .. } => queues.len() * 32,
                Self::Cancel { reason, .. } => reason.len(),
                Self::PutModule { manifest, .. } => manifest.imports.iter().map(String::len).sum(),
                Self::RegisterWorker { .. } | Self::Release { .. } | Self::Disconnect { .. } => 0,
            }
    }
}

/// The answer to a command that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// For each job, in order.
    Enqueued(Vec<EnqueueOutcome>),
    /// The new incarnation.
    Registered(WorkerId),
    /// The leased jobs; may be none.
    Leased(Vec<LeasedJob>),
    /// For each lease, in order: its new end, or why it is lost.
    Extended(Vec<Result<LogTime, Error>>),
    /// Where the failed job stands.
    Failed {
        /// `scheduled`, `ready` or `dead`.
        state: JobState,
        /// When it is due again.
        retry_at: Option<LogTime>,
    },
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
    /// A worker lost a lease that it still counts on, because the job was cancelled.
    Revoked {
        /// The worker.
        worker: WorkerId,
        /// What it held.
        lease: LeaseRef,
    },
    /// The module became known: a node without its bytes may fetch them.
    ModuleReady(Digest),
}

/// What a checkpoint has to write: everything that changed since the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Counters and log time; replaces the former header. Opaque to storage.
    pub header: Bytes,
    /// Jobs that changed, live and ended.
    pub jobs: Vec<JobRow>,
    /// Other things that changed.
    pub rows: Vec<Row>,
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
    /// CBOR of the job.
    pub body: Vec<u8>,
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
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Module, Self::ModuleName];

    /// The table's name on disk.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Module => "module",
            Self::ModuleName => "module_name",
        }
    }
}
