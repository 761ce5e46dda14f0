//! The disks of all nodes, mounted and unmounted.

use super::disk::{Defect, Disk};
use super::image::{Image, ROOT};
use crate::real::verdict::Trouble;
use fuser::{BackgroundSession, Config, MountOption};
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug)]
struct Slot {
    disk: Disk,
    mountpoint: PathBuf,
    mounted: Option<BackgroundSession>,
}

/// One disk for each node.
#[derive(Debug)]
pub(super) struct Rack(BTreeMap<u64, Slot>);

impl Rack {
    /// Empty disks, mounted below `directory`.
    pub(super) fn new(directory: &Path, nodes: u64) -> Result<Self, Trouble> {
        let mut rack = Self(BTreeMap::new());
        for node in 1..=nodes {
            let mountpoint = directory.join(format!("disk-{node}"));
            std::fs::create_dir(&mountpoint).map_err(|error| Trouble::machine("make a directory", error))?;
            rack.0.insert(node, Slot { disk: Disk::default(), mountpoint, mounted: None });
            rack.mount(node)
                .map_err(|trouble| Trouble::NotPermitted(format!("no disk can be mounted here: {trouble}")))?;
        }
        Ok(rack)
    }

    /// Where a node's data lie.
    pub(super) fn data_dir(&self, node: u64) -> PathBuf {
        self.0[&node].mountpoint.join("data")
    }

    /// Lets a disk have a defect, or none.
    pub(super) fn set_defect(&self, node: u64, defect: Defect) {
        self.0[&node].disk.set_defect(defect);
    }

    /// How often files were fsynced, on all disks.
    pub(super) fn syncs(&self) -> u64 {
        self.0.values().map(|slot| slot.disk.syncs()).sum()
    }

    /// The power of one disk is lost. Nobody may use it: its node was killed before.
    pub(super) fn cut(&mut self, node: u64, random: &mut StdRng) -> Result<(), Trouble> {
        self.change(node, |image| image.cut(random))
    }

    /// What is on a disk, to be put back later. As for a cut, its node does not run.
    pub(super) fn copy(&self, node: u64) -> Image {
        self.0[&node].disk.with_image(|image| image.clone())
    }

    /// Changes what is on a disk that nobody uses. It is mounted anew, so that the kernel remembers nothing of it.
    pub(super) fn change<T>(&mut self, node: u64, change: impl FnOnce(&mut Image) -> T) -> Result<T, Trouble> {
        let failed = |error| Trouble::machine("unmount a disk", error);
        if let Some(mounted) = self.0.get_mut(&node).and_then(|slot| slot.mounted.take()) {
            mounted.umount_and_join().map_err(failed)?;
        }
        let changed = self.0[&node].disk.with_image(change);
        self.mount(node)?;
        Ok(changed)
    }

    /// Unmounts all disks for good, and writes what is on them below `directory`, for people to look at.
    pub(super) fn export(&mut self, directory: &Path) -> Result<(), Trouble> {
        for (node, slot) in &mut self.0 {
            if let Some(mounted) = slot.mounted.take() {
                mounted.umount_and_join().map_err(|error| Trouble::machine("unmount a disk", error))?;
            }
            let exported = slot.disk.with_image(|image| image.export(ROOT, &directory.join(format!("disk-{node}"))));
            exported.map_err(|error| Trouble::machine("copy a disk", error))?;
        }
        Ok(())
    }

    fn mount(&mut self, node: u64) -> Result<(), Trouble> {
        let Some(slot) = self.0.get_mut(&node) else { return Ok(()) };
        let mut options = Config::default();
        options.mount_options = vec![MountOption::FSName("jobraft-disk".to_owned()), MountOption::NoAtime];
        let mounted = fuser::spawn_mount(slot.disk.clone(), &slot.mountpoint, &options);
        slot.mounted = Some(mounted.map_err(|error| Trouble::machine("mount a disk (FUSE)", error))?);
        Ok(())
    }
}
