//! `jobraft bench`: how fast a cluster takes jobs from enqueue to confirmed completion.

mod gauge;
mod load;

use super::demo::{NODES, Processes};
use crate::connection::{Connection, ConnectionArgs};
use crate::failure::Failure;
use crate::output::{Mood, Output, Table};
use clap::Args;
use jobraft_protocol::limits;
use load::{Load, Measured};
use serde::Serialize;
use std::time::Duration;

/// The longest payload that makes sense here.
const PAYLOAD_BYTES_MAX: u32 = 256 * 1024;
/// As many groups as a cluster takes.
const GROUPS: u32 = limits::GROUPS_MAX as u32;

/// Measure jobs per second, latency and CPU time per job
///
/// Every enqueue is a request of its own, confirmed after a majority has it on disk; each job is leased, run by a native
/// no-op handler, and its completion confirmed likewise. Fsync and TLS are always on. Without --endpoint it starts three
/// nodes of its own on 127.0.0.1, measures, and removes them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft bench
  jobraft bench --in-flight 1,64,1024 --seconds 5 --repeat 3
  jobraft bench --in-flight 64 --waiting 1000000 --groups 10000
  jobraft bench --endpoint 127.0.0.1:7401 --ca certs/ca.crt --cert certs/admin.crt --key certs/admin.key --json")]
pub(super) struct BenchArgs {
    /// Enqueues under way at once; a list is measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 64, 1024], value_parser = clap::value_parser!(u32).range(1..=16_384))]
    in_flight: Vec<u32>,
    /// How long each measurement enqueues
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How often to measure each; the median is shown
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Size of each payload in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=i64::from(PAYLOAD_BYTES_MAX)))]
    payload: u32,
    /// How many other jobs wait in the queue all the time
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    waiting: u64,
    /// Over how many groups the jobs are spread, each with limits of concurrency and rate that are never reached
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=i64::from(GROUPS)))]
    groups: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// One line of the result: the medians of its repetitions.
#[derive(Debug, Serialize)]
struct Line {
    in_flight: u32,
    jobs: u64,
    jobs_per_second: f64,
    enqueue_p50_us: u64,
    enqueue_p99_us: u64,
    server_cpu_us_per_job: Option<f64>,
    fdatasync_p50_us: u64,
}

impl BenchArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.connection.is_given() {
            let connection = self.connection.connection()?;
            return self.measure(&connection, None).await;
        }
        let mut cluster = Processes::prepare()?;
        cluster.start_nodes()?;
        let connection = cluster.connection();
        let measured = tokio::select! {
            measured = self.measure(&connection, Some(&cluster)) => measured,
            _ = tokio::signal::ctrl_c() => Err(Failure::new("measure", "interrupted")),
        };
        let cleared = cluster.clear().await;
        measured.and(cleared)
    }

    async fn measure(&self, connection: &Connection, cluster: Option<&Processes>) -> Result<(), Failure> {
        let output = Output::new();
        let client = connection.connect().await?;
        load::wait_for_leader(&client).await?;
        let mut lines = Vec::new();
        for &in_flight in &self.in_flight {
            let mut runs = Vec::new();
            for _ in 0..self.repeat {
                let duration = Duration::from_secs(self.seconds);
                let load = Load {
                    in_flight,
                    payload_bytes: self.payload,
                    duration,
                    waiting: self.waiting,
                    groups: self.groups,
                };
                let jobs = load.prepare(connection).await?;
                let fdatasync = gauge::fdatasync_p50(cluster.map(Processes::directory))?;
                let before = cluster.map(|cluster| gauge::cpu_time(&cluster.pids())).transpose()?;
                let measured = load.run(connection, &jobs).await?;
                let after = cluster.map(|cluster| gauge::cpu_time(&cluster.pids())).transpose()?;
                let cpu = after.zip(before).map(|(after, before)| after.saturating_sub(before));
                runs.push((measured, cpu, fdatasync));
            }
            lines.push(line(in_flight, &runs));
        }
        client.close().await;
        if self.json {
            return output.json(&lines);
        }
        let mut table =
            Table::new(&["IN FLIGHT", "JOBS", "JOBS/S", "ENQUEUE P50", "P99", "SERVER CPU/JOB", "FDATASYNC P50"]);
        for line in &lines {
            let millis = |us: u64| format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10);
            table.row(
                [
                    line.in_flight.to_string(),
                    line.jobs.to_string(),
                    format!("{:.0}", line.jobs_per_second),
                    millis(line.enqueue_p50_us),
                    millis(line.enqueue_p99_us),
                    line.server_cpu_us_per_job.map_or_else(|| "-".into(), |us| format!("{us:.0} µs")),
                    millis(line.fdatasync_p50_us),
                ]
                .map(|cell| (cell, Mood::Plain)),
            );
        }
        output.table(table, "nothing was measured")?;
        if cluster.is_some() {
            output.line(format!(
                "{} nodes, the load and the disk on this machine; medians of {}",
                NODES.len(),
                self.repeat
            ))?;
        }
        Ok(())
    }
}

fn median<T: PartialOrd + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len() / 2).copied()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn line(in_flight: u32, runs: &[(Measured, Option<Duration>, Duration)]) -> Line {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let of = |value: fn(&Measured) -> Duration| {
        micros(median(runs.iter().map(|(measured, ..)| value(measured))).unwrap_or_default())
    };
    let cpu_per_job = |(measured, cpu, _): &(Measured, Option<Duration>, Duration)| {
        cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / measured.jobs.max(1) as f64)
    };
    Line {
        in_flight,
        jobs: median(runs.iter().map(|(measured, ..)| measured.jobs)).unwrap_or(0),
        jobs_per_second: median(runs.iter().map(|(m, ..)| m.jobs as f64 / m.elapsed.as_secs_f64())).unwrap_or(0.0),
        enqueue_p50_us: of(|measured| measured.enqueue_p50),
        enqueue_p99_us: of(|measured| measured.enqueue_p99),
        server_cpu_us_per_job: median(runs.iter().filter_map(cpu_per_job)),
        fdatasync_p50_us: micros(median(runs.iter().map(|(_, _, sync)| *sync)).unwrap_or_default()),
    }
}
