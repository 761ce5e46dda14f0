//! A module on its way in: written to a temporary file and hashed as it comes.

use super::{ModuleError, ModuleStore, inspect};
use crate::machine::{self, File};
use bytes::Bytes;
use jobraft_protocol::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;

/// A module that is being received. Dropped, it leaves nothing behind.
pub struct Incoming {
    store: ModuleStore,
    announced: Digest,
    size: u64,
    received: u64,
    hash: Sha256,
    file: File,
    path: TempPath,
}

impl Incoming {
    pub(super) fn new(store: ModuleStore, announced: Digest, size: u64, file: File, path: TempPath) -> Self {
        Self { store, announced, size, received: 0, hash: Sha256::new(), file, path }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`ModuleError::Size`] if there are more than announced; [`ModuleError::Io`].
    pub async fn write(&mut self, bytes: &Bytes) -> Result<(), ModuleError> {
        self.received += bytes.len() as u64;
        if self.received > self.size {
            return Err(ModuleError::Size { announced: self.size, received: self.received });
        }
        self.hash.update(bytes);
        self.file.write_all(bytes).await.map_err(|source| ModuleError::Io { path: self.path.to_path_buf(), source })
    }

    /// Checks what came.
    ///
    /// # Errors
    /// [`ModuleError::Size`] or [`ModuleError::Digest`] if it is not what was announced; [`ModuleError::Io`].
    pub async fn check(mut self) -> Result<Received, ModuleError> {
        if self.received != self.size {
            return Err(ModuleError::Size { announced: self.size, received: self.received });
        }
        let found = Digest(self.hash.finalize().into());
        if found != self.announced {
            return Err(ModuleError::Digest { announced: self.announced, found });
        }
        let io = |source| ModuleError::Io { path: self.path.to_path_buf(), source };
        self.file.sync_all().await.map_err(io)?;
        Ok(Received { store: self.store, digest: self.announced, path: self.path })
    }
}

/// A module that came whole, with the digest that was announced. Dropped before [`Received::keep`], it leaves nothing
/// behind.
pub struct Received {
    store: ModuleStore,
    digest: Digest,
    path: TempPath,
}

impl Received {
    /// What it imports, if it can run as a job.
    ///
    /// # Errors
    /// [`ModuleError::Invalid`]; [`ModuleError::Io`].
    pub async fn inspect(&self) -> Result<Vec<String>, ModuleError> {
        let io = |source| ModuleError::Io { path: self.path.to_path_buf(), source };
        let bytes = machine::read(&self.path).await.map_err(io)?;
        let inspected = machine::blocking(move || inspect(&bytes)).await;
        inspected.map_err(|error| io(std::io::Error::other(error)))?.map_err(ModuleError::Invalid)
    }

    /// Keeps it: it is on disk, under its name, when this returns.
    ///
    /// # Errors
    /// [`ModuleError::Io`].
    pub async fn keep(self) -> Result<(), ModuleError> {
        self.store.keep(self.digest, self.path).await
    }
}
