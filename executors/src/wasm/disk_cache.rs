//! Compiled modules on this machine's disk, in a directory that nobody else can write to.
//!
//! What lies there is machine code that this process will run. It is therefore believed only if the directory was made
//! private before it was first used, the file is ours, and its checksum is that which the compiler wrote behind it. A
//! file that fails is as good as missing: the module is compiled again.

use super::WasmError;
use super::compile_main::OUTPUT_BYTES_MAX;
use super::machine_code::MachineCode;
use jobraft_protocol::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// The most files kept; beyond, the one not used for longest goes.
const FILES_MAX: usize = 1_000;
/// The most bytes kept; beyond, the file not used for longest goes.
const BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// The size of the checksum at a file's end.
const CHECKSUM_BYTES: usize = 32;
/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// The directory.
#[derive(Debug)]
pub(super) struct DiskCache {
    dir: PathBuf,
    compatibility: String,
}

impl DiskCache {
    /// Opens the directory, creating it if needed, for code of the given compatibility.
    pub(super) fn open(dir: &Path, compatibility: String) -> Result<Self, WasmError> {
        let failed = |source: io::Error| WasmError::CacheDir { path: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        // What is checked must be what is used later, wherever a link points then.
        let dir = fs::canonicalize(dir).map_err(failed)?;
        let metadata = fs::metadata(&dir).map_err(failed)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & OTHERS != 0 {
            return Err(WasmError::CacheShared { path: dir });
        }
        Ok(Self { dir, compatibility })
    }

    /// What the code in here is compatible with.
    pub(super) fn compatibility(&self) -> &str {
        &self.compatibility
    }

    /// The compiled module, if it is here and whole.
    pub(super) fn load(&self, digest: Digest) -> Option<MachineCode> {
        let path = self.path(digest);
        match load(&path) {
            Ok(code) => {
                // Its time of use, for `prune`; if it cannot be set, the file merely goes earlier.
                let _ = File::options().append(true).open(&path).and_then(|f| f.set_modified(SystemTime::now()));
                Some(code)
            }
            Err(LoadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%digest, %error, "a compiled module is unusable and will be compiled again");
                None
            }
        }
    }

    /// An empty file in the directory that is gone once dropped.
    pub(super) fn scratch(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix(".module-").tempfile_in(&self.dir)
    }

    /// Reads what the compiler wrote and keeps it.
    pub(super) fn adopt(&self, digest: Digest, written: NamedTempFile) -> Result<MachineCode, LoadError> {
        let code = load(written.path())?;
        if let Err(error) = written.persist(self.path(digest)) {
            tracing::warn!(%digest, error = %error.error, "a compiled module could not be kept: it is compiled again next time");
        }
        self.prune();
        Ok(code)
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.dir.join(format!("{digest}-{}.cwasm", self.compatibility))
    }

    /// Removes what was not used for longest until the limits hold. Whatever fails is left to the next time.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        files.sort_unstable_by(|a, b| b.cmp(a));
        let mut bytes = 0_u64;
        for (index, (_, size, path)) in files.into_iter().enumerate() {
            bytes = bytes.saturating_add(size);
            if index >= FILES_MAX || bytes > BYTES_MAX {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Why a file is not a module that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it belongs to somebody else or others can write to it")]
    Foreign,
    #[error("it is damaged: its checksum differs")]
    Damaged,
}

fn load(path: &Path) -> Result<MachineCode, LoadError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() || metadata.mode() & OTHERS & 0o022 != 0 {
        return Err(LoadError::Foreign);
    }
    let mut bytes = Vec::new();
    file.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes)?;
    let Some((code, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else { return Err(LoadError::Damaged) };
    if Sha256::digest(code).as_slice() != checksum {
        return Err(LoadError::Damaged);
    }
    bytes.truncate(bytes.len() - CHECKSUM_BYTES);
    // Our own compiler wrote it: it came from a file of ours in a directory that was private before the first file was put
    // there, and the checksum that the compiler left behind it matches.
    Ok(MachineCode::believe(bytes.into()))
}
