//! What comes out of measurements, and how repetitions become one line.

use super::gauge::NodeUse;
use super::latency::{Latencies, Percentiles};
use super::load::Load;
use super::setup::Setup;
use serde::Serialize;
use std::time::Duration;

/// One measurement.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Jobs enqueued, all of them completed.
    pub(super) jobs: u64,
    /// Enqueues that found their key held.
    pub(super) duplicates: u64,
    /// From the first enqueue to the last completion.
    pub(super) elapsed: Duration,
    pub(super) enqueue: Latencies,
    pub(super) dispatch: Option<Latencies>,
    pub(super) complete: Latencies,
    pub(super) nodes: Vec<NodeUse>,
    pub(super) bench_cpu: Option<Duration>,
    pub(super) series: Vec<Moment>,
    pub(super) fdatasync: Duration,
}

/// How far things had come at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Moment {
    pub(super) ms: u64,
    pub(super) enqueued: u64,
    pub(super) completed: u64,
}

/// One measurement as it is told.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Run {
    pub(super) jobs: u64,
    pub(super) duplicates: u64,
    pub(super) seconds: f64,
    pub(super) jobs_per_second: f64,
    pub(super) enqueue: Percentiles,
    pub(super) dispatch: Option<Percentiles>,
    pub(super) complete: Percentiles,
    /// Of all nodes.
    pub(super) server_cpu_us_per_job: Option<f64>,
    /// Of the load itself.
    pub(super) bench_cpu_us_per_job: Option<f64>,
    pub(super) written_bytes_per_job: Option<f64>,
    pub(super) log_syncs_per_job: Option<f64>,
    pub(super) fdatasync_p50_us: u64,
    pub(super) nodes: Vec<NodeUse>,
    pub(super) series: Vec<Moment>,
}

/// Repetitions of the same: medians, and latencies over all of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) setup: Setup,
    pub(super) jobs: u64,
    pub(super) jobs_per_second: f64,
    pub(super) jobs_per_second_range: [f64; 2],
    pub(super) enqueue: Percentiles,
    pub(super) dispatch: Option<Percentiles>,
    pub(super) complete: Percentiles,
    pub(super) server_cpu_us_per_job: Option<f64>,
    pub(super) bench_cpu_us_per_job: Option<f64>,
    pub(super) rss_peak_bytes: Option<u64>,
    pub(super) written_bytes_per_job: Option<f64>,
    pub(super) log_syncs_per_job: Option<f64>,
    pub(super) fdatasync_p50_us: u64,
    pub(super) runs: Vec<Run>,
    /// For plots.
    pub(super) curves: Vec<Curve>,
}

/// How long a step took, percentile by percentile.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Curve {
    pub(super) step: &'static str,
    /// Nines (1 is the 90th percentile, 2 are the 99th) and milliseconds.
    pub(super) points: Vec<(f64, f64)>,
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The one in the middle; of an even number the later one.
pub(super) fn median<T: PartialOrd + Copy>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len() / 2).copied()
}

impl From<&Measured> for Run {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn from(measured: &Measured) -> Self {
        let per_job = |total: u64| total as f64 / measured.jobs.max(1) as f64;
        let sum =
            |value: fn(&NodeUse) -> Option<u64>| measured.nodes.iter().map(value).sum::<Option<u64>>().map(per_job);
        Self {
            jobs: measured.jobs,
            duplicates: measured.duplicates,
            seconds: measured.elapsed.as_secs_f64(),
            jobs_per_second: measured.jobs as f64 / measured.elapsed.as_secs_f64().max(1e-9),
            enqueue: measured.enqueue.percentiles(),
            dispatch: measured.dispatch.as_ref().map(Latencies::percentiles),
            complete: measured.complete.percentiles(),
            server_cpu_us_per_job: sum(|node| node.cpu_us),
            bench_cpu_us_per_job: measured.bench_cpu.map(|cpu| per_job(micros(cpu))),
            written_bytes_per_job: sum(|node| node.written_bytes),
            log_syncs_per_job: sum(|node| node.log_syncs),
            fdatasync_p50_us: micros(measured.fdatasync),
            nodes: measured.nodes.clone(),
            series: measured.series.clone(),
        }
    }
}

impl Line {
    /// At least one measurement.
    pub(super) fn of(load: &Load, measured: &[Measured]) -> Self {
        let all = |step: fn(&Measured) -> Option<&Latencies>| {
            let mut found = measured.iter().filter_map(step);
            let mut sum = found.next()?.clone();
            found.for_each(|latencies| sum.add(latencies));
            Some(sum)
        };
        let (enqueue, dispatch, complete) =
            (all(|m| Some(&m.enqueue)), all(|m| m.dispatch.as_ref()), all(|m| Some(&m.complete)));
        let steps = [("enqueue", &enqueue), ("dispatch", &dispatch), ("complete", &complete)];
        let curves =
            steps.iter().filter_map(|(step, found)| Some(Curve { step, points: found.as_ref()?.curve() })).collect();
        let runs: Vec<Run> = measured.iter().map(Run::from).collect();
        let rates = || runs.iter().map(|run| run.jobs_per_second);
        let of = |value: fn(&Run) -> Option<f64>| median(runs.iter().filter_map(value));
        let percentiles = |found: &Option<Latencies>| found.as_ref().map(Latencies::percentiles);
        Self {
            setup: load.into(),
            jobs: median(runs.iter().map(|run| run.jobs)).unwrap_or(0),
            jobs_per_second: median(rates()).unwrap_or(0.0),
            jobs_per_second_range: [rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max)],
            enqueue: percentiles(&enqueue).unwrap_or_default(),
            dispatch: percentiles(&dispatch),
            complete: percentiles(&complete).unwrap_or_default(),
            server_cpu_us_per_job: of(|run| run.server_cpu_us_per_job),
            bench_cpu_us_per_job: of(|run| run.bench_cpu_us_per_job),
            rss_peak_bytes: runs.iter().flat_map(|run| &run.nodes).filter_map(|node| node.rss_peak_bytes).max(),
            written_bytes_per_job: of(|run| run.written_bytes_per_job),
            log_syncs_per_job: of(|run| run.log_syncs_per_job),
            fdatasync_p50_us: median(runs.iter().map(|run| run.fdatasync_p50_us)).unwrap_or(0),
            curves,
            runs,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::latency::Recorder;
    use super::super::schedule::{Schedule, Until};
    use super::*;

    pub(in super::super) fn load() -> Load {
        let until = Until::Over(Duration::from_secs(2));
        let schedule = Schedule { batch: 1, rate: None, until };
        Load::plain(64, schedule, Duration::ZERO)
    }

    pub(in super::super) fn measured(jobs: u64, millis: u64) -> Measured {
        let recorder = Recorder::new();
        recorder.record(Duration::from_millis(millis));
        let node = |node| NodeUse {
            node,
            cpu_us: Some(10 * jobs),
            rss_bytes: Some(1 << 20),
            rss_peak_bytes: Some(node << 20),
            written_bytes: Some(400 * jobs),
            log_syncs: Some(jobs / 2),
        };
        Measured {
            jobs,
            duplicates: 0,
            elapsed: Duration::from_secs(2),
            enqueue: recorder.merged(),
            dispatch: Some(recorder.merged()),
            complete: recorder.merged(),
            nodes: (1..=3).map(node).collect(),
            bench_cpu: None,
            series: (0..=4)
                .map(|step| Moment { ms: step * 500, enqueued: step * jobs / 4, completed: step * jobs / 5 })
                .collect(),
            fdatasync: Duration::from_micros(700),
        }
    }

    #[test]
    fn a_line_has_medians_and_all_latencies() {
        let line = Line::of(&load(), &[measured(1_000, 1), measured(3_000, 3), measured(2_000, 2)]);
        assert_eq!((line.jobs, line.jobs_per_second), (2_000, 1_000.0));
        assert_eq!(line.jobs_per_second_range, [500.0, 1_500.0]);
        assert_eq!((line.enqueue.count, line.enqueue.max_us / 100), (3, 30));
        assert_eq!(line.server_cpu_us_per_job, Some(30.0));
        assert_eq!(line.written_bytes_per_job, Some(1_200.0));
        assert_eq!(line.log_syncs_per_job, Some(1.5));
        assert_eq!(line.rss_peak_bytes, Some(3 << 20));
    }

    #[test]
    fn what_no_node_tells_is_not_made_up() {
        let mut hidden = measured(10, 1);
        hidden.nodes[1].cpu_us = None;
        let line = Line::of(&load(), &[hidden]);
        assert_eq!(line.server_cpu_us_per_job, None);
        let json = serde_json::to_value(&line).unwrap();
        assert_eq!(json["setup"]["in_flight"], 64);
        assert!(json["server_cpu_us_per_job"].is_null() && json["runs"][0]["nodes"][0]["cpu_us"] == 100, "{json}");
    }
}
