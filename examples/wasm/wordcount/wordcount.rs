//! A job: counts what is in a text document.
//!
//! The payload is the document; the result is a JSON object. Nothing here knows of Jobraft: any program that reads
//! stdin and writes stdout is a job.

use std::io::{self, Read, Write};
use std::process;

/// Asks that the job be tried again: what went wrong may pass (`EX_TEMPFAIL`).
const EXIT_RETRY: i32 = 75;
/// Asks that the job never be tried again: its input is wrong and will stay so (`EX_DATAERR`).
const EXIT_NEVER_RETRY: i32 = 65;

fn main() {
    let mut document = Vec::new();
    if let Err(error) = io::stdin().read_to_end(&mut document) {
        fail(EXIT_RETRY, "cannot read the document", &error);
    }
    let result = match std::str::from_utf8(&document) {
        Ok(text) => count(text),
        Err(error) => fail(EXIT_NEVER_RETRY, "not a text document", &error),
    };
    if let Err(error) = writeln!(io::stdout(), "{}", result) {
        fail(EXIT_RETRY, "cannot write the result", &error);
    }
    eprintln!("counted {} bytes", document.len());
}

fn fail(code: i32, what: &str, error: &dyn std::fmt::Display) -> ! {
    eprintln!("{}: {}", what, error);
    process::exit(code)
}

/// The counts, as JSON.
fn count(text: &str) -> String {
    let words = || text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '-')).filter(|word| !word.is_empty());
    // The first of the longest, so that the result does not depend on the order of later ones.
    let longest = words().fold("", |longest, word| if word.chars().count() > longest.chars().count() { word } else { longest });
    // Words are letters, digits, ' and -, none of which JSON needs escaped.
    format!(
        r#"{{"lines":{},"words":{},"bytes":{},"longest_word":"{}","headings":{}}}"#,
        text.lines().count(),
        words().count(),
        text.len(),
        longest,
        headings(text),
    )
}

/// How many Markdown headings there are, outside of code blocks.
fn headings(text: &str) -> usize {
    let mut in_code = false;
    let mut headings = 0;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let level = line.bytes().take_while(|&byte| byte == b'#').count();
        if !in_code && (1..=6).contains(&level) && line[level..].starts_with(' ') {
            headings += 1;
        }
    }
    headings
}
