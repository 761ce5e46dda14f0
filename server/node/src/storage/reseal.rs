//! Writes anew what is not sealed as it would be now: to begin sealing, to end it, or to do without a former key.

use super::StorageError;
use super::database::Database;
use super::log_db::{self, LOG};
use super::log_writer::record_crc;
use super::runs::{Holds, Run};
use super::state_db::STATE;
use super::state_rows::{JOB_COLUMNS, checked_item, checked_job, column_number, open_item, sealed_item};
use crate::seal::Seal;
use rusqlite::{Row, Transaction};
use std::path::Path;

/// Rows that are looked at in one transaction, unless so many bytes are to be written before.
const ROWS_AT_ONCE: i64 = 1_000;
const BYTES_AT_ONCE: usize = 8 << 20;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Rows that were looked at.
    pub rows: u64,
    /// Those that were written anew.
    pub written: u64,
}

/// Writes anew each body in both databases in `dir` that is not sealed as `seal` would, and then the files, so that nothing of
/// what stood there is left in them. Nobody else may use the directory. What was interrupted can be begun again.
///
/// # Errors
/// [`StorageError::Sealed`] if a body is sealed under a key that `seal` does not have, [`StorageError::Corrupt`], and what SQLite
/// and the file system refuse.
pub fn reseal(dir: &Path, seal: &Seal, mut progress: impl FnMut(Resealed)) -> Result<Resealed, StorageError> {
    let mut done = Resealed::default();
    let mut step = |database: &mut Database, step: Step<'_>| -> Result<Option<i64>, StorageError> {
        let path = database.path().to_owned();
        let mut looked = Looked::default();
        database.write(|transaction| {
            looked = step(transaction, &path, seal)?;
            Ok(())
        })?;
        database.settle()?;
        done.rows += looked.rows;
        done.written += looked.written;
        progress(done);
        Ok(looked.last)
    };
    for (kind, tables) in [(&LOG, &[log as StepBehind][..]), (&STATE, &[jobs, completed, backlog])] {
        let mut database = Database::open(dir, kind)?;
        for table in tables {
            let mut after = i64::MIN;
            while let Some(last) =
                step(&mut database, &|transaction, path, seal| table(transaction, path, seal, after))?
            {
                after = last;
            }
        }
        if kind.file == STATE.file {
            step(&mut database, &items)?;
        }
        database.rewrite()?;
        database.close()?;
    }
    Ok(done)
}

type Step<'a> = &'a dyn Fn(&Transaction<'_>, &Path, &Seal) -> Result<Looked, StorageError>;
/// One that goes on behind a row.
type StepBehind = fn(&Transaction<'_>, &Path, &Seal, i64) -> Result<Looked, StorageError>;

/// What one transaction looked at.
#[derive(Default)]
struct Looked {
    rows: u64,
    written: u64,
    /// The last row of it; `None` if there are no more.
    last: Option<i64>,
}

fn log(transaction: &Transaction<'_>, path: &Path, seal: &Seal, after: i64) -> Result<Looked, StorageError> {
    let select = "SELECT idx, term, crc, body FROM log WHERE idx > ?1 ORDER BY idx LIMIT ?2";
    let update = "UPDATE log SET crc = ?2, body = ?3 WHERE idx = ?1";
    rows_behind(transaction, path, (select, update), after, |row| {
        let stored = log_db::stored(row, path, || "a log record".to_owned())?;
        let index = column_number(stored.index);
        if seal.is_current(&stored.body) {
            return Ok((index, None));
        }
        let opened = log_db::opened(stored, seal, path)?;
        let body = log_db::sealed(&opened, seal).into_owned();
        Ok((index, Some((record_crc(opened.index, opened.term, &body), body))))
    })
}

fn jobs(transaction: &Transaction<'_>, path: &Path, seal: &Seal, after: i64) -> Result<Looked, StorageError> {
    let select = format!("SELECT {JOB_COLUMNS}, rowid FROM jobs WHERE rowid > ?1 ORDER BY rowid LIMIT ?2");
    let update = "UPDATE jobs SET crc = ?2, body = ?3 WHERE rowid = ?1";
    rows_behind(transaction, path, (&select, update), after, |row| {
        let job = checked_job(row, path)?;
        let rowid = row.get("rowid").map_err(StorageError::database(path))?;
        let is_current = seal.is_current(job.body);
        Ok((rowid, if is_current { None } else { Some(job.sealed(&job.open(seal, path)?, seal)) }))
    })
}

fn completed(transaction: &Transaction<'_>, path: &Path, seal: &Seal, after: i64) -> Result<Looked, StorageError> {
    runs(transaction, Holds::Completed, path, seal, after)
}

fn backlog(transaction: &Transaction<'_>, path: &Path, seal: &Seal, after: i64) -> Result<Looked, StorageError> {
    runs(transaction, Holds::Ready, path, seal, after)
}

fn runs(
    transaction: &Transaction<'_>,
    holds: Holds,
    path: &Path,
    seal: &Seal,
    after: i64,
) -> Result<Looked, StorageError> {
    let table = holds.table();
    let select = format!("SELECT {} FROM {table} WHERE run > ?1 ORDER BY run LIMIT ?2", holds.columns());
    let update = format!("UPDATE {table} SET crc = ?2, body = ?3 WHERE run = ?1");
    rows_behind(transaction, path, (&select, &update), after, |row| {
        let run = Run::read(row, holds, seal, path)?;
        let sealed = (!run.is_current).then(|| run.sealed(seal));
        Ok((run.number, sealed.map(|(crc, body)| (crc, body.into_owned()))))
    })
}

/// Looks at the next rows of a table behind a number: `look` answers the number of each and, unless its body is current, its
/// checksum and body as they are to be.
fn rows_behind(
    transaction: &Transaction<'_>,
    path: &Path,
    (select, update): (&str, &str),
    after: i64,
    look: impl Fn(&Row<'_>) -> Result<(i64, Option<(u32, Vec<u8>)>), StorageError>,
) -> Result<Looked, StorageError> {
    let failed = StorageError::database(path);
    let (mut looked, mut changed) = (Looked::default(), Vec::new());
    let mut bytes = 0;
    let mut select = transaction.prepare_cached(select).map_err(&failed)?;
    let mut rows = select.query((after, ROWS_AT_ONCE)).map_err(&failed)?;
    while bytes < BYTES_AT_ONCE
        && let Some(row) = rows.next().map_err(&failed)?
    {
        let (number, sealed) = look(row)?;
        looked.rows += 1;
        looked.last = Some(number);
        if let Some((crc, body)) = sealed {
            bytes += body.len();
            changed.push((number, crc, body));
        }
    }
    let mut update = transaction.prepare_cached(update).map_err(&failed)?;
    changed.iter().try_for_each(|row| update.execute((row.0, row.1, &row.2)).map(drop)).map_err(&failed)?;
    looked.written = changed.len() as u64;
    Ok(looked)
}

/// The small tables, all at once: they are held in memory by any node.
fn items(transaction: &Transaction<'_>, path: &Path, seal: &Seal) -> Result<Looked, StorageError> {
    let failed = StorageError::database(path);
    let (mut looked, mut changed) = (Looked::default(), Vec::new());
    let mut select = transaction.prepare_cached("SELECT kind, key, crc, body FROM items").map_err(&failed)?;
    let mut rows = select.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let (kind, key, written) = checked_item(row, path)?;
        looked.rows += 1;
        if !seal.is_current(written) {
            let opened = open_item(kind, key, written, seal, path)?;
            let (crc, body) = sealed_item(kind, key, &opened, seal);
            changed.push((kind.to_owned(), key.to_owned(), crc, body.into_owned()));
        }
    }
    for (kind, key, crc, body) in &changed {
        let sql = "UPDATE items SET crc = ?3, body = ?4 WHERE kind = ?1 AND key = ?2";
        transaction.prepare_cached(sql).and_then(|mut put| put.execute((kind, key, crc, body))).map_err(&failed)?;
    }
    looked.written = changed.len() as u64;
    Ok(looked)
}
