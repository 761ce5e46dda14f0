//! A disk: what is on it, what is wrong with it, and what it answers.

use super::image::{Image, Inode};
use fuser::{Errno, FileAttr, FileType, INodeNo};
use std::ffi::OsStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

/// What it says that a block is.
pub(super) const BLOCK: u32 = 4_096;

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Defect {
    /// Nothing.
    #[default]
    None,
    /// fsync fails with EIO, and what it was to keep is lost.
    FailingSync,
    /// Nothing can grow: ENOSPC.
    Full,
    /// Nothing can be changed: EROFS, as after an error of the file system.
    ReadOnly,
}

/// A disk; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) image: Image,
    pub(super) defect: Defect,
    syncs: u64,
}

impl Disk {
    /// Lets it have a defect, or none.
    pub(super) fn set_defect(&self, defect: Defect) {
        self.state().defect = defect;
    }

    /// Works with what is on it. It must not be mounted if that changes something.
    pub(super) fn with_image<T>(&self, work: impl FnOnce(&mut Image) -> T) -> T {
        work(&mut self.state().image)
    }

    /// How often a file was fsynced.
    #[must_use]
    pub(super) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn may_change(&self) -> Result<(), Errno> {
        if self.defect == Defect::ReadOnly { Err(Errno::EROFS) } else { Ok(()) }
    }

    pub(super) fn may_grow(&self) -> Result<(), Errno> {
        self.may_change()?;
        if self.defect == Defect::Full { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    pub(super) fn inode(&self, number: INodeNo) -> Result<&Inode, Errno> {
        self.image.inode(number.0).ok_or(Errno::ENOENT)
    }

    pub(super) fn attributes(&self, number: INodeNo) -> Result<FileAttr, Errno> {
        let inode = self.inode(number)?;
        let size = inode.size() as u64;
        let kind = if inode.is_directory { FileType::Directory } else { FileType::RegularFile };
        let time = UNIX_EPOCH;
        Ok(FileAttr {
            ino: number,
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: inode.mode,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        })
    }

    pub(super) fn create(
        &mut self,
        parent: INodeNo,
        name: &OsStr,
        is_directory: bool,
        mode: u32,
    ) -> Result<FileAttr, Errno> {
        self.may_grow()?;
        if self.image.lookup(parent.0, name).is_some() {
            return Err(Errno::EEXIST);
        }
        let mode = u16::try_from(mode & 0o7777).unwrap_or(0o600);
        let number = self.image.create(parent.0, name, is_directory, mode);
        self.attributes(INodeNo(number))
    }

    pub(super) fn write(&mut self, number: INodeNo, offset: usize, data: &[u8]) -> Result<(), Errno> {
        if offset + data.len() > self.inode(number)?.size() { self.may_grow() } else { self.may_change() }?;
        self.image.write(number.0, offset, data);
        Ok(())
    }

    pub(super) fn sync(&mut self, number: INodeNo) -> Result<(), Errno> {
        match self.defect {
            Defect::FailingSync => {
                self.image.fail_sync(number.0);
                return Err(Errno::EIO);
            }
            Defect::ReadOnly if self.inode(number)?.is_dirty() => return Err(Errno::EROFS),
            _ => {}
        }
        self.image.sync(number.0);
        self.syncs += 1;
        Ok(())
    }

    pub(super) fn remove(&mut self, parent: INodeNo, name: &OsStr, is_directory: bool) -> Result<(), Errno> {
        self.may_change()?;
        let number = self.image.lookup(parent.0, name).ok_or(Errno::ENOENT)?;
        if is_directory && self.image.entries(number).next().is_some() {
            return Err(Errno::ENOTEMPTY);
        }
        self.image.remove(parent.0, name);
        Ok(())
    }
}
