//! Files that are cut short, and bits that turn over, while a node is down.
//!
//! The node must then either stop with an error that names the file, or serve exactly what it would have served: not all
//! that lies on a disk is in use. To tell, it runs alone, the others standing still, once before the damage and once after.

use super::image::Image;
use super::rack::Rack;
use crate::real::Cluster;
use crate::real::process;
use crate::real::verdict::Trouble;
use futures_util::TryStreamExt;
use jobraft_sdk::protocol::{Consistency, ErrorCode, JobFilter, JobId, JobState, JobView, NodeAddress};
use jobraft_sdk::{Client, Listing, SdkError};
use rand::RngExt;
use rand::rngs::StdRng;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

const TIMEOUT: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(100);
const WAL: &str = "-wal";
/// Entries that a WAL may lose when a bit of its very last transactions turns over: it looks like a write that was torn.
const TORN_MAX: u64 = 2;
/// Jobs that are read one by one.
const READ_MAX: usize = 300;

/// What is done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// A file is cut short.
    Truncated,
    /// One bit turns over.
    Flipped,
}

/// What a node says when it is alone.
#[derive(Debug, PartialEq)]
struct Told {
    last_index: u64,
    listed: Vec<(JobId, JobState)>,
    read: Vec<JobView>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// What was done, in words.
    pub(super) what: String,
    /// Whether the node noticed; if not, what it served was right all the same.
    pub(super) noticed: bool,
}

impl Damage {
    fn make(self, image: &mut Image, random: &mut StdRng) -> Result<(u64, String, String), Trouble> {
        let mut files = image.files();
        // SQLite makes these anew at each start.
        files.retain(|(path, ..)| !path.ends_with("-shm"));
        if self == Self::Truncated {
            // Its end, lost, looks like a write that was torn: nobody can tell.
            files.retain(|(path, ..)| !path.ends_with(WAL));
        }
        let bytes: usize = files.iter().map(|(_, _, size)| size).sum();
        if bytes == 0 {
            return Err(Trouble::Machine("there is nothing on the disk to damage".to_owned()));
        }
        // Half of the time any byte, as a disk rots; else any file, so that small ones have their turn.
        let (path, number, size) = if random.random_bool(0.5) {
            let mut place = random.random_range(0..bytes);
            let found = files.iter().find(|(_, _, size)| {
                let here = place < *size;
                place = place.saturating_sub(*size);
                here
            });
            found.unwrap_or(&files[0]).clone()
        } else {
            files[random.random_range(0..files.len())].clone()
        };
        let offset = random.random_range(0..size);
        let what = match self {
            Self::Truncated => {
                image.truncate(number, offset);
                format!("{path} cut from {size} to {offset} bytes")
            }
            Self::Flipped => {
                let bit = random.random_range(0..8);
                image.flip(number, offset, bit);
                format!("bit {bit} of byte {offset} of {size} of {path} turned over")
            }
        };
        Ok((number, path, what))
    }

    /// Damages a disk of a node that has nothing to do, and puts everything back.
    pub(super) async fn befall(
        self,
        cluster: &mut Cluster,
        rack: &mut Rack,
        node: u64,
        random: &mut StdRng,
    ) -> Result<Outcome, Trouble> {
        let others: Vec<u64> = cluster.running().into_iter().filter(|id| *id != node).collect();
        cluster.kill(&[node])?;
        rack.cut(node, random)?;
        for other in &others {
            cluster.process(*other)?.pause();
        }
        let outcome = self.alone(cluster, rack, node, random).await;
        for other in &others {
            cluster.process(*other)?.resume();
        }
        outcome
    }

    async fn alone(
        self,
        cluster: &mut Cluster,
        rack: &mut Rack,
        node: u64,
        random: &mut StdRng,
    ) -> Result<Outcome, Trouble> {
        let whole = rack.copy(node);
        cluster.start(node)?;
        let Ok(before) = ask(cluster, node, &[]).await? else {
            return Err(Trouble::Violation(format!("node {node} does not start again from an undamaged disk")));
        };
        cluster.kill(&[node])?;
        let (_, path, what) = rack.change(node, |image| {
            *image = whole.clone();
            self.make(image, random)
        })??;
        let logged = std::fs::metadata(cluster.log_file(node)).map_or(0, |log| log.len());
        cluster.start(node)?;
        let jobs: Vec<JobId> = before.read.iter().map(|job| job.id).collect();
        let told = ask(cluster, node, &jobs).await?;
        let log = std::fs::read(cluster.log_file(node)).unwrap_or_default();
        let log =
            String::from_utf8_lossy(log.get(usize::try_from(logged).unwrap_or(0)..).unwrap_or_default()).into_owned();
        let verdict = judge(node, &path, &before, told, &log);
        cluster.kill(&[node])?;
        rack.change(node, |image| *image = whole)?;
        cluster.start(node)?;
        let noticed = verdict.map_err(|why| Trouble::Violation(format!("{what}: {why}")))?;
        Ok(Outcome { what, noticed })
    }
}

/// Whether the node noticed, or what it did wrong.
fn judge(node: u64, path: &str, before: &Told, told: Result<Told, String>, log: &str) -> Result<bool, String> {
    // A database and its WAL are named by either.
    let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(WAL);
    match told {
        Err(_) if log.contains("panicked") => Err(format!("node {node} panicked: {}", last(log))),
        Err(_) if log.contains(name) => Ok(true),
        // What a directory says it belongs to may become another's name: the directory is refused as that.
        Err(_) if name == "identity" && log.contains("holds data of") => Ok(true),
        Err(why) => Err(format!("node {node} does not name {name} ({why}): {}", last(log))),
        Ok(after) if path.ends_with(WAL) && after.last_index + TORN_MAX >= before.last_index => Ok(false),
        Ok(after) if after.last_index < before.last_index => {
            Err(format!("node {node} serves a log that ends at {} instead of {}", after.last_index, before.last_index))
        }
        Ok(after) if after.listed != before.listed => {
            let (number, pair) = difference(&before.listed, &after.listed);
            Err(format!("node {node} lists other jobs than before, from job {number} on: {pair:?}"))
        }
        Ok(after) if after.read != before.read => Err(format!("node {node} tells other things of jobs than before")),
        Ok(_) => Ok(false),
    }
}

/// The first place at which two lists differ, and what each has there.
fn difference<'a, T: PartialEq>(before: &'a [T], after: &'a [T]) -> (usize, (Option<&'a T>, Option<&'a T>)) {
    let number = before.iter().zip(after).take_while(|(before, after)| before == after).count();
    (number, (before.get(number), after.get(number)))
}

fn last(log: &str) -> &str {
    log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it logged nothing")
}

/// What the node says by itself; inside, why it says nothing: it has ended, or cannot read what it has.
async fn ask(cluster: &mut Cluster, node: u64, jobs: &[JobId]) -> Result<Result<Told, String>, Trouble> {
    let begun = Instant::now();
    let unsettled = |_| Trouble::Violation(format!("node {node} does not write what it applied"));
    loop {
        if let Some(status) = cluster.process(node)?.ended() {
            return Ok(Err(format!("it ended: {status}")));
        }
        match timeout(TIMEOUT, told(cluster, node, jobs)).await.map_err(unsettled)? {
            Ok(told) => return Ok(Ok(told)),
            Err(error) if error.code() == Some(ErrorCode::Internal) => return Ok(Err(error.to_string())),
            Err(error) if begun.elapsed() > TIMEOUT => {
                let last = process::tail(&cluster.log_file(node), 1);
                return Err(Trouble::Violation(format!("node {node} neither serves nor ends: {error}; {last}")));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Waits until the node has written all that it applied, for its lists are as of its last checkpoint; gives the end of
/// its log.
async fn settled(client: &Client, address: &NodeAddress) -> Result<u64, SdkError> {
    loop {
        let status = client.cluster_status(Some(address)).await?;
        if status.checkpoint_index >= status.applied_index {
            return Ok(status.last_index);
        }
        sleep(PAUSE).await;
    }
}

async fn told(cluster: &Cluster, node: u64, jobs: &[JobId]) -> Result<Told, SdkError> {
    let mut config = cluster.client_config().connect_timeout(Duration::from_secs(2));
    config.request_timeout = Duration::from_secs(5);
    config.endpoints = vec![cluster.address(node)];
    let client = Client::connect(config).await?;
    let last_index = settled(&client, &cluster.address(node)).await?;
    let listing = Listing { after: None, oldest_first: true, limit: 1_000, consistency: Consistency::Stale };
    let listed: Vec<(JobId, JobState)> =
        client.jobs(JobFilter::default(), listing).map_ok(|job| (job.id, job.state)).try_collect().await?;
    let some = listed.iter().step_by((listed.len() / READ_MAX).max(1)).map(|(job, _)| *job);
    let jobs = if jobs.is_empty() { some.collect() } else { jobs.to_vec() };
    let mut read = Vec::new();
    for job in jobs {
        read.push(client.get_job(job, Consistency::Stale).await?);
    }
    client.close().await;
    Ok(Told { last_index, listed, read })
}
