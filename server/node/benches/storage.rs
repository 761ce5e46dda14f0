//! What the disk costs: appends to `log.db` of 1, 10 and 100 rows in a transaction, beside an fdatasync of as many bytes;
//! and a checkpoint of 10,000 changed jobs. `cargo bench -p jobraft-node --bench storage`
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jobraft_core::command::{Changes, JobRow};
use jobraft_node::storage::{CheckpointMeta, LogDb, LogRecord, StateDb};
use jobraft_protocol::{JobId, JobState, LogTime};
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// An entry with one enqueue of 256 bytes.
const ROW_BYTES: usize = 400;
const FILE_BYTES: usize = 4 << 20;
const JOBS: u64 = 10_000;
/// A row of a job.
const JOB_BYTES: usize = 500;

fn append(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    let body = Bytes::from(vec![7; ROW_BYTES]);
    let mut index = 0;
    for rows in [1, 10, 100] {
        let mut group = criterion.benchmark_group(format!("log append of {rows} rows"));
        group.throughput(Throughput::Elements(rows));
        group.bench_function("log.db", |bencher| {
            bencher.iter_custom(|times| {
                let mut records = || {
                    let record = |index| LogRecord { index, term: 1, body: body.clone() };
                    let records: Vec<LogRecord> = (index + 1..=index + rows).map(record).collect();
                    index += rows;
                    records
                };
                let batches: Vec<Vec<LogRecord>> = (0..times).map(|_| records()).collect();
                let (done, durable) = mpsc::channel();
                let start = Instant::now();
                for records in batches {
                    let done = done.clone();
                    log.append(records, Box::new(move |result| done.send(result).unwrap()));
                    durable.recv().unwrap().unwrap();
                }
                start.elapsed()
            });
        });
        // Written over again and again, as a write-ahead log is: a file that grows costs its file system's journal as well.
        let mut file = File::create(dir.path().join("bare")).unwrap();
        file.write_all(&vec![0; FILE_BYTES]).unwrap();
        file.sync_all().unwrap();
        let bytes = vec![7; ROW_BYTES * rows as usize];
        let mut at = 0;
        group.bench_function("fdatasync", |bencher| {
            bencher.iter(|| {
                file.seek(SeekFrom::Start(at)).unwrap();
                file.write_all(&bytes).unwrap();
                file.sync_data().unwrap();
                at = (at + bytes.len() as u64) % (FILE_BYTES - bytes.len()) as u64;
            });
        });
        group.finish();
    }
    log.close();
}

fn row(number: u64, round: u64, is_new: bool) -> JobRow {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    JobRow {
        id: JobId::new(LogTime::from_ms(1_700_000_000_000 + number), random),
        queue: "q".parse().unwrap(),
        state: JobState::Ready,
        enqueued_at: LogTime::from_ms(1_700_000_000_000 + number),
        finished_at: None,
        ended_seq: None,
        task: "t".to_owned(),
        key: None,
        batch: None,
        error: None,
        rests: !is_new,
        body: vec![round as u8; JOB_BYTES].into(),
    }
}

fn checkpoint(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDb::open(dir.path()).unwrap();
    let mut round = 0;
    let mut group = criterion.benchmark_group("checkpoint");
    group.throughput(Throughput::Elements(JOBS));
    for (name, is_new) in [("10,000 new jobs", true), ("10,000 changed jobs", false)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    round += 1;
                    let first = if is_new { round * JOBS } else { JOBS };
                    let jobs = (first..first + JOBS).map(|number| row(number, round, is_new)).collect();
                    let header = Bytes::from_static(b"header");
                    let changes = Changes { header, jobs, deleted: Vec::new(), rows: Vec::new() };
                    let meta = CheckpointMeta { index: round, term: 1, membership: vec![1] };
                    let start = Instant::now();
                    state.checkpoint(&meta, &changes).unwrap();
                    took += start.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = config(); targets = append, checkpoint }
criterion_main!(benches);
