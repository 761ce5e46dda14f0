//! The diagram and the table of a job's states, made from the one table of legal steps in `jobraft-core`.
//!
//! What the arrows say comes from there; where they run is said here, by hand, since no layout engine draws this as well.

use crate::BOOK;
use jobraft_core::transition::{STEPS, Step};
use jobraft_protocol::JobState::{self, Blocked, Cancelled, Completed, Dead, Expired, Leased, Ready, Scheduled};
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
const BOXES: [(JobState, i32, i32, &str); 8] = [
    (Scheduled, 235, 165, "live"),
    (Blocked, 235, 460, "live"),
    (Ready, 570, 310, "live"),
    (Leased, 900, 310, "live"),
    (Completed, 985, 500, "good"),
    (Dead, 720, 500, "bad"),
    (Cancelled, 570, 110, "over"),
    (Expired, 385, 320, "over"),
];

/// Where a step's arrow runs.
struct Route {
    from: Option<JobState>,
    to: JobState,
    path: &'static str,
    /// Where the first line of its label is, and which of its ends is there.
    label: (i32, i32, &'static str),
    /// Characters of a label's line; 0 if it has none, since another arrow into the same state says the same.
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

const ROUTES: [Route; 22] = [
    route(None, Scheduled, "M100 178 H170", (108, 200, "middle"), 12),
    route(None, Ready, "M660 230 C660 260 642 274 624 287", (672, 236, "start"), 20),
    route(None, Blocked, "M100 450 H170", (108, 420, "middle"), 14),
    route(Some(Blocked), Ready, "M300 452 C400 444 484 410 545 333", (474, 424, "start"), 20),
    route(Some(Blocked), Scheduled, "M215 437 V188", (207, 306, "end"), 17),
    route(
        Some(Blocked),
        Cancelled,
        "M190 483 V520 Q190 530 180 530 H45 Q35 530 35 520 V85 Q35 75 45 75 H430 C462 75 480 82 505 97",
        (152, 549, "middle"),
        60,
    ),
    route(Some(Blocked), Expired, "M255 437 L352 343", (358, 362, "start"), 19),
    route(Some(Scheduled), Ready, "M285 188 L505 300", (374, 258, "middle"), 30),
    route(Some(Scheduled), Scheduled, "M185 142 C168 110 218 110 201 142", (152, 94, "middle"), 22),
    route(Some(Scheduled), Cancelled, "M300 155 C370 152 430 138 505 120", (366, 138, "middle"), 20),
    route(Some(Scheduled), Expired, "M240 188 L352 297", (0, 0, "start"), 0),
    route(Some(Ready), Leased, "M635 302 H835", (735, 294, "middle"), 30),
    route(Some(Ready), Scheduled, "M540 287 L300 168", (430, 198, "start"), 20),
    route(Some(Ready), Cancelled, "M570 287 V133", (579, 190, "start"), 20),
    route(Some(Ready), Expired, "M505 318 H450", (0, 0, "start"), 0),
    route(Some(Leased), Completed, "M920 333 L975 477", (962, 405, "start"), 20),
    route(Some(Leased), Ready, "M835 318 H635", (735, 337, "middle"), 30),
    route(Some(Leased), Scheduled, "M925 287 V60 Q925 40 905 40 H300 Q280 40 280 60 V142", (602, 31, "middle"), 60),
    route(Some(Leased), Dead, "M856 333 L745 477", (834, 386, "start"), 16),
    route(Some(Leased), Cancelled, "M880 287 C862 190 770 110 635 110", (812, 162, "start"), 20),
    route(Some(Dead), Ready, "M690 477 L605 333", (640, 414, "end"), 20),
    route(Some(Dead), Blocked, "M655 506 C540 506 420 470 300 470", (470, 524, "middle"), 40),
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
<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1060 570\" role=\"img\" aria-labelledby=\"title\">
<!-- Made from server/core/src/transition.rs by cli/tests/book/diagram.rs; UPDATE_BOOK=1 makes it anew. -->
<title id=\"title\">The states of a job and every step between them</title>
<style>\n"
        .to_owned();
    svg.push_str(STYLE);
    svg.push_str(
        "</style>
<marker id=\"tip\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
<path d=\"M0 1 L10 5 L0 9 z\" fill=\"#6b7580\"/></marker>
<rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"1059\" height=\"569\" rx=\"10\"/>\n",
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
        if route.chars == 0 {
            let says_the_same = |other: &&Step| (other.to, other.cause) == (step.to, step.cause);
            let is_labeled = |other: &Step| {
                ROUTES.iter().any(|route| (route.from, route.to) == (other.from, other.to) && route.chars > 0)
            };
            let (from, to) = (name(step.from), step.to);
            assert!(steps.iter().filter(says_the_same).any(is_labeled), "the arrow from {from} to {to} needs a label");
            continue;
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
