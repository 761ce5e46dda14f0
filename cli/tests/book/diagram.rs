//! The diagram and the table of a job's states, made from the one table of legal steps in `jobraft-core`.
//!
//! What the arrows say comes from there; where they run is said here, by hand, since no layout engine draws this as well.

use crate::BOOK;
use jobraft_core::transition::{STEPS, Step};
use jobraft_protocol::JobState::{self, Cancelled, Completed, Dead, Expired, Leased, Ready, Scheduled};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A state's box.
const WIDTH: i32 = 130;
const HEIGHT: i32 = 46;
/// Between the lines of a label.
const LINE: i32 = 16;
/// Around the table in the page.
const TABLE_BEGINS: &str = "<!-- made from server/core/src/transition.rs; UPDATE_BOOK=1 makes it anew -->\n";
const TABLE_ENDS: &str = "<!-- end of what is made -->";

/// Where the middle of each state's box is, and how it is colored.
const BOXES: [(JobState, i32, i32, &str); 7] = [
    (Scheduled, 190, 270, "live"),
    (Ready, 520, 270, "live"),
    (Leased, 850, 270, "live"),
    (Completed, 970, 450, "good"),
    (Dead, 690, 450, "bad"),
    (Cancelled, 520, 110, "over"),
    (Expired, 355, 450, "over"),
];

/// Where a step's arrow runs.
struct Route {
    from: Option<JobState>,
    to: JobState,
    path: &'static str,
    /// Where the first line of its label is, and which of its ends is there.
    label: (i32, i32, &'static str),
    /// Characters of a label's line.
    chars: usize,
}

const fn route(
    from: Option<JobState>,
    to: JobState,
    path: &'static str,
    label: (i32, i32, &'static str),
    chars: usize,
) -> Route {
    Route { from, to, path, label, chars }
}

const ROUTES: [Route; 16] = [
    route(None, Scheduled, "M20 270 H125", (72, 244, "middle"), 12),
    route(None, Ready, "M628 192 C628 218 602 232 574 247", (640, 196, "start"), 20),
    route(Some(Scheduled), Ready, "M255 262 H455", (355, 254, "middle"), 30),
    route(Some(Scheduled), Scheduled, "M143 293 C128 342 188 342 173 293", (150, 348, "middle"), 22),
    route(Some(Scheduled), Cancelled, "M200 247 C210 150 330 110 455 110", (266, 138, "end"), 20),
    route(Some(Scheduled), Expired, "M225 293 L318 427", (274, 396, "end"), 20),
    route(Some(Ready), Leased, "M585 262 H785", (685, 254, "middle"), 30),
    route(Some(Ready), Scheduled, "M455 278 H255", (355, 297, "middle"), 24),
    route(Some(Ready), Cancelled, "M500 247 V133", (491, 194, "end"), 20),
    route(Some(Ready), Expired, "M490 293 L392 427", (438, 380, "start"), 20),
    route(Some(Leased), Completed, "M880 293 L955 427", (930, 360, "start"), 20),
    route(Some(Leased), Ready, "M785 278 H585", (685, 297, "middle"), 30),
    route(Some(Leased), Scheduled, "M885 247 V60 Q885 40 865 40 H180 Q160 40 160 60 V247", (522, 31, "middle"), 60),
    route(Some(Leased), Dead, "M815 293 L722 427", (797, 336, "start"), 16),
    route(Some(Leased), Cancelled, "M840 247 C830 150 710 110 585 110", (774, 138, "start"), 20),
    route(Some(Dead), Ready, "M655 427 L558 293", (619, 364, "start"), 20),
];

const STYLE: &str = "\
  .ground { fill: #fdfdfb; stroke: #d8d8d2 }
  text { font: 13px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #444 }
  .state { font-size: 15px; font-weight: 600; text-anchor: middle; fill: #1c2733 }
  .live { fill: #dcebfa; stroke: #4a84bd }
  .good { fill: #dcf1de; stroke: #4c9a57 }
  .bad { fill: #f9dfdc; stroke: #bf5a4e }
  .over { fill: #ececea; stroke: #8a8a84 }
  .box { stroke-width: 1.6 }
  .step { fill: none; stroke: #6b7580; stroke-width: 1.4; marker-end: url(#tip) }
  .begin { fill: #6b7580 }
";

fn name(state: Option<JobState>) -> &'static str {
    state.map_or("(none)", JobState::as_str)
}

/// The diagram.
fn svg(steps: &[Step]) -> String {
    let mut svg = "\
<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1060 490\" role=\"img\" aria-labelledby=\"title\">
<!-- Made from server/core/src/transition.rs by cli/tests/book/diagram.rs; UPDATE_BOOK=1 makes it anew. -->
<title id=\"title\">The states of a job and every step between them</title>
<style>\n"
        .to_owned();
    svg.push_str(STYLE);
    svg.push_str(
        "</style>
<marker id=\"tip\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
<path d=\"M0 1 L10 5 L0 9 z\" fill=\"#6b7580\"/></marker>
<rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"1059\" height=\"489\" rx=\"10\"/>\n",
    );
    for step in steps {
        let route = ROUTES.iter().find(|route| (route.from, route.to) == (step.from, step.to));
        let route = route.unwrap_or_else(|| {
            panic!("no arrow from {} to {} is drawn: add it to ROUTES", name(step.from), step.to);
        });
        let _ = writeln!(svg, "<path class=\"step\" d=\"{}\"/>", route.path);
        if step.from.is_none() {
            let (x, y) = beginning(route.path);
            let _ = writeln!(svg, "<circle class=\"begin\" cx=\"{x}\" cy=\"{y}\" r=\"5\"/>");
        }
        let (x, y, end) = route.label;
        for (line, text) in wrapped(step.cause, route.chars).into_iter().enumerate() {
            let y = y + LINE * i32::try_from(line).unwrap();
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{end}\">{text}</text>");
        }
    }
    for (state, x, y, class) in BOXES {
        let (left, top) = (x - WIDTH / 2, y - HEIGHT / 2);
        let _ = writeln!(
            svg,
            "<rect class=\"box {class}\" x=\"{left}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"9\"/>\n\
             <text class=\"state\" x=\"{x}\" y=\"{}\">{state}</text>",
            y + 5
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The point with which a path begins.
fn beginning(path: &str) -> (&str, &str) {
    let (x, rest) = path[1..].split_once(' ').unwrap();
    (x, rest.split(' ').next().unwrap())
}

/// A text in lines of at most so many characters, where its words permit.
fn wrapped(text: &str, chars: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= chars => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The table.
fn table(steps: &[Step]) -> String {
    let mut table = "| From | To | When |\n|---|---|---|\n".to_owned();
    for step in steps {
        let from = step.from.map_or_else(|| "–".to_owned(), |state| format!("`{state}`"));
        let _ = writeln!(table, "| {from} | `{}` | {} |", step.to, step.cause);
    }
    table
}

/// The page with the table in its place.
fn with_table(page: &str, table: &str) -> String {
    let (before, rest) = page.split_once(TABLE_BEGINS).expect("the page has a place for the table");
    let (_, after) = rest.split_once(TABLE_ENDS).expect("the table's place has an end");
    format!("{before}{TABLE_BEGINS}\n{table}\n{TABLE_ENDS}{after}")
}

fn agrees(file: PathBuf, wanted: &str) {
    if std::env::var_os("UPDATE_BOOK").is_some() {
        std::fs::write(&file, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is not what the table of transitions says: run `UPDATE_BOOK=1 cargo test -p jobraft --test book diagram` and \
         look at what it wrote",
        file.display()
    );
}

#[test]
fn the_diagram_is_the_table_of_transitions() {
    for Route { from, to, .. } in &ROUTES {
        let known = STEPS.iter().any(|step| (step.from, step.to) == (*from, *to));
        assert!(known, "no step leads from {} to {to}: take the arrow out of ROUTES", name(*from));
    }
    agrees(Path::new(BOOK).join("src/states.svg"), &svg(STEPS));
}

#[test]
fn the_table_of_the_page_is_the_table_of_transitions() {
    let file = Path::new(BOOK).join("src/states.md");
    let page = std::fs::read_to_string(&file).unwrap();
    agrees(file, &with_table(&page, &table(STEPS)));
}
