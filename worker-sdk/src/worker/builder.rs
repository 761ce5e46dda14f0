//! How a worker is set up; every mistake is told by [`WorkerBuilder::build`].

use super::Worker;
use super::handler::{JobError, Tasks};
use super::report::{Observer, Reported};
use crate::client::Client;
use crate::context::JobContext;
use crate::error::SdkError;
use crate::executor::Executor;
use jobraft_protocol::limits::{
    CREDITS_MAX, LEASE_MS_DEFAULT, LEASE_MS_MAX, LEASE_MS_MIN, QUEUE_WEIGHT_MAX, WORKER_QUEUES_MAX,
};
use jobraft_protocol::name::NAME_BYTES_MAX;
use jobraft_protocol::{QueueName, TaskName, WorkerInfo};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// What a worker says it is, unless its program says otherwise.
const AGENT: &str = concat!("jobraft-sdk/", env!("CARGO_PKG_VERSION"));
/// How long running jobs may go on after the worker was told to end.
const GRACE: Duration = Duration::from_secs(25);

/// Sets up a [`Worker`].
pub struct WorkerBuilder {
    client: Client,
    name: String,
    agent: String,
    queues: Vec<(String, Option<u32>)>,
    concurrency: usize,
    lease: Duration,
    grace: Duration,
    tasks: Tasks,
    observer: Option<Observer>,
    mistake: Option<SdkError>,
}

impl WorkerBuilder {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            name: format!("worker-{}", std::process::id()),
            agent: AGENT.to_owned(),
            queues: Vec::new(),
            concurrency: std::thread::available_parallelism().map_or(1, usize::from),
            lease: Duration::from_millis(LEASE_MS_DEFAULT),
            grace: GRACE,
            tasks: Tasks::default(),
            observer: None,
            mistake: None,
        }
    }

    /// The worker's name, for people, at most 128 bytes; `worker-PID` unless told otherwise.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The program and its version, for people, at most 128 bytes: `mailer/1.4.2`; `jobraft-sdk/VERSION` unless told
    /// otherwise.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// Where jobs come from, the first with work first, instead of what was said before.
    #[must_use]
    pub fn queues<S: Into<String>>(mut self, queues: impl IntoIterator<Item = S>) -> Self {
        self.queues = queues.into_iter().map(|queue| (queue.into(), None)).collect();
        self
    }

    /// One queue more where jobs come from, with its weight, 1 to 1,000: while several have work, they are served in the
    /// proportion of their weights. Every queue of a worker has a weight, or none has; with weights each is named once.
    #[must_use]
    pub fn queue_weighted(mut self, queue: impl Into<String>, weight: u32) -> Self {
        self.queues.push((queue.into(), Some(weight)));
        self
    }

    /// How many jobs run at once, 1 to 4,096; as many as there are cores unless told otherwise.
    #[must_use]
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs;
        self
    }

    /// How long a lease is, 1 s to 12 h; 30 s unless told otherwise. It is extended three times in its length, every 10 s
    /// at the latest, so it bounds how long a job stands still when the worker dies, not how long a job may run.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long running jobs may go on after the worker was told to end; 25 s unless told otherwise.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Runs tasks of this name: an async function of the context and the payload, which is read from JSON; what it
    /// returns is written as JSON. A payload that is not of its type fails for good.
    ///
    /// The function runs on the runtime that [`Worker::run`] is called from, and is dropped where it waits when its
    /// lease is lost, its job was cancelled and the grace for that is over, its time is up, or the worker's grace is over.
    /// One that computes for long belongs in `tokio::task::spawn_blocking`, where it has to look at
    /// [`JobContext::cancelled`] itself.
    #[must_use]
    pub fn handler<F, Fut, T, R>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(JobContext, T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, JobError>> + Send + 'static,
        T: DeserializeOwned,
        R: Serialize,
    {
        match TaskName::new(name) {
            Ok(name) => self.tasks.add_handler(name, handler),
            Err(error) => self.mistake = Some(error.into()),
        }
        self
    }

    /// Runs the tasks that this executor accepts and no handler has.
    #[must_use]
    pub fn executor(mut self, executor: impl Executor) -> Self {
        self.tasks.add_executor(Arc::new(executor));
        self
    }

    /// Calls `observer` with each report that the cluster has accepted, for figures. It runs on the client's own thread,
    /// where it must not wait for anything.
    #[must_use]
    pub fn on_report(mut self, observer: impl Fn(&Reported) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// The worker.
    ///
    /// # Errors
    /// If there is no queue, no handler and no executor, or a setting is outside its domain; the text names it.
    pub fn build(self) -> Result<Worker, SdkError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let invalid = |text: String| Err(SdkError::Invalid(text));
        let queues: Vec<QueueName> =
            self.queues.iter().map(|(queue, _)| QueueName::new(queue)).collect::<Result<_, _>>()?;
        if queues.is_empty() || queues.len() > WORKER_QUEUES_MAX {
            return invalid(format!("a worker needs 1 to {WORKER_QUEUES_MAX} queues, not {}", queues.len()));
        }
        let weights: Vec<u32> = self.queues.iter().filter_map(|(_, weight)| *weight).collect();
        if let Some((queue, _)) = self.queues.iter().find(|(_, weight)| weight.is_none())
            && !weights.is_empty()
        {
            return invalid(format!("queue {queue} has no weight, but others have: give every queue one, or none"));
        }
        if let Some(weight) = weights.iter().find(|weight| !(1..=QUEUE_WEIGHT_MAX).contains(weight)) {
            return invalid(format!("a queue's weight is 1 to {QUEUE_WEIGHT_MAX}, not {weight}"));
        }
        if let Some((_, queue)) = queues.iter().enumerate().find(|(place, queue)| queues[..*place].contains(queue))
            && !weights.is_empty()
        {
            return invalid(format!("queue {queue} is named twice with a weight: name it once"));
        }
        label("name", &self.name)?;
        label("agent", &self.agent)?;
        if self.tasks.is_empty() {
            return invalid("a worker needs at least one handler or executor".to_owned());
        }
        let concurrency = match u32::try_from(self.concurrency) {
            Ok(jobs @ 1..=CREDITS_MAX) => jobs,
            _ => return invalid(format!("a worker runs 1 to {CREDITS_MAX} jobs at once, not {}", self.concurrency)),
        };
        let (shortest, longest) = (Duration::from_millis(LEASE_MS_MIN), Duration::from_millis(LEASE_MS_MAX));
        if self.lease < shortest || self.lease > longest {
            return invalid(format!("a lease lasts {shortest:?} to {longest:?}, not {:?}", self.lease));
        }
        Ok(Worker {
            client: self.client,
            info: WorkerInfo { name: self.name, agent: self.agent, queues, concurrency, ..WorkerInfo::default() },
            weights,
            lease: self.lease,
            grace: self.grace,
            tasks: self.tasks,
            observer: self.observer,
        })
    }
}

/// Checks a name for people only.
fn label(what: &str, text: &str) -> Result<(), SdkError> {
    let bytes = text.len();
    if bytes > NAME_BYTES_MAX {
        return Err(SdkError::Invalid(format!("the worker's {what} has {bytes} bytes, the limit is {NAME_BYTES_MAX}")));
    }
    if text.chars().any(char::is_control) {
        return Err(SdkError::Invalid(format!("the worker's {what} has a control character")));
    }
    Ok(())
}

impl std::fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerBuilder").field("name", &self.name).field("queues", &self.queues).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("info", &self.info).finish_non_exhaustive()
    }
}
