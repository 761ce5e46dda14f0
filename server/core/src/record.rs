//! How the state's parts rest on disk: one byte of format version, then CBOR.
//!
//! Fields are only ever added, with a default, so that a newer version reads what an older one wrote. A change that
//! an older version would misread raises [`FORMAT`], and older versions then refuse by name what they would spoil.

use crate::RestoreError;
use crate::bucket::Bucket;
use crate::queue::Queue;
use crate::retention::Floors;
use bytes::{Bytes, BytesMut};
use jobraft_protocol::{
    AttemptError, Backoff, BatchId, CancelNotice, ClusterSettings, Digest, EndReason, FencingToken, GroupKey,
    GroupSettings, JobId, JobState, JobView, Label, LeaseView, LogTime, ModuleSignature, Namespace, NamespaceQuota,
    NewJob, OnFailure, Predecessor, Progress, QueueName, QueueSettings, QueueStats, Schedule, ScheduleTick, SecretView,
    Task, TokenView, Unique, Withheld, WorkerInfo, WorkerOrder, cbor, limits,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version of everything that is written here.
pub(crate) const FORMAT: u8 = 1;

/// A job's row. There are far more of these than of all others: names are short, and what is usual is left out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    #[serde(rename = "n")]
    pub(crate) seq: u64,
    #[serde(rename = "lm", default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease_ms: Option<u64>,
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub(crate) heard_at: Option<LogTime>,
    #[serde(rename = "rp", default, skip_serializing_if = "Option::is_none")]
    pub(crate) reported: Option<FencingToken>,
    #[serde(rename = "en", default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_seq: Option<u64>,
    /// Whether it holds its unique key, other than for a period.
    #[serde(rename = "k", default, skip_serializing_if = "is_default")]
    pub(crate) holds_key: bool,
    #[serde(rename = "cp", default, skip_serializing_if = "Bytes::is_empty")]
    pub(crate) checkpoint: Bytes,
    /// Of the jobs that it comes after, those that are not kept for it any more.
    #[serde(rename = "lo", default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) lost: BTreeSet<JobId>,
    #[serde(rename = "v", with = "RestingView")]
    pub(crate) view: JobView,
}

/// How a [`JobView`] rests in a [`JobRecord`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "JobView")]
struct RestingView {
    #[serde(rename = "i")]
    id: JobId,
    #[serde(rename = "q")]
    queue: QueueName,
    #[serde(rename = "t")]
    task: Task,
    #[serde(rename = "p", default, skip_serializing_if = "Bytes::is_empty")]
    payload: Bytes,
    #[serde(rename = "s")]
    state: JobState,
    #[serde(rename = "pr")]
    priority: u8,
    #[serde(rename = "a")]
    attempt: u32,
    #[serde(rename = "am")]
    max_attempts: u32,
    #[serde(rename = "rt")]
    run_timeout_ms: u64,
    #[serde(rename = "e")]
    enqueued_at: LogTime,
    #[serde(rename = "r")]
    run_at: LogTime,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    finished_at: Option<LogTime>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    lease: Option<LeaseView>,
    #[serde(rename = "re", default, skip_serializing_if = "Bytes::is_empty")]
    result: Bytes,
    #[serde(rename = "lg", default, skip_serializing_if = "Bytes::is_empty")]
    log: Bytes,
    #[serde(rename = "er", default, skip_serializing_if = "Vec::is_empty")]
    errors: Vec<AttemptError>,
    #[serde(rename = "cb", default, skip_serializing_if = "Option::is_none")]
    cancelled_by: Option<String>,
    #[serde(rename = "cr", default, skip_serializing_if = "Option::is_none")]
    cancel_reason: Option<String>,
    #[serde(rename = "ew", default, skip_serializing_if = "Option::is_none")]
    end_reason: Option<EndReason>,
    #[serde(rename = "tt", default, skip_serializing_if = "Option::is_none")]
    ttl_ends_at: Option<LogTime>,
    #[serde(rename = "sb", default, skip_serializing_if = "Option::is_none")]
    start_by: Option<LogTime>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    backoff: Option<Backoff>,
    #[serde(rename = "cm", default = "crashes_default", skip_serializing_if = "is_crashes_default")]
    max_crashes: u32,
    #[serde(rename = "ca", default, skip_serializing_if = "Vec::is_empty")]
    crashed_at: Vec<LogTime>,
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    unique: Option<Unique>,
    #[serde(rename = "pg", default, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    #[serde(rename = "cz", default, skip_serializing_if = "is_default")]
    checkpoint_bytes: u64,
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    cancel: Option<CancelNotice>,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    group: Option<GroupKey>,
    #[serde(rename = "af", default, skip_serializing_if = "Vec::is_empty")]
    after: Vec<Predecessor>,
    #[serde(rename = "of", default, skip_serializing_if = "is_default")]
    on_failure: OnFailure,
    #[serde(rename = "ba", default, skip_serializing_if = "Option::is_none")]
    batch: Option<BatchId>,
    #[serde(rename = "ic", default, skip_serializing_if = "is_default")]
    is_callback: bool,
    #[serde(rename = "la", default, skip_serializing_if = "Option::is_none")]
    label: Option<Label>,
    #[serde(rename = "ti", default, skip_serializing_if = "Option::is_none")]
    tick: Option<ScheduleTick>,
    /// That of an answer: at rest there is all of it.
    #[serde(skip)]
    withheld: Withheld,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn crashes_default() -> u32 {
    limits::CRASHES_DEFAULT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_crashes_default(crashes: &u32) -> bool {
    *crashes == limits::CRASHES_DEFAULT
}

/// What is remembered of an ended job's row: the same bytes as [`JobRecord`], of which the rest is passed over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndedRecord {
    #[serde(rename = "rp", default)]
    pub(crate) reported: Option<FencingToken>,
    #[serde(rename = "en", default)]
    pub(crate) ended_seq: Option<u64>,
    #[serde(rename = "v")]
    pub(crate) view: EndedView,
}

/// What is known of a dead job: the same bytes once more.
#[derive(Debug, Deserialize)]
pub(crate) struct DeadRecord {
    #[serde(rename = "en", default)]
    pub(crate) ended_seq: Option<u64>,
    #[serde(rename = "lo", default)]
    pub(crate) lost: BTreeSet<JobId>,
    #[serde(rename = "v")]
    pub(crate) view: DeadView,
}

/// The part of a [`RestingView`] that [`DeadRecord`] needs.
#[derive(Debug, Deserialize)]
pub(crate) struct DeadView {
    #[serde(rename = "i")]
    pub(crate) id: JobId,
    #[serde(rename = "q")]
    pub(crate) queue: QueueName,
    #[serde(rename = "s")]
    pub(crate) state: JobState,
    #[serde(rename = "f", default)]
    pub(crate) finished_at: Option<LogTime>,
    #[serde(rename = "af", default)]
    pub(crate) after: Vec<Predecessor>,
}

/// The part of a [`RestingView`] that [`EndedRecord`] needs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EndedView {
    #[serde(rename = "i")]
    pub(crate) id: JobId,
    #[serde(rename = "q")]
    pub(crate) queue: QueueName,
    #[serde(rename = "s")]
    pub(crate) state: JobState,
    #[serde(rename = "f", default)]
    pub(crate) finished_at: Option<LogTime>,
}

/// What the job of a row is to do: the same bytes once more.
#[derive(Debug, Deserialize)]
pub(crate) struct JobPayload {
    #[serde(rename = "v")]
    pub(crate) view: PayloadView,
}

/// The part of a [`RestingView`] that [`JobPayload`] needs.
#[derive(Debug, Deserialize)]
pub(crate) struct PayloadView {
    #[serde(rename = "p", default)]
    pub(crate) payload: Bytes,
}

/// The numbers that were given last: each is followed by the next greater one, and none is ever given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// Of enqueues.
    pub(crate) seq: u64,
    /// Of leases.
    pub(crate) token: u64,
    /// Of worker incarnations.
    pub(crate) worker: u64,
    /// Of writes to the cluster's state.
    #[serde(default)]
    pub(crate) version: u64,
    /// Of schedules that were put or resumed.
    #[serde(default)]
    pub(crate) revision: u64,
}

/// What there is once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) now: LogTime,
    pub(crate) counters: Counters,
    pub(crate) ended_digest: [u8; 32],
    #[serde(default)]
    pub(crate) settings: ClusterSettings,
    /// How many jobs live: what hides a row on a disk does not hide it from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<u64>,
}

/// What of a queue cannot be counted anew: its settings, and the counters of jobs that left memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct QueueRecord {
    pub(crate) completed: u64,
    pub(crate) dead: u64,
    pub(crate) cancelled: u64,
    #[serde(default)]
    pub(crate) expired: u64,
    #[serde(default)]
    pub(crate) settings: QueueSettings,
    #[serde(default)]
    pub(crate) floors: Floors,
    #[serde(default)]
    pub(crate) bucket: Bucket,
    #[serde(default)]
    pub(crate) virtual_time: u64,
    /// The greatest pass of any group.
    #[serde(default)]
    pub(crate) top: u64,
    /// The pass and order of the jobs without a group.
    #[serde(default)]
    pub(crate) pass: u64,
    #[serde(default)]
    pub(crate) order: u64,
    /// The order that was given last.
    #[serde(default)]
    pub(crate) orders: u64,
}

/// A group's row. Its key is the queue's name, a line feed, which no name holds, and its own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupRecord {
    #[serde(default)]
    pub(crate) settings: GroupSettings,
    #[serde(default)]
    pub(crate) pass: u64,
    #[serde(default)]
    pub(crate) order: u64,
    #[serde(default)]
    pub(crate) bucket: Bucket,
}

/// A batch's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<Label>,
    #[serde(default, skip_serializing_if = "Namespace::is_default")]
    pub(crate) namespace: Namespace,
    pub(crate) created_at: LogTime,
    /// The last place in the order of enqueues before it was created: jobs of an earlier batch of its id do not count.
    #[serde(default)]
    pub(crate) since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<LogTime>,
    pub(crate) sealed: bool,
    #[serde(default)]
    pub(crate) cancelled: bool,
    pub(crate) live: u64,
    /// Completed, dead, cancelled, expired.
    pub(crate) ended: [u64; 4],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_complete: Option<Callback>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_failure: Option<Callback>,
}

/// A job that is enqueued when something becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Callback {
    pub(crate) id: JobId,
    /// Until it is enqueued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<Box<NewJob>>,
}

/// A schedule's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScheduleRecord {
    pub(crate) schedule: Schedule,
    pub(crate) revision: u64,
    #[serde(default)]
    pub(crate) paused: bool,
    pub(crate) created_at: LogTime,
    pub(crate) ticked_to: LogTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_job: Option<JobId>,
    #[serde(default)]
    pub(crate) fired: u64,
    #[serde(default)]
    pub(crate) missed: u64,
    #[serde(default)]
    pub(crate) skipped: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
}

/// A worker's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerRecord {
    pub(crate) info: WorkerInfo,
    pub(crate) registered_at: LogTime,
    pub(crate) last_seen: LogTime,
    pub(crate) order: WorkerOrder,
}

/// The row of a key that is held for a period.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PeriodRecord {
    pub(crate) job: JobId,
    pub(crate) until: LogTime,
}

/// How a namespace knows a module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HolderRecord {
    /// Who first brought it there.
    pub(crate) owner: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) signatures: Vec<ModuleSignature>,
}

/// The row of a module's name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    /// What it points to.
    pub(crate) digest: Digest,
    /// Who first gave something this name.
    #[serde(default)]
    pub(crate) owner: String,
    /// What it pointed to before, and until when; the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former: Vec<(Digest, LogTime)>,
}

impl NameRecord {
    /// Reads one. Before names had owners, the digest was all there was.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, RestoreError> {
        let bare =
            |_| decode("module name", body).map(|digest| Self { digest, owner: String::new(), former: Vec::new() });
        decode("module name", body).or_else(bare)
    }
}

/// A secret's row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretRecord {
    pub(crate) view: SecretView,
    pub(crate) sealed: Bytes,
}

/// A namespace's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamespaceRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created_at: Option<LogTime>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) created_by: String,
    #[serde(default)]
    pub(crate) quota: NamespaceQuota,
    /// Of the quota's rate.
    #[serde(default)]
    pub(crate) bucket: Bucket,
    /// Whether it was removed: no other may take its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
}

/// A value's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ValueRecord {
    #[serde(default)]
    pub(crate) value: Bytes,
    pub(crate) version: u64,
    pub(crate) written_at: LogTime,
}

/// A token's row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    pub(crate) view: TokenView,
    /// Of its secret.
    pub(crate) hash: Digest,
    /// Of the secret before, for as long as [`TokenView::former_until`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) former: Option<Digest>,
    /// How long a secret of it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ttl_ms: Option<u64>,
}

impl From<&Queue> for QueueRecord {
    fn from(queue: &Queue) -> Self {
        let QueueStats { completed, dead, cancelled, expired, .. } = queue.stats;
        let (pass, order) = queue.groups.plain_place();
        Self {
            completed,
            dead,
            cancelled,
            expired,
            settings: queue.stats.settings.clone(),
            floors: queue.floors,
            bucket: queue.bucket,
            virtual_time: queue.groups.virtual_time,
            top: queue.groups.top,
            pass,
            order,
            orders: queue.groups.orders,
        }
    }
}

impl QueueRecord {
    /// Puts everything where it was.
    pub(crate) fn write_to(self, queue: &mut Queue) {
        let Self { completed, dead, cancelled, expired, settings, floors, bucket, .. } = self;
        let Self { virtual_time, top, pass, order, orders, .. } = self;
        let stats = &mut queue.stats;
        *stats = QueueStats { completed, dead, cancelled, expired, settings, ..stats.clone() };
        (queue.floors, queue.bucket) = (floors, bucket);
        (queue.groups.virtual_time, queue.groups.top, queue.groups.orders) = (virtual_time, top, orders);
        queue.groups.set_plain_place(pass, order);
    }
}

/// What of an ended job's row tells which job it is and how it ended: the row of a [`crate::Target`] that is to be deleted.
/// Small, however large the row.
///
/// # Errors
/// If the bytes are not the body of a [`crate::JobRow`], or one of a newer version.
pub fn identity(row: &[u8]) -> Result<Vec<u8>, RestoreError> {
    decode::<EndedRecord>("job", row).map(|record| encode(&record))
}

/// Encodes a value of this format.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut body = vec![FORMAT];
    write(value, &mut body);
    body
}

fn write<T: Serialize>(value: &T, to: &mut Vec<u8>) {
    cbor::write(value, to).expect("these types encode");
}

/// Encodes many values that are dropped together: they share their memory.
pub(crate) struct Encoder {
    buffer: BytesMut,
    /// One value: written in many small pieces, which a plain vector takes fastest.
    value: Vec<u8>,
}

impl Encoder {
    /// As much as [`BytesMut`] goes on taking at a time.
    const CHUNK_BYTES: usize = 64 << 10;

    pub(crate) fn new() -> Self {
        Self { buffer: BytesMut::with_capacity(Self::CHUNK_BYTES), value: Vec::new() }
    }

    /// Encodes a value of this format.
    pub(crate) fn encode<T: Serialize>(&mut self, value: &T) -> Bytes {
        self.value.clear();
        self.value.push(FORMAT);
        write(value, &mut self.value);
        self.buffer.extend_from_slice(&self.value);
        self.buffer.split().freeze()
    }
}

/// Decodes a value: exactly one, of this format or an older one. `what` names it in errors.
pub(crate) fn decode<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, RestoreError> {
    let malformed = |reason: String| RestoreError::Malformed { what, reason };
    match body.split_first() {
        None => Err(malformed("no bytes".to_owned())),
        Some((&version, _)) if version > FORMAT => Err(RestoreError::Newer { what, version }),
        Some((_, value)) => cbor::read(value).map_err(|error| malformed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Command, Core, Entry, Outcome};
    use jobraft_protocol::{Completion, LeaseRef, NewJob, Task, WorkerInfo};

    #[test]
    fn the_identity_of_a_row_is_small_and_says_what_the_row_says() {
        let at = LogTime::from_ms(1_700_000_000_000);
        let mut core = Core::new();
        let mut apply =
            |command| core.apply(&Entry { at, leader_change: false, commands: vec![command] }).outcomes.remove(0);
        let queue: QueueName = "q".parse().unwrap();
        let job =
            NewJob::new(JobId::new(at, [1; 10]), queue.clone(), Task::Handler("t".parse().unwrap()), vec![7; 99_999]);
        let id = job.id;
        let Ok(Outcome::Registered(worker)) = apply(Command::RegisterWorker { info: WorkerInfo::default() }) else {
            panic!("not registered")
        };
        apply(Command::enqueue(vec![job])).unwrap();
        let lease = Command::Lease { worker, queues: vec![queue], shares: vec![], max: 1, lease_ms: 30_000 };
        let Ok(Outcome::Leased(leased)) = apply(lease) else { panic!("not leased") };
        let lease: LeaseRef = leased.jobs[0].lease();
        let completion = Completion { result: vec![7; 99_999].into(), ..Completion::default() };
        apply(Command::complete(lease, completion)).unwrap();
        let row = core.row(id).unwrap().body::<()>(|| Ok(None)).unwrap().unwrap();
        let small = identity(&row).unwrap();
        assert!(row.len() > 199_998 && small.len() < 200, "{} of {} bytes", small.len(), row.len());
        let read = |row| format!("{:?}", decode::<EndedRecord>("job", row).unwrap());
        assert_eq!(read(&row), read(&small));
        assert_eq!(identity(&small).unwrap(), small);
    }

    #[test]
    fn a_modules_name_from_before_names_had_owners_is_read() {
        let digest = Digest([7; 32]);
        let record = NameRecord { digest, owner: "ann".to_owned(), former: Vec::new() };
        assert_eq!(NameRecord::decode(&encode(&record)).unwrap().owner, "ann");
        let bare = NameRecord::decode(&encode(&digest)).unwrap();
        assert_eq!((bare.digest, bare.owner.as_str()), (digest, ""));
        assert!(NameRecord::decode(&encode(&7_u8)).is_err());
    }
}
