//! Typed enqueueing: a Rust value in, a job out, and its typed result back.

use crate::client::Client;
use crate::clock::after;
use crate::error::SdkError;
use crate::requests::{full_pause, millis};
use bytes::Bytes;
use jobraft_protocol::{
    After, Backoff, BatchId, EnqueueOutcome, GroupKey, JobId, JobState, JobTemplate, JobView, Label, LogTime, NewJob,
    OnConflict, OnFailure, QueueName, Schedule, ScheduleName, Start, Task, TaskName, Unique, UniqueKey, UniqueScope,
    Withheld,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Enqueues jobs of one kind: of one task, in one queue, with payloads of type `T`, written as JSON, or, for
/// [modules](Self::of_bytes), as they are.
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
    ttl_ms: Option<u64>,
    start_deadline_ms: Option<u64>,
    backoff: Option<Backoff>,
    max_crashes: Option<u32>,
    unique: Option<UniqueBy<T>>,
    group: Option<KeyOf<T>>,
    after: Option<After>,
    batch: Option<BatchId>,
    label: Option<Label>,
    patience: Duration,
    encode: Encode<T>,
}

/// How a payload is written.
type Encode<T> = fn(&T) -> Result<Vec<u8>, SdkError>;
/// How a key is made of a payload.
type KeyOf<T> = Arc<dyn Fn(&T) -> String + Send + Sync>;

/// How a payload's unique key is made.
struct UniqueBy<T: ?Sized> {
    key: KeyOf<T>,
    scope: UniqueScope,
    on_conflict: OnConflict,
}

impl<T: ?Sized> Clone for UniqueBy<T> {
    fn clone(&self) -> Self {
        Self { key: Arc::clone(&self.key), ..*self }
    }
}

impl<T: ?Sized> Clone for Producer<T> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            queue: self.queue.clone(),
            task: self.task.clone(),
            backoff: self.backoff.clone(),
            unique: self.unique.clone(),
            group: self.group.clone(),
            after: self.after.clone(),
            label: self.label.clone(),
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

    /// A producer for any task.
    #[must_use]
    pub fn for_task(client: Client, queue: QueueName, task: Task) -> Self {
        let json =
            |payload: &T| serde_json::to_vec(payload).map_err(|source| SdkError::Json { what: "payload", source });
        Self::writing(client, queue, task, json)
    }
}

impl<T: AsRef<[u8]> + ?Sized> Producer<T> {
    /// A producer whose payloads go as they are: for modules, which read them from stdin.
    ///
    /// ```no_run
    /// # async fn example(client: jobraft_sdk::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use jobraft_sdk::Producer;
    /// use jobraft_sdk::protocol::{ModuleRef, Task};
    ///
    /// let module = client.resolve_module(ModuleRef::Name("wordcount@1".parse()?)).await?;
    /// let counts = Producer::of_bytes(client, "texts".parse()?, Task::Module(module.digest));
    /// counts.enqueue("a text, not a JSON string").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn of_bytes(client: Client, queue: QueueName, task: Task) -> Self {
        Self::writing(client, queue, task, |payload| Ok(payload.as_ref().to_vec()))
    }
}

impl<T: ?Sized> Producer<T> {
    fn writing(client: Client, queue: QueueName, task: Task, encode: Encode<T>) -> Self {
        Self {
            client,
            queue,
            task,
            priority: None,
            start: Start::Now,
            max_attempts: None,
            run_timeout_ms: None,
            ttl_ms: None,
            start_deadline_ms: None,
            backoff: None,
            max_crashes: None,
            unique: None,
            group: None,
            after: None,
            batch: None,
            label: None,
            patience: Duration::ZERO,
            encode,
        }
    }

    /// Jobs start this long after they are enqueued.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.start = Start::AfterMs(millis(delay));
        self
    }

    /// Jobs start at this time of the cluster; one that is past means at once.
    #[must_use]
    pub fn start_at(mut self, at: LogTime) -> Self {
        self.start = Start::At(at);
        self
    }

    /// How long after its enqueue a job may wait for its first attempt; then it is `expired`. For ever unless told
    /// otherwise.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl_ms = Some(millis(ttl));
        self
    }

    /// How long after its scheduled start an attempt may begin; then the job is `expired`. For ever unless told otherwise.
    #[must_use]
    pub fn start_deadline(mut self, deadline: Duration) -> Self {
        self.start_deadline_ms = Some(millis(deadline));
        self
    }

    /// How long a job waits between two attempts; see also [`parse_backoff`](crate::parse_backoff).
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// How many crashes within 72 h make a job dead; 3 unless told otherwise.
    #[must_use]
    pub fn max_crashes(mut self, crashes: u32) -> Self {
        self.max_crashes = Some(crashes);
        self
    }

    /// At most one job holds the key that `key` makes of its payload: until its life is over, and a second one is answered
    /// with the first, unless [`unique_scope`](Self::unique_scope) and [`on_conflict`](Self::on_conflict) say otherwise.
    #[must_use]
    pub fn unique_by(mut self, key: impl Fn(&T) -> String + Send + Sync + 'static) -> Self {
        let (scope, on_conflict) =
            self.unique.as_ref().map_or_else(Default::default, |unique| (unique.scope, unique.on_conflict));
        self.unique = Some(UniqueBy { key: Arc::new(key), scope, on_conflict });
        self
    }

    /// For how long a job holds its key. Without effect unless [`unique_by`](Self::unique_by) was called before.
    #[must_use]
    pub fn unique_scope(mut self, scope: UniqueScope) -> Self {
        if let Some(unique) = &mut self.unique {
            unique.scope = scope;
        }
        self
    }

    /// What happens to a job whose key is held. Without effect unless [`unique_by`](Self::unique_by) was called before.
    #[must_use]
    pub fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        if let Some(unique) = &mut self.unique {
            unique.on_conflict = on_conflict;
        }
        self
    }

    /// Jobs belong to the group of their queue whose key `key` makes of their payload: groups take turns, and each can be
    /// limited.
    #[must_use]
    pub fn group_by(mut self, key: impl Fn(&T) -> String + Send + Sync + 'static) -> Self {
        self.group = Some(Arc::new(key));
        self
    }

    /// Jobs wait until all of `jobs` have ended, and `on_failure` says what becomes of them if one does not complete. Replaces
    /// what was said before.
    #[must_use]
    pub fn after(mut self, jobs: impl IntoIterator<Item = impl Into<JobId>>, on_failure: OnFailure) -> Self {
        let jobs: Vec<JobId> = jobs.into_iter().map(Into::into).collect();
        self.after = (!jobs.is_empty()).then_some(After { jobs, on_failure });
        self
    }

    /// Jobs belong to this batch, which must be open, or that of the job that enqueues them as it completes.
    #[must_use]
    pub fn batch(mut self, batch: BatchId) -> Self {
        self.batch = Some(batch);
        self
    }

    /// What jobs are called within their workflow.
    ///
    /// # Errors
    /// If `label` is none.
    pub fn label(mut self, label: &str) -> Result<Self, SdkError> {
        self.label = Some(Label::new(label)?);
        Ok(self)
    }

    /// How long an enqueue waits for room in a full queue; it is refused at once unless told otherwise.
    #[must_use]
    pub fn wait_when_full(mut self, patience: Duration) -> Self {
        self.patience = patience;
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
    /// If the payload cannot be written as JSON, or the key of its group or its unique key is none.
    pub fn job(&self, payload: &T) -> Result<NewJob, SdkError> {
        let unique = match &self.unique {
            Some(UniqueBy { key, scope, on_conflict }) => {
                let key = UniqueKey::new(&key(payload))?;
                Some(Unique { key, scope: *scope, on_conflict: *on_conflict })
            }
            None => None,
        };
        let group = self.group.as_ref().map(|key| GroupKey::new(&key(payload))).transpose()?;
        let payload = (self.encode)(payload)?;
        Ok(NewJob {
            priority: self.priority,
            start: self.start,
            max_attempts: self.max_attempts,
            run_timeout_ms: self.run_timeout_ms,
            ttl_ms: self.ttl_ms,
            start_deadline_ms: self.start_deadline_ms,
            backoff: self.backoff.clone(),
            max_crashes: self.max_crashes,
            unique,
            group,
            after: self.after.clone(),
            batch: self.batch,
            label: self.label.clone(),
            ..NewJob::new(self.client.job_id(), self.queue.clone(), self.task.clone(), payload)
        })
    }

    /// A schedule of this name that enqueues such a job at each tick of `cron`, in UTC unless
    /// [`time_zone`](Schedule::time_zone) says otherwise: to be handed to [`Client::put_schedule`]. What this producer says of
    /// start, predecessors and batch is left out, for that belongs to one job.
    ///
    /// ```no_run
    /// # async fn example(client: jobraft_sdk::Client) -> Result<(), jobraft_sdk::SdkError> {
    /// use jobraft_sdk::protocol::Overlap;
    ///
    /// let reports = jobraft_sdk::Producer::<str>::new(client.clone(), "reports", "report")?;
    /// let nightly = reports.schedule("nightly", "30 2 * * *", "all")?.time_zone("Europe/Berlin").overlap(Overlap::Skip);
    /// client.put_schedule(nightly).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`job`](Self::job), and if `name` is none. The expression is checked where the schedule is put.
    pub fn schedule(&self, name: &str, cron: &str, payload: &T) -> Result<Schedule, SdkError> {
        Ok(Schedule::new(ScheduleName::new(name)?, cron, JobTemplate::of(self.job(payload)?)))
    }

    /// Enqueues one job; it is durable when this returns. Gives the id of the job that stands for it: its own, or that of
    /// the job that holds its unique key.
    ///
    /// # Errors
    /// If the job is refused or the cluster does not answer.
    pub async fn enqueue(&self, payload: &T) -> Result<JobId, SdkError> {
        let (id, outcome) = self.enqueue_detailed(payload).await?;
        stands_for(id, outcome).map_err(SdkError::Refused)
    }

    /// Enqueues one job; gives its id, and what became of it.
    ///
    /// # Errors
    /// If the cluster does not answer. A refusal is an outcome.
    pub async fn enqueue_detailed(&self, payload: &T) -> Result<(JobId, EnqueueOutcome), SdkError> {
        let mut job = [self.job(payload)?];
        let outcome = self.client.enqueue_renewing(&mut job, self.patience).await?.pop();
        let [NewJob { id, .. }] = job;
        outcome.map(|outcome| (id, outcome)).ok_or_else(|| SdkError::Protocol("it answered no outcome".to_owned()))
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
        let mut jobs = self.jobs(payloads)?;
        let outcomes = self.client.enqueue_renewing(&mut jobs, self.patience).await?;
        Ok(jobs.iter().zip(outcomes).map(|(job, outcome)| stands_for(job.id, outcome)).collect())
    }

    /// Enqueues many jobs in one step, all of them or none; for each, in order, the id of the job that stands for it. They
    /// must fit in one request: see [`Client::enqueue_all`].
    ///
    /// # Errors
    /// If one is refused or the cluster does not answer.
    pub async fn enqueue_all<'a>(&self, payloads: impl IntoIterator<Item = &'a T>) -> Result<Vec<JobId>, SdkError>
    where
        T: 'a,
    {
        let (mut jobs, deadline) = (self.jobs(payloads)?, after(self.patience));
        let outcomes = loop {
            match self.client.enqueue_all(jobs.clone()).await {
                Err(SdkError::Refused(error)) if let Some(pause) = full_pause(&error, deadline) => {
                    tokio::time::sleep(pause).await;
                    // An id grows too old to be taken.
                    jobs.iter_mut().for_each(|job| job.id = self.client.job_id());
                }
                other => break other?,
            }
        };
        let stand = jobs.iter().zip(outcomes).map(|(job, outcome)| stands_for(job.id, outcome));
        stand.map(|id| id.map_err(SdkError::Refused)).collect()
    }

    fn jobs<'a>(&self, payloads: impl IntoIterator<Item = &'a T>) -> Result<Vec<NewJob>, SdkError>
    where
        T: 'a,
    {
        payloads.into_iter().map(|payload| self.job(payload)).collect()
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

/// The job that stands for one that was to be enqueued.
pub(crate) fn stands_for(id: JobId, outcome: EnqueueOutcome) -> Result<JobId, jobraft_protocol::Error> {
    match outcome {
        EnqueueOutcome::Created | EnqueueOutcome::Existing => Ok(id),
        EnqueueOutcome::Duplicate(holder) | EnqueueOutcome::Replaced(holder) => Ok(holder),
        EnqueueOutcome::Refused(error) => Err(error),
    }
}

/// The typed result of a job that has ended; what a handler returned.
///
/// # Errors
/// [`SdkError::JobEnded`] if it ended otherwise than completed, [`SdkError::JobLives`] if it has not ended,
/// [`SdkError::Withheld`] if this client may read the job but not what came of it,
/// [`SdkError::Json`] if the result is of another type.
pub fn result_of<R: DeserializeOwned>(job: JobView) -> Result<R, SdkError> {
    let result = result_bytes_of(job)?;
    let result = if result.is_empty() { b"null" } else { &result[..] };
    serde_json::from_slice(result).map_err(|source| SdkError::Json { what: "result", source })
}

/// The result of a job that has ended, as it is; what a module wrote.
///
/// # Errors
/// As [`result_of`].
pub fn result_bytes_of(job: JobView) -> Result<Bytes, SdkError> {
    let JobView { id, label, state, result, .. } = job;
    match state {
        JobState::Completed if job.withheld == Withheld::All => Err(SdkError::Withheld { job: id, label }),
        JobState::Completed => Ok(result),
        _ if state.is_terminal() => {
            let last = job.errors.into_iter().last().map(|error| error.message);
            Err(SdkError::JobEnded { job: id, label, state, message: job.cancel_reason.or(last) })
        }
        _ => Err(SdkError::JobLives { job: id, label, state }),
    }
}
