//! Reading single jobs, wherever they are.

use super::StorageError;
use super::places::Places;
use super::runs::{Holds, KeptRuns};
use super::state_rows::{JOB_COLUMNS, checked_job};
use crate::seal::Seal;
use jobraft_protocol::JobId;
use rusqlite::{Connection, OptionalExtension};
use std::cell::RefCell;
use std::path::Path;

/// Reads the bodies of jobs through one connection. Runs that were read are kept: nothing may be written meanwhile.
pub(super) struct Bodies<'a> {
    connection: &'a Connection,
    seal: &'a Seal,
    path: &'a Path,
    waiting: RefCell<Places<'a>>,
    runs: RefCell<KeptRuns>,
}

impl<'a> Bodies<'a> {
    pub(super) fn new(connection: &'a Connection, seal: &'a Seal, path: &'a Path) -> Result<Self, StorageError> {
        let waiting = Places::of(connection, Holds::Ready, path)?.into();
        Ok(Self { connection, seal, path, waiting, runs: RefCell::default() })
    }

    /// That of a job that is not completed.
    pub(super) fn live(&self, id: JobId) -> Result<Option<Vec<u8>>, StorageError> {
        match self.waiting.borrow_mut().run_of(id)? {
            Some(run) => self.in_run(Holds::Ready, run, id).map(Some),
            None => self.in_row(id),
        }
    }

    /// That of any job.
    pub(super) fn any(&self, id: JobId) -> Result<Option<Vec<u8>>, StorageError> {
        if let Some(body) = self.live(id)? {
            return Ok(Some(body));
        }
        match Places::of(self.connection, Holds::Completed, self.path)?.run_of(id)? {
            Some(run) => self.in_run(Holds::Completed, run, id).map(Some),
            None => Ok(None),
        }
    }

    fn in_run(&self, holds: Holds, run: i64, id: JobId) -> Result<Vec<u8>, StorageError> {
        let Self { connection, seal, path, runs, .. } = self;
        let mut runs = runs.borrow_mut();
        Ok(runs.get(connection, holds, run, seal, path)?.find(id, path)?.body.to_vec())
    }

    fn in_row(&self, id: JobId) -> Result<Option<Vec<u8>>, StorageError> {
        let Self { connection, seal, path, .. } = self;
        let sql = format!("SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?1");
        let mut statement = connection.prepare_cached(&sql).map_err(StorageError::database(path))?;
        let body = statement.query_row([&id.as_bytes()[..]], |row| {
            Ok(checked_job(row, path).and_then(|job| Ok(job.open(seal, path)?.into_owned())))
        });
        body.optional().map_err(StorageError::database(path))?.transpose()
    }
}
