//! What the state machine itself costs: time per command, in batches as the log carries them.
//!
//! `cargo run --release -p jobraft-core --example measure [JOBS]`
#![expect(clippy::print_stdout, reason = "prints a measurement")]

use jobraft_core::{Command, Core, Entry, Outcome};
use jobraft_protocol::{Completion, JobId, LeasedJob, LogTime, NewJob, Task, WorkerId};
use std::time::{Duration, Instant};

const BATCH: u64 = 100;
const PAYLOAD_BYTES: usize = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let jobs: u64 = std::env::args().nth(1).map_or(Ok(200_000), |text| text.parse())?;
    let mut core = Core::new();
    core.apply(&entry(vec![Command::RegisterWorker { name: "measure".to_owned() }]));
    let queue: jobraft_protocol::QueueName = "q".parse()?;
    let task = Task::Handler("t".parse()?);

    let mut enqueue = Duration::ZERO;
    for first in (0..jobs).step_by(BATCH as usize) {
        let commands = (first..first + BATCH).map(|number| {
            let mut random = [0; 10];
            random[2..].copy_from_slice(&number.to_be_bytes());
            let id = JobId::new(LogTime::from_ms(1), random);
            Command::Enqueue { jobs: vec![NewJob::new(id, queue.clone(), task.clone(), vec![7; PAYLOAD_BYTES])] }
        });
        enqueue += timed(&mut core, commands.collect()).0;
    }
    let (mut lease, mut complete, mut leased) = (Duration::ZERO, Duration::ZERO, Vec::<LeasedJob>::new());
    for _ in (0..jobs).step_by(BATCH as usize) {
        let one = Command::Lease { worker: WorkerId(1), queues: vec![queue.clone()], max: 1, lease_ms: 30_000 };
        let (time, outcomes) = timed(&mut core, vec![one; BATCH as usize]);
        lease += time;
        leased.extend(outcomes.into_iter().flat_map(|outcome| match outcome {
            Outcome::Leased(jobs) => jobs,
            _ => Vec::new(),
        }));
    }
    for chunk in leased.chunks(BATCH as usize) {
        let completion = Completion { result: vec![1; 64].into(), ..Completion::default() };
        let commands = chunk.iter().map(|job| Command::Complete { lease: job.lease(), completion: completion.clone() });
        complete += timed(&mut core, commands.collect()).0;
    }
    let start = Instant::now();
    let rows = core.take_changes().jobs.len();
    let checkpoint = start.elapsed();

    let each = |time: Duration| time.as_nanos() / u128::from(jobs.max(1));
    println!("enqueue    {:>6} ns", each(enqueue));
    println!("lease      {:>6} ns", each(lease));
    println!("complete   {:>6} ns", each(complete));
    println!("checkpoint {:>6} ns per row, {rows} rows", each(checkpoint));
    Ok(())
}

fn entry(commands: Vec<Command>) -> Entry {
    Entry { at: LogTime::from_ms(1), commands, ..Entry::default() }
}

fn timed(core: &mut Core, commands: Vec<Command>) -> (Duration, Vec<Outcome>) {
    let entry = entry(commands);
    let start = Instant::now();
    let applied = core.apply(&entry);
    (start.elapsed(), applied.outcomes.into_iter().filter_map(Result::ok).collect())
}
