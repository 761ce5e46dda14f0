//! Reading live jobs for a start.

use super::StorageError;
use super::backlog;
use super::database::unreadable;
use super::runs::{Holds, Run};
use super::state_db::StateDb;
use super::state_rows::{JOB_COLUMNS, checked_job};
use crate::machine;
use jobraft_protocol::JobId;
use rusqlite::Connection;

/// Bytes of live jobs' bodies that are read at a time, but for one run or one job. Few: allocators keep for long what one thread took and
/// another gave back.
const LIVE_BYTES_AT_ONCE: usize = 64 << 10;

/// Bodies of live jobs, one behind the other.
#[derive(Default)]
struct LiveJobs {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Behind what the rest begins; `None` if there was nothing more.
    last: Option<LivePlace>,
}

/// Live jobs are read from one table behind the other.
#[derive(Clone, Copy)]
enum LivePlace {
    Job(JobId),
    Run(i64),
}

impl LiveJobs {
    fn push(&mut self, body: &[u8], place: LivePlace) {
        self.bytes.extend_from_slice(body);
        self.ends.push(self.bytes.len());
        self.last = Some(place);
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= LIVE_BYTES_AT_ONCE
    }

    fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, &end)| &self.bytes[begin..end])
    }
}

impl StateDb {
    /// Calls `f` with every live job, as `decode` makes it of its body, in no particular order. Others are read and decoded
    /// meanwhile: nothing may be written until this returns.
    ///
    /// # Errors
    /// As [`StateDb::meta`], or the first error of `decode` or `f`.
    pub fn each_live_job<T: Send, E: From<StorageError> + Send>(
        &self,
        decode: impl Fn(&[u8]) -> Result<T, E> + Sync,
        mut f: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after = None;
        let mut is_end = false;
        let read = || {
            let read = (!is_end).then(|| self.read_live_jobs(after))?;
            after = read.as_ref().map_or(None, |read| read.last);
            is_end = after.is_none();
            Some(read)
        };
        let decode = |read: Result<LiveJobs, StorageError>| read?.bodies().map(&decode).collect::<Result<Vec<T>, E>>();
        machine::pipeline(read, decode, |jobs| jobs?.into_iter().try_for_each(&mut f))
    }

    /// Some live jobs from behind one on: by id those with rows of their own, then the backlog run by run.
    fn read_live_jobs(&self, after: Option<LivePlace>) -> Result<LiveJobs, StorageError> {
        let mut read = LiveJobs::default();
        self.read(|connection| {
            let after_run = match after {
                Some(LivePlace::Run(run)) => run,
                Some(LivePlace::Job(id)) => {
                    self.read_live_rows(connection, id.as_bytes(), &mut read)?;
                    i64::MIN
                }
                None => {
                    self.read_live_rows(connection, &[], &mut read)?;
                    i64::MIN
                }
            };
            self.read_backlog(connection, after_run, &mut read)
        })?;
        Ok(read)
    }

    fn read_live_rows(&self, connection: &Connection, after: &[u8], read: &mut LiveJobs) -> Result<(), StorageError> {
        let path = &self.inner.path;
        let failed = StorageError::database(path);
        let sql = format!("SELECT {JOB_COLUMNS} FROM jobs INDEXED BY jobs_live WHERE live = 1 AND id > ?1 ORDER BY id");
        let mut statement = connection.prepare_cached(&sql).map_err(&failed)?;
        let mut rows = statement.query([after]).map_err(&failed)?;
        while !read.is_full()
            && let Some(row) = rows.next().map_err(&failed)?
        {
            let job = checked_job(row, path)?;
            read.push(&job.open(&self.inner.seal, path)?, LivePlace::Job(job.id(path)?));
        }
        Ok(())
    }

    fn read_backlog(&self, connection: &Connection, after: i64, read: &mut LiveJobs) -> Result<(), StorageError> {
        let (path, seal) = (&self.inner.path, &self.inner.seal);
        let failed = StorageError::database(path);
        let columns = Holds::Ready.columns();
        let sql = format!("SELECT {columns}, jobs FROM backlog WHERE run > ?1 ORDER BY run");
        let mut statement = connection.prepare_cached(&sql).map_err(&failed)?;
        let mut rows = statement.query([after]).map_err(&failed)?;
        while !read.is_full()
            && let Some(row) = rows.next().map_err(&failed)?
        {
            let run = Run::read(row, Holds::Ready, seal, path)?;
            let place = LivePlace::Run(run.number);
            let jobs: u32 = row.get("jobs").map_err(|error| unreadable(path, error, "a run of the backlog"))?;
            if jobs == run.count() {
                run.jobs().for_each(|job| read.push(job.body, place));
                continue;
            }
            for id in backlog::still_waiting(&run, connection, path)? {
                read.push(run.find(id, path)?.body, place);
            }
        }
        Ok(())
    }
}
