//! What a figure has to be read with: how fast the disk syncs at that moment, and what CPU time the nodes took.

use crate::failure::Failure;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const SYNCS: usize = 100;
const SYNC_BYTES: usize = 4_096;
/// Clock ticks a second in `/proc/PID/stat`: fixed by the kernel's ABI on all that run Rust's Linux targets.
const TICKS_PER_SECOND: u64 = 100;

/// The median time of an fdatasync after appending a block, in `directory` or the directory for temporary files.
pub(super) fn fdatasync_p50(directory: Option<&Path>) -> Result<Duration, Failure> {
    let failed = |error| Failure::new("probe the disk", error);
    let mut file = match directory {
        Some(directory) => tempfile::tempfile_in(directory),
        None => tempfile::tempfile(),
    }
    .map_err(failed)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let started = Instant::now();
        file.write_all(&[0x5a; SYNC_BYTES]).and_then(|()| file.sync_data()).map_err(failed)?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}

/// User and system time of the processes together, so far.
pub(super) fn cpu_time(pids: &[u32]) -> Result<Duration, Failure> {
    let ticks = pids.iter().map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th field behind it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
    });
    let ticks: Option<u64> = ticks.sum();
    let ticks = ticks.ok_or_else(|| Failure::new("read the nodes' CPU time", "/proc does not tell it"))?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}
