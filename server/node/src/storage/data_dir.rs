//! The data directory: whose it is, and that only one process uses it.
//!
//! `lock` is held for as long as the [`DataDir`] lives, `identity` says to which node of which cluster the data
//! belong. The instance id is minted with the directory: a node that comes back with an empty directory under an old
//! id is another instance, and the cluster can tell.

use super::StorageError;
use jobraft_protocol::NodeId;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use uuid::{NoContext, Timestamp, Uuid};

/// The newest layout of a data directory that this build knows.
const FORMAT: u64 = 1;
/// An identity is a few lines; whatever is longer is not one.
const IDENTITY_BYTES_MAX: u64 = 4096;

const LOCK: &str = "lock";
/// The file that says whose data these are.
pub const IDENTITY: &str = "identity";
const MODULES: &str = "modules";
const GROUP_PREFIX: &str = "group-";

/// A node's data directory, locked for as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    instance: Uuid,
    is_new: bool,
    /// Held, not used: closing it gives the directory free.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    format: u64,
    cluster: String,
    node: u64,
    instance: Uuid,
}

/// All that is read of an identity whose format may be a later one.
#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

impl DataDir {
    /// Opens the directory, making it (readable by its owner only) if need be, and takes its lock.
    ///
    /// # Errors
    /// [`StorageError::InUse`], [`StorageError::OtherCluster`], [`StorageError::OtherNode`],
    /// [`StorageError::NewerFormat`], [`StorageError::IdentityUnreadable`], [`StorageError::Missing`] if there are
    /// data but no identity, or [`StorageError::Io`]. Nothing is changed then.
    pub fn open(path: &Path, cluster: &str, node: NodeId) -> Result<Self, StorageError> {
        make_dir(path)?;
        let lock = take_lock(path)?;
        let file = path.join(IDENTITY);
        let (instance, is_new) = match read_identity(&file)? {
            Some(identity) => {
                let path = path.to_owned();
                if identity.cluster != cluster {
                    let (found, expected) = (identity.cluster, cluster.to_owned());
                    return Err(StorageError::OtherCluster { path, found, expected });
                }
                if identity.node != node.0 {
                    return Err(StorageError::OtherNode { path, found: NodeId(identity.node), expected: node });
                }
                (identity.instance, false)
            }
            None if holds_groups(path)? => return Err(StorageError::Missing { path: file }),
            None => {
                let instance = Uuid::new_v7(Timestamp::now(NoContext));
                write_identity(
                    path,
                    &Identity { format: FORMAT, cluster: cluster.to_owned(), node: node.0, instance },
                )?;
                (instance, true)
            }
        };
        Ok(Self { path: path.to_owned(), instance, is_new, _lock: lock })
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which instance of the node this is: minted with the directory, never changed.
    #[must_use]
    pub fn instance(&self) -> Uuid {
        self.instance
    }

    /// Whether this call of [`DataDir::open`] made the directory's identity. A node killed before it joined its
    /// cluster finds an old directory with an empty log: do not take `false` for "is a member".
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The directory of a Raft group, made if need be.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn group(&self, group: u32) -> Result<PathBuf, StorageError> {
        self.subdirectory(&format!("{GROUP_PREFIX}{group}"))
    }

    /// The directory of modules' bytes, made if need be.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn modules(&self) -> Result<PathBuf, StorageError> {
        self.subdirectory(MODULES)
    }

    fn subdirectory(&self, name: &str) -> Result<PathBuf, StorageError> {
        let path = self.path.join(name);
        make_dir(&path)?;
        Ok(path)
    }
}

/// Makes a directory and, if it is new, its name in its parent durable.
fn make_dir(path: &Path) -> Result<(), StorageError> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(StorageError::io("create the directory", path))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), StorageError> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(StorageError::io("fsync the directory", path))
}

/// Removes a file if it is there.
pub(super) fn remove_if_there(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn take_lock(dir: &Path) -> Result<File, StorageError> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(StorageError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let read = (&file).take(32).read_to_string(&mut text);
            let pid = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(StorageError::InUse { path: dir.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(StorageError::io("lock", &path)(error)),
    }
    let mut note_owner = || {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    note_owner().map_err(StorageError::io("write", &path))?;
    Ok(file)
}

fn holds_groups(dir: &Path) -> Result<bool, StorageError> {
    let entries = fs::read_dir(dir).map_err(StorageError::io("list", dir))?;
    for entry in entries {
        let entry = entry.map_err(StorageError::io("list", dir))?;
        if entry.file_name().to_string_lossy().starts_with(GROUP_PREFIX) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_identity(path: &Path) -> Result<Option<Identity>, StorageError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("open", path)(error)),
    };
    let unreadable = |reason: String| StorageError::IdentityUnreadable { path: path.to_owned(), reason };
    let mut text = String::new();
    file.take(IDENTITY_BYTES_MAX).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    let FormatOnly { format } = toml::from_str(&text).map_err(|error| unreadable(error.message().to_owned()))?;
    if format > FORMAT {
        return Err(StorageError::NewerFormat { path: path.to_owned(), found: format, supported: FORMAT });
    }
    toml::from_str(&text).map(Some).map_err(|error| unreadable(error.message().to_owned()))
}

fn write_identity(dir: &Path, identity: &Identity) -> Result<(), StorageError> {
    let path = dir.join(IDENTITY);
    let text = toml::to_string(identity)
        .map_err(|error| StorageError::IdentityUnreadable { path: path.clone(), reason: error.to_string() })?;
    let temporary = dir.join("identity.new");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(StorageError::io("write", &path))?;
    sync_dir(dir)
}
