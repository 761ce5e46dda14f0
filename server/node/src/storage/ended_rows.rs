//! Reading ended jobs for a start: those whose ids are still remembered, and those that can come back to life.

use super::StorageError;
use super::database::unreadable;
use super::runs::{Holds, Run};
use super::state_db::StateDb;
use super::state_rows::{JOB_COLUMNS, checked_job};
use jobraft_protocol::LogTime;
use rusqlite::OptionalExtension;

/// The next queue and state in which jobs have ended, but for completed ones.
pub(super) const NEXT_PAIR: &str = "SELECT queue, state FROM jobs INDEXED BY jobs_ended
     WHERE live = 0 AND (queue, state) > (?1, ?2) ORDER BY queue, state LIMIT 1";

/// Those of a queue that ended in a state, the last first. A greater number ended at the same time or later.
pub(super) const LATEST_OF_PAIR: &str =
    "jobs INDEXED BY jobs_ended WHERE live = 0 AND queue = ?1 AND state = ?2 ORDER BY ended_seq DESC";

/// The next queue with completed jobs.
pub(super) const NEXT_QUEUE: &str =
    "SELECT queue FROM runs INDEXED BY runs_ended WHERE queue > ?1 ORDER BY queue LIMIT 1";

/// A queue's runs, the last first.
pub(super) const LATEST_RUNS: &str = "runs INDEXED BY runs_ended WHERE queue = ?1 ORDER BY ended_seq DESC";

/// Those that can be retried, whenever they died.
pub(super) const EACH_DEAD: &str = "INDEXED BY jobs_rare WHERE live = 0 AND state = 'dead' ORDER BY id";

impl StateDb {
    /// Calls `f` with the body of every dead job, by id. `f` must not call this [`StateDb`].
    ///
    /// # Errors
    /// As [`StateDb::meta`], or the first error of `f`.
    pub fn each_dead<E: From<StorageError>>(&self, f: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.each_job(EACH_DEAD, f)
    }

    /// Calls `f` with the body of every job that ended at `since` or later, in no particular order. `f` must not call this
    /// [`StateDb`].
    ///
    /// # Errors
    /// As [`StateDb::meta`], or the first error of `f`.
    pub fn each_ended_since<E: From<StorageError>>(
        &self,
        since: LogTime,
        mut f: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_completed_since(since, &mut f)?;
        let path = &self.inner.path;
        let failed = StorageError::database(path);
        self.read(|connection| {
            let sql = format!("SELECT {JOB_COLUMNS} FROM {LATEST_OF_PAIR}");
            let mut latest = connection.prepare_cached(&sql).map_err(&failed)?;
            let mut next_pair = connection.prepare_cached(NEXT_PAIR).map_err(&failed)?;
            let mut pair = (String::new(), String::new());
            loop {
                let next = next_pair.query_row((&pair.0, &pair.1), |row| Ok((row.get(0)?, row.get(1)?))).optional();
                let next = next.map_err(|error| unreadable(path, error, "an ended job's row"))?;
                let Some(next) = next else { return Ok(()) };
                pair = next;
                let mut rows = latest.query((&pair.0, &pair.1)).map_err(&failed)?;
                while let Some(row) = rows.next().map_err(&failed)? {
                    let job = checked_job(row, path)?;
                    if job.finished_at().is_none_or(|at| at < since) {
                        break;
                    }
                    f(&job.open(&self.inner.seal, path)?)?;
                }
            }
        })
    }

    fn each_completed_since<E: From<StorageError>>(
        &self,
        since: LogTime,
        f: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = &self.inner.path;
        let failed = StorageError::database(path);
        self.read(|connection| {
            let sql = format!("SELECT {} FROM {LATEST_RUNS}", Holds::Completed.columns());
            let mut latest = connection.prepare_cached(&sql).map_err(&failed)?;
            let mut next_queue = connection.prepare_cached(NEXT_QUEUE).map_err(&failed)?;
            let mut queue = String::new();
            loop {
                let next = next_queue.query_row([&queue], |row| row.get(0)).optional();
                let Some(next) = next.map_err(|error| unreadable(path, error, "a run's row"))? else { return Ok(()) };
                queue = next;
                let mut rows = latest.query([&queue]).map_err(&failed)?;
                while let Some(row) = rows.next().map_err(&failed)? {
                    let run = Run::read(row, Holds::Completed, &self.inner.seal, path)?;
                    if run.last.1 < since {
                        break;
                    }
                    run.jobs().filter(|job| job.finished_at >= since).try_for_each(|job| f(job.body))?;
                }
            }
        })
    }
}
