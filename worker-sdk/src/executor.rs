//! The plugin trait: how a worker runs the tasks that are not native handlers.

use crate::context::JobContext;
use bytes::Bytes;
use jobraft_protocol::{Completion, Failure, LeasedJob, Task};
use std::future::Future;
use std::pin::Pin;

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
