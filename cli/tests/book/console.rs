//! Console examples: found in a page, and compared with what really came out.
//!
//! In a block that is fenced as `console`, a line that starts with `$ ` is typed (`> ` continues it), and what follows is
//! what it prints. `…` stands for any text within a line and, alone on a line, for any lines. Ids of jobs are those of the
//! reader's cluster, not the page's: an id on the page stands for whichever id is met in its place first, and from then on
//! for that one, in output and in commands alike. How many spaces part two columns does not matter.

use std::collections::BTreeMap;

/// Stands for any text.
const WILDCARD: char = '…';
/// `01a20b53-7d18-70bd-b88b-fb6eeb14b126`.
const ID_CHARS: usize = 36;

/// A command of a page and what it is said to print.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Where in the page.
    pub(crate) line: usize,
    /// What is typed.
    pub(crate) command: String,
    /// What is printed, line by line.
    pub(crate) expected: Vec<String>,
}

impl Step {
    /// Whether the command changes nothing, and may so be typed again.
    pub(crate) fn only_looks(&self) -> bool {
        const LOOKS: [&str; 11] = [
            "jobraft job get ",
            "jobraft job list",
            "jobraft queue list",
            "jobraft queue limit show ",
            "jobraft batch show ",
            "jobraft batch list",
            "jobraft schedule show ",
            "jobraft schedule list",
            "jobraft schedule next ",
            "jobraft fleet list",
            "jobraft state ",
        ];
        LOOKS.iter().any(|looks| self.command.starts_with(looks))
    }

    /// Whether the page shows a failure: then the command must fail, and only then may it.
    pub(crate) fn shows_failure(&self) -> bool {
        self.expected.iter().any(|line| line.starts_with("error:"))
    }
}

/// All steps of a page, in order.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    let mut begun = false;
    for (index, line) in page.lines().enumerate() {
        let number = index + 1;
        match (inside, line) {
            (false, "```console") => (inside, begun) = (true, false),
            (false, _) => {}
            (true, "```") => inside = false,
            (true, _) => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    begun = true;
                    steps.push(Step { line: number, command: command.to_owned(), expected: Vec::new() });
                }
                (None, Some(step)) if begun => match line.strip_prefix("> ") {
                    Some(more) if step.expected.is_empty() => {
                        step.command.push('\n');
                        step.command.push_str(more);
                    }
                    _ => step.expected.push(line.to_owned()),
                },
                _ => panic!("line {number}: a console block begins with a command, `$ jobraft …`: {line:?}"),
            },
        }
    }
    assert!(!inside, "a console block is not closed");
    steps
}

/// What a page calls an id, and what it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids(BTreeMap<String, String>);

impl Ids {
    /// A command as it is to be typed here.
    pub(crate) fn resolve(&self, command: &str) -> String {
        self.0.iter().fold(command.to_owned(), |text, (page, real)| text.replace(page, real))
    }

    /// Compares what was printed with what was expected; learns ids from it.
    ///
    /// # Errors
    /// Both, for people.
    pub(crate) fn compare(&mut self, expected: &[String], printed: &[String]) -> Result<(), String> {
        let (wanted, found) = (tidy(expected), tidy(printed));
        let patterns: Vec<Vec<Piece>> = wanted.iter().map(|line| pieces(line)).collect();
        match lines_match(&patterns, &found, self.clone()) {
            Some(learned) => {
                *self = learned;
                Ok(())
            }
            None => Err(format!("expected:\n{}printed:\n{}", indented(&wanted), indented(&found))),
        }
    }

    /// Takes `real` for `page`, unless either is known as something else.
    fn learn(&self, page: &str, real: &str) -> Option<Self> {
        match self.0.get(page) {
            Some(known) => (known == real).then(|| self.clone()),
            None if self.0.values().any(|known| known == real) => None,
            None => {
                let mut learned = self.clone();
                learned.0.insert(page.to_owned(), real.to_owned());
                Some(learned)
            }
        }
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {line}\n")).collect()
}

/// Without what does not matter: the width of columns, spaces at the end, empty lines at the end.
fn tidy(lines: &[String]) -> Vec<String> {
    let mut tidy: Vec<String> = lines.iter().map(|line| narrow(line.trim_end())).collect();
    while tidy.last().is_some_and(String::is_empty) {
        tidy.pop();
    }
    tidy
}

/// More than two spaces become two.
fn narrow(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for c in line.chars() {
        if c != ' ' || !text.ends_with("  ") {
            text.push(c);
        }
    }
    text
}

/// A part of an expected line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Id(String),
    Anything,
}

fn pieces(line: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = line;
    let mut text = String::new();
    while let Some(c) = rest.chars().next() {
        let piece = match id_at(rest) {
            Some(id) => Piece::Id(id.to_owned()),
            None if c == WILDCARD => Piece::Anything,
            None => {
                text.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        rest = match &piece {
            Piece::Id(_) => &rest[ID_CHARS..],
            _ => &rest[c.len_utf8()..],
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(piece);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// The job id with which the text begins.
fn id_at(text: &str) -> Option<&str> {
    let id = text.get(..ID_CHARS)?;
    let fits = |(place, c): (usize, char)| match place {
        8 | 13 | 18 | 23 => c == '-',
        14 => c == '7',
        _ => c.is_ascii_hexdigit(),
    };
    id.chars().enumerate().all(fits).then_some(id)
}

fn lines_match(patterns: &[Vec<Piece>], lines: &[String], ids: Ids) -> Option<Ids> {
    match patterns.split_first() {
        None => lines.is_empty().then_some(ids),
        Some((first, rest)) if *first == [Piece::Anything] => {
            (0..=lines.len()).find_map(|skipped| lines_match(rest, &lines[skipped..], ids.clone()))
        }
        Some((first, rest)) => {
            let (line, others) = lines.split_first()?;
            lines_match(rest, others, line_matches(first, line, ids)?)
        }
    }
}

fn line_matches(pattern: &[Piece], line: &str, ids: Ids) -> Option<Ids> {
    match pattern.split_first() {
        None => line.is_empty().then_some(ids),
        Some((Piece::Text(text), rest)) => line_matches(rest, line.strip_prefix(text.as_str())?, ids),
        Some((Piece::Id(page), rest)) => {
            let real = id_at(line)?;
            line_matches(rest, &line[ID_CHARS..], ids.learn(page, real)?)
        }
        Some((Piece::Anything, rest)) => {
            let ends = line.char_indices().map(|(place, _)| place).chain([line.len()]);
            ends.into_iter().find_map(|end| line_matches(rest, &line[end..], ids.clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_ID: &str = "01a20b53-7d18-70bd-b88b-fb6eeb14b126";
    const REAL_ID: &str = "01b00000-0000-7000-8000-000000000001";
    const OTHER_ID: &str = "01b00000-0000-7000-8000-000000000002";

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    fn fits(expected: &str, printed: &str) -> bool {
        Ids::default().compare(&lines(expected), &lines(printed)).is_ok()
    }

    #[test]
    fn steps_are_commands_with_their_output() {
        let page = "text\n```console\n$ one\n> and on\nout\n\nmore\n$ two\n```\n```sh\n$ not\n```\n";
        let step =
            |line, command: &str, expected: &str| Step { line, command: command.to_owned(), expected: lines(expected) };
        assert_eq!(steps(page), [step(3, "one\nand on", "out\n\nmore"), step(8, "two", "")]);
    }

    #[test]
    fn a_wildcard_stands_for_text_or_for_lines() {
        assert!(fits("a … c", "a b b c") && fits("a…", "a") && !fits("a … c", "a b d"));
        assert!(fits("a\n…\nz", "a\nz") && fits("a\n…\nz", "a\nb\nc\nz") && !fits("a\n…\nz", "a\nb"));
        assert!(!fits("a", "a\nb") && !fits("a\nb", "a"));
    }

    #[test]
    fn columns_may_be_wider_and_lines_may_end_in_spaces() {
        assert!(fits("A  B", "A     B  \n\n") && !fits("A B", "A  B"));
    }

    #[test]
    fn an_id_of_the_page_is_one_id_here() {
        let mut ids = Ids::default();
        ids.compare(&lines(PAGE_ID), &lines(REAL_ID)).expect("any id will do at first");
        assert_eq!(ids.resolve(&format!("get {PAGE_ID}")), format!("get {REAL_ID}"));
        assert!(ids.compare(&lines(&format!("x {PAGE_ID} y")), &lines(&format!("x {REAL_ID} y"))).is_ok());
        assert!(ids.compare(&lines(PAGE_ID), &lines(OTHER_ID)).is_err());
        assert!(ids.compare(&lines(OTHER_ID), &lines(REAL_ID)).is_err(), "two ids of the page are never one here");
        assert!(!fits(PAGE_ID, "none"));
    }
}
