#![expect(clippy::unwrap_used, reason = "tests")]

use super::image::{Image, ROOT};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::ffi::OsStr;

const SEEDS: u64 = 200;

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

/// The contents of `file` after each of many losses of power.
fn after_cuts(image: &Image) -> Vec<Option<Vec<u8>>> {
    let cut = |seed| {
        let mut image = image.clone();
        image.cut(&mut StdRng::seed_from_u64(seed));
        let number = image.lookup(ROOT, name("file"))?;
        Some(image.inode(number).unwrap().read(0, usize::MAX).to_owned())
    };
    (0..SEEDS).map(cut).collect()
}

fn synced() -> (Image, u64) {
    let mut image = Image::default();
    let file = image.create(ROOT, name("file"), false, 0o600);
    image.write(file, 0, &[1; 2_000]);
    image.sync(file);
    image.sync_names();
    (image, file)
}

#[test]
fn what_was_synced_survives_every_cut() {
    let (image, _) = synced();
    assert!(after_cuts(&image).iter().all(|found| found.as_deref() == Some(&[1; 2_000])));
}

#[test]
fn what_was_not_synced_may_survive_be_lost_or_be_torn() {
    let (mut image, file) = synced();
    image.write(file, 0, &[2; 2_000]);
    let found = after_cuts(&image);
    assert!(found.contains(&Some(vec![1; 2_000])) && found.contains(&Some(vec![2; 2_000])));
    let torn = |bytes: &Vec<u8>| bytes.contains(&1) && bytes.contains(&2);
    let torn: Vec<_> = found.iter().flatten().filter(|bytes| torn(bytes)).collect();
    assert!(!torn.is_empty());
    // Never within a sector.
    for bytes in torn {
        assert!(bytes.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
    }
}

#[test]
fn later_changes_may_survive_earlier_ones_that_do_not() {
    let (mut image, file) = synced();
    image.write(file, 0, &[2; 512]);
    image.write(file, 1_024, &[3; 512]);
    assert!(after_cuts(&image).iter().flatten().any(|bytes| bytes[0] == 1 && bytes[1_024] == 3));
}

#[test]
fn a_name_needs_the_sync_of_its_directory() {
    let mut image = Image::default();
    let file = image.create(ROOT, name("file"), false, 0o600);
    image.write(file, 0, b"x");
    image.sync(file);
    let found = after_cuts(&image);
    assert!(found.contains(&None) && found.contains(&Some(b"x".to_vec())));
}

#[test]
fn a_rename_is_whole() {
    let (mut image, _) = synced();
    let new = image.create(ROOT, name("new"), false, 0o600);
    image.write(new, 0, &[9; 10]);
    image.sync(new);
    assert!(image.rename((ROOT, name("new")), (ROOT, name("file"))));
    let found = after_cuts(&image);
    assert!(found.iter().all(|found| *found == Some(vec![1; 2_000]) || *found == Some(vec![9; 10])));
    assert!(found.contains(&Some(vec![9; 10])));
}

#[test]
fn what_a_failed_sync_was_to_keep_is_kept_by_no_later_one() {
    let (mut image, file) = synced();
    image.write(file, 0, &[2; 2_000]);
    image.fail_sync(file);
    image.sync(file);
    assert_eq!(image.inode(file).unwrap().read(0, 1), [2]);
    assert!(after_cuts(&image).iter().all(|found| found.as_deref() == Some(&[1; 2_000])));
}

#[test]
fn damage_is_one_bit_or_the_end() {
    let (mut image, file) = synced();
    image.flip(file, 700, 3);
    image.truncate(file, 1_000);
    let mut wanted = vec![1; 1_000];
    wanted[700] = 1 ^ 8;
    assert!(after_cuts(&image).iter().all(|found| found.as_ref() == Some(&wanted)));
}
