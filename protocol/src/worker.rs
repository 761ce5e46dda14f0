//! Workers as the cluster knows them.

use crate::{JobId, LogTime, Namespace, QueueName, WorkerId, bounded};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a worker says of itself when it registers. For people, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Its name; need not be unique.
    pub name: String,
    /// Program and version: `jobraft-sdk/0.1.0`.
    #[serde(default)]
    pub agent: String,
    /// The queues that it serves.
    #[serde(default, deserialize_with = "bounded::texts")]
    pub queues: Vec<QueueName>,
    /// How many jobs it runs at once.
    #[serde(default)]
    pub concurrency: u32,
    /// Who registered it, and alone may use it: the name in its certificate. Set by the node that takes the registration,
    /// whatever stands there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// The namespace in which it works. Set as the owner is.
    #[serde(default, skip_serializing_if = "Namespace::is_default")]
    pub namespace: Namespace,
}

/// What a worker has been told to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerOrder {
    /// To work.
    #[default]
    Run,
    /// To take no new jobs and finish those that it has.
    Quiet,
    /// To take no new jobs, finish those that it has within its grace, and end.
    Stop,
}

impl WorkerOrder {
    /// The name as it stands on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Quiet => "quiet",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for WorkerOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A worker as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its incarnation, minted when it registered: a name that is used again is another worker.
    pub id: WorkerId,
    /// What it says of itself.
    pub info: WorkerInfo,
    /// When it registered.
    pub registered_at: LogTime,
    /// When the cluster last heard of it, to within [`crate::limits::WORKER_SEEN_MS`].
    pub last_seen: LogTime,
    /// What it has been told to do.
    pub order: WorkerOrder,
    /// How many jobs it holds.
    pub held: u64,
    /// Some of them, at most [`crate::limits::WORKER_JOBS_SHOWN_MAX`].
    #[serde(default)]
    pub jobs: Vec<JobId>,
}
