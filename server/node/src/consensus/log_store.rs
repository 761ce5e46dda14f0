//! openraft's log on top of `log.db`.
//!
//! An entry can be read as soon as it is appended, and is acknowledged only when it is on disk. What was appended and
//! may still be wanted by replication or `apply` is kept decoded in memory, so that in steady state neither reads
//! the disk.

use super::record;
use super::types::{LogEntry, LogId, TypeConfig, Vote, log_id};
use crate::machine;
use crate::storage::{LogDb, LogPosition, LogRecovered};
use jobraft_core::planted::{Bug, is_planted};
use jobraft_protocol::cbor;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Entries are dropped from memory, oldest first, once they hold more than this and are on disk.
const CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The bytes of entries that one read returns at most, but for the first entry, so that a follower far behind is served in
/// pieces that fit a frame.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The log.
#[derive(Clone)]
pub(crate) struct LogStore {
    db: LogDb,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// The last index that is on disk.
    flushed: AtomicU64,
}

struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// A contiguous end of the log, newest at the back.
    cache: VecDeque<LogEntry>,
    cache_bytes: usize,
}

fn weight_bytes(entry: &LogEntry) -> usize {
    const ENVELOPE_BYTES: usize = 96;
    match &entry.payload {
        EntryPayload::Normal(proposal) => ENVELOPE_BYTES + proposal.record().len(),
        _ => ENVELOPE_BYTES,
    }
}

impl State {
    fn push(&mut self, entry: LogEntry) {
        self.last = Some(entry.log_id);
        self.cache_bytes += weight_bytes(&entry);
        self.cache.push_back(entry);
    }

    fn evict(&mut self, flushed: u64) {
        while self.cache_bytes > CACHE_BYTES_MAX
            && self.cache.front().is_some_and(|entry| entry.log_id.index <= flushed)
            && let Some(entry) = self.cache.pop_front()
        {
            self.cache_bytes -= weight_bytes(&entry);
        }
    }
}

impl LogStore {
    /// The log as recovered from disk.
    pub(crate) fn new(db: LogDb, recovered: LogRecovered) -> io::Result<Self> {
        let decode = |what: &str, bytes: &[u8]| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{what} in log.db: {} bytes", bytes.len()))
        };
        let position = |p: LogPosition| log_id(p.term, p.index);
        let vote = match recovered.vote {
            Some(bytes) => Some(cbor::read(&bytes).map_err(|_| decode("malformed vote", &bytes))?),
            None => None,
        };
        let committed = match recovered.committed {
            Some(bytes) => Some(cbor::read(&bytes).map_err(|_| decode("malformed commit index", &bytes))?),
            None => None,
        };
        let purged = recovered.purged.map(position);
        let last = recovered.last.map(position).or(purged);
        let state = State { vote, committed, purged, last, cache: VecDeque::new(), cache_bytes: 0 };
        let flushed = AtomicU64::new(last.map_or(0, |id: LogId| id.index));
        Ok(Self { db, shared: Arc::new(Shared { state: Mutex::new(state), flushed }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The greatest index behind which the log still holds at most `bytes` bytes.
    pub(crate) fn purge_index_keeping(&self, bytes: u64) -> Option<u64> {
        self.db.purge_index_keeping(bytes)
    }

    /// Transactions committed since the log was opened: one fsync each.
    pub(crate) fn commits(&self) -> u64 {
        self.db.commits()
    }

    /// Writes what is waiting and stops. Blocks.
    pub(crate) fn close(self) {
        self.db.close();
    }

    /// Entries of `[start, end)`: all that are in memory, else what one read of the disk gives.
    async fn read(&self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        let disk_end = {
            let state = self.state();
            let end = end.min(state.last.map_or(0, |id| id.index + 1));
            if start >= end {
                return Ok(Vec::new());
            }
            match state.cache.front().map(|entry| entry.log_id.index) {
                Some(first) if first <= start => {
                    let skip = usize::try_from(start - first).unwrap_or(usize::MAX);
                    let take = usize::try_from(end - start).unwrap_or(usize::MAX);
                    let mut bytes = 0;
                    let entries = state.cache.iter().skip(skip).take(take).take_while(|entry| {
                        let fits = bytes < READ_BYTES_MAX;
                        bytes += weight_bytes(entry);
                        fits
                    });
                    return Ok(entries.cloned().collect());
                }
                Some(first) => end.min(first),
                None => end,
            }
        };
        let db = self.db.clone();
        let read = machine::blocking(move || -> io::Result<Vec<LogEntry>> {
            let records = db.read(start, disk_end, READ_BYTES_MAX).map_err(io::Error::other)?;
            records.into_iter().map(record::decode).collect()
        });
        let entries = read.await.map_err(io::Error::other)??;
        if entries.is_empty() && disk_end < end {
            // The log begins later than asked.
            return Box::pin(self.read(disk_end, end)).await;
        }
        Ok(entries)
    }

    /// Runs a step of the writer thread and waits until it is on disk.
    async fn durably(&self, step: impl FnOnce(&LogDb, Box<dyn FnOnce(io::Result<()>) + Send>)) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        step(
            &self.db,
            Box::new(move |result| {
                // The waiter is gone only when the node stops.
                let _ = sender.send(result);
            }),
        );
        receiver.await.map_err(|_| io::Error::other("the writer of log.db has stopped"))?
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<LogEntry>> {
        let start = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index + 1,
            Bound::Unbounded => self.state().purged.map_or(0, |id| id.index + 1),
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => index + 1,
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        let mut entries = Vec::new();
        let mut next = start;
        while next < end {
            let mut more = self.read(next, end).await?;
            let Some(last) = more.last() else { break };
            next = last.log_id.index + 1;
            entries.append(&mut more);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<LogEntry>> {
        self.read(start, end).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.state().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.state();
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let mut bytes = Vec::new();
        cbor::write(vote, &mut bytes).map_err(io::Error::other)?;
        if is_planted(Bug::VoteNotSynced) {
            self.db.save_vote(bytes, Box::new(|_| {}));
        } else {
            self.durably(|db, done| db.save_vote(bytes, done)).await?;
        }
        self.state().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            let mut bytes = Vec::new();
            cbor::write(&committed, &mut bytes).map_err(io::Error::other)?;
            self.db.save_committed(bytes);
            self.state().committed = Some(committed);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.state().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        let last = {
            let mut state = self.state();
            for entry in entries {
                records.push(record::encode(&entry)?);
                state.push(entry);
            }
            state.evict(self.shared.flushed.load(Ordering::Acquire));
            state.last.map_or(0, |id| id.index)
        };
        let shared = self.shared.clone();
        if is_planted(Bug::AckBeforeFsync) {
            callback.io_completed(Ok(()));
            self.db.append(records, Box::new(|_| {}));
            return Ok(());
        }
        self.db.append(
            records,
            Box::new(move |result| {
                if result.is_ok() {
                    shared.flushed.store(last, Ordering::Release);
                }
                callback.io_completed(result);
            }),
        );
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let keep = last_log_id.map(|id| id.index);
        self.durably(|db, done| db.truncate_after(keep, done)).await?;
        let mut state = self.state();
        while state.cache.back().is_some_and(|entry| keep.is_none_or(|keep| entry.index() > keep))
            && let Some(entry) = state.cache.pop_back()
        {
            state.cache_bytes -= weight_bytes(&entry);
        }
        state.last = state.last.min(last_log_id).max(state.purged);
        self.shared.flushed.store(state.last.map_or(0, |id| id.index), Ordering::Release);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        {
            let mut state = self.state();
            state.purged = state.purged.max(Some(upto));
            // By index: behind a snapshot of committed entries may lie one of a later term that never was committed.
            if state.last.is_none_or(|last| last.index < upto.index) {
                state.last = Some(upto);
            }
            while state.cache.front().is_some_and(|entry| entry.index() <= upto.index)
                && let Some(entry) = state.cache.pop_front()
            {
                state.cache_bytes -= weight_bytes(&entry);
            }
        }
        let position = LogPosition { index: upto.index, term: upto.leader_id.term };
        self.durably(|db, done| db.purge(position, done)).await
    }
}
