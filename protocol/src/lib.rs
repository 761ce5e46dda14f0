//! What Jobraft's parts say to each other: ids, the job model, requests and answers, framing, limits, errors.
//!
//! Everything here is data. Nothing here does I/O, reads a clock or draws a random number, so that the
//! replicated state machine may depend on it. Types that travel are versioned by the ALPN name of the
//! connection that carries them ([`ALPN_CLIENT`], [`ALPN_PEER`]); fields are only ever added, with a default.

pub mod backoff;
mod bounded;
pub mod cbor;
pub mod cluster;
pub mod error;
pub mod frame;
pub mod grant;
pub mod group;
pub mod hex;
pub mod id;
pub mod job;
pub mod key;
pub mod limits;
pub mod list;
pub mod module;
pub mod name;
pub mod namespace;
pub mod request;
pub mod schedule;
pub mod secret;
pub mod settings;
pub mod signature;
pub mod state;
mod text;
pub mod time;
pub mod token;
pub mod unique;
pub mod worker;
pub mod workflow;

pub use backoff::{Backoff, BackoffCurve};
pub use cluster::{ClusterStatus, MemberStatus, NodeAddress, Role};
pub use error::{Error, ErrorCode, LeaderHint, Retry};
pub use grant::{ClientRole, Grant, GrantError, QueuePattern};
pub use group::{GroupSetting, GroupSettings, GroupView, Rate};
pub use id::{BatchId, Digest, FencingToken, JobId, LeaseRef, NodeId, WorkerId};
pub use job::{
    AttemptError, CancelNotice, Completion, EndReason, EnqueueOutcome, Extended, Failure, FailureKind, JobState,
    JobView, LeaseView, LeasedJob, NewJob, Progress, QueueStats, Start, Task, Withheld,
};
pub use key::{GroupKey, KeyError, StateKey, UniqueKey};
pub use list::{JobAction, JobFilter, JobPage, JobSummary};
pub use module::{ModuleManifest, ModuleRef};
pub use name::{Label, ModuleName, NameError, QueueName, ScheduleName, TaskName};
pub use namespace::{Namespace, NamespaceChange, NamespaceQuota, NamespaceSetting, NamespaceView, NotLocal};
pub use request::{
    ClientFrame, ClientHello, Consistency, Push, Request, Response, ServerFrame, ServerHello, StreamOpen,
};
pub use schedule::{CatchUp, JobTemplate, Overlap, Schedule, ScheduleTick, ScheduleView};
pub use secret::{SecretChange, SecretError, SecretGrant, SecretName, SecretValue, SecretView};
pub use settings::{ClusterSettings, QueueMode, QueueSetting, QueueSettings, Retention, Setting};
pub use signature::{ModuleSignature, SignatureBytes, Signer};
pub use state::{StateValue, StateWrite};
pub use time::LogTime;
pub use token::{NewToken, NotToken, TokenChange, TokenName, TokenSecret, TokenView};
pub use unique::{OnConflict, Unique, UniqueScope};
pub use worker::{WorkerInfo, WorkerOrder, WorkerView};
pub use workflow::{After, BatchState, BatchView, NewBatch, OnFailure, Predecessor};

/// ALPN of connections between nodes.
pub const ALPN_PEER: &[u8] = b"jobraft-peer/1";

/// ALPN of connections from producers, workers and tools.
pub const ALPN_CLIENT: &[u8] = b"jobraft/1";
