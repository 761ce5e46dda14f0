//! What the state machine itself costs: time per command, in batches as the log carries them, with a short and a long
//! backlog side by side. What a command costs must not follow from how much waits.
//!
//! With a number of groups, the long backlog is spread over so many and the short one is of one group; each of them is
//! limited in concurrency and rate.
//!
//! `cargo run --release -p jobraft-core --example measure [SHORT [LONG [GROUPS]]]`
#![expect(clippy::print_stdout, reason = "prints a measurement")]

use jobraft_core::{Command, Core, Entry, Outcome};
use jobraft_protocol::{
    Completion, GroupKey, JobId, LeasedJob, LogTime, NewJob, QueueName, QueueSetting, Rate, Setting, Task, WorkerId,
    WorkerInfo,
};
use std::time::{Duration, Instant};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 100;
/// Jobs whose whole life is measured, on top of the backlog.
const MEASURED: u64 = 20_000;
const PAYLOAD_BYTES: usize = 256;

/// Nanoseconds per job.
struct Costs {
    enqueue: u128,
    enqueue_checkpoint: u128,
    lease: u128,
    complete: u128,
    end_checkpoint: u128,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backlog = |place: usize, default: u64| std::env::args().nth(place).map_or(Ok(default), |text| text.parse());
    let (short, long) = (backlog(1, 1_000)?, backlog(2, 1_000_000)?);
    let groups = backlog(3, 0)?;
    let (few, many) = (measure(short, groups.min(1))?, measure(long, groups)?);
    println!("waiting jobs              {short:>10} {long:>10}");
    println!("groups                    {:>10} {groups:>10}", groups.min(1));
    for (name, few, many) in [
        ("enqueue", few.enqueue, many.enqueue),
        ("lease", few.lease, many.lease),
        ("complete", few.complete, many.complete),
        ("take_changes, enqueued", few.enqueue_checkpoint, many.enqueue_checkpoint),
        ("take_changes, ended", few.end_checkpoint, many.end_checkpoint),
    ] {
        println!("{name:<23} {few:>9} ns {many:>7} ns  x{:.2}", many as f64 / few.max(1) as f64);
    }
    Ok(())
}

/// The costs of [`MEASURED`] jobs while `backlog` others wait, all of them in so many groups, or in none.
fn measure(backlog: u64, groups: u64) -> Result<Costs, Box<dyn std::error::Error>> {
    let mut core = Core::new();
    core.apply(&entry(vec![Command::RegisterWorker { info: WorkerInfo::default() }]));
    let queue: QueueName = "q".parse()?;
    // Room for the backlog, and for what is measured on top of it.
    let mut settings = vec![QueueSetting::DepthMax(Some(backlog + 2 * MEASURED))];
    if groups > 0 {
        // As many as are leased here before one is completed: even by one group.
        settings.push(QueueSetting::GroupConcurrency(Some(2 * MEASURED)));
        settings.push(QueueSetting::GroupRate(Some(Rate::new(2 * MEASURED, 1_000))));
    }
    let settings = settings.into_iter().map(|setting| Setting::Queue(queue.clone(), setting)).collect();
    core.apply(&entry(vec![Command::Configure { settings }]));
    let keys = (0..groups).map(|number| format!("customer/{number}").parse());
    let keys: Vec<GroupKey> = keys.collect::<Result<_, _>>()?;
    let task = Task::Handler("t".parse()?);
    let jobs = |first: u64| -> Vec<Command> {
        let job = |number: u64| {
            let mut random = [0; 10];
            random[2..].copy_from_slice(&number.to_be_bytes());
            let id = JobId::new(LogTime::from_ms(1), random);
            let group = keys.get((number % groups.max(1)) as usize).cloned();
            let job = NewJob::new(id, queue.clone(), task.clone(), vec![7; PAYLOAD_BYTES]);
            Command::enqueue(vec![NewJob { group, ..job }])
        };
        (first..first + BATCH).map(job).collect()
    };
    for first in (0..backlog).step_by(BATCH as usize) {
        timed(&mut core, jobs(first));
    }
    drop(core.take_changes());

    let mut enqueue = Duration::ZERO;
    for first in (0..MEASURED).step_by(BATCH as usize) {
        enqueue += timed(&mut core, jobs(backlog.next_multiple_of(BATCH) + first)).0;
    }
    let enqueue_checkpoint = checkpoint(&mut core);
    let (mut lease, mut complete, mut leased) = (Duration::ZERO, Duration::ZERO, Vec::<LeasedJob>::new());
    for _ in (0..MEASURED).step_by(BATCH as usize) {
        let (worker, queues) = (WorkerId(1), vec![queue.clone()]);
        let one = Command::Lease { worker, queues, shares: Vec::new(), max: 1, lease_ms: 30_000 };
        let (time, outcomes) = timed(&mut core, vec![one; BATCH as usize]);
        lease += time;
        leased.extend(outcomes.into_iter().flat_map(|outcome| match outcome {
            Outcome::Leased(leased) => leased.jobs,
            _ => Vec::new(),
        }));
    }
    for chunk in leased.chunks(BATCH as usize) {
        let completion = Completion { result: vec![1; 64].into(), ..Completion::default() };
        let commands = chunk.iter().map(|job| Command::complete(job.lease(), completion.clone()));
        complete += timed(&mut core, commands.collect()).0;
    }
    let end_checkpoint = checkpoint(&mut core);

    let each = |time: Duration| time.as_nanos() / u128::from(MEASURED);
    Ok(Costs {
        enqueue: each(enqueue),
        enqueue_checkpoint: each(enqueue_checkpoint),
        lease: each(lease),
        complete: each(complete),
        end_checkpoint: each(end_checkpoint),
    })
}

fn checkpoint(core: &mut Core) -> Duration {
    let start = Instant::now();
    let changes = core.take_changes().encode(Err);
    let time = start.elapsed();
    let Ok(changes) = changes else { unreachable!("no payload rests") };
    assert_eq!(changes.jobs.len() as u64, MEASURED, "a checkpoint writes what changed, not what exists");
    time
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
