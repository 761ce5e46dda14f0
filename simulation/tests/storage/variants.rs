//! Which of the ways in which a crash can leave a disk are looked at.

use simulation::disk::{Change, Disk, Fate, Unsynced, scratch};
use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Ways looked at for each crash point, unless all are asked for.
const VARIANTS_MAX: usize = 14;
/// Changes of which every subset is looked at when all are asked for.
const SUBSETS_OF: usize = 7;
const SECTOR_BYTES: usize = 512;
/// A WAL's header lies within a sector, and a disk writes a sector whole or not at all.
const WAL_HEADER_BYTES: usize = 32;

/// Whether every case is looked at instead of a sample: by `STORAGE_EVERYWHERE=1`.
pub(crate) fn everywhere() -> bool {
    std::env::var_os("STORAGE_EVERYWHERE").is_some_and(|value| value == "1")
}

/// The fates of the unsynced changes, for each way.
pub(crate) fn variants(changes: &[(PathBuf, Change)]) -> Vec<Vec<Fate>> {
    let count = changes.len();
    let way = |at: usize, before, here, behind| -> Vec<Fate> {
        let fate = |i: usize| match i.cmp(&at) {
            Ordering::Less => before,
            Ordering::Equal => here,
            Ordering::Greater => behind,
        };
        (0..count).map(fate).collect()
    };
    let (lost, whole) = (Fate::Lost, Fate::Whole);
    let mut ways = vec![vec![lost; count], vec![whole; count]];
    for (at, (_, change)) in changes.iter().enumerate() {
        ways.extend([way(at, whole, lost, lost), way(at, lost, whole, whole)]);
        ways.extend([way(at, whole, lost, whole), way(at, lost, whole, lost)]);
        for torn in tears(*change) {
            ways.extend([way(at, whole, torn, lost), way(at, whole, torn, whole), way(at, lost, torn, lost)]);
        }
    }
    if everywhere() && count <= SUBSETS_OF {
        let fate = |set: u32, i: usize| if set >> i & 1 == 1 { Fate::Whole } else { Fate::Lost };
        ways.extend((0..1_u32 << count).map(|set| (0..count).map(|i| fate(set, i)).collect()));
    }
    let mut seen = Vec::new();
    ways.retain(|way| {
        !seen.contains(way) && {
            seen.push(way.clone());
            true
        }
    });
    let stride = if everywhere() { 1 } else { ways.len().div_ceil(VARIANTS_MAX) };
    // An odd start, so that not always the same kinds are left out.
    let (always, others) = ways.split_at(ways.len().min(2));
    always.iter().chain(others.iter().skip(count % stride).step_by(stride)).cloned().collect()
}

fn tears(change: Change) -> Vec<Fate> {
    let Change::Written { at, bytes } = change else { return Vec::new() };
    if at == 0 && bytes == WAL_HEADER_BYTES {
        return vec![Fate::Zeros];
    }
    // Not so near the end that but one bit is lost: that is what a flipped bit looks like.
    let mut tears = vec![Fate::Head(bytes / 2), Fate::Head(1), Fate::Tail(bytes / 2), Fate::Zeros];
    // Of many frames, between any two.
    tears.extend([bytes / 8, bytes / 8 * 7].into_iter().filter(|cut| *cut > SECTOR_BYTES).map(Fate::Head));
    if everywhere() {
        tears.extend((SECTOR_BYTES..bytes).step_by(SECTOR_BYTES).flat_map(|cut| [Fate::Head(cut), Fate::Tail(cut)]));
    }
    tears
}

/// Calls `look` with a copy of what each way of a crash leaves.
pub(crate) fn each_survivor(disk: &Disk, mut look: impl FnMut(&Path, &str)) -> usize {
    let changes = disk.unsynced().unwrap();
    let ways = variants(&changes);
    let count = ways.len();
    for way in ways {
        let directory: TempDir = scratch().unwrap();
        let to = directory.path().join("disk");
        let mut fates = way.iter().copied();
        disk.write_survivors(&to, &mut |_: &Unsynced<'_>| fates.next().unwrap()).unwrap();
        let fates: Vec<_> = changes
            .iter()
            .zip(&way)
            .map(|((file, change), fate)| format!("{} {change:?} {fate:?}", file.display()))
            .collect();
        look(&to, &format!("power failed at {:?}: {fates:#?}", disk.cut_step()));
    }
    count
}
