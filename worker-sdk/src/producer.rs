//! Typed enqueueing: a Rust value in, a job out, and its typed result back.

use crate::client::Client;
use crate::error::SdkError;
use crate::requests::millis;
use jobraft_protocol::{EnqueueOutcome, JobId, JobState, JobView, NewJob, QueueName, Start, Task, TaskName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::time::Duration;

/// Enqueues jobs of one kind: of one task, in one queue, with payloads of type `T`, written as JSON.
///
/// ```no_run
/// # async fn example(client: jobraft_sdk::Client) -> Result<(), jobraft_sdk::SdkError> {
/// use std::time::Duration;
///
/// let emails = jobraft_sdk::Producer::<str>::new(client, "emails", "send_email")?
///     .priority(2)
///     .max_attempts(5)
///     .delay(Duration::from_secs(60));
/// let job = emails.enqueue("ada@example.org").await?;
/// println!("{job} will run in a minute");
/// # Ok(())
/// # }
/// ```
pub struct Producer<T: ?Sized> {
    client: Client,
    queue: QueueName,
    task: Task,
    priority: Option<u8>,
    start: Start,
    max_attempts: Option<u32>,
    run_timeout_ms: Option<u64>,
    payload: PhantomData<fn(&T)>,
}

impl<T: ?Sized> Clone for Producer<T> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            queue: self.queue.clone(),
            task: self.task.clone(),
            payload: PhantomData,
            ..*self
        }
    }
}

impl<T: ?Sized> std::fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("queue", &self.queue).field("task", &self.task).finish_non_exhaustive()
    }
}

impl<T: Serialize + ?Sized> Producer<T> {
    /// A producer for a native task: one that a worker has a handler for.
    ///
    /// # Errors
    /// If `queue` or `task` is not a name.
    pub fn new(client: Client, queue: &str, task: &str) -> Result<Self, SdkError> {
        Ok(Self::for_task(client, QueueName::new(queue)?, Task::Handler(TaskName::new(task)?)))
    }

    /// A producer for any task, such as a module.
    #[must_use]
    pub fn for_task(client: Client, queue: QueueName, task: Task) -> Self {
        Self {
            client,
            queue,
            task,
            priority: None,
            start: Start::Now,
            max_attempts: None,
            run_timeout_ms: None,
            payload: PhantomData,
        }
    }

    /// Jobs start this long after they are enqueued.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.start = Start::AfterMs(millis(delay));
        self
    }

    /// 0 (first) to 9; 5 unless told otherwise.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// How often a job is tried at most; 25 times unless told otherwise.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// How long one attempt may run; 10 minutes unless told otherwise.
    #[must_use]
    pub fn run_timeout(mut self, timeout: Duration) -> Self {
        self.run_timeout_ms = Some(millis(timeout));
        self
    }

    /// A job as this producer would enqueue it, with a new id. Keep it and pass it to [`Client::enqueue`] to be able to
    /// repeat an enqueue whose outcome is unknown.
    ///
    /// # Errors
    /// If the payload cannot be written as JSON.
    pub fn job(&self, payload: &T) -> Result<NewJob, SdkError> {
        let payload = serde_json::to_vec(payload).map_err(|source| SdkError::Json { what: "payload", source })?;
        Ok(NewJob {
            priority: self.priority,
            start: self.start,
            max_attempts: self.max_attempts,
            run_timeout_ms: self.run_timeout_ms,
            ..NewJob::new(self.client.job_id(), self.queue.clone(), self.task.clone(), payload)
        })
    }

    /// Enqueues one job; it is durable when this returns.
    ///
    /// # Errors
    /// If the job is refused or the cluster does not answer.
    pub async fn enqueue(&self, payload: &T) -> Result<JobId, SdkError> {
        let job = self.job(payload)?;
        let id = job.id;
        let outcome = self.client.enqueue(vec![job]).await?.pop();
        match outcome {
            Some(EnqueueOutcome::Refused(error)) => Err(SdkError::Refused(error)),
            _ => Ok(id),
        }
    }

    /// Enqueues many jobs; for each, in order, its id or why it was refused.
    ///
    /// # Errors
    /// If a payload cannot be written, then nothing is sent; or if the cluster does not answer, then some may be
    /// enqueued.
    pub async fn enqueue_many<'a>(
        &self,
        payloads: impl IntoIterator<Item = &'a T>,
    ) -> Result<Vec<Result<JobId, jobraft_protocol::Error>>, SdkError>
    where
        T: 'a,
    {
        let jobs: Vec<NewJob> = payloads.into_iter().map(|payload| self.job(payload)).collect::<Result<_, _>>()?;
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        let outcomes = self.client.enqueue(jobs).await?;
        Ok(ids
            .into_iter()
            .zip(outcomes)
            .map(|(id, outcome)| match outcome {
                EnqueueOutcome::Refused(error) => Err(error),
                EnqueueOutcome::Created | EnqueueOutcome::Existing => Ok(id),
            })
            .collect())
    }

    /// Enqueues one job, waits up to `timeout` for its end, and reads its result.
    ///
    /// # Errors
    /// [`SdkError::JobEnded`] if it ended otherwise than completed, [`SdkError::Timeout`] if it goes on: it is then not
    /// called off.
    pub async fn enqueue_and_wait<R: DeserializeOwned>(&self, payload: &T, timeout: Duration) -> Result<R, SdkError> {
        let job = self.enqueue(payload).await?;
        result_of(self.client.wait_job(job, timeout).await?)
    }
}

/// The typed result of a job that has ended; what a handler returned.
///
/// # Errors
/// [`SdkError::JobEnded`] unless it completed, [`SdkError::Json`] if the result is of another type.
pub fn result_of<R: DeserializeOwned>(job: JobView) -> Result<R, SdkError> {
    if job.state != JobState::Completed {
        let last = job.errors.last().map(|error| error.message.clone());
        return Err(SdkError::JobEnded { job: job.id, state: job.state, message: job.cancel_reason.or(last) });
    }
    let result = if job.result.is_empty() { b"null" } else { &job.result[..] };
    serde_json::from_slice(result).map_err(|source| SdkError::Json { what: "result", source })
}
