//! The modules of this node: one file for each, named by its digest.

use super::{Incoming, ModuleError};
use crate::machine::{self, File};
use jobraft_protocol::{Digest, limits};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempPath;
use tokio::sync::Notify;

const SUFFIX: &str = ".wasm";
/// What bytes that are not those of their name are renamed to, for somebody to look at.
const DAMAGED_SUFFIX: &str = ".damaged";
const INCOMING_PREFIX: &str = ".incoming-";

/// The modules of this node. Clones share everything.
#[derive(Clone)]
pub struct ModuleStore {
    inner: Arc<Inner>,
}

struct Inner {
    directory: PathBuf,
    /// What is on disk, and whether this process has seen that it is what its name says.
    held: Mutex<HashMap<Digest, Held>>,
    wanted: Notify,
}

#[derive(Clone, Copy)]
struct Held {
    size: u64,
    verified: bool,
}

impl ModuleStore {
    /// Opens the store in a directory that is there, and removes what a crash left half received. Blocks on the disk.
    ///
    /// # Errors
    /// [`ModuleError::Io`].
    pub fn open(directory: &Path) -> Result<Self, ModuleError> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ModuleError::Io { path, source }
        };
        let mut held = HashMap::new();
        for entry in fs::read_dir(directory).map_err(failed(directory))? {
            let entry = entry.map_err(failed(directory))?;
            let (name, path) = (entry.file_name(), entry.path());
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(INCOMING_PREFIX) {
                fs::remove_file(&path).map_err(failed(&path))?;
            } else if let Some(digest) = name.strip_suffix(SUFFIX).and_then(|stem| stem.parse().ok()) {
                let size = entry.metadata().map_err(failed(&path))?.len();
                held.insert(digest, Held { size, verified: false });
            }
        }
        let inner = Inner { directory: directory.to_path_buf(), held: Mutex::new(held), wanted: Notify::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Begins to receive a module.
    ///
    /// # Errors
    /// [`ModuleError::TooLarge`]; [`ModuleError::Io`].
    pub async fn receive(&self, digest: Digest, size: u64) -> Result<Incoming, ModuleError> {
        if size > limits::MODULE_BYTES_MAX {
            return Err(ModuleError::TooLarge { bytes: size });
        }
        let directory = self.inner.directory.clone();
        // Readable by its owner only, as all temporary files are made.
        let made = blocking(move || tempfile::Builder::new().prefix(INCOMING_PREFIX).tempfile_in(&directory)).await;
        let (file, path) = made.map_err(|source| self.io(&self.inner.directory, source))?.into_parts();
        Ok(Incoming::new(self.clone(), digest, size, File::from_std(file), path))
    }

    /// Gives the bytes of a finished file their name, durably.
    pub(super) async fn keep(&self, digest: Digest, file: TempPath) -> Result<(), ModuleError> {
        let (to, directory) = (self.path(&digest), self.inner.directory.clone());
        let target = to.clone();
        let kept = blocking(move || {
            let size = fs::metadata(&file)?.len();
            file.persist(&target).map_err(|error| error.error)?;
            fs::File::open(directory)?.sync_all()?;
            Ok(size)
        });
        let size = kept.await.map_err(|source| self.io(&to, source))?;
        self.held().insert(digest, Held { size, verified: true });
        Ok(())
    }

    /// Whether the bytes are here, on disk and undamaged. The first time in a process this reads them all.
    ///
    /// # Errors
    /// [`ModuleError::Io`].
    pub async fn holds(&self, digest: Digest) -> Result<bool, ModuleError> {
        let Some(held) = self.held().get(&digest).copied() else { return Ok(false) };
        if held.verified {
            return Ok(true);
        }
        let path = self.path(&digest);
        let found = {
            let path = path.clone();
            blocking(move || digest_of(&path)).await.map_err(|source| self.io(&self.path(&digest), source))?
        };
        if found == digest {
            self.held().insert(digest, Held { verified: true, ..held });
            return Ok(true);
        }
        let damaged = self.inner.directory.join(format!("{digest}{DAMAGED_SUFFIX}"));
        tracing::error!(path = %damaged.display(), %digest, "a module's file was damaged on disk; it is fetched anew");
        self.held().remove(&digest);
        blocking(move || fs::rename(path, damaged)).await.map_err(|source| self.io(&self.path(&digest), source))?;
        self.want();
        Ok(false)
    }

    /// Opens a module to be sent, with its size.
    ///
    /// # Errors
    /// [`ModuleError::Missing`] if it is not here; [`ModuleError::Io`].
    pub(crate) async fn open_module(&self, digest: Digest) -> Result<(File, u64), ModuleError> {
        if !self.holds(digest).await? {
            return Err(ModuleError::Missing(digest));
        }
        let path = self.path(&digest);
        let file = File::open(&path).await.map_err(|source| self.io(&path, source))?;
        let size = self.held().get(&digest).map_or(0, |held| held.size);
        Ok((file, size))
    }

    /// All bytes of a module.
    ///
    /// # Errors
    /// As [`ModuleStore::open_module`].
    pub async fn read(&self, digest: Digest) -> Result<Vec<u8>, ModuleError> {
        if !self.holds(digest).await? {
            return Err(ModuleError::Missing(digest));
        }
        let path = self.path(&digest);
        machine::read(&path).await.map_err(|source| self.io(&path, source))
    }

    /// Whether a file of that name is here; says nothing of what is in it.
    #[must_use]
    pub fn has_file(&self, digest: &Digest) -> bool {
        self.held().contains_key(digest)
    }

    /// Wakes whoever fetches missing modules: one may be missing now. Never blocks.
    pub fn want(&self) {
        self.inner.wanted.notify_one();
    }

    /// Waits for [`ModuleStore::want`].
    pub(super) async fn wanted(&self) {
        self.inner.wanted.notified().await;
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.inner.directory.join(format!("{digest}{SUFFIX}"))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Digest, Held>> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn io(&self, path: &Path, source: io::Error) -> ModuleError {
        ModuleError::Io { path: path.to_path_buf(), source }
    }
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; limits::CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(Digest(hash.finalize().into()));
        }
        hash.update(&chunk[..read]);
    }
}

/// Runs what waits for the disk where nobody else waits for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    machine::blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use bytes::Bytes;
    use tempfile::TempDir;

    const BYTES: &[u8] = b"the bytes of a module";

    fn digest(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    async fn put(store: &ModuleStore, announced: Digest, size: usize, bytes: &'static [u8]) -> Result<(), ModuleError> {
        let mut incoming = store.receive(announced, size as u64).await?;
        for part in bytes.chunks(5) {
            incoming.write(&Bytes::from_static(part)).await?;
        }
        incoming.check().await?.keep().await
    }

    fn files(directory: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_kept_module_survives_a_restart_and_is_checked_again() {
        let directory = TempDir::new().unwrap();
        let store = ModuleStore::open(directory.path()).unwrap();
        let digest = digest(BYTES);
        assert!(!store.holds(digest).await.unwrap());
        put(&store, digest, BYTES.len(), BYTES).await.unwrap();
        assert_eq!(store.read(digest).await.unwrap(), BYTES);
        assert_eq!(files(&directory), [format!("{digest}.wasm")]);

        let again = ModuleStore::open(directory.path()).unwrap();
        assert!(again.holds(digest).await.unwrap());
        assert_eq!(again.open_module(digest).await.unwrap().1, BYTES.len() as u64);
    }

    #[tokio::test]
    async fn what_differs_from_its_announcement_leaves_nothing() {
        let directory = TempDir::new().unwrap();
        let store = ModuleStore::open(directory.path()).unwrap();
        let other = digest(b"something else");
        let refusal = put(&store, other, BYTES.len(), BYTES).await;
        assert!(matches!(refusal, Err(ModuleError::Digest { found, .. }) if found == digest(BYTES)));
        for size in [BYTES.len() - 1, BYTES.len() + 1] {
            let refusal = put(&store, digest(BYTES), size, BYTES).await;
            assert!(matches!(refusal, Err(ModuleError::Size { .. })));
        }
        let too_large = limits::MODULE_BYTES_MAX + 1;
        assert!(matches!(store.receive(other, too_large).await, Err(ModuleError::TooLarge { .. })));
        drop(store.receive(other, 5).await.unwrap());
        assert_eq!(files(&directory), Vec::<String>::new());
        assert!(!store.holds(other).await.unwrap());
    }

    #[tokio::test]
    async fn a_damaged_file_is_set_aside_and_never_served() {
        let directory = TempDir::new().unwrap();
        let digest = digest(BYTES);
        put(&ModuleStore::open(directory.path()).unwrap(), digest, BYTES.len(), BYTES).await.unwrap();
        fs::write(directory.path().join(format!("{digest}.wasm")), b"the bytes of a modulE").unwrap();
        let store = ModuleStore::open(directory.path()).unwrap();
        assert!(matches!(store.open_module(digest).await, Err(ModuleError::Missing(_))));
        assert_eq!(files(&directory), [format!("{digest}.damaged")]);
        store.wanted().await;
        put(&store, digest, BYTES.len(), BYTES).await.unwrap();
        assert_eq!(store.read(digest).await.unwrap(), BYTES);
    }

    #[test]
    fn what_a_crash_left_half_received_is_removed() {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join(".incoming-abc"), b"half").unwrap();
        fs::write(directory.path().join("notes.txt"), b"not ours").unwrap();
        ModuleStore::open(directory.path()).unwrap();
        assert_eq!(files(&directory), ["notes.txt"]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn modules_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = TempDir::new().unwrap();
        let digest = digest(BYTES);
        put(&ModuleStore::open(directory.path()).unwrap(), digest, BYTES.len(), BYTES).await.unwrap();
        let file = directory.path().join(format!("{digest}.wasm"));
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
