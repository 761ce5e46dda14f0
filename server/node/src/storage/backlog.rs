//! The backlog: jobs that wait for a worker, in runs as those that are completed (ADR 0038).
//!
//! A job goes there if it has no row yet, and no key or batch to be found by. Whatever becomes of it, it leaves: its run stays as
//! it is, counts down, and goes with the last of them. A run of which little is left has these written as rows of their own.

use super::StorageError;
use super::database::unreadable;
use super::places::Places;
use super::runs::{Holds, Run, put_runs};
use super::state_rows::put_ready_job;
use crate::seal::Seal;
use jobraft_core::command::JobRow;
use jobraft_protocol::{JobId, JobState};
use rusqlite::{CachedStatement, Connection, Transaction};
use std::collections::BTreeMap;
use std::path::Path;

/// The part of a run's jobs, one of so many, for which it is worth its room.
const WORTH_PART: u32 = 4;

/// Whether a job's row is to be in the backlog.
pub(super) fn belongs(row: &JobRow) -> bool {
    row.state == JobState::Ready && !row.rests && row.key.is_none() && row.batch.is_none()
}

/// Writes jobs that [belong](belongs) there, in the order of their ids. None of them may have another row.
pub(super) fn put_backlog(
    transaction: &Transaction<'_>,
    jobs: &[&JobRow],
    seal: &Seal,
    path: &Path,
) -> Result<(), StorageError> {
    put_runs(transaction, Holds::Ready, jobs, seal, path, &|id| {
        let mut leaving = Leaving::new(transaction, seal, path)?;
        leaving.take(id)?;
        leaving.finish()
    })
}

/// Jobs that leave the backlog, of which [`Leaving::finish`] tells their runs.
pub(super) struct Leaving<'a> {
    transaction: &'a Transaction<'a>,
    seal: &'a Seal,
    path: &'a Path,
    places: Places<'a>,
    forget: CachedStatement<'a>,
    /// How many leave each run.
    runs: BTreeMap<i64, u32>,
}

impl<'a> Leaving<'a> {
    pub(super) fn new(transaction: &'a Transaction<'a>, seal: &'a Seal, path: &'a Path) -> Result<Self, StorageError> {
        let forget = transaction.prepare_cached("DELETE FROM waiting WHERE id = ?1");
        let forget = forget.map_err(StorageError::database(path))?;
        let places = Places::of(transaction, Holds::Ready, path)?;
        Ok(Self { transaction, seal, path, places, forget, runs: BTreeMap::new() })
    }

    /// Takes a job out if it is there, and says whether it was.
    pub(super) fn take(&mut self, id: JobId) -> Result<bool, StorageError> {
        let Some(run) = self.places.run_of(id)? else { return Ok(false) };
        self.forget(id)?;
        *self.runs.entry(run).or_default() += 1;
        Ok(true)
    }

    fn forget(&mut self, id: JobId) -> Result<(), StorageError> {
        self.places.forget(id);
        self.forget.execute([&id.as_bytes()[..]]).map(drop).map_err(StorageError::database(self.path))
    }

    /// Has the runs count what is left of them.
    pub(super) fn finish(mut self) -> Result<(), StorageError> {
        let runs = std::mem::take(&mut self.runs);
        runs.into_iter().try_for_each(|(number, gone)| self.count_down(number, gone))
    }

    fn count_down(&mut self, number: i64, gone: u32) -> Result<(), StorageError> {
        let failed = StorageError::database(self.path);
        let sql = "SELECT jobs FROM backlog WHERE run = ?1";
        let jobs = self.transaction.prepare_cached(sql).and_then(|mut sql| sql.query_row([number], |row| row.get(0)));
        let jobs: u32 = jobs.map_err(|error| unreadable(self.path, error, "a run of the backlog"))?;
        let left = jobs.checked_sub(gone).ok_or_else(|| {
            StorageError::corrupt(self.path, format!("run {number} of the backlog had fewer jobs than leave it"))
        })?;
        if left > 0 {
            let run = Run::numbered(self.transaction, Holds::Ready, number, self.seal, self.path)?;
            if left * WORTH_PART > run.count() {
                let sql = "UPDATE backlog SET jobs = ?2 WHERE run = ?1";
                let counted = self.transaction.prepare_cached(sql).and_then(|mut sql| sql.execute((number, left)));
                return counted.map(drop).map_err(failed);
            }
            for job in still_waiting(&run, self.transaction, self.path)? {
                self.forget(job)?;
                let job = run.find(job, self.path)?;
                put_ready_job(self.transaction, &run.queue, &job, self.seal).map_err(&failed)?;
            }
        }
        let sql = "DELETE FROM backlog WHERE run = ?1";
        self.transaction.prepare_cached(sql).and_then(|mut sql| sql.execute([number])).map(drop).map_err(failed)
    }
}

/// Those of a run's jobs that still are to be found in it.
pub(super) fn still_waiting(run: &Run, connection: &Connection, path: &Path) -> Result<Vec<JobId>, StorageError> {
    let (mut places, mut waiting) = (Places::of(connection, Holds::Ready, path)?, Vec::new());
    for job in run.jobs() {
        if places.run_of(job.id)? == Some(run.number) {
            waiting.push(job.id);
        }
    }
    Ok(waiting)
}
