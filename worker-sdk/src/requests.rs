//! The client's methods for jobs, leases and the cluster, one for each request.

use crate::client::{Client, Trail, unexpected};
use crate::clock::after;
use crate::error::SdkError;
use crate::together::{self, Joined, Together};
use crate::waiting::WATCH_STEP_MS;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jobraft_protocol::limits::{BULK_AFTER_MAX, BULK_BYTES_MAX, BULK_JOBS_MAX, EXTEND_LEASES_MAX, WAIT_MS_MAX};
use jobraft_protocol::{
    ClusterStatus, Completion, Consistency, EnqueueOutcome, Error, ErrorCode, Extended, Failure, JobId, JobState,
    JobView, LeaseRef, LeasedJob, LogTime, NewJob, NodeAddress, NodeId, Progress, QueueName, QueueStats, Request,
    Response, WorkerId, WorkerInfo, WorkerOrder,
};
use std::time::{Duration, Instant};

/// Parts of one large enqueue that are under way at once.
const ENQUEUES_UNDER_WAY: usize = 4;
/// How long a change of the members may take: a new node first receives everything.
pub const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(120);

/// What a job's predecessor takes on the wire.
const PREDECESSOR_BYTES: usize = 17;
/// When to come back to a full queue that does not say, in milliseconds.
const FULL_PAUSE_MS: u64 = 1_000;

/// Where a failed job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailOutcome {
    /// `scheduled`, `dead`, or `cancelled` if it had been asked to stop.
    pub state: JobState,
    /// When it will be tried again.
    pub retry_at: Option<LogTime>,
}

/// `answered!(answer, Variant(x) => x)`: the answer's content, or the error that it is of another kind.
macro_rules! answered {
    ($answer:expr, $variant:ident) => {
        match $answer {
            Response::$variant => Ok(()),
            other => Err($crate::client::unexpected(stringify!($variant), &other)),
        }
    };
    ($answer:expr, $variant:ident($value:ident)) => {
        match $answer {
            Response::$variant($value) => Ok($value),
            other => Err($crate::client::unexpected(stringify!($variant), &other)),
        }
    };
}
pub(crate) use answered;

impl Client {
    /// Enqueues any number of jobs; the outcomes are in their order. What exceeds one request's limits goes in several,
    /// each of which is durable when it is answered. A job may come after others that stand before it.
    ///
    /// # Errors
    /// If any part fails. Calling again with the same jobs is safe: what is there already is
    /// [`EnqueueOutcome::Existing`].
    pub async fn enqueue(&self, mut jobs: Vec<NewJob>) -> Result<Vec<EnqueueOutcome>, SdkError> {
        if jobs.len() == 1
            && let Some(job) = jobs.pop_if(|job| job.after.is_none())
        {
            return Ok(vec![together::ask(self, job, self.config().request_timeout).await?]);
        }
        Box::pin(self.enqueue_in_parts(jobs)).await
    }

    async fn enqueue_in_parts(&self, jobs: Vec<NewJob>) -> Result<Vec<EnqueueOutcome>, SdkError> {
        // A part may need what is in the one before.
        let at_once = if jobs.iter().any(|job| job.after.is_some()) { 1 } else { ENQUEUES_UNDER_WAY };
        let parts = split(jobs).into_iter().map(|jobs| self.enqueue_part(jobs, false));
        stream::iter(parts).buffered(at_once).try_concat().await
    }

    pub(crate) async fn enqueue_part(
        &self,
        jobs: Vec<NewJob>,
        all_or_none: bool,
    ) -> Result<Vec<EnqueueOutcome>, SdkError> {
        self.enqueue_within(jobs, all_or_none, self.config().request_timeout).await
    }

    async fn enqueue_within(
        &self,
        jobs: Vec<NewJob>,
        all_or_none: bool,
        timeout: Duration,
    ) -> Result<Vec<EnqueueOutcome>, SdkError> {
        let count = jobs.len();
        let request = Request::Enqueue { jobs, all_or_none };
        as_many(count, answered!(self.ask_within(request, timeout).await?, Enqueued(outcomes))?)
    }

    /// Enqueues jobs like [`enqueue`](Self::enqueue), and those that a full queue refuses again, after the pause that it
    /// asks for, until it has room for them or `patience` is over: then their outcome is that refusal.
    ///
    /// The jobs keep the ids that they come with. An id grows too old to be taken, after 5 minutes as a rule
    /// ([`ErrorCode::IdOutsideWindow`]): who has more patience uses [`enqueue_renewing`](Self::enqueue_renewing).
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue).
    pub async fn enqueue_waiting(
        &self,
        mut jobs: Vec<NewJob>,
        patience: Duration,
    ) -> Result<Vec<EnqueueOutcome>, SdkError> {
        self.enqueue_patiently(&mut jobs, patience, |_| {}).await
    }

    /// The same for any patience: each time that a job was refused, it gets a new id before it is sent again. That makes no
    /// second job, for what a full queue refused is not enqueued. The outcomes are those of the ids that `jobs` have then.
    ///
    /// # Errors
    /// As [`enqueue`](Self::enqueue); to enqueue `jobs` again, as they are then, is safe.
    pub async fn enqueue_renewing(
        &self,
        jobs: &mut [NewJob],
        patience: Duration,
    ) -> Result<Vec<EnqueueOutcome>, SdkError> {
        self.enqueue_patiently(jobs, patience, |job| job.id = self.job_id()).await
    }

    async fn enqueue_patiently(
        &self,
        jobs: &mut [NewJob],
        patience: Duration,
        before_again: impl Fn(&mut NewJob),
    ) -> Result<Vec<EnqueueOutcome>, SdkError> {
        let deadline = after(patience);
        let mut outcomes = self.enqueue(jobs.to_vec()).await?;
        loop {
            let (places, pauses): (Vec<usize>, Vec<u64>) =
                outcomes.iter().enumerate().filter_map(refused_as_full).unzip();
            let Some(pause) = pauses.into_iter().max().map(Duration::from_millis) else { return Ok(outcomes) };
            if deadline.saturating_duration_since(Instant::now()) <= pause {
                return Ok(outcomes);
            }
            tokio::time::sleep(pause).await;
            places.iter().for_each(|&place| before_again(&mut jobs[place]));
            let again = places.iter().map(|&place| jobs[place].clone()).collect();
            for (place, outcome) in places.into_iter().zip(self.enqueue(again).await?) {
                outcomes[place] = outcome;
            }
        }
    }

    /// Reads a job.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if there is none of that id, or its retention is over.
    pub async fn get_job(&self, job: JobId, consistency: Consistency) -> Result<JobView, SdkError> {
        let request = Request::GetJob { job, consistency, wait_ms: 0 };
        Ok(*answered!(self.ask(request).await?, Job(view))?)
    }

    /// Waits until the job's life is over, for at most `timeout`, and reads it.
    ///
    /// # Errors
    /// [`SdkError::Timeout`] if it goes on, and those of [`get_job`](Self::get_job).
    pub async fn wait_job(&self, job: JobId, timeout: Duration) -> Result<JobView, SdkError> {
        self.wait_in_steps(job, timeout, WAIT_MS_MAX, |_: &JobView| {}).await
    }

    /// The same, and calls `watch` with the job as it stands about once a second meanwhile: to show its progress.
    ///
    /// # Errors
    /// As [`wait_job`](Self::wait_job).
    pub async fn wait_job_watching(
        &self,
        job: JobId,
        timeout: Duration,
        watch: impl FnMut(&JobView),
    ) -> Result<JobView, SdkError> {
        self.wait_in_steps(job, timeout, WATCH_STEP_MS, watch).await
    }

    /// Lists the queues with their counts.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn queues(&self, consistency: Consistency) -> Result<Vec<QueueStats>, SdkError> {
        answered!(self.ask(Request::ListQueues { consistency }).await?, Queues(queues))
    }

    /// The cluster as one node knows it: the node at `endpoint`, or whichever this client is connected to. Works
    /// without a quorum.
    ///
    /// # Errors
    /// If that node does not answer.
    pub async fn cluster_status(&self, endpoint: Option<&NodeAddress>) -> Result<ClusterStatus, SdkError> {
        let answer = match endpoint {
            None => self.ask(Request::ClusterStatus).await?,
            Some(address) => {
                let session = self.router().dial(address).await?;
                self.call_on(&session, Request::ClusterStatus, self.config().request_timeout).await?
            }
        };
        answered!(answer, Cluster(status))
    }

    /// Adds a node that runs with an empty data directory; returns once it votes, or has caught up if it is to stay a
    /// `learner`.
    ///
    /// # Errors
    /// [`ErrorCode::Membership`] if that cannot be; [`SdkError::OutcomeUnknown`] if it may have been done.
    pub async fn add_node(&self, node: NodeId, address: NodeAddress, learner: bool) -> Result<(), SdkError> {
        answered!(self.change_members(Request::AddNode { node, address, learner }).await?, Done)
    }

    /// Removes a node.
    ///
    /// # Errors
    /// As [`add_node`](Self::add_node).
    pub async fn remove_node(&self, node: NodeId) -> Result<(), SdkError> {
        answered!(self.change_members(Request::RemoveNode { node }).await?, Done)
    }

    /// Hands leadership to `to`, or to the voter that is furthest; returns who leads then.
    ///
    /// # Errors
    /// As [`add_node`](Self::add_node).
    pub async fn transfer_leader(&self, to: Option<NodeId>) -> Result<NodeId, SdkError> {
        answered!(self.change_members(Request::TransferLeader { to }).await?, Leader(node))
    }

    async fn change_members(&self, request: Request) -> Result<Response, SdkError> {
        self.call(request, MEMBERSHIP_TIMEOUT, &mut Trail::default()).await
    }

    /// Mints an incarnation of a worker. [`Worker`](crate::Worker) does all that follows by itself.
    ///
    /// # Errors
    /// If the cluster does not answer. Calling again is safe: an incarnation that holds no lease costs nothing.
    pub async fn register_worker(&self, info: WorkerInfo) -> Result<WorkerId, SdkError> {
        answered!(self.ask(Request::RegisterWorker { info }).await?, Registered(worker))
    }

    /// Says that a worker is alive; returns what it is told to do.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if the cluster does not know it any more: register again.
    pub async fn heartbeat(&self, worker: WorkerId) -> Result<WorkerOrder, SdkError> {
        answered!(self.ask(Request::Heartbeat { worker }).await?, Order(order))
    }

    /// Leases up to `max` jobs for `lease`, waiting up to `wait` for the first: from the first queue that has some.
    /// See [`lease_deadline`](Self::lease_deadline) for how long they may be worked on.
    ///
    /// # Errors
    /// [`SdkError::OutcomeUnknown`] if the answer was lost. Leasing again is safe: what the lost answer leased comes
    /// back when that lease ends.
    pub async fn lease(
        &self,
        worker: WorkerId,
        queues: Vec<QueueName>,
        max: u32,
        lease: Duration,
        wait: Duration,
    ) -> Result<Vec<LeasedJob>, SdkError> {
        let wait_ms = millis(wait).min(WAIT_MS_MAX);
        let request = Request::Lease { worker, queues, weights: Vec::new(), max, lease_ms: millis(lease), wait_ms };
        let patience = self.config().request_timeout.saturating_add(Duration::from_millis(wait_ms));
        answered!(self.call(request, patience, &mut Trail::default()).await?, Leased(jobs))
    }

    /// Completes a job.
    ///
    /// # Errors
    /// [`ErrorCode::LeaseLost`] or [`ErrorCode::Cancelled`] if it is not this lease's any more.
    pub async fn complete(&self, lease: LeaseRef, completion: Completion) -> Result<(), SdkError> {
        self.complete_within(lease, completion, self.config().request_timeout).await
    }

    pub(crate) async fn complete_within(
        &self,
        lease: LeaseRef,
        completion: Completion,
        timeout: Duration,
    ) -> Result<(), SdkError> {
        together::ask(self, (lease, completion), timeout).await?.map_err(SdkError::Refused)
    }

    /// Fails an attempt.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn fail(&self, lease: LeaseRef, failure: Failure) -> Result<FailOutcome, SdkError> {
        match self.ask(Request::Fail { lease, failure }).await? {
            Response::Failed { state, retry_at } => Ok(FailOutcome { state, retry_at }),
            other => Err(unexpected("Failed", &other)),
        }
    }

    /// Extends leases to `lease` from now; for each, in order, its new end or why it is lost.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn extend(&self, leases: &[LeaseRef], lease: Duration) -> Result<Vec<Result<Extended, Error>>, SdkError> {
        self.extend_within(leases, lease, self.config().request_timeout).await
    }

    pub(crate) async fn extend_within(
        &self,
        leases: &[LeaseRef],
        lease: Duration,
        timeout: Duration,
    ) -> Result<Vec<Result<Extended, Error>>, SdkError> {
        let mut ends = Vec::with_capacity(leases.len());
        for part in leases.chunks(EXTEND_LEASES_MAX) {
            let request = Request::Extend { leases: part.to_vec(), lease_ms: millis(lease), progress: Vec::new() };
            let answer = answered!(self.call(request, timeout, &mut Trail::default()).await?, Extended(ends))?;
            ends.extend(as_many(part.len(), answer)?);
        }
        Ok(ends)
    }

    /// Tells how far jobs are. What is told under a lease that is lost is dropped.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn tell_progress(&self, progress: &[(LeaseRef, Progress)]) -> Result<(), SdkError> {
        for part in progress.chunks(EXTEND_LEASES_MAX) {
            let request = Request::Extend { leases: Vec::new(), lease_ms: 0, progress: part.to_vec() };
            answered!(self.ask(request).await?, Extended(_none))?;
        }
        Ok(())
    }

    /// Leaves bytes for the job's next attempt, instead of what was left before; none clears.
    ///
    /// # Errors
    /// As [`complete`](Self::complete); [`ErrorCode::TooLarge`] beyond
    /// [`CHECKPOINT_BYTES_MAX`](jobraft_protocol::limits::CHECKPOINT_BYTES_MAX).
    pub async fn checkpoint(&self, lease: LeaseRef, data: impl Into<bytes::Bytes>) -> Result<(), SdkError> {
        answered!(self.ask(Request::Checkpoint { lease, data: data.into() }).await?, Done)
    }

    /// Gives a job back unfinished; the attempt does not count.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn release(&self, lease: LeaseRef) -> Result<(), SdkError> {
        self.snooze(lease, Duration::ZERO).await
    }

    /// Gives a job back unfinished, to be run again after `delay` and not sooner; the attempt does not count.
    ///
    /// # Errors
    /// As [`complete`](Self::complete).
    pub async fn snooze(&self, lease: LeaseRef, delay: Duration) -> Result<(), SdkError> {
        let mut trail = Trail::default();
        let request = Request::Release { lease, delay_ms: millis(delay) };
        match self.call(request, self.config().request_timeout, &mut trail).await {
            // The attempt whose answer was lost has released it.
            Err(SdkError::Refused(error)) if trail.maybe_done && error.code == ErrorCode::LeaseLost => Ok(()),
            other => answered!(other?, Done),
        }
    }

    /// The worker goes away: all its leases are released at once.
    ///
    /// # Errors
    /// If the cluster does not answer; the leases then end by themselves.
    pub async fn disconnect(&self, worker: WorkerId) -> Result<(), SdkError> {
        answered!(self.ask(Request::Disconnect { worker }).await?, Done)
    }
}

impl Joined for NewJob {
    type Answer = EnqueueOutcome;

    fn queue(client: &Client) -> &Together<Self> {
        client.enqueues()
    }

    fn weight_bytes(&self) -> usize {
        self.payload.len()
    }

    async fn ask(client: &Client, jobs: Vec<Self>, timeout: Duration) -> Result<Vec<EnqueueOutcome>, SdkError> {
        client.enqueue_within(jobs, false, timeout).await
    }
}

impl Joined for (LeaseRef, Completion) {
    type Answer = Result<(), Error>;

    fn queue(client: &Client) -> &Together<Self> {
        client.completions()
    }

    fn weight_bytes(&self) -> usize {
        let Completion { result, log, jobs, state } = &self.1;
        // As many as one step takes fill a request, however small they are.
        let jobs = jobs.iter().map(|job| job_bytes(job).max(BULK_BYTES_MAX.div_ceil(BULK_JOBS_MAX)));
        let values = state.iter().map(|write| size_of_val(write) + write.value.as_ref().map_or(0, |value| value.len()));
        result.len() + log.len() + jobs.sum::<usize>() + values.sum::<usize>()
    }

    async fn ask(
        client: &Client,
        completions: Vec<Self>,
        timeout: Duration,
    ) -> Result<Vec<Result<(), Error>>, SdkError> {
        let count = completions.len();
        as_many(count, answered!(client.ask_within(Request::Complete { completions }, timeout).await?, Acted(answers))?)
    }
}

/// An answer to each of so many.
fn as_many<T>(count: usize, answers: Vec<T>) -> Result<Vec<T>, SdkError> {
    if answers.len() == count {
        return Ok(answers);
    }
    Err(SdkError::Protocol(format!("it gave {} answers where {count} were due", answers.len())))
}

/// The place of a job that a full queue, or a namespace without room, refused, and when to come back.
fn refused_as_full((place, outcome): (usize, &EnqueueOutcome)) -> Option<(usize, u64)> {
    match outcome {
        EnqueueOutcome::Refused(error) => full_pause_ms(error).map(|pause| (place, pause)),
        _ => None,
    }
}

fn full_pause_ms(error: &Error) -> Option<u64> {
    match error.code {
        ErrorCode::QueueFull => Some(error.retry_after_ms.unwrap_or(FULL_PAUSE_MS)),
        // Of some quotas time alone gives no more.
        ErrorCode::QuotaExceeded => error.retry_after_ms,
        _ => None,
    }
}

/// How long to wait before what a full queue or namespace refused is sent again; `None` if it is refused for another reason,
/// or there is no time for that.
pub(crate) fn full_pause(error: &Error, deadline: Instant) -> Option<Duration> {
    let pause = Duration::from_millis(full_pause_ms(error)?);
    (deadline.saturating_duration_since(Instant::now()) > pause).then_some(pause)
}

/// A duration as the wire has it.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Refuses more jobs than fit in one request.
pub(crate) fn fits(jobs: &[NewJob]) -> Result<(), SdkError> {
    if jobs.len() > BULK_JOBS_MAX {
        return Err(SdkError::TooLarge(format!(
            "{} jobs, of which one step takes at most {BULK_JOBS_MAX}",
            jobs.len()
        )));
    }
    let bytes: usize = jobs.iter().map(|job| job.payload.len()).sum();
    if bytes > BULK_BYTES_MAX {
        let text = format!("{bytes} bytes of payload, of which one step takes at most {BULK_BYTES_MAX}");
        return Err(SdkError::TooLarge(text));
    }
    Ok(())
}

fn predecessors(job: &NewJob) -> usize {
    job.after.as_ref().map_or(0, |after| after.jobs.len())
}

/// What a job takes of a request's bytes.
fn job_bytes(job: &NewJob) -> usize {
    job.payload.len() + predecessors(job) * PREDECESSOR_BYTES
}

/// Cuts jobs into parts that fit in one request. A single job that is too large stays for the node to refuse.
pub(crate) fn split(jobs: Vec<NewJob>) -> Vec<Vec<NewJob>> {
    let mut parts: Vec<Vec<NewJob>> = Vec::new();
    let (mut bytes, mut after) = (0, 0);
    for job in jobs {
        let (predecessors, size) = (predecessors(&job), job_bytes(&job));
        let has_room = bytes + size <= BULK_BYTES_MAX && after + predecessors <= BULK_AFTER_MAX;
        match parts.last_mut() {
            Some(part) if part.len() < BULK_JOBS_MAX && has_room => {
                (bytes, after) = (bytes + size, after + predecessors);
                part.push(job);
            }
            _ => {
                (bytes, after) = (size, predecessors);
                parts.push(vec![job]);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use jobraft_protocol::{Task, TaskName};

    fn job(bytes: usize) -> NewJob {
        let id = JobId::new(LogTime::from_ms(1), rand::random());
        NewJob::new(id, QueueName::new("q").unwrap(), Task::Handler(TaskName::new("t").unwrap()), vec![0; bytes])
    }

    #[test]
    fn no_part_exceeds_a_limit_and_order_is_kept() {
        let jobs: Vec<NewJob> = (0..2_500).map(|n| job(if n % 100 == 0 { 900_000 } else { 10 })).collect();
        let parts = split(jobs.clone());
        for part in &parts {
            assert!(part.len() <= BULK_JOBS_MAX);
            assert!(part.iter().map(|job| job.payload.len()).sum::<usize>() <= BULK_BYTES_MAX);
        }
        assert_eq!(parts.concat(), jobs);
    }

    #[test]
    fn no_part_comes_after_more_jobs_than_one_step_takes() {
        let before: Vec<JobId> = (0..1_000).map(|_| job(0).id).collect();
        let after = |_| NewJob {
            after: Some(jobraft_protocol::After { jobs: before.clone(), ..Default::default() }),
            ..job(10)
        };
        let jobs: Vec<NewJob> = (0..150).map(after).collect();
        let parts = split(jobs.clone());
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [100, 50]);
        assert_eq!(parts.concat(), jobs);
    }
}
