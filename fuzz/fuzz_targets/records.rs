//! What a disk may give back: the body of a log record, and rows of the state machine's tables. The checksums of
//! storage are passed already here, so whatever is wrong must be found by reading.

#![no_main]

use bytes::Bytes;
use jobraft_core::{Core, LiveRecord, Table, identity};
use jobraft_node::consensus::check_record;
use libfuzzer_sys::fuzz_target;

/// A header: version 1; the time and all counters are 100, so that rows may name numbers that were given.
const HEADER: &[u8] = include_bytes!("../header.bin");

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind {
        // An error is as good an answer as any.
        b'L' => drop(check_record(Bytes::copy_from_slice(body))),
        b'I' => drop(identity(body)),
        b'H' => drop(Core::restore(body)),
        _ => restore(bytes),
    }
});

/// Restores a state of rows: for each a byte that says which table, the lengths of key and body, and these.
fn restore(mut bytes: &[u8]) {
    let mut restore = Core::restore(HEADER).expect("the header is one");
    while let Some(([table, key, high, low], rest)) = bytes.split_first_chunk() {
        let (key, rest) = rest.split_at(rest.len().min(usize::from(*key)));
        let (row, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes([*high, *low]))));
        bytes = rest;
        let taken = match usize::from(*table) % (Table::ALL.len() + 3) {
            10 => LiveRecord::decode(row).and_then(|job| restore.job(job)),
            11 => restore.remember(row),
            12 => restore.dead(row),
            table => restore.row(Table::ALL[table], &String::from_utf8_lossy(key), row),
        };
        if taken.is_err() {
            return;
        }
    }
    let Ok(core) = restore.finish() else { return };
    let _ = (core.queues(), core.modules(), core.next_timer());
}
