//! What the log holds, without its bodies: positions and sizes, and what is purged but still takes room.

use super::database::{meta, unreadable, unsigned};
use super::{LogPosition, StorageError};
use rusqlite::Connection;
use std::collections::VecDeque;
use std::path::Path;

/// Purged records removed per transaction, so that a large purge never keeps an append waiting for long.
const PURGE_ROWS_MAX: usize = 512;
/// The same, in bytes: large bodies take time even to forget.
const PURGE_BYTES_MAX: u64 = 4 << 20;

pub(super) const META_PURGED: &str = "purged";

#[derive(Default)]
pub(super) struct LogIndex {
    purged: Option<LogPosition>,
    /// The index that the next record must have; any, if nothing was ever there.
    next: Option<u64>,
    /// Sizes of the live records, which are contiguous and end before `next`.
    sizes: VecDeque<u32>,
    /// Index and size of purged records that are still to be removed.
    garbage: VecDeque<(u64, u32)>,
}

impl LogIndex {
    /// Reads the index, and checks that no record is missing and that terms do not fall. Among purged ones they may: a
    /// snapshot can take the place of records of a later term that never were committed.
    pub(super) fn recover(connection: &Connection, path: &Path) -> Result<Self, StorageError> {
        let purged = meta(connection, path, META_PURGED)?
            .map(|bytes| decode_position(&bytes).ok_or_else(|| StorageError::corrupt(path, "meta purged is damaged")))
            .transpose()?;
        let mut index = Self { purged, next: purged.map(|purged| purged.index + 1), ..Self::default() };
        let failed = StorageError::database(path);
        let mut statement =
            connection.prepare("SELECT idx, length(body), term FROM log ORDER BY idx").map_err(&failed)?;
        let mut rows = statement.query([]).map_err(&failed)?;
        let mut term = 0;
        while let Some(row) = rows.next().map_err(&failed)? {
            let read = unsigned(row, 0).and_then(|at| Ok((at, row.get(1)?, unsigned(row, 2)?)));
            let (at, size, its_term) = read.map_err(|error| unreadable(path, error, "a log record"))?;
            if purged.is_some_and(|purged| at <= purged.index) {
                index.garbage.push_back((at, size));
            } else if its_term < term {
                let what = format!("log record {at} is of term {its_term}, the one before it of term {term}");
                return Err(StorageError::corrupt(path, what));
            } else {
                term = its_term;
                index.append(at, size).map_err(|what| StorageError::corrupt(path, what))?;
            }
        }
        Ok(index)
    }

    pub(super) fn purged(&self) -> Option<LogPosition> {
        self.purged
    }

    /// The first live record.
    pub(super) fn first(&self) -> Option<u64> {
        if self.sizes.is_empty() { None } else { self.next.map(|next| next - self.sizes.len() as u64) }
    }

    /// The last live record.
    pub(super) fn last(&self) -> Option<u64> {
        if self.sizes.is_empty() { None } else { self.next.map(|next| next - 1) }
    }

    pub(super) fn append(&mut self, at: u64, size: u32) -> Result<(), String> {
        if let Some(next) = self.next
            && next != at
        {
            return Err(format!("log record {next} is missing, record {at} comes in its place"));
        }
        let next = at.checked_add(1).ok_or("the log has no index left")?;
        self.next = Some(next);
        self.sizes.push_back(size);
        Ok(())
    }

    /// Keeps records up to `index`, or none.
    pub(super) fn truncate_after(&mut self, index: Option<u64>) {
        let Some(first) = self.first() else { return };
        let kept = index.map_or(0, |index| index.saturating_add(1).saturating_sub(first));
        let kept = usize::try_from(kept).unwrap_or(usize::MAX).min(self.sizes.len());
        self.sizes.truncate(kept);
        self.next = match (kept, self.purged) {
            (0, None) => None,
            (kept, _) => Some(first + kept as u64),
        };
    }

    /// Forgets records up to `upto`; false if they were forgotten before.
    pub(super) fn purge(&mut self, upto: LogPosition) -> Result<bool, String> {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return Ok(false);
        }
        let next = upto.index.checked_add(1).ok_or("the log has no index left")?;
        if self.first().is_some_and(|first| next < first) {
            return Err(format!("a purge up to {} leaves a gap before the first record", upto.index));
        }
        while let (Some(first), Some(&size)) = (self.first(), self.sizes.front())
            && first < next
        {
            self.garbage.push_back((first, size));
            self.sizes.pop_front();
        }
        if self.sizes.is_empty() {
            self.next = Some(next);
        }
        self.purged = Some(upto);
        Ok(true)
    }

    /// The record before the longest tail that holds at most `bytes`; `None` if all live records do.
    pub(super) fn index_keeping(&self, bytes: u64) -> Option<u64> {
        let mut kept = 0;
        let mut at = self.next?;
        for &size in self.sizes.iter().rev() {
            at -= 1;
            kept += u64::from(size);
            if kept > bytes {
                return Some(at);
            }
        }
        None
    }

    pub(super) fn has_garbage(&self) -> bool {
        !self.garbage.is_empty()
    }

    /// The last of the next few purged records to remove. They count as removed.
    pub(super) fn take_garbage(&mut self) -> Option<u64> {
        let mut upto = None;
        let mut bytes = 0;
        for _ in 0..PURGE_ROWS_MAX {
            let Some((at, size)) = self.garbage.pop_front() else { break };
            upto = Some(at);
            bytes += u64::from(size);
            if bytes >= PURGE_BYTES_MAX {
                break;
            }
        }
        upto
    }
}

pub(super) fn encode_position(position: LogPosition) -> [u8; 16] {
    (u128::from(position.index) << 64 | u128::from(position.term)).to_be_bytes()
}

fn decode_position(bytes: &[u8]) -> Option<LogPosition> {
    let (index, term) = bytes.split_first_chunk::<8>()?;
    let position = LogPosition { index: u64::from_be_bytes(*index), term: u64::from_be_bytes(term.try_into().ok()?) };
    (position.index < i64::MAX as u64).then_some(position)
}
