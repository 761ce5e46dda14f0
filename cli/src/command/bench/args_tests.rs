//! What is asked of `jobraft bench`, and what follows.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::args::{BenchArgs, WINDOWS};
use super::matrix::Scenario;
use super::schedule::Until;
use clap::{Parser, ValueEnum};
use std::time::Duration;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    bench: BenchArgs,
}

fn parsed(words: &str) -> Result<BenchArgs, clap::Error> {
    Line::try_parse_from(["bench"].into_iter().chain(words.split_whitespace())).map(|line| line.bench)
}

#[test]
fn without_flags_three_windows_are_measured() {
    let loads = parsed("").unwrap().loads().unwrap();
    assert_eq!(loads.iter().map(|load| load.in_flight).collect::<Vec<_>>(), WINDOWS);
    assert_eq!(loads[0].schedule.until, Until::Over(Duration::from_secs(5)));
    let loads = parsed("--rate 100 --count 7").unwrap().loads().unwrap();
    assert_eq!((loads.len(), loads[0].schedule.until), (1, Until::Jobs(7)));
}

#[test]
fn what_cannot_be_is_refused() {
    for words in ["--rate 0", "--rate fast", "--batch 0", "--batch 1001", "--nodes 2", "--payload 3", "--report a.pdf"]
    {
        assert!(parsed(words).is_err(), "{words}");
    }
    assert!(parsed("--count 5 --seconds 5").is_err());
    for (words, named) in [
        ("--batch 1000 --payload 10000", "--payload 10000"),
        ("--queues 65 --workers 1", "--workers 2"),
        ("--queues 129 --workers 2", "--workers 3"),
    ] {
        let failure = parsed(words).unwrap().loads().unwrap_err();
        assert!(failure.to_string().contains(named), "{failure}");
    }
    assert_eq!(parsed("--queues 128 --workers 2").unwrap().loads().unwrap()[0].queues, 128);
}

#[test]
fn the_matrix_says_how_much_waits_and_takes_no_load() {
    assert!(parsed("").unwrap().matrix().unwrap().is_none());
    let matrix = parsed("--matrix").unwrap().matrix().unwrap().unwrap();
    assert_eq!((matrix.waiting, matrix.repeat), (1_000_000, 5));
    assert_eq!(matrix.scenarios, Scenario::value_variants());
    let matrix = parsed("--matrix=5000 --only idle,half-rate --repeat 2").unwrap().matrix().unwrap().unwrap();
    assert_eq!((matrix.waiting, matrix.repeat), (5_000, 2));
    assert_eq!(matrix.scenarios, [Scenario::Idle, Scenario::HalfRate]);
    for words in ["--only idle", "--matrix --batch 5", "--matrix=1", "--matrix --report a.svg"] {
        assert!(parsed(words).is_err(), "{words}");
    }
    assert!(parsed("--matrix --endpoint 127.0.0.1:1").unwrap().matrix().is_err());
}

#[test]
fn nodes_are_started_or_named() {
    assert_eq!(parsed("").unwrap().own_nodes().unwrap(), Some(3));
    assert_eq!(parsed("--nodes 1").unwrap().own_nodes().unwrap(), Some(1));
    assert_eq!(parsed("--endpoint 127.0.0.1:1").unwrap().own_nodes().unwrap(), None);
    assert!(parsed("--endpoint 127.0.0.1:1 --nodes 1").unwrap().own_nodes().is_err());
    assert!(parsed("--endpoint 127.0.0.1:1 --dir /tmp").unwrap().own_nodes().is_err());
}
