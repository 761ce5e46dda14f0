//! The book (`docs/`) is true: its commands print what it says, its programs do what it says, its links lead somewhere.
//!
//! - `console`, `shell`: each page's console blocks, typed in order where `jobraft dev` runs.
//! - `sdk`: the programs that the pages include, each run against a real node.
//! - `diagram`: the states of a job, drawn from the table of transitions.
//! - `links`: what pages refer to is there.
//!
//! To see what a page prints nowadays: `cargo test -p jobraft --test book PAGE`. To draw the diagram anew:
//! `UPDATE_BOOK=1 cargo test -p jobraft --test book diagram`.

#![expect(clippy::unwrap_used, reason = "tests")]

mod console;
mod diagram;
mod links;
mod pages;
mod sdk;
mod shell;
mod site;
#[path = "../acceptance/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the acceptance tests need more of it")]
mod support;

/// Where the book is.
const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
