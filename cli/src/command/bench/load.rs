//! One measurement: a load, from the first enqueue to the last confirmed completion.

use super::consumer::Workers;
use super::course::Course;
use super::figures::Measured;
use super::gauge::{Process, Watch, fdatasync_p50, taken};
use super::jobs::Jobs;
use super::live::Live;
use super::producer;
use super::schedule::{Schedule, Until};
use crate::connection::{self, Connection};
use crate::failure::Failure;
use jobraft_protocol::Consistency;
use jobraft_sdk::Client;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long a new cluster may take to elect a leader.
const LEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last jobs may take after the last enqueue.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// For so long the same is done before, and not told.
    pub(super) warm_up: Duration,
    pub(super) schedule: Schedule,
    pub(super) producers: u32,
    pub(super) workers: u32,
    /// Requests under way at once, over all producers.
    pub(super) in_flight: u32,
    pub(super) payload_bytes: u32,
    pub(super) queues: u32,
    /// Unique keys that the jobs share; 0: none.
    pub(super) keys: u32,
    /// Over how many groups the jobs are spread, each with limits that are checked and never reached; 0: none.
    pub(super) groups: u32,
    /// Jobs that wait before, and go on waiting: as many run as are enqueued.
    pub(super) waiting: u64,
}

/// Waits until the cluster answers a linearizable read.
pub(super) async fn wait_for_leader(client: &Client) -> Result<(), Failure> {
    let deadline = Instant::now() + LEADER_TIMEOUT;
    loop {
        match client.queues(Consistency::Linearizable).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(connection::failed("reach the cluster", &error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

impl Load {
    /// One producer and two workers, one queue, 256 B for each job, and nothing else.
    pub(super) const fn plain(in_flight: u32, schedule: Schedule, warm_up: Duration) -> Self {
        Self {
            warm_up,
            schedule,
            producers: 1,
            workers: 2,
            in_flight,
            payload_bytes: 256,
            queues: 1,
            keys: 0,
            groups: 0,
            waiting: 0,
        }
    }

    /// Measures once. The disk is probed where the nodes write, if that is known.
    pub(super) async fn measure(
        &self,
        connection: &Connection,
        watch: &Watch,
        disk: Option<&Path>,
        live: &Live,
    ) -> Result<Measured, Failure> {
        live.say("preparing");
        let jobs = Jobs::prepare(self, connection).await?;
        if !self.warm_up.is_zero() {
            live.say("warming up");
            let schedule = Schedule { until: Until::Over(self.warm_up), ..self.schedule };
            // To its last job: none of them is to be done at the expense of those that count.
            Self { schedule, ..*self }.run(connection, jobs.clone(), watch, disk, live).await?;
        }
        self.run(connection, jobs, watch, disk, live).await
    }

    async fn run(
        &self,
        connection: &Connection,
        jobs: Jobs,
        watch: &Watch,
        disk: Option<&Path>,
        live: &Live,
    ) -> Result<Measured, Failure> {
        let course = Arc::new(Course::new(*self, jobs));
        let clients = producer::connect(connection, &course).await?;
        let mut workers = Workers::start(connection, &course).await?;
        let fdatasync = fdatasync_p50(disk)?;
        let (before, own_before) = (watch.read().await, Process::own());
        course.begin();
        let work = async {
            producer::produce(&clients, &course).await?;
            let drained = tokio::time::timeout(DRAIN_TIMEOUT, course.drained()).await;
            let enqueued = course.tally.enqueued.load(Relaxed);
            let late = |_| Failure::new("measure", format!("not all of {enqueued} jobs ran within {DRAIN_TIMEOUT:?}"));
            drained.map_err(late)
        };
        let series = tokio::select! {
            done = live.watching(&course, work) => done?,
            failure = workers.ended() => return Err(failure),
        };
        let (after, own_after) = (watch.read().await, Process::own());
        let (enqueued, completed) = (course.tally.enqueued.load(Relaxed), workers.stop().await?);
        for client in &clients {
            client.close().await;
        }
        if completed != enqueued {
            let what = format!("{completed} of {enqueued} completions were confirmed");
            return Err(Failure::new("measure", what));
        }
        Ok(Measured {
            jobs: enqueued,
            duplicates: course.tally.duplicates.load(Relaxed),
            elapsed: course.elapsed(),
            enqueue: course.enqueue.merged(),
            dispatch: (self.waiting == 0).then(|| course.dispatch.merged()),
            complete: course.complete.merged(),
            nodes: taken(&before, &after),
            bench_cpu: own_after.cpu.zip(own_before.cpu).map(|(after, before)| after.saturating_sub(before)),
            series,
            fdatasync,
        })
    }
}
