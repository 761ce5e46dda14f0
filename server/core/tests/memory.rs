//! What a waiting job costs in memory: the backlog that a node can hold follows from it.
#![expect(clippy::unwrap_used, reason = "tests")]

use jobraft_core::{Command, Core, Entry};
use jobraft_protocol::{JobId, LogTime, NewJob, Start, Task};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

/// The beyond-its-payload limit of a waiting job.
const JOB_BYTES_MAX: isize = 300;
/// The limit of a ready job whose payload rests.
const RESTING_JOB_BYTES_MAX: isize = 200;
/// The limit of a group with one job, beyond that job.
const GROUP_BYTES_MAX: isize = 900;
const JOBS: u64 = 20_000;
const PAYLOAD_BYTES: usize = 256;

struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

// What the allocator itself adds to each block, at most: glibc's header and its rounding to 16 bytes.
const fn footprint(layout: Layout) -> isize {
    ((layout.size() + 8 + 15) & !15) as isize
}

// SAFETY: every call goes to the system's allocator unchanged; only a counter is kept beside it.
#[expect(unsafe_code, reason = "an allocator that counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(footprint(layout), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(footprint(layout), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The entries as they come from the log: decoded, so that nothing is shared between jobs.
fn entry(first: u64, start: Start, groups: u64) -> Entry {
    let jobs = (first..first + 1_000).map(|number| {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let id = JobId::new(LogTime::from_ms(1), random);
        let task = Task::Handler("send_invoice".parse().unwrap());
        let group = (groups > 0).then(|| format!("customer/{:06}", number % groups).parse().unwrap());
        NewJob { start, group, ..NewJob::new(id, "tenant/42:mail".parse().unwrap(), task, vec![7; PAYLOAD_BYTES]) }
    });
    let entry = Entry { at: LogTime::from_ms(1), commands: vec![Command::enqueue(jobs.collect())], ..Entry::default() };
    let mut bytes = Vec::new();
    ciborium::into_writer(&entry, &mut bytes).unwrap();
    ciborium::from_reader(&*bytes).unwrap()
}

/// What each of [`JOBS`] waiting jobs costs beyond its payload, spread over so many groups.
fn each(start: Start, groups: u64) -> isize {
    let before = HELD.load(Ordering::Relaxed);
    let mut core = Core::new();
    for first in (0..JOBS).step_by(1_000) {
        core.apply(&entry(first, start, groups));
    }
    drop(core.take_changes());
    (HELD.load(Ordering::Relaxed) - before) / JOBS as isize - PAYLOAD_BYTES as isize
}

/// What each of [`JOBS`] ready jobs costs once it is written.
fn each_at_rest() -> isize {
    let before = HELD.load(Ordering::Relaxed);
    let mut core = Core::new();
    for first in (0..JOBS).step_by(1_000) {
        core.apply(&entry(first, Start::Now, 0));
        let taken = core.take_changes();
        core.let_payloads_rest(&taken.waiting());
    }
    (HELD.load(Ordering::Relaxed) - before) / JOBS as isize
}

#[test]
fn a_waiting_job_costs_less_than_its_limit() {
    let at_rest = each_at_rest();
    assert!((100..RESTING_JOB_BYTES_MAX).contains(&at_rest), "a ready job at rest costs {at_rest} bytes");
    for start in [Start::Now, Start::AfterMs(60_000)] {
        let in_one = each(start, 1);
        for (groups, each) in [(0, each(start, 0)), (1, in_one), (JOBS / 100, each(start, JOBS / 100))] {
            assert!(
                (100..JOB_BYTES_MAX).contains(&each),
                "a waiting job ({start:?}, {groups} groups) costs {each} bytes"
            );
        }
        let with_its_own = each(start, JOBS) - in_one;
        assert!((100..GROUP_BYTES_MAX).contains(&with_its_own), "a group ({start:?}) costs {with_its_own} bytes");
    }
}
