//! Workflows, written as ordinary Rust: steps, each of which may come after others.

use crate::batch::Batch;
use crate::client::Client;
use crate::error::SdkError;
use crate::producer::Producer;
use crate::requests::{millis, split};
use jobraft_protocol::limits::{AFTER_JOBS_MAX, BATCH_JOBS_MAX, DEPENDENTS_MAX};
use jobraft_protocol::{After, BatchId, BatchState, JobId, Label, NewBatch, NewJob, OnFailure, Start};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// A workflow in the making: a batch of jobs that come after each other. Nothing is sent before
/// [`submit`](Self::submit).
///
/// A step can only name steps that are there already, as a value names values: a cycle cannot be written.
///
/// ```no_run
/// use jobraft_sdk::protocol::BatchState;
/// use jobraft_sdk::{Client, Producer, SdkError, Workflow};
/// use std::time::Duration;
///
/// async fn count_words(client: Client, texts: &[String]) -> Result<u64, SdkError> {
///     let count = Producer::<str>::new(client.clone(), "texts", "count")?;
///     let sum = Producer::<()>::new(client.clone(), "texts", "sum")?;
///     let mail = Producer::<str>::new(client.clone(), "mail", "send")?;
///
///     let mut flow = Workflow::new(&client).label("wordcount")?;
///     let mut parts = Vec::new();
///     for (number, text) in texts.iter().enumerate() {
///         let part = flow.add(&count, text)?;
///         flow.step(part)?.label(&format!("part-{number}"))?.priority(7);
///         parts.push(part);
///     }
///     // Its handler reads what the parts made by `context.results()`.
///     let total = flow.add_after(&sum, &(), parts)?;
///     flow.on_complete(&mail, "counted")?;
///     flow.on_failure(&mail, "a part failed")?;
///
///     let batch = flow.submit().await?;
///     let view = batch.wait(Duration::from_secs(60)).await?;
///     println!("the batch is {}", view.state);
///     batch.result(total).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Workflow {
    client: Client,
    /// With all of the steps: each stands behind those that it comes after.
    batch: NewBatch,
    /// Where each step is.
    places: HashMap<JobId, usize>,
    /// How many steps come after a job.
    followers: HashMap<JobId, usize>,
}

/// A step of a workflow: the job that it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step(JobId);

impl Step {
    /// The id that its job has.
    #[must_use]
    pub fn job(self) -> JobId {
        self.0
    }
}

impl From<Step> for JobId {
    fn from(step: Step) -> Self {
        step.0
    }
}

impl From<&Step> for JobId {
    fn from(step: &Step) -> Self {
        step.0
    }
}

impl Workflow {
    /// A workflow without steps.
    #[must_use]
    pub fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            batch: NewBatch::new(client.batch_id(), Vec::new()),
            places: HashMap::new(),
            followers: HashMap::new(),
        }
    }

    /// What it is called, for people.
    ///
    /// # Errors
    /// If `label` is none.
    pub fn label(mut self, label: &str) -> Result<Self, SdkError> {
        self.batch.label = Some(Label::new(label)?);
        Ok(self)
    }

    /// The id that its batch has.
    #[must_use]
    pub fn id(&self) -> BatchId {
        self.batch.id
    }

    /// Its batch, which is there once [`submit`](Self::submit) has begun: to cancel what is left of one that failed.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch::new(&self.client, self.batch.id)
    }

    /// How many steps it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.jobs.len()
    }

    /// Whether it has no steps: such a workflow completes at once.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.jobs.is_empty()
    }

    /// Adds a step that waits for nothing, unless `producer` says so: a job as `producer` would enqueue it.
    ///
    /// # Errors
    /// As [`Producer::job`].
    pub fn add<T: ?Sized>(&mut self, producer: &Producer<T>, payload: &T) -> Result<Step, SdkError> {
        self.push(producer.job(payload)?)
    }

    /// Adds a step that waits until all of `after` have ended: steps of this workflow, or jobs that are enqueued. If one of
    /// them does not complete, [`StepOptions::on_failure`] says what becomes of it.
    ///
    /// # Errors
    /// As [`Producer::job`], and if they are more than [`AFTER_JOBS_MAX`], or one of them has more than [`DEPENDENTS_MAX`]
    /// behind it.
    pub fn add_after<T: ?Sized>(
        &mut self,
        producer: &Producer<T>,
        payload: &T,
        after: impl IntoIterator<Item = impl Into<JobId>>,
    ) -> Result<Step, SdkError> {
        let mut job = producer.job(payload)?;
        let more: Vec<JobId> = after.into_iter().map(Into::into).collect();
        if !more.is_empty() {
            job.after.get_or_insert_default().jobs.extend(more);
        }
        self.push(job)
    }

    /// Adds a job made elsewhere, such as by [`Producer::job`], as a step.
    ///
    /// # Errors
    /// [`SdkError::Invalid`] if it is a step already or a step that was added before comes after it, and as
    /// [`add_after`](Self::add_after).
    pub fn push(&mut self, mut job: NewJob) -> Result<Step, SdkError> {
        let id = job.id;
        if self.places.contains_key(&id) || self.followers.contains_key(&id) {
            return Err(SdkError::Invalid(format!(
                "job {id} is a step already, or one that was added before comes after it; add each step once, and before \
                 those that come after it"
            )));
        }
        if let Some(after) = &mut job.after {
            let mut seen = HashSet::new();
            after.jobs.retain(|predecessor| seen.insert(*predecessor));
            self.check_after(id, after)?;
            for predecessor in &after.jobs {
                *self.followers.entry(*predecessor).or_default() += 1;
            }
        }
        job.batch = Some(self.batch.id);
        self.places.insert(id, self.batch.jobs.len());
        self.batch.jobs.push(job);
        Ok(Step(id))
    }

    fn check_after(&self, id: JobId, after: &After) -> Result<(), SdkError> {
        let count = after.jobs.len();
        if count > AFTER_JOBS_MAX {
            let text =
                format!("a step that comes after {count} jobs; at most {AFTER_JOBS_MAX}: gather them in between");
            return Err(SdkError::TooLarge(text));
        }
        if after.jobs.contains(&id) {
            return Err(SdkError::Invalid(format!("job {id} would come after itself")));
        }
        match after.jobs.iter().find(|job| self.followers.get(*job).is_some_and(|count| *count >= DEPENDENTS_MAX)) {
            Some(job) => {
                let text = format!("more than {DEPENDENTS_MAX} steps that come after job {job}");
                Err(SdkError::TooLarge(text))
            }
            None => Ok(()),
        }
    }

    /// The options of a step that its producer does not know.
    ///
    /// # Errors
    /// [`SdkError::Invalid`] if it is a step of another workflow.
    pub fn step(&mut self, step: Step) -> Result<StepOptions<'_>, SdkError> {
        match self.places.get(&step.0) {
            Some(place) => Ok(StepOptions { job: &mut self.batch.jobs[*place] }),
            None => Err(SdkError::Invalid(format!("job {} is no step of this workflow", step.0))),
        }
    }

    /// This job is enqueued when all steps have completed, in the same step in which the last of them does. It is no part of
    /// the workflow; its id is given.
    ///
    /// # Errors
    /// As [`Producer::job`].
    pub fn on_complete<T: ?Sized>(&mut self, producer: &Producer<T>, payload: &T) -> Result<JobId, SdkError> {
        let job = producer.job(payload)?;
        Ok(self.batch.on_complete.insert(Box::new(job)).id)
    }

    /// This job is enqueued when the first step ends otherwise than completed, once. It is no part of the workflow; its id
    /// is given.
    ///
    /// # Errors
    /// As [`Producer::job`].
    pub fn on_failure<T: ?Sized>(&mut self, producer: &Producer<T>, payload: &T) -> Result<JobId, SdkError> {
        let job = producer.job(payload)?;
        Ok(self.batch.on_failure.insert(Box::new(job)).id)
    }

    /// Hands it to the cluster. Up to [1,000 steps](jobraft_protocol::limits::BULK_JOBS_MAX) with
    /// [4 MiB](jobraft_protocol::limits::BULK_BYTES_MAX) of payload go in one atomic step: all or nothing. A larger one goes
    /// in several such parts, in the order in which its steps were added, into a batch that stays open until all are there;
    /// the first may run meanwhile, and must not be forgotten meanwhile: queues that keep ended jobs for seconds only are not
    /// for it.
    ///
    /// A step whose unique key another job holds does not come to be: that job stands for it elsewhere. One that comes
    /// after such a step is refused.
    ///
    /// After an error it may be submitted again, which goes on with what is not there yet and makes nothing twice, as long
    /// as the ids of its steps, made when they were added, are young enough: 5 minutes as a rule.
    ///
    /// # Errors
    /// The refusal of the first step that is refused, which names it; or if the cluster does not answer. Of a workflow of
    /// several parts those before it are enqueued then: submit it again, or [cancel](Batch::cancel) its
    /// [`batch`](Self::batch). [`SdkError::TooLarge`] if it has more than [`BATCH_JOBS_MAX`] steps; nothing is sent then.
    pub async fn submit(&self) -> Result<Batch, SdkError> {
        let NewBatch { id, label, on_complete, on_failure, jobs, .. } = self.batch.clone();
        if jobs.len() as u64 > BATCH_JOBS_MAX {
            return Err(SdkError::TooLarge(format!("{} steps, of at most {BATCH_JOBS_MAX}", jobs.len())));
        }
        let mut parts = split(jobs).into_iter();
        let first = parts.next().unwrap_or_default();
        let open = parts.len() > 0;
        let batch = NewBatch { id, label, on_complete, on_failure, jobs: first, open };
        let created = self.client.create_batch(batch).await?;
        // One that takes no more has all of them, or was cancelled.
        if created.state == BatchState::Open {
            for part in parts {
                self.client.enqueue_all(part).await?;
            }
            self.client.seal_batch(id).await?;
        }
        Ok(self.batch())
    }
}

/// The options of one step, apart from what its [`Producer`] says; see [`Workflow::step`].
#[derive(Debug)]
pub struct StepOptions<'a> {
    job: &'a mut NewJob,
}

impl StepOptions<'_> {
    /// What it is called, for people and for the steps that come after it.
    ///
    /// # Errors
    /// If `label` is none.
    pub fn label(self, label: &str) -> Result<Self, SdkError> {
        self.job.label = Some(Label::new(label)?);
        Ok(self)
    }

    /// What becomes of it if a job that it waits for does not complete; [`OnFailure::Wait`] unless told otherwise. Without
    /// effect on a step that waits for none.
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        if let Some(after) = &mut self.job.after {
            after.on_failure = on_failure;
        }
        self
    }

    /// It starts at least this long after it was enqueued.
    pub fn delay(self, delay: Duration) -> Self {
        self.job.start = Start::AfterMs(millis(delay));
        self
    }

    /// 0 (first) to 9.
    pub fn priority(self, priority: u8) -> Self {
        self.job.priority = Some(priority);
        self
    }
}
