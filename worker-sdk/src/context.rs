//! What a running job may know of its attempt, and say of itself.

use crate::client::Client;
use crate::error::SdkError;
use crate::producer::{result_bytes_of, result_of};
use crate::sync::lock;
use crate::worker::ProgressBoard;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jobraft_protocol::limits::PROGRESS_MESSAGE_BYTES_MAX;
use jobraft_protocol::{
    BatchId, Completion, Consistency, GroupKey, JobId, JobView, Label, LeaseRef, LeasedJob, NewJob, Predecessor,
    Progress, ScheduleTick, SecretName, SecretValue, StateWrite,
};
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// A running job's view of its attempt. Clones share everything.
#[derive(Clone)]
pub struct JobContext(Arc<Inner>);

/// Results of predecessors that are read at once.
const READS_UNDER_WAY: usize = 16;

struct Inner {
    job: JobId,
    attempt: u32,
    last_checkpoint: Bytes,
    place: Place,
    stop: StopSignal,
    deadline: Box<dyn Fn() -> Instant + Send + Sync>,
    has_secrets: bool,
    /// Apart from any worker.
    given: Vec<(SecretName, SecretValue)>,
    held: Option<Held>,
    completion: Mutex<Completion>,
}

/// What else a job belongs to.
#[derive(Default)]
struct Place {
    group: Option<GroupKey>,
    batch: Option<BatchId>,
    label: Option<Label>,
    tick: Option<ScheduleTick>,
    predecessors: Vec<Predecessor>,
}

impl Place {
    fn of(job: &LeasedJob) -> Self {
        let LeasedJob { group, batch, label, tick, after, .. } = job;
        Self {
            group: group.clone(),
            batch: *batch,
            label: label.clone(),
            tick: tick.clone(),
            predecessors: after.clone(),
        }
    }
}

/// The worker's side of a job that it holds.
pub(crate) struct Held {
    pub(crate) client: Client,
    pub(crate) lease: LeaseRef,
    pub(crate) progress: Arc<ProgressBoard>,
}

/// Word that a job is to stop, and why.
#[derive(Clone, Debug, Default)]
pub(crate) struct StopSignal {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl StopSignal {
    /// The job was cancelled; only the first time counts.
    pub(crate) fn cancel(&self, reason: String) {
        // The reason is there when the token fires.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }
}

impl JobContext {
    /// A context apart from any worker, to try an executor with: `cancelled` fires when the job is to stop, `deadline`
    /// tells the instant at which the lease must be taken for lost; it moves on as the lease is extended.
    ///
    /// It takes no checkpoints and has no predecessors, and what is said of progress is heard by nobody.
    #[must_use]
    pub fn new(
        job: JobId,
        cancelled: CancellationToken,
        deadline: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            job,
            attempt: 1,
            last_checkpoint: Bytes::new(),
            place: Place::default(),
            stop: StopSignal { token: cancelled, reason: Arc::default() },
            deadline: Box::new(deadline),
            has_secrets: false,
            given: Vec::new(),
            held: None,
            completion: Mutex::default(),
        }))
    }

    /// The same, apart from any worker, of a job that is given these.
    ///
    /// # Panics
    /// If the context was cloned before.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Vec<(SecretName, SecretValue)>) -> Self {
        Arc::get_mut(&mut self.0).expect("nobody else has it yet").given = secrets;
        self
    }

    /// The context of a job that a worker holds.
    pub(crate) fn of(
        job: &LeasedJob,
        stop: StopSignal,
        held: Held,
        deadline: impl Fn() -> Instant + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            job: job.id,
            attempt: job.attempt,
            last_checkpoint: job.checkpoint.clone(),
            place: Place::of(job),
            stop,
            deadline: Box::new(deadline),
            has_secrets: job.has_secrets,
            given: Vec::new(),
            held: Some(held),
            completion: Mutex::default(),
        }))
    }

    /// The job.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.0.job
    }

    /// Which attempt this is, from 1. One that ended with its worker's death is not counted.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Fires when the job is to stop: it was cancelled, and has until its grace is over (25 s unless the cancellation says
    /// otherwise); or its lease was lost, or the worker stops and *its* grace is over: then the job is dropped at once.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        self.0.stop.token()
    }

    /// Why the job was cancelled, once it was; may be empty.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<&str> {
        self.0.stop.reason.get().map(String::as_str)
    }

    /// The instant, on this machine's clock, at which the lease must be taken for lost. Ask again later: it moves on.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        (self.0.deadline)()
    }

    /// What an earlier attempt left by [`checkpoint`](Self::checkpoint); empty if nothing.
    #[must_use]
    pub fn last_checkpoint(&self) -> &Bytes {
        &self.0.last_checkpoint
    }

    /// Leaves bytes for the next attempt, instead of what was left before; none clears. Durable on a quorum when this
    /// returns. At most [`CHECKPOINT_BYTES_MAX`](jobraft_protocol::limits::CHECKPOINT_BYTES_MAX) bytes.
    ///
    /// # Errors
    /// [`ErrorCode::LeaseLost`](jobraft_protocol::ErrorCode::LeaseLost) if the job is another worker's by now: stop;
    /// [`ErrorCode::TooLarge`](jobraft_protocol::ErrorCode::TooLarge); [`SdkError::Closed`] apart from a worker.
    pub async fn checkpoint(&self, data: impl Into<Bytes>) -> Result<(), SdkError> {
        let Held { client, lease, .. } = self.held()?;
        client.checkpoint(*lease, data).await
    }

    /// The secrets that the job is given, by name, fresh from the cluster. Jobs of modules are given those that were granted to
    /// their module; native handlers have none. What has them must not repeat them, in no log and no error.
    ///
    /// # Errors
    /// [`ErrorCode::LeaseLost`](jobraft_protocol::ErrorCode::LeaseLost) if the job is another worker's by now: stop;
    /// [`ErrorCode::WrongState`](jobraft_protocol::ErrorCode::WrongState) if the leader has no key for them;
    /// [`SdkError::Closed`] apart from a worker.
    pub async fn secrets(&self) -> Result<Vec<(SecretName, SecretValue)>, SdkError> {
        if !self.0.has_secrets {
            return Ok(self.0.given.clone());
        }
        let Held { client, lease, .. } = self.held()?;
        // Few jobs have any: the others need not be larger for it.
        Box::pin(client.job_secrets(*lease)).await
    }

    fn held(&self) -> Result<&Held, SdkError> {
        self.0.held.as_ref().ok_or(SdkError::Closed)
    }

    /// The group of its queue to which the job belongs.
    #[must_use]
    pub fn group(&self) -> Option<&GroupKey> {
        self.0.place.group.as_ref()
    }

    /// The batch to which the job belongs, or whose callback it is.
    #[must_use]
    pub fn batch(&self) -> Option<BatchId> {
        self.0.place.batch
    }

    /// What the job is called within its workflow.
    #[must_use]
    pub fn label(&self) -> Option<&Label> {
        self.0.place.label.as_ref()
    }

    /// Which tick of which schedule the job was enqueued for.
    #[must_use]
    pub fn tick(&self) -> Option<&ScheduleTick> {
        self.0.place.tick.as_ref()
    }

    /// The jobs that the job waited for, in the order in which it named them, and how they ended.
    #[must_use]
    pub fn predecessors(&self) -> &[Predecessor] {
        &self.0.place.predecessors
    }

    /// Reads a job that the job waited for. It can be read as long as the job lives, whatever its queue keeps.
    ///
    /// # Errors
    /// As [`Client::get_job`]; [`SdkError::Closed`] apart from a worker.
    pub async fn predecessor(&self, job: JobId) -> Result<JobView, SdkError> {
        self.held()?.client.get_job(job, Consistency::Linearizable).await
    }

    /// The results of all jobs that the job waited for, in the order in which it named them: what their handlers returned.
    ///
    /// ```
    /// use jobraft_sdk::{JobContext, JobError};
    ///
    /// async fn sum(context: JobContext, _: ()) -> Result<u64, JobError> {
    ///     Ok(context.results::<u64>().await?.into_iter().sum())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`SdkError::JobEnded`], which names the job, if one did not complete: only a job that runs whatever becomes of those
    /// before it ([`OnFailure::Run`](jobraft_protocol::OnFailure::Run)) can see that; it looks at its
    /// [`predecessors`](Self::predecessors) first and reads those that completed. Else as
    /// [`predecessor`](Self::predecessor), and [`SdkError::Json`] if a result is of another type.
    pub async fn results<R: DeserializeOwned>(&self) -> Result<Vec<R>, SdkError> {
        self.results_by(result_of).await
    }

    /// The same for results as they are: what modules wrote.
    ///
    /// # Errors
    /// As [`results`](Self::results).
    pub async fn results_bytes(&self) -> Result<Vec<Bytes>, SdkError> {
        self.results_by(result_bytes_of).await
    }

    async fn results_by<R>(&self, read: impl Fn(JobView) -> Result<R, SdkError>) -> Result<Vec<R>, SdkError> {
        let jobs: Vec<JobId> = self.predecessors().iter().map(|predecessor| predecessor.job).collect();
        let views = jobs.into_iter().map(|job| self.predecessor(job));
        stream::iter(views).buffered(READS_UNDER_WAY).map(|view| read(view?)).try_collect().await
    }

    /// Says how far the job is, 0 to 100 percent (more counts as 100), with a word for people, cut at
    /// [`PROGRESS_MESSAGE_BYTES_MAX`](jobraft_protocol::limits::PROGRESS_MESSAGE_BYTES_MAX).
    ///
    /// Cheap enough for a tight loop: the worker sends only the latest, once a second, for all its jobs together. What
    /// was not sent when the job completes is dropped.
    pub fn progress(&self, percent: u8, message: impl Into<String>) {
        if let Some(Held { lease, progress, .. }) = &self.0.held {
            let mut message = message.into();
            message.truncate(message.floor_char_boundary(PROGRESS_MESSAGE_BYTES_MAX));
            progress.set(*lease, Progress { percent: percent.min(100), message });
        }
    }

    /// Enqueues `job` in the same step in which this one completes: both or neither. An attempt that does not succeed
    /// enqueues nothing; one of whose jobs is refused has failed. A completion and all that comes with it has at most
    /// [`CLIENT_FRAME_BYTES_MAX`](jobraft_protocol::limits::CLIENT_FRAME_BYTES_MAX) bytes: a larger one is a failure for good.
    ///
    /// Such jobs may come after each other, and join the batch of this one, which does not end before them then:
    ///
    /// ```
    /// use jobraft_sdk::protocol::{NewJob, OnFailure};
    /// use jobraft_sdk::{JobContext, JobError, Producer};
    ///
    /// /// Splits a text into parts, whatever their number: each is counted, and the counts are summed up.
    /// async fn split(
    ///     context: JobContext,
    ///     text: String,
    ///     count: Producer<str>,
    ///     sum: Producer<()>,
    /// ) -> Result<(), JobError> {
    ///     let mut parts = Vec::new();
    ///     for paragraph in text.split("\n\n") {
    ///         let job = NewJob { batch: context.batch(), ..count.job(paragraph)? };
    ///         parts.push(job.id);
    ///         context.complete_with_job(job);
    ///     }
    ///     let sum = sum.after(parts, OnFailure::Wait);
    ///     context.complete_with_job(NewJob { batch: context.batch(), ..sum.job(&())? });
    ///     Ok(())
    /// }
    /// ```
    pub fn complete_with_job(&self, job: NewJob) {
        lock(&self.0.completion).jobs.push(job);
    }

    /// Writes a value of the cluster's state in the same step in which this job completes: both or neither. If the
    /// value's version is not the one that `write` demands, the attempt has failed.
    pub fn complete_with_state(&self, write: StateWrite) {
        lock(&self.0.completion).state.push(write);
    }

    /// The completion of this job with `result` and all that shall come with it.
    #[must_use]
    pub fn completion(&self, result: impl Into<Bytes>) -> Completion {
        Completion { result: result.into(), ..std::mem::take(&mut lock(&self.0.completion)) }
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext").field("job", &self.0.job).field("attempt", &self.0.attempt).finish_non_exhaustive()
    }
}
