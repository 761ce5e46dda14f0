//! Workers: each a client of its own, with a handler that does nothing.

use super::course::Course;
use super::jobs::TASK;
use crate::connection::{self, Connection};
use crate::failure::Failure;
use jobraft_protocol::limits::WORKER_QUEUES_MAX;
use jobraft_sdk::{Client, JobContext, JobError, SdkError, Worker, WorkerReport};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Jobs that a worker holds at once, at least and at most.
const HELD_MIN: u64 = 16;
const HELD_MAX: u64 = 4_096;
/// Commits that a worker's slot waits for, for the one of a producer's: the lease before its own, its own, the completion,
/// and part of one until its credit arrives. With fewer slots workers fall behind however fast the cluster is, and a backlog
/// is measured.
const COMMITS: u64 = 4;

/// The workers of a measurement.
#[derive(Debug)]
pub(super) struct Workers {
    running: JoinSet<Result<WorkerReport, SdkError>>,
    clients: Vec<Client>,
    stop: CancellationToken,
}

impl Workers {
    /// Connects and starts them.
    pub(super) async fn start(connection: &Connection, course: &Arc<Course>) -> Result<Self, Failure> {
        let failed = |error| connection::failed("measure", &error);
        let mut workers = Self { running: JoinSet::new(), clients: Vec::new(), stop: CancellationToken::new() };
        for place in 0..course.load.workers as usize {
            let client = connection.connect().await?;
            let worker = worker(client.clone(), course, place).map_err(failed)?;
            workers.running.spawn(worker.run(workers.stop.clone().cancelled_owned()));
            workers.clients.push(client);
        }
        Ok(workers)
    }

    /// Waits for the end of one that should not end.
    pub(super) async fn ended(&mut self) -> Failure {
        match self.running.join_next().await {
            Some(Ok(Err(error))) => connection::failed("keep the workers running", &error),
            Some(Err(error)) => Failure::new("keep the workers running", error),
            Some(Ok(Ok(_))) => Failure::new("keep the workers running", "one was told to stop"),
            None => std::future::pending().await,
        }
    }

    /// Ends them, and says how many completions were confirmed to them.
    pub(super) async fn stop(mut self) -> Result<u64, Failure> {
        self.stop.cancel();
        let mut completed = 0;
        while let Some(ended) = self.running.join_next().await {
            let report = ended.map_err(|error| Failure::new("measure", error))?;
            completed += report.map_err(|error| connection::failed("measure", &error))?.completed;
        }
        for client in &self.clients {
            client.close().await;
        }
        Ok(completed)
    }
}

fn worker(client: Client, course: &Arc<Course>, place: usize) -> Result<Worker, SdkError> {
    let load = &course.load;
    let held = COMMITS * u64::from(load.in_flight) * u64::from(load.schedule.batch);
    let held = held.div_ceil(u64::from(load.workers));
    // More queues than one worker serves are divided among them.
    let parts: Vec<_> = course.jobs.queues.chunks(WORKER_QUEUES_MAX).collect();
    let (handled, reported) = (Arc::clone(course), Arc::clone(course));
    Worker::builder(client)
        .name(format!("bench-{place}"))
        .queues(parts[place % parts.len()].iter().map(ToString::to_string))
        .concurrency(usize::try_from(held.clamp(HELD_MIN, HELD_MAX)).expect("at most a few thousand"))
        // What still waits for its permit at the end is given back.
        .grace(Duration::ZERO)
        .handler(TASK, move |_: JobContext, number: u64| {
            let course = Arc::clone(&handled);
            async move {
                course.began(number);
                if let Some(permits) = &course.permits {
                    permits.acquire().await?.forget();
                }
                Ok::<_, JobError>(())
            }
        })
        .on_report(move |report| {
            if report.completed {
                reported.completed(report.took);
            }
        })
        .build()
}
