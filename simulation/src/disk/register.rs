//! Which disk holds a path, and what SQLite's handles may do there.

use super::ledger::Ledger;
use super::{Change, OnSync};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// By their directories.
static DISKS: Mutex<BTreeMap<PathBuf, Weak<Shared>>> = Mutex::new(BTreeMap::new());

/// Why an operation was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No room.
    Full,
    /// Whatever else: the machine says EIO or EROFS, or is no more.
    Failed,
}

/// What a disk shares with the files open on it.
pub(crate) struct Shared {
    root: PathBuf,
    state: Mutex<State>,
}

pub(super) struct State {
    /// One more after each crash.
    life: u64,
    pub(super) steps: u64,
    pub(super) syncs: u64,
    pub(super) cut_at: Option<u64>,
    pub(super) cut: Option<String>,
    /// By the number that the file system gives a file, which it keeps under other names.
    pub(super) files: BTreeMap<u64, Ledger>,
    pub(super) faults: Faults,
}

#[derive(Default)]
pub(super) struct Faults {
    /// The next sync that fails: of a file with that name, or of any.
    pub(super) sync: Option<Option<String>>,
    pub(super) room: Option<u64>,
    pub(super) read_only: bool,
    pub(super) on_sync: Option<OnSync>,
}

/// The disk that holds a path.
pub(crate) fn holding(path: &Path) -> Option<Arc<Shared>> {
    let disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
    path.ancestors().find_map(|directory| disks.get(directory)?.upgrade())
}

impl Shared {
    pub(super) fn register(root: PathBuf) -> Arc<Self> {
        let state = State {
            life: 0,
            steps: 0,
            syncs: 0,
            cut_at: None,
            cut: None,
            files: BTreeMap::new(),
            faults: Faults::default(),
        };
        let shared = Arc::new(Self { root: root.clone(), state: Mutex::new(state) });
        let mut disks = DISKS.lock().unwrap_or_else(PoisonError::into_inner);
        disks.retain(|_, disk| disk.strong_count() > 0);
        disks.insert(root, Arc::downgrade(&shared));
        drop(disks);
        shared
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks to open a file.
    pub(crate) fn open(self: &Arc<Self>, path: &Path, may_make: bool) -> Result<Opening, Refusal> {
        let state = self.lock();
        let is_new = !path.exists();
        if state.cut.is_some() || is_new && may_make && state.faults.read_only {
            return Err(Refusal::Failed);
        }
        let (life, read_only) = (state.life, state.faults.read_only);
        drop(state);
        Ok(Opening { shared: Arc::clone(self), life, read_only, is_new })
    }

    /// Removes a file by `remove`.
    pub(crate) fn delete(&self, path: &Path, remove: impl FnOnce()) -> Result<(), Refusal> {
        let mut state = self.lock();
        let file = path.strip_prefix(&self.root).unwrap_or(path);
        state.step(|| format!("remove {}", file.display()))?;
        let number = fs::metadata(path).ok().map(|metadata| metadata.ino());
        let in_use = number.and_then(|number| state.files.get(&number)).is_some_and(|ledger| ledger.handles > 0);
        // A file that others have open is removed by nobody but the dead, who know it by its name.
        if in_use || state.faults.read_only {
            return Err(Refusal::Failed);
        }
        remove();
        if let Some(number) = number {
            state.files.remove(&number);
        }
        Ok(())
    }
}

impl State {
    /// Counts a step, unless the power is gone or fails at it.
    fn step(&mut self, what: impl FnOnce() -> String) -> Result<(), Refusal> {
        if self.cut.is_some() {
            return Err(Refusal::Failed);
        }
        if self.cut_at == Some(self.steps) {
            let what = what();
            self.cut(&what);
            return Err(Refusal::Failed);
        }
        self.steps += 1;
        Ok(())
    }

    pub(super) fn cut(&mut self, at: &str) {
        self.cut.get_or_insert_with(|| at.to_owned());
    }

    pub(super) fn begin_life(&mut self) {
        self.life += 1;
        self.cut = None;
        self.cut_at = None;
        self.files.clear();
    }
}

/// A file that may be opened.
pub(crate) struct Opening {
    shared: Arc<Shared>,
    life: u64,
    pub(crate) read_only: bool,
    is_new: bool,
}

impl Opening {
    /// The handle, once the file is open.
    pub(crate) fn handle(self, path: &Path) -> io::Result<Handle> {
        let file = File::open(path)?;
        let number = file.metadata()?.ino();
        let mut state = self.shared.lock();
        state.files.entry(number).or_insert_with(|| Ledger::new(file, self.is_new)).handles += 1;
        drop(state);
        let name = path.strip_prefix(self.shared.root()).unwrap_or(path).to_owned();
        Ok(Handle { shared: self.shared, life: self.life, number, name })
    }
}

/// A file that SQLite has open.
pub(crate) struct Handle {
    shared: Arc<Shared>,
    life: u64,
    number: u64,
    name: PathBuf,
}

impl Handle {
    /// Whether its life is over.
    pub(crate) fn is_dead(&self) -> bool {
        let state = self.shared.lock();
        state.cut.is_some() || state.life != self.life
    }

    /// Writes by `carry_out`, which gets what there is room for and says whether it succeeded.
    pub(crate) fn write(&self, at: u64, data: &[u8], carry_out: impl FnOnce(&[u8]) -> bool) -> Result<(), Refusal> {
        let mut state = self.begin(|| format!("write {} bytes at {at} of {}", data.len(), self.name.display()))?;
        let State { files, faults, .. } = &mut *state;
        let ledger = files.get_mut(&self.number).ok_or(Refusal::Failed)?;
        let mut part = data;
        if let Some(room) = &mut faults.room {
            let before = ledger.bytes().map_err(|_| Refusal::Failed)?;
            let growth = (at + data.len() as u64).saturating_sub(before);
            let missing = growth.saturating_sub(*room);
            *room -= growth.min(*room);
            part = &data[..data.len() - usize::try_from(missing).unwrap_or(data.len()).min(data.len())];
        }
        ledger.prepare().map_err(|_| Refusal::Failed)?;
        if !part.is_empty() && carry_out(part) {
            ledger.note(Change::Written { at, bytes: part.len() }, part);
        }
        if part.len() < data.len() { Err(Refusal::Full) } else { Ok(()) }
    }

    /// Cuts the file by `carry_out`, which says whether it succeeded.
    pub(crate) fn truncate(&self, to: u64, carry_out: impl FnOnce() -> bool) -> Result<(), Refusal> {
        let mut state = self.begin(|| format!("truncate {} to {to}", self.name.display()))?;
        let ledger = state.files.get_mut(&self.number).ok_or(Refusal::Failed)?;
        ledger.prepare().map_err(|_| Refusal::Failed)?;
        if carry_out() {
            ledger.note(Change::Truncated { to }, &[]);
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> Result<(), Refusal> {
        let on_sync = self.shared.lock().faults.on_sync.clone();
        if let Some(on_sync) = on_sync {
            on_sync(&self.name);
        }
        let mut state = self.begin(|| format!("sync {}", self.name.display()))?;
        let State { files, faults, syncs, .. } = &mut *state;
        let ledger = files.get_mut(&self.number).ok_or(Refusal::Failed)?;
        let name = self.name.file_name().unwrap_or_default();
        if faults.sync.as_ref().is_some_and(|file| file.as_ref().is_none_or(|file| name == file.as_str())) {
            faults.sync = None;
            ledger.fail_sync();
            return Err(Refusal::Failed);
        }
        ledger.sync();
        *syncs += 1;
        Ok(())
    }

    fn begin(&self, what: impl FnOnce() -> String) -> Result<MutexGuard<'_, State>, Refusal> {
        let mut state = self.shared.lock();
        if state.life != self.life {
            return Err(Refusal::Failed);
        }
        state.step(what)?;
        if state.faults.read_only { Err(Refusal::Failed) } else { Ok(state) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.life != self.life {
            return;
        }
        if let Some(ledger) = state.files.get_mut(&self.number) {
            ledger.handles -= 1;
            if ledger.handles == 0 && ledger.is_settled() {
                state.files.remove(&self.number);
            }
        }
    }
}
