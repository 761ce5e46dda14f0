//! Loads of which jobs per second and latencies are the figures.

use super::super::figures::{Measured, Run, micros};
use super::super::load::Load;
use super::super::schedule::Schedule;
use super::rows::{Found, Unit, beside_disk};
use super::site::Site;
use crate::failure::Failure;

/// Windows of the rows with one job in each request.
const WINDOWS: [u32; 3] = [1, 64, 1_024];
/// The window in which a cluster does the most.
const WIDE: u32 = 1_024;
/// Jobs in a request of the bulk row, and requests under way.
const BULK_JOBS: u32 = 100;
const BULK_IN_FLIGHT: u32 = 16;

/// One job in each request.
pub(super) async fn single(site: &mut Site<'_>, nodes: &str) -> Result<Vec<Found>, Failure> {
    let mut all = Vec::new();
    for in_flight in WINDOWS {
        let mut found = Vec::new();
        let run = Run::from(&site.measure(&site.load(in_flight)).await?);
        let what = |figure: &str| format!("{nodes}, {in_flight} in flight{figure}");
        found.push(Found::new(what(""), Unit::JobsPerSecond, run.jobs_per_second));
        found.push(Found::millis(what(": enqueue p50"), run.enqueue.p50_us));
        found.push(Found::millis(what(": enqueue p99"), run.enqueue.p99_us));
        if let (1, Some(dispatch)) = (in_flight, run.dispatch) {
            found.push(Found::millis(format!("{nodes}, idle: dispatch p50"), dispatch.p50_us));
            found.push(Found::millis(format!("{nodes}, idle: dispatch p99"), dispatch.p99_us));
        }
        found.extend(run.server_cpu_us_per_job.map(|us| Found::new(what(": CPU per job"), Unit::Microseconds, us)));
        let written = run.written_bytes_per_job;
        found.extend(written.map(|bytes| Found::new(what(": written per job"), Unit::Bytes, bytes)));
        all.extend(beside_disk(found, run.fdatasync_p50_us));
    }
    Ok(all)
}

/// Many jobs in each request.
pub(super) async fn bulk(site: &mut Site<'_>) -> Result<Vec<Found>, Failure> {
    let load = site.load(BULK_IN_FLIGHT);
    let load = Load { schedule: Schedule { batch: BULK_JOBS, ..load.schedule }, ..load };
    let run = Run::from(&site.measure(&load).await?);
    let what = format!("3 nodes, {BULK_JOBS} jobs in a request, {BULK_IN_FLIGHT} in flight");
    let cpu = run.server_cpu_us_per_job.map(|us| Found::new(format!("{what}: CPU per job"), Unit::Microseconds, us));
    let found = [Found::new(what, Unit::JobsPerSecond, run.jobs_per_second)].into_iter().chain(cpu).collect();
    Ok(beside_disk(found, run.fdatasync_p50_us))
}

/// Half of what it can do, in an open loop.
pub(super) async fn half_rate(site: &mut Site<'_>) -> Result<Vec<Found>, Failure> {
    let load = site.load(WIDE);
    let most = rate(&site.measure(&load).await?);
    let load = Load { schedule: Schedule { rate: Some((most / 2.0).max(1.0)), ..load.schedule }, ..load };
    let run = Run::from(&site.measure(&load).await?);
    let what = |figure: &str| format!("3 nodes, half of the highest rate: {figure}");
    let mut found = vec![
        Found::new(what("done"), Unit::JobsPerSecond, run.jobs_per_second),
        Found::millis(what("enqueue p50"), run.enqueue.p50_us),
        Found::millis(what("enqueue p99"), run.enqueue.p99_us),
        Found::millis(what("complete p99"), run.complete.p99_us),
    ];
    found.extend(run.dispatch.map(|dispatch| Found::millis(what("dispatch p99"), dispatch.p99_us)));
    Ok(beside_disk(found, run.fdatasync_p50_us))
}

/// Many other jobs wait all the time.
pub(super) async fn backlog(site: &mut Site<'_>) -> Result<Vec<Found>, Failure> {
    let before = site.gauges().await?;
    let load = Load { waiting: site.waiting, ..site.load(WIDE) };
    let measured = site.measure(&load).await?;
    let waiting = site.waiting;
    let what = format!("3 nodes, {WIDE} in flight, {waiting} waiting");
    // Of all nodes together, at its highest.
    let sum = |values: Vec<Option<u64>>| values.into_iter().sum::<Option<u64>>();
    let peak = sum(measured.nodes.iter().map(|node| node.rss_peak_bytes).collect());
    let empty = sum(before.values().map(|node| node.process.rss_bytes).collect());
    let memory = peak.zip(empty).map(|(peak, empty)| {
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let per_job = peak.saturating_sub(empty) as f64 / waiting.max(1) as f64;
        Found::new(format!("3 nodes, {waiting} waiting: peak memory per waiting job, all nodes"), Unit::Bytes, per_job)
    });
    let found = [Found::new(what, Unit::JobsPerSecond, rate(&measured))].into_iter().chain(memory).collect();
    Ok(beside_disk(found, micros(measured.fdatasync)))
}

fn rate(measured: &Measured) -> f64 {
    Run::from(measured).jobs_per_second
}
