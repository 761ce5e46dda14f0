//! Figures as tables: what was done and what it took, then how long the steps took.

use super::figures::Line;
use super::latency::Percentiles;
use crate::failure::Failure;
use crate::output::{Mood, Output, Table, human};

/// Milliseconds to two digits.
pub(super) fn millis(us: u64) -> String {
    format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10)
}

/// What tells the lines apart.
pub(super) fn name(line: &Line) -> String {
    let setup = &line.setup;
    let rate = setup.rate.map(|rate| format!(" at {rate}/s")).unwrap_or_default();
    match setup.batch {
        1 => format!("{}{rate}", setup.in_flight),
        batch => format!("{} x {batch}{rate}", setup.in_flight),
    }
}

/// A table before it is text for a terminal or a page. Columns whose name starts with `>` are numbers.
pub(super) struct Cells {
    pub(super) columns: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
}

impl From<Cells> for Table {
    fn from(cells: Cells) -> Self {
        let mut table = Self::new(cells.columns);
        for row in cells.rows {
            table.row(row.into_iter().map(|cell| (cell, Mood::Plain)));
        }
        table
    }
}

pub(super) fn show(output: &Output, lines: &[Line]) -> Result<(), Failure> {
    output.table(summary(lines).into(), "nothing was measured")?;
    output.line("")?;
    output.table(latencies(lines).into(), "nothing was measured")
}

/// What was done, and what it took.
pub(super) fn summary(lines: &[Line]) -> Cells {
    let columns = &[
        "IN FLIGHT",
        ">JOBS",
        ">JOBS/S",
        "RANGE",
        ">SERVER CPU/JOB",
        ">RSS PEAK",
        ">WRITTEN/JOB",
        ">LOG SYNCS/JOB",
        ">FDATASYNC P50",
    ];
    let mut rows = Vec::new();
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for line in lines {
        let [least, most] = line.jobs_per_second_range;
        let jobs = match line.runs.iter().map(|run| run.duplicates).sum::<u64>() {
            0 => line.jobs.to_string(),
            duplicates => format!("{} + {duplicates} duplicates", line.jobs),
        };
        let cells = [
            name(line),
            jobs,
            format!("{:.0}", line.jobs_per_second),
            if line.runs.len() > 1 { format!("{least:.0}..{most:.0}") } else { "-".to_owned() },
            known(line.server_cpu_us_per_job.map(|us| format!("{us:.0} µs"))),
            known(line.rss_peak_bytes.map(human::bytes)),
            known(line.written_bytes_per_job.map(|bytes| format!("{bytes:.0} B"))),
            known(line.log_syncs_per_job.map(|syncs| format!("{syncs:.3}"))),
            millis(line.fdatasync_p50_us),
        ];
        rows.push(cells.to_vec());
    }
    Cells { columns, rows }
}

/// How long the steps took.
pub(super) fn latencies(lines: &[Line]) -> Cells {
    let columns = &["IN FLIGHT", "STEP", ">P50", ">P90", ">P99", ">P99.9", ">MAX"];
    let mut rows = Vec::new();
    for line in lines {
        for (step, found) in
            [("enqueue", Some(line.enqueue)), ("dispatch", line.dispatch), ("complete", Some(line.complete))]
        {
            let Some(Percentiles { p50_us, p90_us, p99_us, p99_9_us, max_us, .. }) = found else { continue };
            let times = [p50_us, p90_us, p99_us, p99_9_us, max_us].map(millis);
            rows.push([name(line), step.to_owned()].into_iter().chain(times).collect());
        }
    }
    Cells { columns, rows }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::figures::tests::{load, measured};
    use super::*;
    use crate::output::Paint;

    #[test]
    fn what_is_not_known_is_a_dash() {
        let mut hidden = measured(1_000, 12);
        hidden.nodes.iter_mut().for_each(|node| node.log_syncs = None);
        hidden.dispatch = None;
        let line = Line::of(&load(), &[hidden]);
        let text = Table::from(summary(std::slice::from_ref(&line))).render(Paint::never()).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1][..6], ["64", "1000", "500", "-", "30", "µs"], "{text}");
        assert_eq!(rows[1][8..], ["1200", "B", "-", "0.70", "ms"], "{text}");
        let text = Table::from(latencies(&[line])).render(Paint::never()).unwrap();
        assert!(text.contains("enqueue") && text.contains("complete") && !text.contains("dispatch"), "{text}");
        assert!(text.contains("12.0"), "{text}");
    }
}
