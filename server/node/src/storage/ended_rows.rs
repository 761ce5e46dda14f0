//! Reading ended jobs for a start: those whose ids are still remembered, and those that can come back to life.

use super::state_db::StateDb;
use super::state_rows::{JOB_COLUMNS, checked_job, column_time, read_id};
use super::{StorageError, database::unreadable};
use jobraft_protocol::{JobId, LogTime};
use rusqlite::{Connection, OptionalExtension};
use std::path::Path;

/// The next queue and state in which jobs have ended.
pub(super) const NEXT_PAIR: &str = "SELECT queue, state FROM jobs INDEXED BY jobs_ended
     WHERE live = 0 AND (queue, state) > (?1, ?2) ORDER BY queue, state LIMIT 1";

/// Those of a queue that ended in a state, the last first. A greater number ended at the same time or later.
pub(super) const LATEST_OF_PAIR: &str = "SELECT finished_at, id, rowid FROM jobs INDEXED BY jobs_ended
     WHERE live = 0 AND queue = ?1 AND state = ?2 ORDER BY ended_seq DESC";

/// Those that can be retried, whenever they died.
pub(super) const EACH_DEAD: &str =
    "INDEXED BY jobs_rare WHERE live = 0 AND state <> 'completed' AND state = 'dead' ORDER BY id";

impl StateDb {
    /// Calls `f` with the body of every dead job, by id. `f` must not call this [`StateDb`].
    ///
    /// # Errors
    /// As [`StateDb::meta`], or the first error of `f`.
    pub fn each_dead<E: From<StorageError>>(&self, f: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        self.each_job(EACH_DEAD, f)
    }

    /// Calls `f` with every job that ended at `since` or later, in the order in which they ended (at the same time: by
    /// id): its id, when it ended, and its body. `f` must not call this [`StateDb`].
    ///
    /// # Errors
    /// As [`StateDb::meta`], or the first error of `f`.
    pub fn each_ended_since<E: From<StorageError>>(
        &self,
        since: LogTime,
        mut f: impl FnMut(JobId, LogTime, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = &self.inner.path;
        let failed = StorageError::database(path);
        self.read(|connection| {
            // What changes between the two steps below would be missed or read twice.
            let snapshot = connection.unchecked_transaction().map_err(&failed)?;
            let order = ended_since(&snapshot, path, since)?;
            let sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE rowid = ?1");
            let mut statement = snapshot.prepare_cached(&sql).map_err(&failed)?;
            for (_, _, rowid) in order {
                let mut rows = statement.query([rowid]).map_err(&failed)?;
                let row = rows.next().map_err(&failed)?;
                let row =
                    row.ok_or_else(|| StorageError::corrupt(path, "index jobs_ended names a row that is not there"))?;
                let job = checked_job(row, path)?;
                f(job.id(path)?, job.finished_at().unwrap_or(since), &job.open(&self.inner.seal, path)?)?;
            }
            Ok(())
        })
    }
}

/// Time, id and row of each job that ended at `since` or later, in that order.
fn ended_since(connection: &Connection, path: &Path, since: LogTime) -> Result<Vec<(i64, JobId, i64)>, StorageError> {
    let failed = StorageError::database(path);
    let mut ended = Vec::new();
    let mut next_pair = connection.prepare_cached(NEXT_PAIR).map_err(&failed)?;
    let mut latest = connection.prepare_cached(LATEST_OF_PAIR).map_err(&failed)?;
    let mut pair = (String::new(), String::new());
    loop {
        let next = next_pair.query_row((&pair.0, &pair.1), |row| Ok((row.get(0)?, row.get(1)?))).optional();
        let Some(next) = next.map_err(|error| unreadable(path, error, "an ended job's row"))? else { break };
        pair = next;
        let mut rows = latest.query((&pair.0, &pair.1)).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let read = || Ok((row.get::<_, i64>(0)?, row.get_ref(1)?.as_blob()?, row.get(2)?));
            let (finished_at, id, rowid) = read().map_err(|error| unreadable(path, error, "an ended job's row"))?;
            if finished_at < column_time(since) {
                break;
            }
            ended.push((finished_at, read_id(id, path)?, rowid));
        }
    }
    ended.sort_unstable();
    Ok(ended)
}
