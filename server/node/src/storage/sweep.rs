//! Retention: rows of ended jobs that are kept no longer go, and their room goes back to the file system.
//!
//! A step removes a bounded number of rows in a transaction of its own, so that checkpoints never wait for long. What
//! it removes must be gone by the state of the *last checkpoint*, not of a later one: what is replayed onto the
//! checkpoint after a crash may still ask for the rest. Rows that are pinned, for jobs live that name them, stay whatever
//! their horizon says; they are passed over, and looked at but once for each horizon.

use super::StorageError;
use super::completed;
use super::database::{lock, unreadable, unsigned};
use super::room::{Room, give_back};
use super::runs::{Holds, Run, RunJob};
use super::state_db::{PAGE_BYTES, PAGES_PER_ROW, StateDb};
use super::state_rows::{JOB_COLUMNS, checked_job, column_number, read_id};
use crate::seal::Seal;
use jobraft_core::command::Horizon;
use jobraft_protocol::{JobId, JobState, LogTime};
use rusqlite::{Transaction, params};
use std::collections::HashSet;
use std::path::Path;

/// Bytes of bodies that one step removes at most, but for one row: large bodies take time even to forget.
const SWEEP_BYTES_MAX: u64 = 8 << 20;
/// Pinned rows that one step passes over at most: to look at them takes time too.
pub(super) const PINNED_MAX: usize = 8_192;
/// Free room that the file keeps for what comes next.
pub(super) const FREE_BYTES_KEPT: u64 = 4 << 20;
/// Of the file's pages, the part that may be free: 1 in so many.
const FREE_PART_KEPT: u64 = 8;

/// Those of a queue that ended in a state, the first first. Without their bodies: the one that ends the walk stays.
pub(super) const EARLIEST_OF_PAIR: &str = "SELECT rowid, finished_at, ended_seq, id FROM jobs INDEXED BY jobs_ended
     WHERE live = 0 AND queue = ?1 AND state = ?2 ORDER BY ended_seq";

/// The same, from behind a number on.
pub(super) const NEXT_OF_PAIR: &str = "SELECT rowid, finished_at, ended_seq, id FROM jobs INDEXED BY jobs_ended
     WHERE live = 0 AND queue = ?1 AND state = ?2 AND ended_seq > ?3 ORDER BY ended_seq";

/// A queue's runs, the first to end first, from behind a number on.
pub(super) const EARLIEST_RUNS: &str =
    "runs INDEXED BY runs_ended WHERE queue = ?1 AND ended_seq > ?2 ORDER BY ended_seq";

/// What is outside of one horizon, and how far it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Where retention ends.
    pub horizon: Horizon,
    /// Rows numbered up to here were looked at: what is still there is pinned.
    looked_to: Option<u64>,
}

impl From<Horizon> for Due {
    fn from(horizon: Horizon) -> Self {
        Self { horizon, looked_to: None }
    }
}

/// What a step of a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepOutcome {
    /// Rows removed.
    pub removed: usize,
    /// Of the horizons, from the first on, how many have nothing left to remove.
    pub done: usize,
    /// Whether the bound was reached before the last of them.
    pub more: bool,
}

impl StateDb {
    /// Removes up to `rows_max` ended jobs, and the rest of a run, that are outside their horizon, the first to end first; none
    /// that is `pinned`, none that ended or whose id was made at `before` or later, however little of them is kept, and none
    /// whose run has another such. All or nothing, durable on return. Notes how far it got.
    ///
    /// # Errors
    /// Whatever failed, [`StorageError::Corrupt`] for a row that is damaged; nothing can be written after that.
    pub fn sweep(
        &self,
        due: &mut [Due],
        pinned: &HashSet<JobId>,
        before: LogTime,
        rows_max: usize,
    ) -> Result<SweepOutcome, StorageError> {
        let path = &self.inner.path;
        self.with_open(|open| {
            let mut database = lock(&open.writer);
            let seal = &self.inner.seal;
            let mut step = Step { path, seal, before, pinned, rows_max, pinned_left: PINNED_MAX, removed: 0, bytes: 0 };
            let count = due.len();
            let mut done = 0;
            database.write(|transaction| {
                for due in due {
                    if !step.sweep(transaction, due)? {
                        break;
                    }
                    done += 1;
                }
                Ok(())
            })?;
            let removed = step.removed;
            database.wrote_pages(removed as u64 * PAGES_PER_ROW + step.bytes / PAGE_BYTES)?;
            Ok(SweepOutcome { removed, done, more: done < count })
        })
    }

    /// Takes up to `pages_max` free pages out of the file if it has far more than it will soon need; says whether
    /// there are more of them to take.
    ///
    /// # Errors
    /// Whatever failed; nothing can be written after that.
    pub fn give_back(&self, pages_max: u64) -> Result<bool, StorageError> {
        let path = &self.inner.path;
        let failed = StorageError::database(path);
        self.with_open(|open| {
            let mut database = lock(&open.writer);
            database.check_running()?;
            let before = Room::of(database.connection()).map_err(&failed)?;
            let wanted = before.pages.saturating_sub(pages_wanted(before)).min(pages_max);
            if wanted == 0 {
                return Ok(false);
            }
            database.write(|transaction| give_back(transaction, wanted).map_err(&failed))?;
            database.wrote_pages(wanted)?;
            let after = Room::of(database.connection()).map_err(&failed)?;
            let more = after.pages < before.pages && pages_wanted(after) < after.pages;
            if !more {
                database.settle()?;
            }
            Ok(more)
        })
    }
}

/// How many pages the file should have: all, unless too many are free.
fn pages_wanted(room: Room) -> u64 {
    let kept = (FREE_BYTES_KEPT / PAGE_BYTES).max(room.pages / FREE_PART_KEPT);
    room.used() + room.free.min(kept)
}

/// One transaction in the making.
struct Step<'a> {
    path: &'a Path,
    seal: &'a Seal,
    before: LogTime,
    pinned: &'a HashSet<JobId>,
    rows_max: usize,
    pinned_left: usize,
    removed: usize,
    bytes: u64,
}

impl Step<'_> {
    /// Removes what is outside of one horizon; false if a bound was reached first.
    fn sweep(&mut self, transaction: &Transaction<'_>, due: &mut Due) -> Result<bool, StorageError> {
        if due.horizon.state == JobState::Completed {
            return self.sweep_runs(transaction, due);
        }
        let failed = StorageError::database(self.path);
        let (gone, all) = self.gone(transaction, due)?;
        let mut remove = transaction.prepare_cached("DELETE FROM jobs WHERE rowid = ?1").map_err(&failed)?;
        for rowid in gone {
            remove.execute([rowid]).map_err(&failed)?;
        }
        Ok(all)
    }

    /// The same of completed jobs.
    fn sweep_runs(&mut self, transaction: &Transaction<'_>, due: &mut Due) -> Result<bool, StorageError> {
        let failed = StorageError::database(self.path);
        let sql = format!("SELECT {} FROM {EARLIEST_RUNS}", Holds::Completed.columns());
        let mut walk = transaction.prepare_cached(&sql).map_err(&failed)?;
        loop {
            let queue = due.horizon.queue.as_str();
            // One by one: the table that is walked over changes.
            let mut rows = walk.query(params![queue, due.looked_to.map_or(-1, column_number)]).map_err(&failed)?;
            let Some(row) = rows.next().map_err(&failed)? else { return Ok(true) };
            // Damage must not decide what is removed.
            let run = Run::read(row, Holds::Completed, self.seal, self.path)?;
            drop(rows);
            let (ended_seq, finished_at) = run.last;
            let minted_last = run.jobs().map(|job| job.id.minted_at()).max().unwrap_or_default();
            if self.keeps(&due.horizon, ended_seq, finished_at, minted_last) {
                return Ok(true);
            }
            let is_pinned = |job: &RunJob<'_>| self.pinned.contains(&job.id);
            let pinned = run.jobs().filter(is_pinned).count();
            let count = run.jobs().len() - pinned;
            if count > 0 && self.is_full() || self.pinned_left < pinned {
                return Ok(false);
            }
            due.looked_to = Some(ended_seq);
            if count > 0 {
                completed::keep(&run, transaction, is_pinned, self.seal).map_err(&failed)?;
                self.bytes += run.bytes_len();
            }
            self.pinned_left -= pinned;
            self.removed += count;
        }
    }

    /// Whether nothing more is to be removed.
    fn is_full(&self) -> bool {
        self.removed >= self.rows_max || self.bytes >= SWEEP_BYTES_MAX
    }

    /// Whether a job that ended and was made at these times stays, be it pinned or not.
    fn keeps(&self, horizon: &Horizon, ended_seq: u64, finished_at: LogTime, minted_at: LogTime) -> bool {
        let is_kept = finished_at >= horizon.from && ended_seq > horizon.above;
        is_kept || finished_at >= self.before || minted_at >= self.before
    }

    /// The rows to remove, and whether these are all.
    fn gone(&mut self, transaction: &Transaction<'_>, due: &mut Due) -> Result<(Vec<i64>, bool), StorageError> {
        let Due { horizon, looked_to } = due;
        let failed = StorageError::database(self.path);
        let damaged = |error| unreadable(self.path, error, "an ended job's row");
        let row_sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE rowid = ?1");
        let mut read = transaction.prepare_cached(&row_sql).map_err(&failed)?;
        let (queue, state) = (horizon.queue.as_str(), horizon.state.as_str());
        let walk = if looked_to.is_some() { NEXT_OF_PAIR } else { EARLIEST_OF_PAIR };
        let mut walk = transaction.prepare_cached(walk).map_err(&failed)?;
        let rows = match looked_to {
            Some(number) => walk.query(params![queue, state, column_number(*number)]),
            None => walk.query(params![queue, state]),
        };
        let mut rows = rows.map_err(&failed)?;
        let mut gone = Vec::new();
        while let Some(row) = rows.next().map_err(&failed)? {
            let finished_at = LogTime::from_ms(unsigned(row, 1).map_err(damaged)?);
            let ended_seq = unsigned(row, 2).map_err(damaged)?;
            let id = read_id(row.get_ref(3).and_then(|id| Ok(id.as_blob()?)).map_err(damaged)?, self.path)?;
            if self.keeps(horizon, ended_seq, finished_at, id.minted_at()) {
                break;
            }
            if self.pinned.contains(&id) {
                if self.pinned_left == 0 {
                    return Ok((gone, false));
                }
                self.pinned_left -= 1;
                *looked_to = Some(ended_seq);
                continue;
            }
            if self.is_full() {
                return Ok((gone, false));
            }
            let rowid = row.get(0).map_err(damaged)?;
            // Damage must not decide what is removed.
            let mut found = read.query([rowid]).map_err(&failed)?;
            let found = found.next().map_err(&failed)?;
            let found =
                found.ok_or_else(|| StorageError::corrupt(self.path, "an index names a row that is not there"))?;
            self.bytes += checked_job(found, self.path)?.body.len() as u64;
            self.removed += 1;
            *looked_to = Some(ended_seq);
            gone.push(rowid);
        }
        Ok((gone, true))
    }
}
