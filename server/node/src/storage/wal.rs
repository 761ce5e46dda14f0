//! Tells a write-ahead log that ends in an unfinished write from one that was damaged.
//!
//! SQLite reads its WAL up to the first frame whose checksum is wrong and silently forgets the rest. That is right
//! after a crash, and wrong when a bit flipped in the middle: what came after had been fsynced and acknowledged, and
//! a Raft node that forgets what it acknowledged can lose a cluster's data. Commits are fsynced one by one, so that
//! a crash can leave at most one unfinished transaction; what is followed by further commits was finished once.
//! A fault in the very last transactions looks like a crash and cannot be told from one.
//!
//! This relies on no frames of an earlier crash being left behind the end: `database` empties the WAL whenever it
//! opens one. Format: <https://www.sqlite.org/fileformat2.html#walformat>.

use super::StorageError;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The lowest bit says in which byte order checksums are computed.
const MAGIC: u32 = 0x377f_0682;
const PAGE_BYTES_MAX: usize = 65_536;

/// Checks the WAL at `path`, if there is one.
///
/// # Errors
/// [`StorageError::Corrupt`] if finished transactions lie behind a damaged one, or [`StorageError::Io`].
pub(super) fn check(path: &Path) -> Result<(), StorageError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StorageError::io("open", path)(error)),
    };
    match damage(&mut BufReader::with_capacity(1 << 20, file)) {
        Ok(None) => Ok(()),
        Ok(Some(what)) => Err(StorageError::corrupt(path, what)),
        Err(error) => Err(StorageError::io("read", path)(error)),
    }
}

fn damage(wal: &mut impl Read) -> io::Result<Option<String>> {
    let mut header = [0; HEADER_BYTES];
    if !fill(wal, &mut header)? || header == [0; HEADER_BYTES] {
        return Ok(None);
    }
    let magic = word(&header, 0);
    let page_bytes = word(&header, 8) as usize;
    let big_endian = magic & 1 == 1;
    let mut sum = checksum((0, 0), &header[..24], big_endian);
    if magic & !1 != MAGIC
        || !(512..=PAGE_BYTES_MAX).contains(&page_bytes)
        || sum != (word(&header, 24), word(&header, 28))
    {
        // It is fsynced before the first frame is written: with none behind, it is itself what a crash left unfinished.
        let mut frame = [0; FRAME_HEADER_BYTES + 512];
        return Ok(fill(wal, &mut frame)?.then(|| "its header is damaged".to_owned()));
    }
    let salt = &header[16..24];
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let mut first_bad = None;
    let mut commits_behind = 0;
    for number in 1_u64.. {
        if !fill(wal, &mut frame)? {
            break;
        }
        let same_salt = &frame[8..16] == salt;
        if first_bad.is_none() {
            sum = checksum(sum, &frame[..8], big_endian);
            sum = checksum(sum, &frame[FRAME_HEADER_BYTES..], big_endian);
            if same_salt && sum == (word(&frame, 16), word(&frame, 20)) {
                continue;
            }
            first_bad = Some(number);
        }
        commits_behind += usize::from(same_salt && word(&frame, 4) != 0);
    }
    Ok(first_bad
        .filter(|_| commits_behind > 1)
        .map(|bad| format!("frame {bad} is damaged, and finished transactions lie behind it")))
}

/// Fills `buffer`; false if the file ends before.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn checksum((mut a, mut b): (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let word = |pair: &[u8], at: usize| {
        let bytes = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
        if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(word(pair, 0)).wrapping_add(b);
        b = b.wrapping_add(word(pair, 4)).wrapping_add(a);
    }
    (a, b)
}
