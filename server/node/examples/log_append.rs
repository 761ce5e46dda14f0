//! Measures the log: commits per second with 1 and with 100 records of 400 bytes in each.
//!
//! `cargo run --release -p jobraft-node --example log_append -- [DIRECTORY]`; without one, a temporary directory.

#![expect(clippy::print_stdout, reason = "an example that prints what it measured")]

use bytes::Bytes;
use jobraft_node::storage::{LogDb, LogRecord};
use std::error::Error;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const BODY_BYTES: usize = 400;
const RUN: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn Error>> {
    let base = std::env::args().nth(1);
    for records_per_commit in [1, 100] {
        let dir = match &base {
            Some(base) => tempfile::tempdir_in(base)?,
            None => tempfile::tempdir()?,
        };
        let commits = measure(dir.path(), records_per_commit)?;
        println!("{records_per_commit:>4} records a commit: {commits:>7.0} commits/s");
    }
    Ok(())
}

fn measure(dir: &Path, records_per_commit: u64) -> Result<f64, Box<dyn Error>> {
    let (log, _) = LogDb::open(dir)?;
    let body = Bytes::from(vec![7; BODY_BYTES]);
    let (sender, receiver) = mpsc::channel();
    let start = Instant::now();
    let mut next = 0;
    while start.elapsed() < RUN {
        let records = (next..next + records_per_commit).map(|index| LogRecord { index, term: 1, body: body.clone() });
        next += records_per_commit;
        let sender = sender.clone();
        log.append(records.collect(), Box::new(move |result| drop(sender.send(result))));
        receiver.recv()??;
    }
    let commits = log.commits() as f64 / start.elapsed().as_secs_f64();
    log.close();
    Ok(commits)
}
