//! The plugin trait: how a worker runs the tasks that are not native handlers.

use bytes::Bytes;
use jobraft_protocol::{Completion, Failure, JobId, LeasedJob, Task};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Runs the jobs of one kind of task.
///
/// The worker calls [`run`](Executor::run) once for each attempt, at most `concurrency` at a time. An executor must
/// end the job's effects on the outside no later than [`JobContext::deadline`]: past it another worker may hold the job.
pub trait Executor: Send + Sync + 'static {
    /// The executor's name, for logs.
    fn name(&self) -> &str;

    /// Whether this executor runs such tasks. The first registered executor that says yes gets the job.
    fn accepts(&self, task: &Task) -> bool;

    /// Runs one attempt. Dropping the future must stop the job.
    fn run<'a>(&'a self, job: &'a LeasedJob, context: JobContext) -> ExecutorFuture<'a>;
}

/// What [`Executor::run`] returns: the completion, or the failure, to be reported.
pub type ExecutorFuture<'a> = Pin<Box<dyn Future<Output = Result<Completion, Failure>> + Send + 'a>>;

/// Where an executor gets modules from.
pub trait ModuleSource: Send + Sync + 'static {
    /// The bytes of the module with this digest; verified against it.
    fn fetch(
        &self,
        digest: jobraft_protocol::Digest,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, jobraft_protocol::Error>> + Send + '_>>;
}

/// What a running job may know of its attempt.
#[derive(Clone)]
pub struct JobContext {
    job: JobId,
    attempt: u32,
    cancelled: CancellationToken,
    deadline: Arc<dyn Fn() -> Instant + Send + Sync>,
}

impl JobContext {
    /// A context for `job`: `cancelled` fires when the job is to stop, `deadline` tells the instant at which the lease
    /// must be taken for lost; it moves on as the lease is extended.
    #[must_use]
    pub fn new(
        job: JobId,
        cancelled: CancellationToken,
        deadline: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Self {
        Self { job, attempt: 1, cancelled, deadline: Arc::new(deadline) }
    }

    /// The same, for the attempt of this number.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Fires when the job was cancelled, its lease was lost, or the worker stops and its grace is over.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// The instant, on this machine's clock, at which the lease must be taken for lost. Ask again later: it moves on.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        (self.deadline)()
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext").field("job", &self.job).finish_non_exhaustive()
    }
}
