//! What a cluster takes when there is nothing to do.

use super::super::gauge::NodeReading;
use super::rows::{Found, Unit};
use super::site::{Site, until};
use crate::connection::failed;
use crate::failure::Failure;
use jobraft_protocol::limits::QUEUES_MAX;
use jobraft_protocol::{Consistency, NodeId, QueueName, QueueSetting, Setting};
use jobraft_sdk::{JobContext, JobError, Worker};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const WORKERS: usize = 1_000;
/// Workers that share a connection.
const WORKERS_PER_CLIENT: usize = 50;
/// Settings that one request changes.
const SETTINGS: usize = 500;
/// Until everybody has settled down.
const SETTLE: Duration = Duration::from_secs(3);
/// How long is measured, at least: less than a tick of the clock in which CPU time is told would be nothing.
const MEASURE_MIN: Duration = Duration::from_secs(10);
const DEPTH: u64 = 1_000;

/// Queues and workers without jobs.
pub(super) async fn idle(site: &mut Site<'_>) -> Result<Vec<Found>, Failure> {
    let names: Result<Vec<_>, _> = (0..QUEUES_MAX).map(|number| QueueName::new(&format!("idle-{number}"))).collect();
    let names = names.map_err(|error| Failure::new("name the queues", error))?;
    let settings: Vec<Setting> =
        names.iter().map(|queue| Setting::Queue(queue.clone(), QueueSetting::DepthMax(Some(DEPTH)))).collect();
    for part in settings.chunks(SETTINGS) {
        let set = site.client.configure(part.to_vec()).await;
        set.map_err(|error| failed("make the queues", &error))?;
    }
    let (stop, mut workers, mut clients) = (CancellationToken::new(), JoinSet::new(), Vec::new());
    for (place, queues) in names.chunks(QUEUES_MAX / WORKERS).enumerate() {
        if place % WORKERS_PER_CLIENT == 0 {
            clients.push(site.connection.connect().await?);
        }
        let client = clients[place / WORKERS_PER_CLIENT].clone();
        let worker = Worker::builder(client).name("idle").queues(queues.iter().map(ToString::to_string)).concurrency(1);
        let worker = worker.handler("nothing", |_: JobContext, (): ()| async { Ok::<_, JobError>(()) }).build();
        let worker = worker.map_err(|error| failed("start the workers", &error))?;
        let stopped = stop.clone().cancelled_owned();
        workers.spawn(worker.run(stopped));
    }
    until("all workers are there", Instant::now(), async || {
        site.client.workers(Consistency::Linearizable).await.is_ok_and(|workers| workers.len() >= WORKERS)
    })
    .await?;
    tokio::time::sleep(SETTLE).await;
    let (before, began) = (site.gauges().await?, Instant::now());
    tokio::time::sleep(MEASURE_MIN.max(site.seconds)).await;
    let (after, measured) = (site.gauges().await?, began.elapsed());
    stop.cancel();
    while let Some(ended) = workers.join_next().await {
        ended
            .map_err(|error| Failure::new("stop the workers", error))?
            .map_err(|error| failed("stop the workers", &error))?;
    }
    for client in clients {
        client.close().await;
    }
    let used = cpu(&after).zip(cpu(&before)).map(|(after, before)| after.saturating_sub(before));
    let used = used.ok_or_else(|| Failure::new("read the nodes' CPU time", "/proc does not tell it"))?;
    let what = format!("3 nodes, {QUEUES_MAX} queues, {WORKERS} workers, no jobs: CPU of all nodes");
    let percent = Found::new(what, Unit::Percent, 100.0 * used.as_secs_f64() / measured.as_secs_f64());
    Ok(vec![percent.target("≤ 2")])
}

fn cpu(nodes: &BTreeMap<NodeId, NodeReading>) -> Option<Duration> {
    nodes.values().map(|node| node.process.cpu).sum()
}
