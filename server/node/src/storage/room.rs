//! Room in a database's file: what is free, and how it goes back to the file system.

use super::database::unsigned;
use rusqlite::{Connection, Transaction};

/// What a file's pages are used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Pages that hold nothing.
    pub(super) free: u64,
    /// All pages.
    pub(super) pages: u64,
}

impl Room {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self { free: pragma(connection, "freelist_count")?, pages: pragma(connection, "page_count")? })
    }

    /// Pages that hold something.
    pub(super) fn used(&self) -> u64 {
        self.pages.saturating_sub(self.free)
    }
}

/// Takes up to `pages_max` free pages out of the file. It gets shorter on disk when the WAL is copied.
pub(super) fn give_back(transaction: &Transaction<'_>, pages_max: u64) -> rusqlite::Result<()> {
    let mut vacuum = transaction.prepare(&format!("PRAGMA incremental_vacuum({pages_max})"))?;
    let mut steps = vacuum.query([])?;
    // One step gives back one page.
    while steps.next()?.is_some() {}
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| unsigned(row, 0))
}
