//! Each page's commands, typed in order on a site of its own.

use crate::console::{Ids, steps};
use crate::shell::Shell;
use crate::site::Site;
use crate::{BOOK, links, sdk};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How long to look again for what a page shows.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);

macro_rules! pages {
    ($($page:ident),* $(,)?) => {
        /// The pages, by the names of their files.
        const PAGES: &[&str] = &[$(stringify!($page)),*];

        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $page() {
                check(stringify!($page)).await;
            }
        )*
    };
}

pages! {
    introduction,
    states,
    scheduling,
    deadlines,
    retries,
    unique,
    atomic,
    resumable,
    control,
    retention,
    backpressure,
    fleet,
    listing,
    leases,
    limits,
    workflows,
    schedules,
    access,
    tokens,
    namespaces,
    wasm,
    secrets,
    operations,
    certificates,
}

fn read(page: &str) -> String {
    let file = format!("{BOOK}/src/{page}.md");
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

async fn check(page: &str) {
    let steps = steps(&read(page));
    let site = Site::start().await;
    let client = site.client().await;
    let worker = sdk::worker(page, &client).map(|worker| tokio::spawn(worker.run(std::future::pending())));
    let mut shell = Shell::start(site.directory());
    let mut ids = Ids::default();
    for step in steps {
        let place = format!("docs/src/{page}.md, line {}: $ {}", step.line, step.command);
        let begun = Instant::now();
        let code = loop {
            let (printed, code) = shell.run(&ids.resolve(&step.command));
            match ids.compare(&step.expected, &printed) {
                Ok(()) => break code,
                // On a busy machine what is to be seen comes later than the page's reader would see it.
                Err(_) if step.only_looks() && begun.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
                Err(difference) => panic!("{place}\n{difference}(exit code {code})"),
            }
        };
        assert_eq!(code != 0, step.shows_failure(), "{place}\nits exit code is {code}");
    }
    if let Some(worker) = worker {
        assert!(!worker.is_finished(), "the worker of {page}.md has ended");
        worker.abort();
    }
}

#[test]
fn every_page_of_the_book_is_checked_and_has_both_kinds_of_example() {
    let listed: BTreeSet<String> = links::chapters().into_iter().collect();
    let checked: BTreeSet<String> = PAGES.iter().map(|page| format!("{page}.md")).collect();
    assert_eq!(listed, checked, "the pages in docs/src/SUMMARY.md and those in `pages!` here");
    for page in PAGES {
        let text = read(page);
        assert!(!steps(&text).is_empty(), "{page}.md has no console block");
        assert!(text.contains("{{#include ../../cli/tests/book/sdk/"), "{page}.md includes no program of `sdk`");
    }
}
