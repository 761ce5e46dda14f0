//! One file for people, without anything from the net: plots as SVG, alone or in a page with all figures.
//!
//! - `theme`: colours in light and in dark.
//! - `plots`: throughput over time, latencies by percentile, what a job costs.
//! - `page`: the HTML around them.

mod page;
mod plots;
mod theme;

use super::figures::Line;
use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// Where a report goes, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Html,
    Svg,
}

impl std::str::FromStr for Report {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let kind = match path.extension().and_then(|ending| ending.to_str()) {
            Some("html") => Kind::Html,
            Some("svg") => Kind::Svg,
            _ => return Err(format!("{text:?} must end with .html or .svg")),
        };
        Ok(Self { path, kind })
    }
}

impl Report {
    /// Fails now rather than after an hour of measuring if the file cannot be written; it is there then, and empty.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.put("")
    }

    /// Writes it. `about` is a sentence on where the figures come from.
    pub(super) fn write(&self, lines: &[Line], about: &str) -> Result<(), Failure> {
        let plots = plots::draw(lines).map_err(|error| Failure::new("draw the report", error))?;
        match self.kind {
            Kind::Svg => self.put(&plots),
            Kind::Html => self.put(&page::around(&plots, lines, about)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn put(&self, text: &str) -> Result<(), Failure> {
        let failed = |error| Failure::new(format!("write {}", self.path.display()), error);
        std::fs::write(&self.path, text).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::super::figures::tests::{load, measured};
    use super::super::load::Load;
    use super::*;

    fn lines() -> Vec<Line> {
        let load = |in_flight| Load { in_flight, ..load() };
        vec![
            Line::of(&load(1), &[measured(1_234, 3)]),
            Line::of(&load(64), &[measured(98_765, 40), measured(98_000, 41)]),
        ]
    }

    /// Every element that is opened is closed, in order, and attributes have quotes.
    fn assert_well_formed(text: &str) {
        let mut open = Vec::new();
        for piece in text.split('<').skip(1) {
            let (tag, after) = piece.split_once('>').unwrap_or_else(|| panic!("unfinished: {piece}"));
            assert!(!after.contains('>') || open.last() == Some(&"style"), "{after}");
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{piece}"),
                None if tag.ends_with('/') || tag.starts_with('!') => {}
                None => open.push(tag.split_whitespace().next().unwrap()),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn a_report_is_well_formed_and_has_the_figures() {
        let directory = tempfile::tempdir().unwrap();
        for ending in ["svg", "html"] {
            let path = directory.path().join(format!("report.{ending}"));
            let report: Report = path.to_str().unwrap().parse().unwrap();
            report.check().unwrap();
            report.write(&lines(), "3 nodes & a disk").unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_well_formed(&text);
            for word in ["enqueue", "dispatch", "complete", "90", "617", "prefers-color-scheme: dark"] {
                assert!(text.contains(word), "{word} is not in {ending}");
            }
            assert!(!text.contains("<script") && !text.contains("src="), "nothing from the net");
            assert_eq!(text.contains("3 nodes &amp; a disk"), ending == "html");
        }
    }

    #[test]
    fn measurements_without_anything_to_draw_are_drawn() {
        let nothing = measured(0, 1);
        let mut empty = nothing.clone();
        (empty.dispatch, empty.enqueue, empty.series) = (None, Default::default(), Vec::new());
        assert_well_formed(&plots::draw(&[Line::of(&load(), &[nothing, empty.clone()])]).unwrap());
        assert_well_formed(&plots::draw(&[Line::of(&load(), &[empty])]).unwrap());
    }

    #[test]
    fn the_ending_says_what_it_becomes() {
        assert_eq!("a/b.html".parse::<Report>().unwrap().kind, Kind::Html);
        assert!("report.pdf".parse::<Report>().unwrap_err().contains(".svg"));
        let nowhere: Report = "/nowhere/at/all.svg".parse().unwrap();
        assert!(nowhere.check().unwrap_err().to_string().contains("/nowhere/at/all.svg"));
    }
}
