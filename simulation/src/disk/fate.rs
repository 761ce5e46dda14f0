//! What may become of a change that was not synced when the power failed.

use std::path::Path;

/// A change that a crash may lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsynced<'a> {
    /// The file, by its path on the disk.
    pub file: &'a Path,
    /// How many changes of that file that may be lost come before.
    pub number: usize,
    /// How many changes of that file may be lost.
    pub count: usize,
    /// What was done.
    pub change: Change,
}

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made; what is lost with this is the file.
    Made,
    /// So many bytes were written at an offset.
    Written {
        /// Where the first of them stands.
        at: u64,
        /// How many.
        bytes: usize,
    },
    /// It was cut, or made longer, to so many bytes.
    Truncated {
        /// How long it became.
        to: u64,
    },
}

/// What a crash leaves of a change. Changes other than writes are lost or whole: every other fate makes them whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Lost,
    /// All of it.
    Whole,
    /// So many bytes from its beginning.
    Head(usize),
    /// What stands behind so many bytes.
    Tail(usize),
    /// No byte of it, but if the file grew by it, then it is as long, with zeros.
    Zeros,
}
