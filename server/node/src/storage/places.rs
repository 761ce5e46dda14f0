//! Which run has a job.

use super::StorageError;
use super::database::unreadable;
use super::runs::Holds;
use super::state_rows::read_id;
use jobraft_protocol::JobId;
use rusqlite::{CachedStatement, Connection};
use std::path::Path;

/// Places that are read at a time, at most.
const AHEAD_MAX: u32 = 256;

/// Tells which run has a job. Whoever asks for one job after the other in the order of their ids has them read together.
pub(super) struct Places<'a> {
    read: CachedStatement<'a>,
    path: &'a Path,
    /// From what id on all places are in `ahead`, up to the last there.
    from: Option<JobId>,
    ahead: Vec<(JobId, Option<i64>)>,
    /// Whether no place follows behind `ahead`.
    is_end: bool,
    /// How many of them were asked for.
    used: usize,
    /// How many to read next.
    next: u32,
}

impl<'a> Places<'a> {
    pub(super) fn of(connection: &'a Connection, holds: Holds, path: &'a Path) -> Result<Self, StorageError> {
        let sql = format!("SELECT id, run FROM {} WHERE id >= ?1 ORDER BY id LIMIT ?2", holds.places());
        let read = connection.prepare_cached(&sql).map_err(StorageError::database(path))?;
        Ok(Self { read, path, from: None, ahead: Vec::new(), is_end: false, used: 0, next: 1 })
    }

    /// The run that has a job, if one of these has. Places that were written since the first question need not show.
    pub(super) fn run_of(&mut self, id: JobId) -> Result<Option<i64>, StorageError> {
        let is_before_end = || self.is_end || self.ahead.last().is_some_and(|(last, _)| id <= *last);
        if !(self.from.is_some_and(|from| id >= from) && is_before_end()) {
            self.read_from(id)?;
        }
        let Ok(place) = self.ahead.binary_search_by_key(&id, |(id, _)| *id) else { return Ok(None) };
        self.used += 1;
        Ok(self.ahead[place].1)
    }

    /// Notes that a job's place is gone.
    pub(super) fn forget(&mut self, id: JobId) {
        if let Ok(place) = self.ahead.binary_search_by_key(&id, |(id, _)| *id) {
            self.ahead[place].1 = None;
        }
    }

    fn read_from(&mut self, id: JobId) -> Result<(), StorageError> {
        // Not for those who ask here and there.
        self.next = if self.used * 2 >= self.ahead.len() { (self.next * 2).min(AHEAD_MAX) } else { 1 };
        self.ahead.clear();
        (self.from, self.used) = (Some(id), 0);
        let mut rows = self.read.query((&id.as_bytes()[..], self.next)).map_err(StorageError::database(self.path))?;
        while let Some(row) = rows.next().map_err(StorageError::database(self.path))? {
            let read = || Ok((row.get_ref(0)?.as_blob()?, row.get(1)?));
            let (id, run) = read().map_err(|error| unreadable(self.path, error, "the place of a job"))?;
            self.ahead.push((read_id(id, self.path)?, Some(run)));
        }
        self.is_end = self.ahead.len() < self.next as usize;
        Ok(())
    }
}
