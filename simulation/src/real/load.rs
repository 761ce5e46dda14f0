//! A load of producers, workers and readers, each operation of which is noted: what was asked, when, and what was answered.
//!
//! What was not answered stays open, for it may have been done: it is asked for again under the same id, as a careful
//! program would. Most jobs are completed at once; some are given back, extended first, let go of without a word, or
//! completed only after their lease must have ended.

use super::verdict::Trouble;
use crate::history::{Ask, Call, Operation, Outcome, Recorder, Seen, mark};
use futures_util::stream::{self, StreamExt};
use jobraft_sdk::protocol::{
    Backoff, BackoffCurve, Completion, Consistency, EnqueueOutcome, ErrorCode, JobId, LeaseRef, LeasedJob, NewJob,
    QueueName, QueueStats, Task, TaskName, WorkerInfo, limits,
};
use jobraft_sdk::{Client, SdkError};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Short, so that what is let go of comes back within a run.
pub const LEASE: Duration = Duration::from_secs(5);
/// More than any lease of a job lasts, also one that a new leader lengthened.
const LATE: Duration = Duration::from_secs(12);
const LEASE_WAIT: Duration = Duration::from_secs(1);
const LEASED_MAX: u32 = 64;
const COMPLETIONS_AT_ONCE: usize = 64;
/// Enqueues of a second are spread over so many moments.
const MOMENTS: u32 = 20;
/// Waiting jobs beyond which nobody enqueues: the workers are to be busy, not buried.
const BACKLOG_MAX: u64 = 20_000;
/// How often a job is asked for again whose enqueue was not answered.
const TRIES_MAX: usize = 5;
pub(super) const PAUSE: Duration = Duration::from_millis(200);
/// Pause of a reader between two reads.
const READ_PAUSE: Duration = Duration::from_millis(100);
const RECENT_MAX: usize = 1_000;
const PAYLOAD: &[u8] = b"null                                                            ";

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Jobs a second, of all producers together.
    pub rate: u32,
    /// How many producers, and as many workers.
    pub pairs: u32,
    /// For its choices.
    pub seed: u64,
}

/// What was acknowledged so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Enqueues.
    pub enqueued: AtomicU64,
    /// Completions.
    pub completed: AtomicU64,
    /// Calls whose outcome was left open.
    pub unknown: AtomicU64,
    /// Completions under a lease that had ended, which were refused.
    pub refused_late: AtomicU64,
}

#[derive(Clone)]
struct Shared {
    recorder: Recorder,
    counters: Arc<Counters>,
    recent: Arc<Mutex<Vec<JobId>>>,
    queue: QueueName,
    enqueueing: CancellationToken,
    working: CancellationToken,
    paused: tokio::sync::watch::Receiver<bool>,
}

/// A running load; its tasks end when it is dropped.
pub struct Load {
    shared: Shared,
    pause: tokio::sync::watch::Sender<bool>,
    producers: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins.
    ///
    /// # Errors
    /// Never on a machine that the names below are names on.
    pub fn start(plan: Plan, clients: &[Client], recorder: Recorder) -> Result<Self, Trouble> {
        let queue = QueueName::new("load").map_err(|error| Trouble::machine("name a queue", error))?;
        let (pause, paused) = tokio::sync::watch::channel(false);
        let shared = Shared {
            recorder,
            counters: Arc::default(),
            recent: Arc::default(),
            queue,
            enqueueing: CancellationToken::new(),
            working: CancellationToken::new(),
            paused,
        };
        let (mut producers, mut workers) = (Vec::new(), Vec::new());
        for number in 0..plan.pairs {
            let client = |of: u32| clients[of as usize % clients.len()].clone();
            let random = |of: u32| StdRng::seed_from_u64(plan.seed.wrapping_mul(1_000_003).wrapping_add(u64::from(of)));
            let each = f64::from(plan.rate) / f64::from(plan.pairs.max(1)) / f64::from(MOMENTS);
            let [first, second, third] = [3 * number, 3 * number + 1, 3 * number + 2];
            producers.push(tokio::spawn(shared.clone().produce(client(first), first, each)));
            workers.push(tokio::spawn(shared.clone().work(client(second), second, random(second))));
            workers.push(tokio::spawn(shared.clone().read(client(third), third, random(third))));
        }
        Ok(Self { shared, pause, producers, workers })
    }

    /// What was acknowledged so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The queue of its jobs.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        &self.shared.queue
    }

    /// Waits until `more` enqueues and as many completions were acknowledged than were when this was called.
    ///
    /// # Errors
    /// A violation if that takes too long.
    pub async fn goes_on(&self, more: u64, timeout: Duration) -> Result<Duration, Trouble> {
        let now = || {
            let Counters { enqueued, completed, .. } = &*self.shared.counters;
            (enqueued.load(Ordering::Relaxed), completed.load(Ordering::Relaxed))
        };
        let (begun, (enqueued, completed)) = (Instant::now(), now());
        loop {
            let (enqueued_now, completed_now) = now();
            if enqueued_now >= enqueued + more && completed_now >= completed + more {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > timeout {
                return Err(Trouble::Violation(format!(
                    "no work is done {timeout:?} after a fault: {} enqueues and {} completions were acknowledged meanwhile",
                    enqueued_now - enqueued,
                    completed_now - completed
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lets the producers stand still, or go on.
    pub fn pause(&self, paused: bool) {
        self.pause.send_replace(paused);
    }

    /// Waits until the queue is empty: all that was enqueued has ended.
    ///
    /// # Errors
    /// A violation if that takes too long.
    pub async fn drained(&self, client: &Client, timeout: Duration) -> Result<(), Trouble> {
        let begun = Instant::now();
        let mut last = "the cluster did not say how many jobs wait".to_owned();
        loop {
            if let Ok(stats) = stats(client, &self.shared.queue).await {
                let left = stats.ready + stats.leased + stats.scheduled + stats.blocked;
                if left == 0 {
                    return Ok(());
                }
                last =
                    format!("{} jobs are ready, {} leased, {} scheduled", stats.ready, stats.leased, stats.scheduled);
            }
            if begun.elapsed() > timeout {
                return Err(Trouble::Violation(format!("work is left {timeout:?} after the last enqueue: {last}")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends the enqueueing, and waits for what is under way.
    pub async fn stop_producers(&mut self) {
        self.shared.enqueueing.cancel();
        for producer in self.producers.drain(..) {
            // A producer that panicked is told of by its panic.
            let _ = producer.await;
        }
    }

    /// Ends the work, and waits for what is under way.
    pub async fn stop_workers(&mut self) {
        self.shared.working.cancel();
        for worker in self.workers.drain(..) {
            let _ = worker.await;
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.enqueueing.cancel();
        self.shared.working.cancel();
        self.producers.iter().chain(&self.workers).for_each(JoinHandle::abort);
    }
}

/// The counts of one queue, as everybody agrees.
///
/// # Errors
/// If the cluster does not answer, or does not know the queue.
pub async fn stats(client: &Client, queue: &QueueName) -> Result<QueueStats, SdkError> {
    let all = client.queues(Consistency::Linearizable).await?;
    let found = all.into_iter().find(|stats| stats.queue == *queue);
    found.ok_or_else(|| SdkError::Invalid(format!("there is no queue {queue}")))
}

/// What the answer to an error tells: nothing, unless the cluster itself refused for good.
fn refusal(error: &SdkError) -> Option<Outcome> {
    match error {
        SdkError::Refused(refusal) if !error.retryable() => Some(Outcome::Refused(refusal.code)),
        _ => None,
    }
}

impl Shared {
    async fn produce(self, client: Client, number: u32, each: f64) {
        let mut moments = tokio::time::interval(Duration::from_secs(1) / MOMENTS);
        // After a call that took long nobody makes up for the moments that it missed.
        moments.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut due, mut again) = (0.0, Vec::new());
        let mut tries = 0;
        while !self.enqueueing.is_cancelled() {
            moments.tick().await;
            let done = || self.counters.completed.load(Ordering::Relaxed);
            let behind = self.counters.enqueued.load(Ordering::Relaxed).saturating_sub(done()) > BACKLOG_MAX;
            let mut jobs = std::mem::take(&mut again);
            if jobs.is_empty() {
                tries = 0;
                if *self.paused.borrow() || behind {
                    continue;
                }
                due += each;
                while due >= 1.0 {
                    due -= 1.0;
                    jobs.extend(self.new_job(&client));
                }
            }
            if !jobs.is_empty() {
                tries += 1;
                again = self.enqueue(&client, number, jobs).await;
                if tries >= TRIES_MAX {
                    again.clear();
                }
            }
        }
    }

    fn new_job(&self, client: &Client) -> Option<NewJob> {
        let task = Task::Handler(TaskName::new("nothing").ok()?);
        let curve = BackoffCurve::Fixed { delay_ms: 0 };
        let backoff = Some(Backoff { curve, max_ms: limits::BACKOFF_MS_MAX, jitter_percent: 0 });
        let max_crashes = Some(limits::CRASHES_MAX);
        let job = NewJob::new(client.job_id(), self.queue.clone(), task, PAYLOAD);
        Some(NewJob { backoff, max_crashes, ..job })
    }

    /// Enqueues; returns the jobs of which nobody knows whether they are.
    async fn enqueue(&self, client: &Client, number: u32, jobs: Vec<NewJob>) -> Vec<NewJob> {
        let (called, asks): (u64, Vec<Ask>) = {
            let mut history = self.recorder.history();
            let ask = |job: &NewJob| history.ask(number, job.id, Call::Enqueue(Box::new(job.clone())));
            let asks = jobs.iter().map(ask).collect();
            (history.operations.last().map_or(0, |operation| operation.called), asks)
        };
        match client.enqueue(jobs.clone()).await {
            Ok(outcomes) => {
                let mut history = self.recorder.history();
                let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
                for ((ask, job), outcome) in asks.into_iter().zip(&jobs).zip(&outcomes) {
                    if *outcome == EnqueueOutcome::Existing {
                        // The client asked more than once: an earlier try, not answered, may have made it.
                        let call = Call::Enqueue(Box::new(job.clone()));
                        let (job, returned, outcome) = (job.id, None, None);
                        history.operations.push(Operation { client: number, job, called, returned, call, outcome });
                    }
                    history.answer(ask, outcome.into());
                    if matches!(outcome, EnqueueOutcome::Created | EnqueueOutcome::Existing) {
                        self.counters.enqueued.fetch_add(1, Ordering::Relaxed);
                        if recent.len() >= RECENT_MAX {
                            recent.remove(0);
                        }
                        recent.push(job.id);
                    }
                }
                Vec::new()
            }
            Err(_) => {
                self.counters.unknown.fetch_add(1, Ordering::Relaxed);
                jobs
            }
        }
    }

    async fn work(self, client: Client, number: u32, mut random: StdRng) {
        let mut worker = None;
        while !self.working.is_cancelled() {
            let Some(id) = worker else {
                let info = WorkerInfo {
                    name: format!("worker-{number}"),
                    agent: "simulation".to_owned(),
                    queues: vec![self.queue.clone()],
                    concurrency: LEASED_MAX,
                };
                worker = client.register_worker(info).await.ok();
                if worker.is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            };
            let called = self.recorder.history().tick();
            match client.lease(id, vec![self.queue.clone()], LEASED_MAX, LEASE, LEASE_WAIT).await {
                Ok(jobs) => {
                    {
                        let mut history = self.recorder.history();
                        for job in &jobs {
                            history.leased(number, called, id, millis(LEASE), job.id, job.into());
                        }
                    }
                    let jobs: Vec<_> = jobs.into_iter().map(|job| (job, Way::choose(&mut random))).collect();
                    let ways = stream::iter(jobs).map(|(job, way)| self.finish(&client, number, job, way));
                    ways.buffer_unordered(COMPLETIONS_AT_ONCE).collect::<()>().await;
                }
                Err(error) => {
                    self.recorder.history().unseen_leases(called);
                    if error.code() == Some(ErrorCode::NotFound) {
                        worker = None;
                    } else {
                        self.counters.unknown.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    async fn finish(&self, client: &Client, number: u32, job: LeasedJob, way: Way) {
        let lease = LeaseRef { job: job.id, token: job.token };
        match way {
            Way::Complete => self.complete(client, number, lease).await,
            Way::LetGo => {}
            Way::GiveBack => {
                // Left open, whatever is answered: the client takes a lease that was lost meanwhile for one that an
                // earlier try, not answered, gave back.
                self.ask(number, lease.job, Call::Release { token: lease.token, delay_ms: 0 });
                let _ = client.release(lease).await;
            }
            Way::ExtendFirst => {
                let ask = self.ask(number, lease.job, Call::Extend { token: lease.token, lease_ms: millis(LEASE) });
                match client.extend(&[lease], LEASE).await.map(|mut ends| ends.pop()) {
                    Ok(Some(Ok(end))) => {
                        self.answer(
                            ask,
                            Outcome::Extended { expires_at: end.expires_at, to_stop: end.cancel.is_some() },
                        );
                    }
                    Ok(Some(Err(error))) => self.answer(ask, Outcome::Refused(error.code)),
                    Ok(None) => {}
                    Err(error) => self.unanswered(ask, &error),
                }
                self.complete(client, number, lease).await;
            }
            Way::Late => {
                // On its own: the others are not to wait for it.
                let (shared, client) = (self.clone(), client.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(LATE).await;
                    if !shared.working.is_cancelled() {
                        shared.complete(&client, number, lease).await;
                    }
                });
            }
        }
    }

    async fn complete(&self, client: &Client, number: u32, lease: LeaseRef) {
        let result = lease.token.0.to_be_bytes().to_vec();
        let ask = self.ask(number, lease.job, Call::Complete { token: lease.token, result: mark(&result) });
        match client.complete(lease, Completion { result: result.into(), ..Completion::default() }).await {
            Ok(()) => {
                self.counters.completed.fetch_add(1, Ordering::Relaxed);
                self.answer(ask, Outcome::Done);
            }
            Err(error) => {
                if error.code() == Some(ErrorCode::LeaseLost) {
                    self.counters.refused_late.fetch_add(1, Ordering::Relaxed);
                }
                self.unanswered(ask, &error);
            }
        }
    }

    async fn read(self, client: Client, number: u32, mut random: StdRng) {
        while !self.working.is_cancelled() {
            tokio::time::sleep(READ_PAUSE).await;
            let chosen = self.recent.lock().unwrap_or_else(PoisonError::into_inner).choose(&mut random).copied();
            let Some(job) = chosen else { continue };
            let ask = self.ask(number, job, Call::Get);
            match client.get_job(job, Consistency::Linearizable).await {
                Ok(view) => self.answer(ask, Outcome::View(Box::new(Seen::from(&view)))),
                Err(error) => self.unanswered(ask, &error),
            }
        }
    }

    fn ask(&self, number: u32, job: JobId, call: Call) -> Ask {
        self.recorder.history().ask(number, job, call)
    }

    fn answer(&self, ask: Ask, outcome: Outcome) {
        self.recorder.history().answer(ask, outcome);
    }

    fn unanswered(&self, ask: Ask, error: &SdkError) {
        match refusal(error) {
            Some(outcome) => self.answer(ask, outcome),
            None => drop(self.counters.unknown.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// What becomes of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Complete,
    GiveBack,
    ExtendFirst,
    LetGo,
    Late,
}

impl Way {
    fn choose(random: &mut StdRng) -> Self {
        match random.random_range(0..1_000) {
            0..10 => Self::GiveBack,
            10..20 => Self::ExtendFirst,
            20..24 => Self::LetGo,
            24..28 => Self::Late,
            _ => Self::Complete,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
