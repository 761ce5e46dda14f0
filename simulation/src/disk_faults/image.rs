//! A disk as a process sees it, and as it would be found after a loss of power.
//!
//! What is written is *now*; what was fsynced is *durable*. Between the two lie the changes that a loss of power may keep,
//! lose, reorder and tear, as real disks do: a file's own changes as chance wills, sector by sector; changes of names in
//! their order, as journals keep them. A file's fsync keeps no name: that takes an fsync of the directory.

use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

/// The number of the root directory.
pub(super) const ROOT: u64 = 1;
/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

/// Names in directories, and what they stand for.
type Names = BTreeMap<(u64, OsString), u64>;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Resize(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Put(u64, OsString, u64),
    Remove(u64, OsString),
    Rename((u64, OsString), (u64, OsString)),
}

/// A file or directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// Whether it is a directory.
    pub(super) is_directory: bool,
    /// Permissions.
    pub(super) mode: u16,
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// A disk.
#[derive(Clone, Debug)]
pub(super) struct Image {
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    now: Names,
    durable: Names,
    pending: Vec<NameChange>,
}

impl Default for Image {
    fn default() -> Self {
        let root = Inode { is_directory: true, mode: 0o755, ..Inode::default() };
        let (now, durable) = (Names::new(), Names::new());
        Self { inodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, now, durable, pending: Vec::new() }
    }
}

impl Image {
    /// What a name stands for.
    #[must_use]
    pub(super) fn lookup(&self, parent: u64, name: &OsStr) -> Option<u64> {
        self.now.get(&(parent, name.to_owned())).copied()
    }

    /// A file or directory.
    #[must_use]
    pub(super) fn inode(&self, number: u64) -> Option<&Inode> {
        self.inodes.get(&number)
    }

    /// Changes permissions; that they last is not modelled.
    pub(super) fn set_mode(&mut self, number: u64, mode: u16) {
        self.inodes.entry(number).and_modify(|inode| inode.mode = mode);
    }

    /// What a directory holds.
    pub(super) fn entries(&self, parent: u64) -> impl Iterator<Item = (&OsStr, u64)> {
        let all = self.now.range((parent, OsString::new())..);
        all.take_while(move |((of, _), _)| *of == parent).map(|((_, name), number)| (name.as_os_str(), *number))
    }

    /// Makes a file or directory.
    pub(super) fn create(&mut self, parent: u64, name: &OsStr, is_directory: bool, mode: u16) -> u64 {
        let number = self.next;
        self.next += 1;
        self.inodes.insert(number, Inode { is_directory, mode, ..Inode::default() });
        self.name(NameChange::Put(parent, name.to_owned(), number));
        number
    }

    /// Takes a name away; tells whether it was there. What it stands for lives on for those who have it open.
    pub(super) fn remove(&mut self, parent: u64, name: &OsStr) -> bool {
        let is_there = self.lookup(parent, name).is_some();
        if is_there {
            self.name(NameChange::Remove(parent, name.to_owned()));
        }
        is_there
    }

    /// Renames, over what is there; tells whether there was something to rename.
    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> bool {
        let is_there = self.lookup(from.0, from.1).is_some();
        if is_there {
            self.name(NameChange::Rename((from.0, from.1.to_owned()), (to.0, to.1.to_owned())));
        }
        is_there
    }

    fn name(&mut self, change: NameChange) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    /// Writes.
    pub(super) fn write(&mut self, number: u64, offset: usize, data: &[u8]) {
        self.change(number, Change::Write { offset, data: data.to_owned() });
    }

    /// Cuts a file, or lengthens it with zeros.
    pub(super) fn resize(&mut self, number: u64, size: usize) {
        self.change(number, Change::Resize(size));
    }

    fn change(&mut self, number: u64, change: Change) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            change.apply(&mut inode.now);
            inode.pending.push(change);
        }
    }

    /// fsync of a file.
    pub(super) fn sync(&mut self, number: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.pending.drain(..).for_each(|change| change.apply(&mut inode.durable));
        }
    }

    /// An fsync that fails: what it was to keep is lost, though it can still be read, and no later fsync keeps it.
    pub(super) fn fail_sync(&mut self, number: u64) {
        self.inodes.entry(number).and_modify(|inode| inode.pending.clear());
    }

    /// fsync of a directory: a journal is written up to here.
    pub(super) fn sync_names(&mut self) {
        self.pending.drain(..).for_each(|change| change.apply(&mut self.durable));
    }

    /// The power is lost. What was not fsynced survives as chance wills, and with it nothing is unsynced any more.
    pub(super) fn cut(&mut self, random: &mut StdRng) {
        let kept = random.random_range(0..=self.pending.len());
        self.pending.drain(..).take(kept).for_each(|change| change.apply(&mut self.durable));
        self.now.clone_from(&self.durable);
        let named: BTreeSet<u64> = self.now.values().copied().chain([ROOT]).collect();
        self.inodes.retain(|number, _| named.contains(number));
        self.inodes.values_mut().for_each(|inode| inode.cut(random));
    }

    /// All files that hold something, by name, and how long they are.
    #[must_use]
    pub(super) fn files(&self) -> Vec<(String, u64, usize)> {
        let path = |parent: u64, name: &OsStr| match self.now.iter().find(|(_, number)| **number == parent) {
            Some(((_, above), _)) => format!("{}/{}", above.to_string_lossy(), name.to_string_lossy()),
            None => name.to_string_lossy().into_owned(),
        };
        let files = self.now.iter().map(|((parent, name), number)| (path(*parent, name), *number));
        let sized = files.filter_map(|(path, number)| Some((path, number, self.inodes.get(&number)?.now.len())));
        sized.filter(|(_, _, size)| *size > 0).collect()
    }

    /// Writes what a directory holds into another file system, for people to look at.
    ///
    /// # Errors
    /// What that file system refuses.
    pub(super) fn export(&self, directory: u64, to: &Path) -> io::Result<()> {
        std::fs::create_dir_all(to)?;
        for (name, number) in self.entries(directory) {
            let Some(inode) = self.inodes.get(&number) else { continue };
            if inode.is_directory {
                self.export(number, &to.join(name))?;
            } else {
                std::fs::write(to.join(name), &inode.now)?;
            }
        }
        Ok(())
    }

    /// Turns one bit over, as an old disk does.
    pub(super) fn flip(&mut self, number: u64, offset: usize, bit: u8) {
        self.damage(number, |bytes| {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1 << (bit % 8);
            }
        });
    }

    /// Cuts a file short, as a careless hand does.
    pub(super) fn truncate(&mut self, number: u64, size: usize) {
        self.damage(number, |bytes| bytes.truncate(size));
    }

    fn damage(&mut self, number: u64, damage: impl Fn(&mut Vec<u8>)) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            damage(&mut inode.now);
            damage(&mut inode.durable);
        }
    }
}

impl Inode {
    /// How long it is.
    #[must_use]
    pub(super) const fn size(&self) -> usize {
        self.now.len()
    }

    /// Whether an fsync would have something to do.
    #[must_use]
    pub(super) const fn is_dirty(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Its bytes in a range, as far as there are some.
    #[must_use]
    pub(super) fn read(&self, offset: usize, length: usize) -> &[u8] {
        let from = offset.min(self.now.len());
        &self.now[from..offset.saturating_add(length).min(self.now.len())]
    }

    fn cut(&mut self, random: &mut StdRng) {
        let changes = std::mem::take(&mut self.pending);
        let fate = random.random_range(0..10);
        let kept = random.random_range(0..=changes.len());
        for (place, change) in changes.into_iter().enumerate() {
            match fate {
                // Nothing came to the disk.
                0..4 => {}
                // All of it did.
                4 => change.apply(&mut self.durable),
                // It went there in order, and the power was lost in the middle of one.
                5..7 if place < kept => change.apply(&mut self.durable),
                5..7 if place == kept => change.tear(random, &mut self.durable),
                5..7 => {}
                // It went there in any order.
                _ if random.random_bool(0.5) => change.apply(&mut self.durable),
                _ => change.tear(random, &mut self.durable),
            }
        }
        self.now.clone_from(&self.durable);
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Resize(size) => bytes.resize(*size, 0),
            Self::Write { offset, data } => put(bytes, *offset, data),
        }
    }

    /// Some sectors of it only, or none.
    fn tear(&self, random: &mut StdRng, bytes: &mut Vec<u8>) {
        let Self::Write { offset, data } = self else { return };
        let mut from = 0;
        while from < data.len() {
            let to = data.len().min(from + SECTOR - (offset + from) % SECTOR);
            if random.random_bool(0.4) {
                put(bytes, offset + from, &data[from..to]);
            }
            from = to;
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Put(parent, name, number) => drop(names.insert((*parent, name.clone()), *number)),
            Self::Remove(parent, name) => drop(names.remove(&(*parent, name.clone()))),
            Self::Rename(from, to) => {
                if let Some(number) = names.remove(from) {
                    names.insert(to.clone(), number);
                }
            }
        }
    }
}
