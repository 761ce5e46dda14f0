use super::{all, append, at, copy_files, purge, record, records, tamper};
use crate::storage::{LogDb, StorageError};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::sync::mpsc;

fn corruption(dir: &Path) -> String {
    let error = LogDb::open(dir).err().unwrap();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
    error.to_string()
}

#[test]
fn kill_between_any_two_acknowledgements_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    let (copied, has_copied) = mpsc::channel();
    for step in 0..50 {
        let (from, to, copied) = (dir.path().to_owned(), copies.path().join(step.to_string()), copied.clone());
        // The writer does nothing else while it runs this.
        log.append(
            records(step * 3..=step * 3 + 2),
            Box::new(move |result| {
                result.unwrap();
                copy_files(&from, &to);
                copied.send(step).unwrap();
            }),
        );
    }
    for _ in 0..50 {
        let step = has_copied.recv().unwrap();
        let (survivor, recovered) = LogDb::open(&copies.path().join(step.to_string())).unwrap();
        let found = all(&survivor);
        assert!(found.len() as u64 >= (step + 1) * 3, "step {step} holds {} records", found.len());
        assert_eq!(found, records(0..=found.len() as u64 - 1));
        assert_eq!(recovered.last, Some(at(found.len() as u64 - 1)));
    }
}

#[test]
fn a_wal_header_that_a_crash_left_half_written_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=9)).unwrap();
    log.close();
    // No frame was ever behind it: nothing is lost.
    let wal = dir.path().join("log.db-wal");
    fs::write(&wal, [7; 32]).unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    assert_eq!(all(&log), records(0..=9));
    log.close();
    // What stands behind this one was durable once.
    fs::write(&wal, [7; 32 + 24 + 4096]).unwrap();
    assert!(corruption(dir.path()).contains("its header is damaged"));
}

#[test]
fn kill_in_the_middle_of_a_purge_keeps_what_is_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=5000)).unwrap();
    let (from, to) = (dir.path().to_owned(), copy.path().to_owned());
    let (copied, has_copied) = mpsc::channel();
    log.purge(
        at(4900),
        Box::new(move |_| {
            copy_files(&from, &to);
            copied.send(()).unwrap();
        }),
    );
    has_copied.recv().unwrap();
    let (survivor, recovered) = LogDb::open(copy.path()).unwrap();
    assert_eq!(recovered.purged, Some(at(4900)));
    assert_eq!(all(&survivor), records(4901..=5000));
}

/// A log of ten commits that was killed, and for each commit how long the WAL was when it was acknowledged.
fn killed_log(to: &Path) -> Vec<u64> {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    let wal = dir.path().join("log.db-wal");
    let lengths = (0..10).map(|index| {
        append(&log, vec![record(index)]).unwrap();
        fs::metadata(&wal).unwrap().len()
    });
    let lengths = lengths.collect();
    copy_files(dir.path(), to);
    lengths
}

#[test]
fn flipped_bit_in_the_write_ahead_log_is_not_taken_for_its_end() {
    let killed = tempfile::tempdir().unwrap();
    let lengths = killed_log(killed.path());
    for flipped in [8, 20, 40, lengths[0] as usize / 2, lengths[4] as usize - 5, lengths[9] as usize - 1] {
        let dir = tempfile::tempdir().unwrap();
        copy_files(killed.path(), dir.path());
        let wal = dir.path().join("log.db-wal");
        let mut bytes = fs::read(&wal).unwrap();
        bytes[flipped] ^= 1;
        fs::write(&wal, bytes).unwrap();
        assert!(corruption(dir.path()).contains("log.db-wal"), "byte {flipped}");
    }
}

const SECTOR_BYTES: u64 = 512;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn torn_last_write_loses_nothing_acknowledged_before_it(step in 0_usize..9, cut in 0.0..1.0_f64, fill in prop_oneof![Just(0_u8), 0x80..=0xFF_u8]) {
        let dir = tempfile::tempdir().unwrap();
        let lengths = killed_log(dir.path());
        let wal = dir.path().join("log.db-wal");
        // The next write stopped between two sectors (within one it could look like a flipped bit), and the file
        // system had made room for all of it.
        let next = lengths[step + 1] - lengths[step];
        let stop = lengths[step] + (next as f64 * cut) as u64;
        let kept = (stop / SECTOR_BYTES * SECTOR_BYTES).max(lengths[step]);
        let mut bytes = fs::read(&wal).unwrap();
        bytes.truncate(kept as usize);
        bytes.resize(lengths[step + 1] as usize, fill);
        fs::write(&wal, bytes).unwrap();
        let (survivor, _) = LogDb::open(dir.path()).unwrap();
        prop_assert_eq!(all(&survivor), records(0..=step as u64));
        append(&survivor, records(step as u64 + 1..=step as u64 + 1)).unwrap();
    }
}

#[test]
fn damaged_record_is_named_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=199)).unwrap();
    log.close();
    tamper(&dir.path().join("log.db"), "UPDATE log SET body = CAST('other' AS BLOB) WHERE idx = 7");
    let (log, _) = LogDb::open(dir.path()).unwrap();
    assert_eq!(log.read(0, 7, usize::MAX).unwrap().len(), 7);
    let error = log.read(5, 10, usize::MAX).unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }));
    assert!(error.to_string().contains("log.db") && error.to_string().contains("record 7"), "{error}");
}

#[test]
fn damage_among_the_last_records_shows_at_once() {
    for damage in [
        "UPDATE log SET term = 2 WHERE idx = 197",
        "UPDATE log SET crc = crc + 1 WHERE idx = 199",
        "UPDATE log SET body = 'text' WHERE idx = 199",
        "UPDATE meta SET crc = 0 WHERE key = 'purged'",
        "UPDATE meta SET value = x'00' WHERE key = 'format'",
        "DROP TABLE log",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = LogDb::open(dir.path()).unwrap();
        append(&log, records(0..=199)).unwrap();
        purge(&log, 10).unwrap();
        log.close();
        tamper(&dir.path().join("log.db"), damage);
        assert!(LogDb::open(dir.path()).is_err(), "{damage}");
    }
}

#[test]
fn missing_record_is_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=199)).unwrap();
    purge(&log, 10).unwrap();
    log.close();
    let path = dir.path().join("log.db");
    tamper(&path, "DELETE FROM log WHERE idx = 100");
    assert!(corruption(dir.path()).contains("record 100 is missing"));
    tamper(&path, "DELETE FROM log WHERE idx < 100");
    assert!(corruption(dir.path()).contains("record 11 is missing"));
}

#[test]
fn log_that_was_there_is_never_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = LogDb::open(dir.path()).unwrap();
    append(&log, records(0..=1)).unwrap();
    log.close();
    let path = dir.path().join("log.db");
    fs::write(&path, "").unwrap();
    corruption(dir.path());
    fs::remove_file(&path).unwrap();
    let error = LogDb::open(dir.path()).err().unwrap();
    assert!(matches!(error, StorageError::Missing { .. }), "{error}");
}

#[test]
fn file_that_is_no_database_is_named_as_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("log.db"), "not a database at all".repeat(500)).unwrap();
    assert!(corruption(dir.path()).contains("log.db"));
}
