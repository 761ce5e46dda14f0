//! What `apply` costs: entries of 1, 100 and 1,000 commands that enqueue, lease or complete, while nothing else waits, while
//! 1,000,000 jobs do, and while 100,000 of 10,000 groups do. `cargo bench -p jobraft-core`
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jobraft_core::{Command, Core, Entry, Outcome};
use jobraft_protocol::{
    Completion, GroupKey, JobId, LeaseRef, LogTime, NewJob, QueueName, QueueSetting, Setting, Task, WorkerId,
    WorkerInfo,
};
use std::time::{Duration, Instant};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BULK: u64 = 1_000;
const PAYLOAD: &[u8] = &[7; 256];
const RESULT: &[u8] = &[1; 64];
/// Between two rounds, so that ended jobs are forgotten as on a busy cluster.
const ROUND_MS: u64 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Enqueue,
    Lease,
    Complete,
}

/// A state machine in which always as many jobs wait.
struct Bench {
    core: Core,
    at: LogTime,
    queue: QueueName,
    task: Task,
    groups: Vec<GroupKey>,
    jobs: u64,
}

impl Bench {
    fn new(backlog: u64, groups: u64) -> Self {
        let mut bench = Self {
            core: Core::new(),
            at: LogTime::from_ms(1_000_000),
            queue: "q".parse().unwrap(),
            task: Task::Handler("t".parse().unwrap()),
            groups: (0..groups).map(|number| format!("customer/{number}").parse().unwrap()).collect(),
            jobs: 0,
        };
        let room = Setting::Queue(bench.queue.clone(), QueueSetting::DepthMax(Some(backlog + 10 * BULK)));
        bench.apply(vec![
            Command::RegisterWorker { info: WorkerInfo::default() },
            Command::Configure { settings: vec![room] },
        ]);
        for _ in 0..backlog / BULK {
            let jobs = bench.enqueues(BULK);
            bench.apply(jobs);
        }
        drop(bench.core.take_changes());
        bench
    }

    fn apply(&mut self, commands: Vec<Command>) -> (Duration, Vec<Outcome>) {
        let entry = Entry { at: self.at, commands, ..Entry::default() };
        let start = Instant::now();
        let applied = self.core.apply(&entry);
        (start.elapsed(), applied.outcomes.into_iter().map(Result::unwrap).collect())
    }

    fn enqueues(&mut self, count: u64) -> Vec<Command> {
        (0..count)
            .map(|_| {
                self.jobs += 1;
                let mut random = [0; 10];
                random[2..].copy_from_slice(&self.jobs.to_be_bytes());
                let id = JobId::new(self.at, random);
                let group = self.groups.get((self.jobs % self.groups.len().max(1) as u64) as usize).cloned();
                let job = NewJob::new(id, self.queue.clone(), self.task.clone(), Bytes::from_static(PAYLOAD));
                Command::enqueue(vec![NewJob { group, ..job }])
            })
            .collect()
    }

    /// So many jobs from their enqueue to their end, by entries of so many commands; how long that step took.
    fn round(&mut self, count: u64, step: Step) -> Duration {
        self.at = self.at.plus_ms(ROUND_MS);
        let enqueues = self.enqueues(count);
        let (enqueue, _) = self.apply(enqueues);
        let (worker, queues) = (WorkerId(1), vec![self.queue.clone()]);
        let one = Command::Lease { worker, queues, shares: Vec::new(), max: 1, lease_ms: 30_000 };
        let (lease, outcomes) = self.apply(vec![one; count as usize]);
        let leases: Vec<LeaseRef> = outcomes
            .into_iter()
            .flat_map(|outcome| match outcome {
                Outcome::Leased(leased) => leased.jobs.iter().map(jobraft_protocol::LeasedJob::lease).collect(),
                _ => Vec::new(),
            })
            .collect();
        assert_eq!(leases.len() as u64, count, "each leases one");
        let completion = Completion { result: Bytes::from_static(RESULT), ..Completion::default() };
        let (complete, _) =
            self.apply(leases.into_iter().map(|lease| Command::complete(lease, completion.clone())).collect());
        drop(self.core.take_changes());
        match step {
            Step::Enqueue => enqueue,
            Step::Lease => lease,
            Step::Complete => complete,
        }
    }
}

fn apply(criterion: &mut Criterion) {
    for (name, backlog, groups) in
        [("empty", 0, 0), ("1,000,000 waiting", 1_000_000, 0), ("10,000 groups", 100_000, 10_000)]
    {
        let mut bench = Bench::new(backlog, groups);
        for (what, step) in [("enqueue", Step::Enqueue), ("lease", Step::Lease), ("complete", Step::Complete)] {
            let mut group = criterion.benchmark_group(format!("{what}, {name}"));
            for count in [1, 100, 1_000] {
                group.throughput(Throughput::Elements(count));
                group.bench_function(count.to_string(), |bencher| {
                    bencher.iter_custom(|rounds| (0..rounds).map(|_| bench.round(count, step)).sum());
                });
            }
            group.finish();
        }
    }
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = config(); targets = apply }
criterion_main!(benches);
