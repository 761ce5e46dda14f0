//! The plots, as one SVG.

use super::super::figures::{Line, Run};
use super::super::table::name;
use super::theme::{FAINT, GRID, INK, PAPER, series, style_sheet};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::error::Error;
use std::ops::Range;

const SIZE: (u32, u32) = (1_080, 1_010);
/// Where each row of plots begins.
const LATENCY_TOP: u32 = 350;
const COST_TOP: u32 = 690;
const MARGIN: u32 = 14;
const FONT: &str = "system-ui, sans-serif";
const STEPS: [&str; 3] = ["enqueue", "dispatch", "complete"];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A caption, and what of a line is drawn.
type Bars = (&'static str, fn(&Line) -> Option<f64>);
type Drawn<T = ()> = Result<T, Box<dyn Error>>;

/// Draws all of them.
pub(super) fn draw(lines: &[Line]) -> Result<String, String> {
    let mut svg = String::new();
    draw_into(&mut svg, lines).map_err(|error| error.to_string())?;
    // The first element is the SVG itself.
    let begin = svg.find('>').map_or(0, |at| at + 1);
    svg.insert_str(begin, &style_sheet());
    Ok(svg)
}

fn draw_into(svg: &mut String, lines: &[Line]) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&PAPER.light)?;
    let (over_time, rest) = root.split_vertically(LATENCY_TOP);
    let (latency, cost) = rest.split_vertically(COST_TOP - LATENCY_TOP);
    throughput(&over_time, lines)?;
    for (area, step) in latency.split_evenly((1, STEPS.len())).iter().zip(STEPS) {
        percentiles(area, lines, step)?;
    }
    let bars: [Bars; 3] = [
        ("jobs per second", |line| Some(line.jobs_per_second)),
        ("servers' CPU per job, µs", |line| line.server_cpu_us_per_job),
        ("log fsyncs per job, all nodes", |line| line.log_syncs_per_job),
    ];
    for (area, (caption, value)) in cost.split_evenly((1, bars.len())).iter().zip(bars) {
        costs(area, lines, caption, value)?;
    }
    root.present()?;
    Ok(())
}

fn text(size: u32, color: RGBColor) -> TextStyle<'static> {
    (FONT, size).into_font().color(&color)
}

/// Completions per second between looks, of the repetition that did what half of them did.
fn throughput(area: &Area<'_>, lines: &[Line]) -> Drawn {
    let all: Vec<Vec<(f64, f64)>> = lines.iter().map(|line| middle(line).map(per_second).unwrap_or_default()).collect();
    let most = |of: fn(&(f64, f64)) -> f64| all.iter().flatten().map(of).fold(1.0, f64::max);
    let (seconds, rate) = (most(|point| point.0), most(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption("jobs completed per second, over time (s)", text(16, INK.light))
        .margin(MARGIN)
        .x_label_area_size(26)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..seconds, 0.0..rate * 1.3)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.light)
        .axis_style(FAINT.light)
        .label_style(text(12, FAINT.light))
        .y_label_formatter(&|rate| grouped(*rate))
        .draw()?;
    for (place, (line, points)) in lines.iter().zip(all).enumerate() {
        let color = series(place);
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(format!("{} in flight", name(line)))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(PAPER.light)
        .border_style(GRID.light)
        .label_font(text(12, INK.light))
        .draw()?;
    Ok(())
}

fn middle(line: &Line) -> Option<&Run> {
    let apart = |run: &&Run| (run.jobs_per_second - line.jobs_per_second).abs();
    line.runs.iter().min_by(|a, b| apart(a).total_cmp(&apart(b)))
}

#[expect(clippy::cast_precision_loss, reason = "a plot")]
fn per_second(run: &Run) -> Vec<(f64, f64)> {
    let between = |pair: &[super::super::figures::Moment]| {
        let [before, after] = pair else { return None };
        let seconds = after.ms.saturating_sub(before.ms) as f64 / 1_000.0;
        // Two looks at nearly the same moment say nothing of a rate.
        (seconds > 0.05).then(|| (after.ms as f64 / 1_000.0, (after.completed - before.completed) as f64 / seconds))
    };
    run.series.windows(2).filter_map(between).collect()
}

/// Nines as an axis: a mark at each.
struct Nines(f64);

impl Ranged for Nines {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    #[expect(clippy::cast_possible_truncation, reason = "pixels")]
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (f64::from(limit.1 - limit.0) * value / self.0) as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        (0..10).map(f64::from).take_while(|nines| *nines <= self.0).collect()
    }

    fn range(&self) -> Range<f64> {
        0.0..self.0
    }
}

fn percentiles(area: &Area<'_>, lines: &[Line], step: &str) -> Drawn {
    let curve = |line: &Line| line.curves.iter().find(|curve| curve.step == step).map(|curve| curve.points.clone());
    // Less than 10 µs is told apart by nobody.
    let points = |line| curve(line).unwrap_or_default().into_iter().map(|(nines, ms)| (nines, ms.max(0.01))).collect();
    let all: Vec<Vec<(f64, f64)>> = lines.iter().map(points).collect();
    let values = || all.iter().flatten();
    let nines = values().map(|point| point.0).fold(1.0, f64::max);
    let least = values().map(|point| point.1).fold(1.0, f64::min) * 0.7;
    let most = values().map(|point| point.1).fold(1.0, f64::max) * 1.5;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{step}, ms by percentile"), text(16, INK.light))
        .margin(MARGIN)
        .x_label_area_size(26)
        .y_label_area_size(46)
        .build_cartesian_2d(Nines(nines), (least..most).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.light)
        .axis_style(FAINT.light)
        .label_style(text(12, FAINT.light))
        .x_label_formatter(&|nines| percentile(*nines))
        .y_label_formatter(&|ms| format!("{ms}"))
        .draw()?;
    for (place, points) in all.into_iter().enumerate() {
        chart.draw_series(LineSeries::new(points, series(place).stroke_width(2)))?;
    }
    Ok(())
}

/// `0`, `90`, `99`, `99.9` …
fn percentile(nines: f64) -> String {
    let decimals = (nines - 2.0).max(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10")]
    let decimals = decimals as usize;
    format!("{:.decimals$}", 100.0 * (1.0 - 10_f64.powf(-nines)))
}

fn costs(area: &Area<'_>, lines: &[Line], caption: &str, value: fn(&Line) -> Option<f64>) -> Drawn {
    let most = lines.iter().filter_map(value).fold(0.0, f64::max);
    let top = if most > 0.0 { most * 1.15 } else { 1.0 };
    #[expect(clippy::cast_precision_loss, reason = "a plot")]
    let across = |place: usize| place as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(caption, text(16, INK.light))
        .margin(MARGIN)
        .x_label_area_size(26)
        .y_label_area_size(16)
        .build_cartesian_2d(0.0..across(lines.len().max(1)), 0.0..top)?;
    chart.configure_mesh().disable_mesh().disable_y_axis().x_labels(0).axis_style(FAINT.light).draw()?;
    for (place, line) in lines.iter().enumerate() {
        let (left, middle, right) = (across(place) + 0.2, across(place) + 0.5, across(place) + 0.8);
        let known = value(line);
        if let Some(value) = known {
            chart.draw_series([Rectangle::new([(left, 0.0), (right, value)], series(place).filled())])?;
        }
        let figure = text(13, INK.light).pos(Pos::new(HPos::Center, VPos::Bottom));
        let figure = Text::new(known.map_or_else(|| "-".to_owned(), shown), (middle, known.unwrap_or(0.0)), figure);
        let below = text(12, FAINT.light).pos(Pos::new(HPos::Center, VPos::Top));
        chart.draw_series([figure, Text::new(name(line), (middle, -top * 0.05), below)])?;
    }
    Ok(())
}

fn shown(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { grouped(value) }
}

/// `12,345`.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_people_read_them() {
        assert_eq!([0.4, 999.0, 1_000.0, 1_234_567.8].map(grouped), ["0", "999", "1,000", "1,234,568"]);
        assert_eq!([0.0, 1.0, 2.0, 3.0, 4.0].map(percentile), ["0", "90", "99", "99.9", "99.99"]);
        assert_eq!([0.128, 12.0].map(shown), ["0.13", "12"]);
    }
}
