//! Workers: they lease jobs and complete most of them; some leases take other ways.

use super::{PAUSE, Shared};
use crate::history::{Call, Outcome, mark};
use futures_util::stream::{self, StreamExt};
use jobraft_sdk::Client;
use jobraft_sdk::protocol::{Completion, ErrorCode, LeaseRef, LeasedJob, WorkerInfo};
use rand::RngExt;
use rand::rngs::StdRng;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Short, so that what is let go of comes back within a run.
const LEASE: Duration = Duration::from_secs(5);
/// More than any lease of a job lasts, also one that a new leader lengthened.
const LATE: Duration = Duration::from_secs(12);
const LEASE_WAIT: Duration = Duration::from_secs(1);
const LEASED_MAX: u32 = 64;
const COMPLETIONS_AT_ONCE: usize = 64;

impl Shared {
    pub(super) async fn work(self, client: Client, number: u32, mut random: StdRng) {
        let mut worker = None;
        while !self.working.is_cancelled() {
            let Some(id) = worker else {
                let info = WorkerInfo {
                    name: format!("worker-{number}"),
                    agent: "simulation".to_owned(),
                    queues: vec![self.queue.clone()],
                    concurrency: LEASED_MAX,
                    ..WorkerInfo::default()
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
