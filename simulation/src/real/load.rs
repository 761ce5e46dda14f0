//! A load of producers, workers and readers, each operation of which is noted: what was asked, when, and what was answered.
//!
//! What was not answered stays open, for it may have been done: it is asked for again under the same id, as a careful
//! program would. Most jobs are completed at once; some are given back, extended first, let go of without a word, or
//! completed only after their lease must have ended.

mod produce;
mod work;

use super::verdict::Trouble;
use crate::history::{Ask, Call, Outcome, Recorder, Seen};
use jobraft_sdk::protocol::{Consistency, JobId, QueueName, QueueStats};
use jobraft_sdk::{Client, SdkError};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Enqueues of a second are spread over so many moments.
const MOMENTS: u32 = 20;
pub(super) const PAUSE: Duration = Duration::from_millis(200);
/// Pause of a reader between two reads.
const READ_PAUSE: Duration = Duration::from_millis(100);

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
