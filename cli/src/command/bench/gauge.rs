//! What a figure has to be read with: how fast the disk syncs at that moment, and what the nodes took.

use super::figures::micros;
use crate::connection::Connection;
use crate::failure::Failure;
use jobraft_protocol::{NodeAddress, NodeId};
use jobraft_sdk::Client;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const SYNCS: usize = 100;
const SYNC_BYTES: usize = 4_096;
/// Clock ticks a second in `/proc/PID/stat`: fixed by the kernel's ABI on all that run Rust's Linux targets.
const TICKS_PER_SECOND: u64 = 100;
/// How long a node may take to say how it is.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

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

/// What a process has taken so far, as far as `/proc` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// User and system time.
    pub(super) cpu: Option<Duration>,
    pub(super) rss_bytes: Option<u64>,
    /// The most that it ever had.
    pub(super) rss_peak_bytes: Option<u64>,
    /// Bytes that went on their way to the disk.
    pub(super) written_bytes: Option<u64>,
}

impl Process {
    pub(super) fn read(pid: u32) -> Self {
        let file = |name| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let status = file("status");
        let size = |key| Some(named(status.as_deref()?, key)? * 1_024);
        Self {
            cpu: file("stat").and_then(|stat| cpu_time(&stat)),
            rss_bytes: size("VmRSS"),
            rss_peak_bytes: size("VmHWM"),
            written_bytes: file("io").and_then(|io| named(&io, "write_bytes")),
        }
    }

    /// This process.
    pub(super) fn own() -> Self {
        Self::read(std::process::id())
    }
}

fn cpu_time(stat: &str) -> Option<Duration> {
    // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th field behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// The number in a line `KEY: NUMBER …`.
fn named(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

/// A node at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NodeReading {
    pub(super) process: Process,
    /// Fsyncs of its log since it started.
    pub(super) log_commits: Option<u64>,
}

/// What a node took in one measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct NodeUse {
    pub(super) node: u64,
    pub(super) cpu_us: Option<u64>,
    pub(super) rss_bytes: Option<u64>,
    pub(super) rss_peak_bytes: Option<u64>,
    pub(super) written_bytes: Option<u64>,
    pub(super) log_syncs: Option<u64>,
}

/// What nodes took between two readings.
pub(super) fn taken(before: &BTreeMap<NodeId, NodeReading>, after: &BTreeMap<NodeId, NodeReading>) -> Vec<NodeUse> {
    let less = |later: Option<u64>, earlier: Option<u64>| Some(later?.saturating_sub(earlier?));
    let of = |(node, after): (&NodeId, &NodeReading)| {
        let before = before.get(node).copied().unwrap_or_default();
        NodeUse {
            node: node.0,
            cpu_us: less(after.process.cpu.map(micros), before.process.cpu.map(micros)),
            rss_bytes: after.process.rss_bytes,
            rss_peak_bytes: after.process.rss_peak_bytes,
            written_bytes: less(after.process.written_bytes, before.process.written_bytes),
            log_syncs: less(after.log_commits, before.log_commits),
        }
    };
    after.iter().map(of).collect()
}

/// Looks at nodes: asks all of them, and reads what is known of the processes of those that run here.
#[derive(Debug)]
pub(super) struct Watch {
    client: Client,
    members: Vec<(NodeId, NodeAddress)>,
    processes: Vec<(NodeId, u32)>,
}

impl Watch {
    /// Of a cluster some of whose nodes may be processes of this machine.
    pub(super) async fn start(connection: &Connection, processes: Vec<(NodeId, u32)>) -> Result<Self, Failure> {
        let client = connection.connect().await?;
        let status = client.cluster_status(None).await;
        let status = status.map_err(|error| crate::connection::failed("see who is in the cluster", &error))?;
        let members = status.members.into_iter().map(|member| (member.node, member.address)).collect();
        Ok(Self { client, members, processes })
    }

    pub(super) async fn read(&self) -> BTreeMap<NodeId, NodeReading> {
        let mut nodes = BTreeMap::new();
        for (node, address) in &self.members {
            let asked = tokio::time::timeout(ANSWER_TIMEOUT, self.client.cluster_status(Some(address))).await;
            let log_commits = asked.ok().and_then(Result::ok).and_then(|status| status.log_commits);
            let pid = self.processes.iter().find(|(id, _)| id == node).map(|(_, pid)| *pid);
            let process = pid.map(Process::read).unwrap_or_default();
            nodes.insert(*node, NodeReading { process, log_commits });
        }
        nodes
    }

    pub(super) async fn end(self) {
        self.client.close().await;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn proc_is_read_whatever_a_process_is_called() {
        let stat = "17 (a) b (c) S 1 17 17 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu_time("17 (a"), None);
        assert_eq!(named("VmPeak:\t 9 kB\nVmHWM:\t  12 kB\nVmRSS:\t 8 kB\n", "VmHWM"), Some(12));
        assert_eq!(named("write_bytes: 4096\n", "write_bytes"), Some(4_096));
        assert_eq!(named("cancelled_write_bytes: 1\n", "write_bytes"), None);
    }

    #[test]
    fn this_process_takes_something() {
        let own = Process::own();
        assert!(own.rss_bytes.unwrap() > 0 && own.rss_peak_bytes >= own.rss_bytes, "{own:?}");
        assert!(own.cpu.is_some());
        assert_eq!(Process::read(u32::MAX), Process::default());
    }
}
