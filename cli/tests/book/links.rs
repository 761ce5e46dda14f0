//! What pages refer to is there: chapters, links between pages and to their headings, included programs.

use crate::BOOK;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The files that the table of contents names.
pub(crate) fn chapters() -> Vec<String> {
    let summary = std::fs::read_to_string(source().join("SUMMARY.md")).unwrap();
    link_targets(&summary)
}

fn source() -> PathBuf {
    Path::new(BOOK).join("src")
}

/// The pages, by the names of their files.
fn pages() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(source()).unwrap().map(|entry| entry.unwrap().path());
    let pages = files.filter(|file| file.extension().is_some_and(|extension| extension == "md"));
    pages
        .map(|file| (file.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&file).unwrap()))
        .collect()
}

/// What stands in the round brackets of `[text](target)`, outside blocks of code.
fn link_targets(page: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let mut rest = line;
        while let Some(place) = rest.find("](") {
            rest = &rest[place + 2..];
            let Some(end) = rest.find(')') else { break };
            targets.push(rest[..end].to_owned());
        }
    }
    targets
}

/// The anchors of a page's headings, as mdBook makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    for (name, text) in &pages {
        for target in link_targets(text) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if file.is_empty() { name.as_str() } else { file };
            assert!(!file.contains(".."), "{name}: {target} leads out of the book");
            assert!(source().join(file).is_file(), "{name}: {target} leads nowhere");
            if !anchor.is_empty() {
                assert!(anchors(&pages[file]).contains(anchor), "{name}: {target}: there is no such heading");
            }
        }
    }
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let pages: BTreeSet<String> = pages().into_keys().filter(|name| name != "SUMMARY.md").collect();
    assert_eq!(pages, chapters().into_iter().collect());
}

#[test]
fn every_included_program_is_there() {
    for (name, text) in pages() {
        for include in text.split("{{#include ").skip(1) {
            let include = include.split("}}").next().unwrap();
            let (file, anchor) = include.split_once(':').unwrap_or((include, ""));
            let program = std::fs::read_to_string(source().join(file));
            let program = program.unwrap_or_else(|error| panic!("{name}: {include}: {error}"));
            for mark in ["ANCHOR", "ANCHOR_END"] {
                let line = format!("// {mark}: {anchor}");
                assert!(
                    anchor.is_empty() || program.lines().any(|found| found.trim() == line),
                    "{name}: {include}: there is no line `{line}`"
                );
            }
        }
    }
}
