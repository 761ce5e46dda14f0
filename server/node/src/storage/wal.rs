//! Tells a write-ahead log that ends in an unfinished write from one that was damaged.
//!
//! SQLite reads its WAL up to the first frame whose checksum is wrong and silently forgets the rest. That is right
//! after a crash, and wrong when a bit flipped in the middle: what came after had been fsynced and acknowledged, and
//! a Raft node that forgets what it acknowledged can lose a cluster's data. Commits are fsynced one by one, so that
//! a crash can leave at most one unfinished transaction; what is followed by further commits was finished once.
//! In the last transaction a damaged frame may be an unfinished write. If all else of that transaction is there, and a
//! single bit makes the frame right again, it is none, for a write that stopped leaves whole sectors as they were (where
//! such a sector lacks a single bit, the node refuses to start rather than to forget). Two flipped bits in the last
//! transaction, and a file that is cut between transactions, look like a crash and cannot be told from one. SQLite fsyncs
//! the header of a new WAL before any frame, and a disk writes a header, which lies in one sector, whole or not at all: a
//! damaged header with frames behind it is no crash either.
//!
//! This relies on no frames of an earlier crash being left behind the end: `database` empties the WAL whenever it
//! opens one. Format: <https://www.sqlite.org/fileformat2.html#walformat>.

use super::StorageError;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
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

fn damage(wal: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut header = [0; HEADER_BYTES];
    if !fill(wal, &mut header)? {
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
        return Ok(holds_anything(wal)?.then(|| "its header is damaged".to_owned()));
    }
    let salt = &header[16..24];
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    let mut flipped = None;
    // What the checksums may go on from too: a bit of the data can look like one of the checksum.
    let mut or_from = None;
    let mut first_bad = None;
    let mut commits_behind = 0;
    for number in 1_u64.. {
        if !fill(wal, &mut frame)? {
            break;
        }
        let same_salt = &frame[8..16] == salt;
        let mut is_commit = word(&frame, 4) != 0;
        if first_bad.is_none() {
            let before = sum;
            let stored = (word(&frame, 16), word(&frame, 20));
            sum = frame_checksum(before, &frame, big_endian);
            if let Some(other) = or_from.take().filter(|_| sum != stored) {
                sum = frame_checksum(other, &frame, big_endian);
            }
            if same_salt && sum == stored {
                // All of a transaction is there, but for one bit: it was finished.
                if let Some(flipped) = flipped.filter(|_| is_commit) {
                    return Ok(Some(one_bit(flipped)));
                }
                continue;
            }
            if flipped.is_none()
                && let Some(flip) = one_bit_wrong(before, &frame, salt, big_endian)
            {
                is_commit |= flip == Flip::CommitMark;
                if is_commit {
                    return Ok(Some(one_bit(number)));
                }
                flipped = Some(number);
                or_from = (flip == Flip::Checksum).then_some(sum);
                sum = stored;
                continue;
            }
            first_bad = Some(flipped.unwrap_or(number));
        }
        commits_behind += usize::from(same_salt && is_commit);
    }
    Ok(first_bad
        .filter(|_| commits_behind > 1)
        .map(|bad| format!("frame {bad} is damaged, and finished transactions lie behind it")))
}

fn one_bit(frame: u64) -> String {
    format!("a bit of frame {frame} is flipped")
}

/// Whether anything but zeros follows.
fn holds_anything(wal: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let buffer = wal.fill_buf()?;
        if buffer.iter().any(|&byte| byte != 0) {
            return Ok(true);
        }
        let bytes = buffer.len();
        if bytes == 0 {
            return Ok(false);
        }
        wal.consume(bytes);
    }
}

/// Which part of a frame a flipped bit belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flip {
    /// What says that a transaction ends with the frame.
    CommitMark,
    Checksum,
    Other,
}

/// Where the frame, whose checksum goes on from `before`, is wrong, if it would be right with one bit another.
fn one_bit_wrong(before: (u32, u32), frame: &[u8], salt: &[u8], big_endian: bool) -> Option<Flip> {
    let wrong_salt: u32 = frame[8..16].iter().zip(salt).map(|(a, b)| (a ^ b).count_ones()).sum();
    let sum = frame_checksum(before, frame, big_endian);
    let stored = (word(frame, 16), word(frame, 20));
    let wrong_sum = (sum.0 ^ stored.0).count_ones() + (sum.1 ^ stored.1).count_ones();
    match (wrong_salt, wrong_sum) {
        (1, 0) => return Some(Flip::Other),
        (0, 1) => return Some(Flip::Checksum),
        (0, _) => {}
        _ => return None,
    }
    let checked = [&frame[..8], &frame[FRAME_HEADER_BYTES..]].concat();
    let word = one_bit_off(&checked, (stored.0.wrapping_sub(sum.0), stored.1.wrapping_sub(sum.1)), big_endian)?;
    Some(if word == 4 { Flip::CommitMark } else { Flip::Other })
}

/// The place of a word of `bytes` in which one bit, flipped, changes the checksum by `wanted`. What a word adds to the sums
/// is multiplied on the way to the end by a factor of its place alone.
fn one_bit_off(bytes: &[u8], wanted: (u32, u32), big_endian: bool) -> Option<usize> {
    let (mut first, mut second) = ((1_u32, 1_u32), (0_u32, 1_u32));
    let onward = |(a, b): (u32, u32)| (a.wrapping_add(b), a.wrapping_add(b).wrapping_add(b));
    for (number, pair) in bytes.chunks_exact(8).enumerate().rev() {
        for (at, factor) in [(0, first), (4, second)] {
            let bytes = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
            let word = if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
            for bit in 0..u32::BITS {
                let change = (word ^ 1 << bit).wrapping_sub(word);
                if (change.wrapping_mul(factor.0), change.wrapping_mul(factor.1)) == wanted {
                    return Some(number * 8 + at);
                }
            }
        }
        (first, second) = (onward(first), onward(second));
    }
    None
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

fn frame_checksum(before: (u32, u32), frame: &[u8], big_endian: bool) -> (u32, u32) {
    checksum(checksum(before, &frame[..8], big_endian), &frame[FRAME_HEADER_BYTES..], big_endian)
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
