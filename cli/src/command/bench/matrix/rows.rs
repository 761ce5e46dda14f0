//! The rows of the table: one figure each, over all repetitions.

use super::super::figures::{median, micros};
use super::super::table::millis;
use serde::{Serialize, Serializer};
use std::fmt::Write;
use std::time::Duration;

/// In what a figure is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    JobsPerSecond,
    Milliseconds,
    Microseconds,
    Seconds,
    /// Of one core.
    Percent,
    Bytes,
}

/// One figure of one repetition.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) what: String,
    pub(super) unit: Unit,
    pub(super) value: f64,
    target: Option<&'static str>,
    /// How fast the disk was right before, in microseconds; absent: as before the nodes were started.
    fdatasync_p50_us: Option<u64>,
}

impl Found {
    pub(super) fn new(what: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self { what: what.into(), unit, value, target: None, fdatasync_p50_us: None }
    }

    /// Says what it should reach, in words.
    pub(super) fn target(self, target: &'static str) -> Self {
        Self { target: Some(target), ..self }
    }

    /// The same where `holds`.
    pub(super) fn target_if(self, holds: bool, target: &'static str) -> Self {
        if holds { self.target(target) } else { self }
    }

    /// A time, in milliseconds.
    pub(super) fn millis(what: impl Into<String>, us: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        Self::new(what, Unit::Milliseconds, us as f64 / 1_000.0)
    }
}

/// What a load found, with the disk as it was right before that load.
pub(super) fn beside_disk(found: Vec<Found>, fdatasync_p50_us: u64) -> Vec<Found> {
    found.into_iter().map(|found| Found { fdatasync_p50_us: Some(fdatasync_p50_us), ..found }).collect()
}

/// A row: what was found, and how fast the disk was each time.
#[derive(Clone, Debug, Serialize)]
struct Row {
    what: String,
    unit: Unit,
    target: Option<&'static str>,
    #[serde(serialize_with = "middle", rename = "median")]
    values: Vec<f64>,
    fdatasync_p50_us: Vec<u64>,
}

/// The table.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Rows {
    rows: Vec<Row>,
}

fn middle<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    Summary::of(values).serialize(serializer)
}

#[derive(Serialize)]
struct Summary<'a> {
    value: f64,
    least: f64,
    most: f64,
    all: &'a [f64],
}

impl<'a> Summary<'a> {
    fn of(all: &'a [f64]) -> Self {
        let least = all.iter().copied().fold(f64::INFINITY, f64::min);
        let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { value: median(all.iter().copied()).unwrap_or(0.0), least, most, all }
    }
}

impl Rows {
    /// Adds what a repetition found to the rows of the same names.
    pub(super) fn add(&mut self, found: Vec<Found>, fdatasync: Duration) {
        for Found { what, unit, value, target, fdatasync_p50_us } in found {
            let place = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
                self.rows.push(Row { what, unit, target, values: Vec::new(), fdatasync_p50_us: Vec::new() });
                self.rows.len() - 1
            });
            self.rows[place].values.push(value);
            self.rows[place].fdatasync_p50_us.push(fdatasync_p50_us.unwrap_or_else(|| micros(fdatasync)));
        }
    }

    /// How many repetitions there are of the row that has most.
    pub(super) fn repetitions(&self) -> usize {
        self.rows.iter().map(|row| row.values.len()).max().unwrap_or(0)
    }

    /// As it stands in `docs/performance.md`.
    pub(super) fn markdown(&self) -> String {
        let mut text = "| What | Target | Measured, median (range) | fdatasync p50 |\n|---|---|---|---|".to_owned();
        for row in &self.rows {
            let Summary { value, least, most, .. } = Summary::of(&row.values);
            let shown = |value| row.unit.shown(value);
            let range =
                if row.values.len() > 1 { format!(" ({}–{})", shown(least), shown(most)) } else { String::new() };
            let (target, unit) = (row.target.unwrap_or("-"), row.unit.name());
            let sync = millis(median(row.fdatasync_p50_us.iter().copied()).unwrap_or(0));
            write!(text, "\n| {} | {target} | {}{range} {unit} | {sync} |", row.what, shown(value))
                .expect("a string takes everything");
        }
        text
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::JobsPerSecond => "jobs/s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::Seconds => "s",
            Self::Percent => "% of a core",
            Self::Bytes => "B",
        }
    }

    fn shown(self, value: f64) -> String {
        match self {
            Self::JobsPerSecond | Self::Microseconds | Self::Bytes => format!("{value:.0}"),
            Self::Milliseconds | Self::Seconds => format!("{value:.2}"),
            Self::Percent => format!("{value:.1}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn rows() -> Rows {
        let mut rows = Rows::default();
        for (rate, p99) in [(900.0, 4_000), (1_100.0, 6_000), (1_000.0, 5_500)] {
            let found = vec![
                Found::new("1 in flight", Unit::JobsPerSecond, rate).target("≥ 1,000"),
                Found::millis("p99", p99).target_if(false, "≤ 1"),
            ];
            rows.add(found, Duration::from_micros(p99 / 10));
        }
        let once = beside_disk(vec![Found::new("once", Unit::Percent, 1.25)], 200);
        rows.add(once, Duration::from_micros(9_000));
        rows
    }

    #[test]
    fn a_row_has_median_range_and_the_disk() {
        assert_eq!(rows().repetitions(), 3);
        let text = rows().markdown();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[2], "| 1 in flight | ≥ 1,000 | 1000 (900–1100) jobs/s | 0.55 ms |");
        assert_eq!(lines[3], "| p99 | - | 5.50 (4.00–6.00) ms | 0.55 ms |");
        assert_eq!(lines[4], "| once | - | 1.2 % of a core | 0.20 ms |");
    }

    #[test]
    fn json_has_every_repetition() {
        let json = serde_json::to_value(rows()).unwrap();
        assert_eq!(json[0]["median"]["value"], 1_000.0);
        assert_eq!(json[0]["median"]["all"].as_array().unwrap().len(), 3);
        assert_eq!(json[0]["target"], "≥ 1,000");
        assert_eq!(json[1]["unit"], "milliseconds");
    }
}
