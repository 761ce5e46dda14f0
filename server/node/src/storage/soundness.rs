//! Whether a database is sound, looked at when it is opened.
//!
//! Rows carry checksums, but a bit that flips in SQLite's own structure can hide rows, and what is not found is not
//! checked: a vote that was given, records of the log, jobs. So the structure is examined at each opening, as far as
//! that is worth its time (ADR 0023): a small database whole, a larger one without comparing indexes to their table,
//! and one beyond [`STRUCTURE_BYTES_MAX`] not at all: damage there shows when it is read. No start waits for the examination of a
//! large state (ADR 0037).

use super::StorageError;
use super::database::{crc32, unreadable, unsigned};
use rusqlite::Connection;
use std::path::Path;

/// Up to here every index is compared with its table, and every row's checksum is computed: about half a second.
const WHOLE_BYTES_MAX: u64 = 64 << 20;
/// Up to here the structure of every page is examined: two to three seconds.
const STRUCTURE_BYTES_MAX: u64 = 1 << 30;

/// Examines a database.
///
/// # Errors
/// [`StorageError::Corrupt`] with the first thing that is wrong.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StorageError> {
    let failed = StorageError::database(path);
    let bytes = bytes(connection).map_err(&failed)?;
    check_meta(connection, path)?;
    if bytes > STRUCTURE_BYTES_MAX {
        tracing::info!(path = %path.display(), bytes, "too large to be examined; damage shows when it is read");
        return Ok(());
    }
    let pragma = if bytes <= WHOLE_BYTES_MAX { "integrity_check" } else { "quick_check" };
    let verdict: String = connection.query_row(&format!("PRAGMA {pragma}(1)"), [], |row| row.get(0)).map_err(failed)?;
    if verdict == "ok" { Ok(()) } else { Err(StorageError::corrupt(path, verdict)) }
}

/// Whether a database is so small that a start may read all of it.
pub(super) fn is_small(connection: &Connection, path: &Path) -> Result<bool, StorageError> {
    Ok(bytes(connection).map_err(StorageError::database(path))? <= WHOLE_BYTES_MAX)
}

fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| connection.query_row(&format!("PRAGMA {name}"), [], |row| unsigned(row, 0));
    Ok(pragma("page_count")?.saturating_mul(pragma("page_size")?))
}

/// Every row of `meta`, whatever its key: one whose key changed would look as if it had never been written.
fn check_meta(connection: &Connection, path: &Path) -> Result<(), StorageError> {
    let failed = StorageError::database(path);
    let mut statement = connection.prepare("SELECT key, value, crc FROM meta").map_err(&failed)?;
    let mut rows = statement.query([]).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        let read = || {
            let (key, value) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_blob()?);
            Ok((key, crc32(&[key.as_bytes(), value]) == row.get::<_, u32>(2)?))
        };
        let (key, is_right) = read().map_err(|error| unreadable(path, error, "a row of meta"))?;
        if !is_right {
            return Err(StorageError::corrupt(path, format!("the checksum of meta {key} is wrong")));
        }
    }
    Ok(())
}
