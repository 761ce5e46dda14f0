//! The jobs that are measured: they do nothing, and wait in queues of their own, so that what an interrupted run left behind
//! does no harm.

use super::load::Load;
use crate::connection;
use crate::connection::Connection;
use crate::failure::Failure;
use bytes::Bytes;
use jobraft_protocol::limits::{CONCURRENCY_MAX, QUEUE_BYTES_MAX, RATE_COUNT_MAX};
use jobraft_protocol::{
    GroupKey, NewJob, OnConflict, QueueName, QueueSetting, Rate, Setting, Task, TaskName, Unique, UniqueKey,
    UniqueScope,
};
use jobraft_sdk::{Client, SdkError};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The name of the handler.
pub(super) const TASK: &str = "nothing";
/// Room that a queue with a backlog has beyond it.
const ROOM: u64 = 1_000_000;
/// A rate that is reckoned and never reached.
const NO_LIMIT: Rate = Rate::new(RATE_COUNT_MAX, 1_000);
/// Jobs of the backlog that are enqueued together.
const FILL_JOBS: u64 = 4_000;
/// Settings that one request changes.
const SETTINGS: usize = 100;
/// How long the backlog may take to rest on the nodes' disks.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(600);

/// How jobs are made. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Jobs {
    pub(super) queues: Arc<[QueueName]>,
    task: Task,
    payload_bytes: usize,
    groups: Arc<[GroupKey]>,
    keys: u64,
}

impl Jobs {
    /// Makes the backlog, and waits until it rests on the nodes' disks: writing it is not what is to be measured.
    pub(super) async fn prepare(load: &Load, connection: &Connection) -> Result<Self, Failure> {
        let failed = |error| connection::failed("make the backlog", &error);
        let client = connection.connect().await?;
        let jobs = Self::named(load, &client.job_id().to_string()).map_err(|error| Failure::new("measure", error))?;
        jobs.configure(load, &client).await.map_err(failed)?;
        if load.waiting > 0 {
            jobs.fill(&client, load.waiting).await.map_err(failed)?;
            let last = client.cluster_status(None).await.map_err(failed)?.last_index;
            let deadline = Instant::now() + CHECKPOINT_TIMEOUT;
            for endpoint in &connection.endpoints {
                while client.cluster_status(Some(endpoint)).await.map_err(failed)?.checkpoint_index < last {
                    if Instant::now() > deadline {
                        return Err(Failure::new("make the backlog", "its checkpoints take too long"));
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        client.close().await;
        Ok(jobs)
    }

    fn named(load: &Load, run: &str) -> Result<Self, String> {
        let queue = |number: u32| match load.queues {
            1 => QueueName::new(&format!("bench-{run}")),
            _ => QueueName::new(&format!("bench-{run}-{number}")),
        };
        let queues: Result<Vec<_>, _> = (0..load.queues).map(queue).collect();
        let groups: Result<Vec<_>, _> = (0..load.groups).map(|number| GroupKey::new(&format!("g{number}"))).collect();
        Ok(Self {
            queues: queues.map_err(|error| error.to_string())?.into(),
            task: Task::Handler(TaskName::new(TASK).map_err(|error| error.to_string())?),
            payload_bytes: load.payload_bytes as usize,
            groups: groups.map_err(|error| error.to_string())?.into(),
            keys: u64::from(load.keys),
        })
    }

    /// A job of this number.
    pub(super) fn make(&self, client: &Client, number: u64) -> NewJob {
        let place = |of: usize| (number % of as u64) as usize;
        let queue = self.queues[place(self.queues.len())].clone();
        let job = NewJob::new(client.job_id(), queue, self.task.clone(), self.payload(number));
        let group = (!self.groups.is_empty()).then(|| self.groups[place(self.groups.len())].clone());
        let unique = number.checked_rem(self.keys).and_then(|key| UniqueKey::new(&format!("k{key}")).ok());
        let unique =
            unique.map(|key| Unique { key, scope: UniqueScope::UntilDone, on_conflict: OnConflict::ReturnExisting });
        NewJob { group, unique, ..job }
    }

    /// The job's number as JSON, padded.
    fn payload(&self, number: u64) -> Bytes {
        let mut payload = Vec::with_capacity(self.payload_bytes.max(20));
        write!(payload, "{number}").expect("a vector takes everything");
        payload.resize(payload.len().max(self.payload_bytes), b' ');
        payload.into()
    }

    async fn configure(&self, load: &Load, client: &Client) -> Result<(), SdkError> {
        let mut of_each = Vec::new();
        if load.groups > 0 {
            of_each.push(QueueSetting::GroupConcurrency(Some(CONCURRENCY_MAX)));
            of_each.push(QueueSetting::GroupRate(Some(NO_LIMIT)));
        }
        if load.waiting > 0 {
            of_each.push(QueueSetting::DepthMax(Some(load.waiting + ROOM)));
            of_each.push(QueueSetting::BytesMax(Some(QUEUE_BYTES_MAX)));
        }
        let of_queue = |queue: &QueueName| {
            of_each.iter().map(|setting| Setting::Queue(queue.clone(), *setting)).collect::<Vec<_>>()
        };
        let settings: Vec<Setting> = self.queues.iter().flat_map(of_queue).collect();
        for part in settings.chunks(SETTINGS) {
            client.configure(part.to_vec()).await?;
        }
        Ok(())
    }

    /// Enqueues jobs that only wait, many in each request.
    async fn fill(&self, client: &Client, count: u64) -> Result<(), SdkError> {
        let mut made = 0;
        while made < count {
            let part = made..count.min(made + FILL_JOBS);
            made = part.end;
            // Without keys: each of them is one more.
            let job = |number| NewJob { unique: None, ..self.make(client, number) };
            client.enqueue(part.map(job).collect()).await?;
        }
        Ok(())
    }
}
