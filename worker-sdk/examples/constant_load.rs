//! A constant load on a cluster whose queues keep ended jobs for a minute, to watch that neither disk nor memory grow:
//! every minute a line with what was done, and what each named node takes.
//!
//! Of ten jobs seven complete, two fail for good and one expires, for its queue has no worker.
//!
//! ```text
//! cargo run --release -p jobraft-sdk --example constant_load -- \
//!     127.0.0.1:7401 certs/ca.crt certs/worker.crt certs/worker.key 300 60 PID=DATA_DIR PID=DATA_DIR PID=DATA_DIR
//! ```
#![expect(clippy::print_stdout, reason = "prints a measurement")]

use jobraft_sdk::protocol::{Consistency, QueueName, QueueSetting, QueueStats, Retention, Setting};
use jobraft_sdk::{Client, ClientConfig, JobContext, JobError, Producer, SdkError, Worker};
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const SERVED: &str = "load-served";
const UNSERVED: &str = "load-unserved";
const RETENTION_MS: u64 = 60_000;
const TTL: Duration = Duration::from_secs(5);
const PAYLOAD_BYTES: usize = 256;
/// Enqueues of a second are spread over this many moments.
const BATCHES_PER_SECOND: u32 = 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, ca, cert, key, rate, minutes, nodes @ ..] = &arguments[..] else {
        return Err("usage: constant_load HOST:PORT CA CERT KEY JOBS_PER_SECOND MINUTES [PID=DATA_DIR...]".into());
    };
    let (rate, minutes): (u32, u64) = (rate.parse()?, minutes.parse()?);
    let config = ClientConfig::new([endpoint.parse()?], ca, cert, key).agent("constant_load");
    let client = Client::connect(config).await?;
    keep_for_a_minute(&client).await?;
    let worker = Worker::builder(client.clone())
        .name("constant-load")
        .queues([SERVED])
        .concurrency(64)
        .handler("work", work)
        .build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let working = tokio::spawn(worker.run(async move {
        // Dropped is told, too.
        let _ = stopped.await;
    }));
    let started = Instant::now();
    let enqueueing = tokio::spawn(enqueue(client.clone(), rate, started + Duration::from_secs(minutes * 60)));
    println!("minute  enqueued  completed    dead  expired  waiting  each node: MiB on disk, MiB of memory");
    for minute in 0..=minutes {
        tokio::time::sleep_until((started + Duration::from_secs(minute * 60)).into()).await;
        println!("{minute:>6}  {}  {}", done(&client).await?, taken(nodes)?);
    }
    enqueueing.await??;
    drop(stop);
    working.await??;
    client.close().await;
    Ok(())
}

async fn keep_for_a_minute(client: &Client) -> Result<(), SdkError> {
    let retention = Some(Retention::for_ms(RETENTION_MS));
    let mut settings = Vec::new();
    for queue in [SERVED, UNSERVED] {
        for setting in [
            QueueSetting::KeepCompleted(retention),
            QueueSetting::KeepDead(retention),
            QueueSetting::KeepExpired(retention),
        ] {
            settings.push(Setting::Queue(QueueName::new(queue)?, setting));
        }
    }
    client.configure(settings).await
}

/// Fails for good if it is told to.
async fn work(_: JobContext, (fail, _padding): (bool, String)) -> Result<(), JobError> {
    if fail { Err(JobError::fatal("as it was told to")) } else { Ok(()) }
}

async fn enqueue(client: Client, rate: u32, until: Instant) -> Result<(), SdkError> {
    let served = Producer::<(bool, String)>::new(client.clone(), SERVED, "work")?;
    let unserved = Producer::<(bool, String)>::new(client, UNSERVED, "work")?.ttl(TTL);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / BATCHES_PER_SECOND);
    let padding = "x".repeat(PAYLOAD_BYTES);
    let mut number = 0_u64;
    while Instant::now() < until {
        ticks.tick().await;
        let (mut to_serve, mut to_expire) = (Vec::new(), Vec::new());
        for _ in 0..(rate / BATCHES_PER_SECOND).max(1) {
            number += 1;
            match number % 10 {
                0 => to_expire.push((false, padding.clone())),
                1 | 2 => to_serve.push((true, padding.clone())),
                _ => to_serve.push((false, padding.clone())),
            }
        }
        for (producer, payloads) in [(&served, to_serve), (&unserved, to_expire)] {
            for outcome in producer.enqueue_many(&payloads).await? {
                outcome?;
            }
        }
    }
    Ok(())
}

/// What was done so far.
async fn done(client: &Client) -> Result<String, SdkError> {
    let queues = client.queues(Consistency::Stale).await?;
    let sum = |of: fn(&QueueStats) -> u64| queues.iter().map(of).sum::<u64>();
    let (completed, dead, expired) = (sum(|q| q.completed), sum(|q| q.dead), sum(|q| q.expired));
    let waiting = sum(|q| q.scheduled + q.ready + q.leased);
    Ok(format!("{:>8}  {completed:>9}  {dead:>6}  {expired:>7}  {waiting:>7}", completed + dead + expired + waiting))
}

/// What the nodes, as `PID=DATA_DIR`, take of disk and memory.
fn taken(nodes: &[String]) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for node in nodes {
        let (pid, directory) = node.split_once('=').ok_or("a node is given as PID=DATA_DIR")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let resident: u64 = resident.ok_or("/proc does not tell the memory")?.trim().parse()?;
        text.push_str(&format!("  {:>5}, {:>4}", size(Path::new(directory))? / (1 << 20), resident / 1024));
    }
    Ok(text)
}

fn size(path: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        // A file that goes away meanwhile takes no space.
        let Ok(metadata) = entry.metadata() else { continue };
        sum += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}
