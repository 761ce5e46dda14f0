//! What the codec costs: a client's frame with one enqueue, and entries of the log with 1, 100 and 1,000 of them, to bytes
//! and back. `cargo bench -p jobraft-node --bench codec`
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use jobraft_core::{Command, Entry};
use jobraft_protocol::frame::{HEADER_BYTES, decode, encode};
use jobraft_protocol::{ClientFrame, JobId, LogTime, NewJob, Request, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::hint::black_box;
use std::time::Duration;

const PAYLOAD_BYTES: usize = 256;

fn job(number: u64) -> NewJob {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let id = JobId::new(LogTime::from_ms(1_700_000_000_000), random);
    NewJob::new(id, "mail".parse().unwrap(), Task::Handler("send".parse().unwrap()), vec![7; PAYLOAD_BYTES])
}

fn both<T: Serialize + DeserializeOwned>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, value: &T) {
    let mut buffer = Vec::new();
    group.bench_function(format!("encode {name}"), |bencher| {
        bencher.iter(|| {
            buffer.clear();
            encode(black_box(value), &mut buffer, usize::MAX).unwrap();
        });
    });
    let body = buffer[HEADER_BYTES..].to_vec();
    group.bench_function(format!("decode {name}"), |bencher| {
        bencher.iter(|| decode::<T>(black_box(&body)).unwrap());
    });
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    let request = Request::Enqueue { jobs: vec![job(1)], all_or_none: false };
    both(&mut group, "one enqueue", &ClientFrame { id: 1, request });
    group.finish();
    for count in [1, 100, 1_000] {
        let mut group = criterion.benchmark_group(format!("entry of {count}"));
        group.throughput(Throughput::Elements(count));
        let commands = (0..count).map(|number| Command::enqueue(vec![job(number)])).collect();
        let entry = Entry { at: LogTime::from_ms(1_700_000_000_000), commands, ..Entry::default() };
        both(&mut group, "enqueues", &entry);
        group.finish();
    }
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = config(); targets = codec }
criterion_main!(benches);
