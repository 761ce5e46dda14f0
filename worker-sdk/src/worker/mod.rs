//! The worker: leases jobs as they become ready, runs them, reports them, and goes away cleanly.
//!
//! - `table`: what it holds now: leases, slots, credits.
//! - `subscription`: being pushed jobs by whoever leads.
//! - `heartbeat`: extending all leases at once, and being alive.
//! - `progress`: what jobs say of themselves, sent now and then for all of them.
//! - `attempt`: one job, from arrival to the answer to its report.
//! - `handler`: native handlers and executors, made alike.
//! - `shared`, `report`, `signals`: what all of these share, what they count, and what ends them.
//!
//! What must hold: never more jobs than slots; a job's code is stopped, and nothing of it reported, once its lease may
//! be over; nothing of all this depends on the handlers' good manners, for it runs on the client's own thread.

mod attempt;
mod builder;
mod handler;
mod heartbeat;
mod progress;
mod report;
mod shared;
mod signals;
mod subscription;
mod table;

pub use builder::WorkerBuilder;
pub use handler::JobError;
pub(crate) use progress::ProgressBoard;
pub use report::{Reported, WorkerReport};

use crate::client::Client;
use crate::clock::after;
use crate::error::SdkError;
use crate::sync::lock;
use attempt::{attempt, give_back};
use handler::Tasks;
use jobraft_protocol::limits::CREDITS_MAX;
use jobraft_protocol::{Push, WorkerInfo};
use report::{Counts, Observer};
use shared::Shared;
use signals::Signals;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use table::{Admission, Stop, Table};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Pushes that wait for the worker. A node that sends more than its credits permit loses the session.
const PUSHES_WAITING_MAX: usize = 2 * CREDITS_MAX as usize;
/// How long jobs that were told to stop at the end of the grace may take to be given back, and how long the goodbye may.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs jobs. See the crate's front page for a complete one.
pub struct Worker {
    client: Client,
    info: WorkerInfo,
    weights: Vec<u32>,
    lease: Duration,
    grace: Duration,
    tasks: Tasks,
    observer: Option<Observer>,
}

/// Whatever way a worker ends, its pushes end too, and its leases are given back as far as the cluster can be told.
struct Farewell {
    shared: Arc<Shared>,
    /// The worker has said goodbye and heard the answer.
    said: bool,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        let (client, worker) = (self.shared.client.clone(), self.shared.worker());
        client.router().subscribers.remove(worker);
        if !self.said {
            let io = client.router().io().handle().clone();
            io.spawn(async move { client.disconnect(worker).await });
        }
    }
}

impl Worker {
    /// Begins a worker of this client.
    #[must_use]
    pub fn builder(client: Client) -> WorkerBuilder {
        WorkerBuilder::new(client)
    }

    /// Runs until `shutdown` is ready or the cluster tells the worker to stop, then drains: takes no more jobs, gives those that run the grace to end, gives
    /// the others back, and says goodbye. Dropping the future stops everything at once.
    ///
    /// # Errors
    /// If the cluster refuses the worker for good, such as for want of a permission. Mere absence of the cluster is
    /// waited out.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<WorkerReport, SdkError> {
        self.run_until(shutdown, std::future::pending()).await
    }

    /// Runs until the process is told to end (SIGTERM, SIGINT), then drains as [`run`](Self::run) does. A second signal
    /// ends the grace.
    ///
    /// # Errors
    /// As [`run`](Self::run); or [`SdkError::Machine`] if signals cannot be had.
    pub async fn run_until_signal(self) -> Result<WorkerReport, SdkError> {
        let signals = Arc::new(tokio::sync::Mutex::new(Signals::listen()?));
        let (first, second) = (Arc::clone(&signals), signals);
        let shutdown = async move { first.lock().await.next().await };
        // The lock is free once the first signal has come.
        let hurry = async move { second.lock().await.next().await };
        self.run_until(shutdown, hurry).await
    }

    async fn run_until(
        self,
        shutdown: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<WorkerReport, SdkError> {
        let (drain, hurried) = (CancellationToken::new(), CancellationToken::new());
        let client = self.client.clone();
        let body = self.serve(Handle::current(), drain.clone(), hurried.clone());
        let mut body = AbortOnDropHandle::new(client.router().io().spawn(body));
        tokio::select! {
            ended = &mut body => return flatten(ended),
            () = shutdown => drain.cancel(),
        }
        tokio::select! {
            ended = &mut body => return flatten(ended),
            () = hurry => hurried.cancel(),
        }
        flatten(body.await)
    }

    async fn serve(
        self,
        runtime: Handle,
        drain: CancellationToken,
        hurried: CancellationToken,
    ) -> Result<WorkerReport, SdkError> {
        let (pushes, mut pushed) = mpsc::channel(PUSHES_WAITING_MAX);
        let shared = Arc::new(Shared {
            client: self.client,
            table: Table::new(self.info.concurrency),
            info: self.info,
            weights: self.weights,
            lease: self.lease,
            tasks: Arc::new(self.tasks),
            runtime,
            drain: drain.clone(),
            progress: Arc::default(),
            counts: Counts { observer: self.observer, ..Counts::default() },
            worker: Mutex::default(),
            order: Mutex::default(),
            forgotten: Notify::new(),
            pushes,
            ended: Mutex::default(),
            ended_told: Notify::new(),
        });
        tokio::select! {
            registered = shared.register() => registered?,
            () = drain.cancelled() => return Ok(WorkerReport::default()),
        }
        let mut farewell = Farewell { shared: Arc::clone(&shared), said: false };
        let mut jobs = JoinSet::new();
        let background = async {
            tokio::join!(heartbeat::extending(&shared), heartbeat::living(&shared), progress::sending(&shared))
        };
        let mut background = std::pin::pin!(background);
        let mut subscription = std::pin::pin!(subscription::subscribed(&shared));
        let mut patience = std::pin::pin!(tokio::time::sleep(Duration::MAX));
        let (mut draining, mut hurrying, mut stopping) = (false, false, false);
        loop {
            if draining && jobs.is_empty() {
                break;
            }
            tokio::select! {
                // Pushes first: what arrived before the subscription ended is seen before its end is.
                biased;
                Some(push) = pushed.recv() => handle(&shared, push, &mut jobs),
                // All that have ended: each turn of the loop asks everybody here.
                Some(_) = jobs.join_next() => while jobs.try_join_next().is_some() {},
                outcome = &mut subscription, if !draining => {
                    outcome?;
                    draining = true;
                    patience.as_mut().reset(after(self.grace).into());
                }
                () = hurried.cancelled(), if draining && !hurrying => {
                    hurrying = true;
                    patience.as_mut().reset(tokio::time::Instant::now());
                }
                () = &mut patience, if draining => {
                    if stopping {
                        break;
                    }
                    stopping = true;
                    shared.table.stop_all(Stop::Drain);
                    patience.as_mut().reset(tokio::time::Instant::now() + FAREWELL);
                }
                _ = &mut background => {}
            }
        }
        farewell.said = true;
        match tokio::time::timeout(FAREWELL, shared.client.disconnect(shared.worker())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::info!(%error, "not disconnected; what is still leased will expire"),
            Err(_) => tracing::info!("not disconnected in time; what is still leased will expire"),
        }
        Ok(shared.counts.report())
    }
}

fn handle(shared: &Arc<Shared>, push: Push, jobs: &mut JoinSet<()>) {
    match push {
        Push::Leased { jobs: leased, .. } => {
            let now = Instant::now();
            for job in leased {
                let (lease, deadline) = (job.lease(), shared.deadline(job.expires_at, now));
                let shared = Arc::clone(shared);
                match shared.table.admit(lease, deadline) {
                    Admission::Admitted(slot) => jobs.spawn(attempt(shared, Arc::new(job), slot)),
                    Admission::Full => jobs.spawn(async move { give_back(&shared, lease).await }),
                    Admission::Duplicate => continue,
                };
            }
        }
        Push::CancelRequested { lease, notice, .. } => shared.cancel(&lease, notice),
        Push::Ordered { order, .. } => shared.ordered(order),
        Push::Revoked { leases, .. } => leases.iter().for_each(|lease| shared.table.stop(lease, Stop::Lost)),
        Push::SubscriptionEnded { leader, .. } => {
            *lock(&shared.ended) = Some(leader);
            shared.ended_told.notify_one();
        }
    }
}

fn flatten<T>(ended: Result<Result<T, SdkError>, tokio::task::JoinError>) -> Result<T, SdkError> {
    match ended {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(SdkError::Closed),
        },
    }
}
