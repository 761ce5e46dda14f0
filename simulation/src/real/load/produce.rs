//! Producers: jobs at a steady pace, each asked for again under its own id until it is answered.

use super::{MOMENTS, Shared};
use crate::history::{Ask, Call, Operation};
use jobraft_sdk::Client;
use jobraft_sdk::protocol::{Backoff, BackoffCurve, EnqueueOutcome, NewJob, Task, TaskName, limits};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Waiting jobs beyond which nobody enqueues: the workers are to be busy, not buried.
const BACKLOG_MAX: u64 = 20_000;
/// How often a job is asked for again whose enqueue was not answered.
const TRIES_MAX: usize = 5;
const RECENT_MAX: usize = 1_000;
const PAYLOAD: &[u8] = b"null                                                            ";

impl Shared {
    pub(super) async fn produce(self, client: Client, number: u32, each: f64) {
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
}
