//! What can be asked of `jobraft bench`, and which loads follow from it.

use super::load::Load;
use super::matrix::{Matrix, Scenario};
use super::report::Report;
use super::schedule::{Schedule, Until};
use crate::connection::ConnectionArgs;
use crate::failure::Failure;
use clap::{Args, ValueEnum};
use jobraft_protocol::limits::{BULK_BYTES_MAX, BULK_JOBS_MAX, GROUPS_MAX, WORKER_QUEUES_MAX};
use std::path::PathBuf;
use std::time::Duration;

/// The longest payload that makes sense here.
const PAYLOAD_BYTES_MAX: i64 = 256 * 1024;
/// What a job takes in a request beyond its payload, at most.
const ENVELOPE_BYTES: u64 = 300;
/// Measured one after the other unless told otherwise, without and with a fixed rate.
pub(super) const WINDOWS: [u32; 3] = [1, 64, 1_024];
const WINDOW_OF_RATE: [u32; 1] = [1_024];
const SECONDS: u64 = 5;
/// How often each is measured unless told otherwise, and in the matrix.
const REPEAT: u32 = 1;
const REPEAT_IN_MATRIX: u32 = 5;

/// Measure jobs per second, latencies and what a job costs
///
/// Each enqueue is confirmed after a majority has it on disk; each job is leased, run by a native no-op handler, and its
/// completion confirmed likewise. Fsync and TLS are always on. Without --endpoint it starts nodes of its own on 127.0.0.1,
/// measures, and removes them; only of those it sees CPU time, memory and bytes written. The load takes its part of the
/// machine, too.
///
/// Latencies: `enqueue`, of a request, from when it was to be sent to its answer. `dispatch`, of a job, from that answer to
/// the beginning of its handler; 0 if it began before. `complete`, of a job, from the end of its handler to the confirmed
/// completion.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft bench
  jobraft bench --in-flight 1,64,1024 --seconds 5 --repeat 3
  jobraft bench --nodes 1 --batch 100 --in-flight 8 --producers 2 --workers 2
  jobraft bench --rate 5000 --in-flight 1024 --warm-up 5 --report bench.html
  jobraft bench --matrix --seconds 10
  jobraft bench --matrix=100000 --only backlog,restart --repeat 3
  jobraft bench --in-flight 64 --waiting 1000000 --groups 10000
  jobraft bench --endpoint 127.0.0.1:7401 --ca certs/ca.crt --cert certs/admin.crt --key certs/admin.key --json")]
pub(in crate::command) struct BenchArgs {
    /// Enqueue requests under way at once, over all producers; a list is measured one after the other [default: 1,64,1024;
    /// with --rate 1024]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=16_384))]
    in_flight: Vec<u32>,
    /// Jobs in each enqueue request
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=BULK_JOBS_MAX as i64))]
    batch: u32,
    /// Enqueue so many jobs a second, whatever the cluster does; latency counts from when a request was to be sent
    #[arg(long, value_name = "JOBS/S", value_parser = rate)]
    rate: Option<f64>,
    /// Clients that enqueue, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    producers: u32,
    /// Workers, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: u32,
    /// How long each measurement enqueues [default: 5]
    #[arg(long, value_name = "SECONDS", conflicts_with = "count", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: Option<u64>,
    /// Enqueue so many jobs instead
    #[arg(long, value_name = "JOBS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    count: Option<u64>,
    /// How long the same is done before each, to its last job, without being counted
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_up: u64,
    /// How often to measure each; medians are shown, and latencies of all [default: 1; with --matrix 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: Option<u32>,
    /// Size of each payload in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=PAYLOAD_BYTES_MAX))]
    payload: u32,
    /// Over how many queues the jobs are spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    queues: u32,
    /// How many unique keys the jobs share; an enqueue that finds its key held makes no job and counts as none
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    keys: u32,
    /// How many other jobs wait all the time; without figures for dispatch, for the oldest runs first
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    waiting: u64,
    /// Over how many groups the jobs are spread, each with limits of concurrency and rate that are never reached
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=GROUPS_MAX as i64))]
    groups: u32,
    /// Measure the scenarios of the documentation instead, each on new nodes, and print them as a table in Markdown; WAITING
    /// jobs wait where a scenario has many [default: 1000000]
    #[arg(long, value_name = "WAITING", num_args = 0..=1, require_equals = true, default_missing_value = "1000000",
          conflicts_with_all = ["in_flight", "batch", "rate", "producers", "workers", "count", "payload", "queues", "keys", "waiting", "groups", "nodes", "report"],
          value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    matrix: Option<u64>,
    /// Only these scenarios of the matrix
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',', requires = "matrix", value_enum)]
    only: Vec<Scenario>,
    /// Nodes to start: 1 or 3 [default: 3]
    #[arg(long, value_name = "N", value_parser = ["1", "3"])]
    nodes: Option<String>,
    /// Where the nodes keep their data while it measures [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Also write plots to this file: a page with all figures if it ends with .html, the plots alone if with .svg
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<Report>,
    /// Print JSON, every repetition included
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
}

/// A rate that a schedule can keep.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err(format!("{text:?} is not a rate: jobs a second, from 0.001 to 10000000")),
    }
}

impl BenchArgs {
    /// How many nodes to start; none if a cluster is named.
    pub(super) fn own_nodes(&self) -> Result<Option<usize>, Failure> {
        match (self.connection.is_given(), &self.nodes, &self.dir) {
            (true, Some(_), _) => Err(wrong("--nodes starts a cluster, and --endpoint or --context names one")),
            (true, _, Some(_)) => Err(wrong("--dir is for nodes of its own, and --endpoint or --context names others")),
            (true, None, None) => Ok(None),
            (false, nodes, _) => Ok(Some(if nodes.as_deref() == Some("1") { 1 } else { 3 })),
        }
    }

    /// How often each is measured.
    pub(super) fn repeat(&self) -> u32 {
        self.repeat.unwrap_or(if self.matrix.is_some() { REPEAT_IN_MATRIX } else { REPEAT })
    }

    /// The scenarios, if they are what is asked for.
    pub(super) fn matrix(&self) -> Result<Option<Matrix>, Failure> {
        let Some(waiting) = self.matrix else { return Ok(None) };
        if self.connection.is_given() {
            return Err(wrong("--matrix kills nodes, so it starts its own, and --endpoint or --context names others"));
        }
        let scenarios = if self.only.is_empty() { Scenario::value_variants() } else { &self.only };
        Ok(Some(Matrix {
            scenarios: scenarios.to_vec(),
            repeat: self.repeat(),
            waiting,
            seconds: Duration::from_secs(self.seconds.unwrap_or(SECONDS)),
            warm_up: Duration::from_secs(self.warm_up),
            dir: self.dir.clone(),
            json: self.json,
        }))
    }

    /// What is measured, one after the other.
    pub(super) fn loads(&self) -> Result<Vec<Load>, Failure> {
        let bytes = u64::from(self.batch) * (u64::from(self.payload) + ENVELOPE_BYTES);
        if bytes > BULK_BYTES_MAX as u64 {
            let what = format!(
                "--batch {} with --payload {} is more than the {BULK_BYTES_MAX} bytes of a request",
                self.batch, self.payload
            );
            return Err(wrong(what));
        }
        let needed = self.queues.div_ceil(u32::try_from(WORKER_QUEUES_MAX).unwrap_or(u32::MAX));
        if self.workers < needed {
            let what = format!(
                "a worker serves at most {WORKER_QUEUES_MAX} queues: --queues {} needs --workers {needed}",
                self.queues
            );
            return Err(wrong(what));
        }
        let until = match self.count {
            Some(count) => Until::Jobs(count),
            None => Until::Over(Duration::from_secs(self.seconds.unwrap_or(SECONDS))),
        };
        let warm_up = Duration::from_secs(self.warm_up);
        let schedule = Schedule { batch: self.batch, rate: self.rate, until };
        let windows: &[u32] = match (&self.in_flight[..], self.rate) {
            ([], None) => &WINDOWS,
            ([], Some(_)) => &WINDOW_OF_RATE,
            (given, _) => given,
        };
        let load = |&in_flight: &u32| Load {
            warm_up,
            schedule,
            producers: self.producers,
            workers: self.workers,
            in_flight,
            payload_bytes: self.payload,
            queues: self.queues,
            keys: self.keys,
            groups: self.groups,
            waiting: self.waiting,
        };
        Ok(windows.iter().map(load).collect())
    }
}

fn wrong(what: impl Into<String>) -> Failure {
    Failure::usage("measure", what.into())
}
