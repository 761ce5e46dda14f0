//! One machine's disk: a directory, and for each file what was written and what was synced.
//!
//! A file that SQLite writes (through [`crate::vfs`]) holds at once what was written, as it does in the machine's page
//! cache; what it held when it was last synced is kept beside. [`Disk::crash`] makes each file what was synced, plus what
//! a chooser lets survive of each later write, in whatever order. All that the former life has open is dead from then
//! on: it fails every call, and the files that it has are no longer those under their names.
//!
//! What is assumed of files that the node writes itself (its identity, markers that a database was made, snapshots,
//! modules): they are durable when written, and so are names, renames and removals. They are few, each is written once
//! under another name and synced with its directory, and nothing acknowledged rests on one alone. The name of a file that
//! SQLite makes is durable with the file's first sync.
//!
//! Nothing here depends on time, hash order or the machine: the same calls leave the same bytes.

mod fate;
mod ledger;
mod register;

pub use fate::{Change, Fate, Unsynced};
pub(crate) use register::{Handle, Refusal, holding};

use ledger::Ledger;
use register::Shared;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Decides what a crash leaves of a write.
pub type Chooser<'a> = dyn FnMut(&Unsynced<'_>) -> Fate + 'a;

/// Heard before a sync is carried out, with the file's path on the disk.
pub type OnSync = Arc<dyn Fn(&Path) + Send + Sync>;

/// A disk. It is SQLite's for every file below its path, as long as it lives and [`crate::vfs::install`] was called.
pub struct Disk {
    shared: Arc<Shared>,
}

/// A directory for disks that is removed with the value: in memory, if the machine has such a place.
///
/// # Errors
/// If no directory can be made.
pub fn scratch() -> io::Result<TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}

impl Disk {
    /// The disk that is the directory `path`, which is made if need be. A crash exchanges the directory, through names
    /// beside it.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn new(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self { shared: Shared::register(path.canonicalize()?) })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.root()
    }

    /// Writes, truncations, syncs and removals by SQLite so far, including those that failed.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.shared.lock().steps
    }

    /// Syncs that succeeded so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.shared.lock().syncs
    }

    /// The power fails now: whoever has a file open can do nothing more with it, and none can be opened before
    /// [`Disk::crash`].
    pub fn cut_power(&self) {
        self.shared.lock().cut("by hand");
    }

    /// The power fails instead of step number `step`, counted from 0.
    pub fn cut_power_at(&self, step: u64) {
        self.shared.lock().cut_at = Some(step);
    }

    /// The step at which the power failed, in words, if it did.
    #[must_use]
    pub fn cut_step(&self) -> Option<String> {
        self.shared.lock().cut.clone()
    }

    /// The machine loses its power, if it has not yet, and comes back with what the disk holds.
    ///
    /// # Errors
    /// If the machine that runs the simulation fails.
    pub fn crash(&self, chooser: &mut Chooser<'_>) -> io::Result<()> {
        self.cut_power();
        let root = self.shared.root();
        let (next, former) = (beside(root, "next"), beside(root, "former"));
        self.write_survivors(&next, chooser)?;
        fs::rename(root, &former)?;
        fs::rename(&next, root)?;
        self.shared.lock().begin_life();
        fs::remove_dir_all(&former)
    }

    /// Writes to the new directory `to` what a crash now would leave. The disk itself goes on.
    ///
    /// # Errors
    /// If the machine that runs the simulation fails.
    pub fn write_survivors(&self, to: &Path, chooser: &mut Chooser<'_>) -> io::Result<()> {
        let mut state = self.shared.lock();
        copy(self.shared.root(), Path::new(""), to, &mut state.files, chooser)
    }

    /// Every change that a crash now could lose, in the order in which a chooser is asked.
    ///
    /// # Errors
    /// If the machine that runs the simulation fails.
    pub fn unsynced(&self) -> io::Result<Vec<(PathBuf, Change)>> {
        let mut changes = Vec::new();
        let to = scratch()?;
        self.write_survivors(&to.path().join("disk"), &mut |write| {
            changes.push((write.file.to_owned(), write.change));
            Fate::Whole
        })?;
        Ok(changes)
    }

    /// The next sync fails with EIO: of any file, or of the one whose name is `file`. What it should have made durable
    /// may be lost for ever, whatever later syncs say, as on Linux.
    pub fn fail_next_sync(&self, file: Option<&str>) {
        self.shared.lock().faults.sync = Some(file.map(str::to_owned));
    }

    /// Files can grow by so many bytes together, and then no more; `None` for as much as they like.
    pub fn leave_room(&self, bytes: Option<u64>) {
        self.shared.lock().faults.room = bytes;
    }

    /// Whether nothing can be written, as after the kernel has found the file system damaged.
    pub fn set_read_only(&self, read_only: bool) {
        self.shared.lock().faults.read_only = read_only;
    }

    /// What is called before each sync, so that it can be made slow or be counted.
    pub fn on_sync(&self, call: Option<OnSync>) {
        self.shared.lock().faults.on_sync = call;
    }

    /// Flips a bit of a file, both of what was written and of what was synced. Bit 0 is the lowest one of the first byte.
    ///
    /// # Errors
    /// If there is no such bit.
    pub fn flip_bit(&self, file: &Path, bit: u64) -> io::Result<()> {
        let path = self.shared.root().join(file);
        let (at, mask) = (bit / 8, 1_u8 << (bit % 8));
        let mut state = self.shared.lock();
        let file = File::options().read(true).write(true).open(&path)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[byte[0] ^ mask], at)?;
        if let Some(ledger) = state.files.get_mut(&file.metadata()?.ino()) {
            ledger.flip(usize::try_from(at).expect("a file that is held in memory"), mask);
        }
        Ok(())
    }
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{what}"));
    name.into()
}

/// Copies a directory as a crash leaves it, by name, without the WAL-indexes.
fn copy(
    root: &Path,
    directory: &Path,
    to: &Path,
    files: &mut BTreeMap<u64, Ledger>,
    chooser: &mut Chooser<'_>,
) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(root.join(directory))?.permissions())?;
    let entries = fs::read_dir(root.join(directory))?.collect::<io::Result<Vec<_>>>()?;
    let mut names: Vec<_> = entries.iter().map(fs::DirEntry::file_name).collect();
    names.sort_unstable();
    for name in names {
        let relative = directory.join(&name);
        let from = root.join(&relative);
        let metadata = fs::metadata(&from)?;
        if metadata.is_dir() {
            copy(root, &relative, &to.join(&name), files, chooser)?;
        } else if let Some(ledger) = files.get_mut(&metadata.ino()).filter(|ledger| ledger.was_written()) {
            if let Some(content) = ledger.survivor(&relative, chooser) {
                fs::write(to.join(&name), content)?;
                fs::set_permissions(to.join(&name), metadata.permissions())?;
            }
        } else if !name.to_string_lossy().ends_with("-shm") {
            fs::copy(&from, to.join(&name))?;
        }
    }
    Ok(())
}
