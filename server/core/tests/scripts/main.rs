//! Runs every script below `scripts/`: scenarios as text, with the expected answers beside the commands.
//!
//! The language is described in `scripts/README.md`. After each step the state is also checkpointed, restored and
//! compared (see [`support::Trio`]). A failing script is shown as a diff against what really happened.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stdout, reason = "shows diffs of failing scripts")]

mod answer;
mod parse;
mod script;
#[path = "../support/mod.rs"]
mod support;
mod together;
mod words;

use script::Script;
use std::path::{Path, PathBuf};

#[test]
fn every_script_answers_as_written() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts"), &mut files);
    assert!(!files.is_empty(), "no scripts found");
    let mut failed = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let diff =
            std::panic::catch_unwind(|| run(&text)).unwrap_or_else(|_| Some("  it panicked, see above\n".to_owned()));
        if let Some(diff) = diff {
            failed += 1;
            println!("--- {}\n{diff}", file.display());
        }
    }
    assert_eq!(failed, 0, "{failed} of {} scripts failed, see above", files.len());
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
}

/// Runs a script; a diff if an answer is not the written one.
fn run(text: &str) -> Option<String> {
    let mut script = Script::default();
    let (mut diff, mut failed) = (String::new(), false);
    for line in text.lines() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if code.is_empty() {
            continue;
        }
        let (step, expected) = match code.split_once("->") {
            Some((step, expected)) => (step.trim(), Some(expected.trim())),
            None => (code, None),
        };
        let actual = script.step(step);
        let refused = actual.contains("error") || actual.contains("refused");
        if expected.map_or(!refused, |expected| expected == actual) {
            diff += &format!("  {line}\n");
        } else {
            failed = true;
            diff += &format!("- {line}\n+ {step} -> {actual}\n");
        }
    }
    assert!(script.steps > 0, "a script without steps");
    failed.then_some(diff)
}

#[test]
fn a_wrong_expectation_is_noticed() {
    assert!(run("at 0 enqueue q job=A -> A existing").unwrap().contains("+ at 0 enqueue q job=A -> A created"));
}
