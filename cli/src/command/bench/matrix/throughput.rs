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
/// Whose jobs come so fast that two workers' slots are not enough.
const BULK_WORKERS: u32 = 4;

/// One job in each request, on three nodes or on one.
pub(super) async fn single(site: &mut Site<'_>, is_cluster: bool) -> Result<Vec<Found>, Failure> {
    let nodes = if is_cluster { "3 nodes" } else { "1 node" };
    let mut all = Vec::new();
    for in_flight in WINDOWS {
        let mut found = Vec::new();
        let run = Run::from(&site.measure(&site.load(in_flight)).await?);
        let what = |figure: &str| format!("{nodes}, {in_flight} in flight{figure}");
        let (is_lone, is_wide) = (is_cluster && in_flight == 1, in_flight == WIDE);
        let rate = Found::new(what(""), Unit::JobsPerSecond, run.jobs_per_second);
        found.push(rate.target_if(is_wide, if is_cluster { "≥ 40,000" } else { "≥ 1.5 × 3 nodes" }));
        let p50 = Found::millis(what(": enqueue p50"), run.enqueue.p50_us);
        found.push(p50.target_if(is_lone, "≤ 2 × fdatasync p50 + 0.5 ms"));
        found.push(Found::millis(what(": enqueue p99"), run.enqueue.p99_us));
        if let (1, Some(dispatch)) = (in_flight, run.dispatch) {
            let p50 = Found::millis(format!("{nodes}, idle: dispatch p50"), dispatch.p50_us);
            found.push(p50.target_if(is_lone, "≤ enqueue p50 + 0.5 ms"));
            found.push(Found::millis(format!("{nodes}, idle: dispatch p99"), dispatch.p99_us));
        }
        let cpu =
            |us| Found::new(what(": CPU per job"), Unit::Microseconds, us).target_if(is_cluster && is_wide, "≤ 40");
        found.extend(run.server_cpu_us_per_job.map(cpu));
        let written = run.written_bytes_per_job;
        found.extend(written.map(|bytes| Found::new(what(": written per job"), Unit::Bytes, bytes)));
        all.extend(beside_disk(found, run.fdatasync_p50_us));
    }
    Ok(all)
}

/// Many jobs in each request.
pub(super) async fn bulk(site: &mut Site<'_>) -> Result<Vec<Found>, Failure> {
    let load = site.load(BULK_IN_FLIGHT);
    let load = Load { workers: BULK_WORKERS, schedule: Schedule { batch: BULK_JOBS, ..load.schedule }, ..load };
    let run = Run::from(&site.measure(&load).await?);
    let what = format!("3 nodes, {BULK_JOBS} jobs in a request, {BULK_IN_FLIGHT} in flight");
    let cpu = run.server_cpu_us_per_job.map(|us| Found::new(format!("{what}: CPU per job"), Unit::Microseconds, us));
    let rate = Found::new(what, Unit::JobsPerSecond, run.jobs_per_second).target("≥ 80,000");
    let found = [rate].into_iter().chain(cpu).collect();
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
        Found::millis(what("enqueue p99"), run.enqueue.p99_us).target("≤ 10 × its p50"),
        Found::millis(what("complete p99"), run.complete.p99_us),
    ];
    found.extend(run.dispatch.map(|dispatch| Found::millis(what("dispatch p99"), dispatch.p99_us)));
    Ok(beside_disk(found, run.fdatasync_p50_us))
}

/// Many other jobs wait all the time.
pub(super) async fn backlog(site: &mut Site<'_>) -> Result<Vec<Found>, Failure> {
    let load = Load { waiting: site.waiting, ..site.load(WIDE) };
    let measured = site.measure(&load).await?;
    let what = format!("3 nodes, {WIDE} in flight, {} waiting", site.waiting);
    let found = Found::new(what, Unit::JobsPerSecond, rate(&measured)).target("≥ 80 % of the empty queue's");
    Ok(beside_disk(vec![found], micros(measured.fdatasync)))
}

fn rate(measured: &Measured) -> f64 {
    Run::from(measured).jobs_per_second
}
