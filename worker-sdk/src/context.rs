//! What a running job may know of its attempt, and say of itself.

use crate::client::Client;
use crate::error::SdkError;
use crate::sync::lock;
use crate::worker::ProgressBoard;
use bytes::Bytes;
use jobraft_protocol::limits::PROGRESS_MESSAGE_BYTES_MAX;
use jobraft_protocol::{Completion, JobId, LeaseRef, LeasedJob, NewJob, Progress, StateWrite};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// A running job's view of its attempt. Clones share everything.
#[derive(Clone)]
pub struct JobContext(Arc<Inner>);

struct Inner {
    job: JobId,
    attempt: u32,
    last_checkpoint: Bytes,
    stop: StopSignal,
    deadline: Box<dyn Fn() -> Instant + Send + Sync>,
    held: Option<Held>,
    completion: Mutex<Completion>,
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
    /// It takes no checkpoints, and what is said of progress is heard by nobody.
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
            stop: StopSignal { token: cancelled, reason: Arc::default() },
            deadline: Box::new(deadline),
            held: None,
            completion: Mutex::default(),
        }))
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
            stop,
            deadline: Box::new(deadline),
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
        let Held { client, lease, .. } = self.0.held.as_ref().ok_or(SdkError::Closed)?;
        client.checkpoint(*lease, data).await
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
