//! Reading and writing of certificate and key files: bounded, atomic, and private where they must be.

use super::TlsError;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// The largest file that is read as PEM; a longer one is refused.
const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// The permissions of certificates.
pub(super) const CERTIFICATE_MODE: u32 = 0o644;
/// The permissions of private keys.
pub(super) const KEY_MODE: u32 = 0o600;

/// Reads a whole file of at most [`PEM_BYTES_MAX`].
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    read_open(File::open(path).map_err(failed)?, path)
}

/// Reads a whole file, if there is one.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    match File::open(path) {
        Ok(file) => read_open(file, path).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TlsError::Read { path: path.to_owned(), source }),
    }
}

/// Reads a private key, if nobody but its owner can.
pub(super) fn read_key(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_open(open_private(path)?, path)
}

/// Opens a file that nobody but its owner can read.
pub(super) fn open_private(path: &Path) -> Result<File, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, so that what is checked is what is read.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TlsError::KeyExposed { path: path.to_owned(), mode });
    }
    Ok(file)
}

fn read_open(file: File, path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    file.take(PEM_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        let reason = format!("it is larger than {PEM_BYTES_MAX} bytes");
        return Err(TlsError::Malformed { path: path.to_owned(), expected: "a PEM file", reason });
    }
    Ok(bytes)
}

/// Writes a file so that it is there whole or not at all, and survives a crash once this returns.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32, replace: bool) -> Result<(), TlsError> {
    let failed = |source| TlsError::Write { path: path.to_owned(), source };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".jobraft-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(parent)
        .map_err(failed)?;
    // Whoever renews may be another user than the one who reads: what is replaced stays the owner's.
    if replace
        && let Ok(old) = path.metadata()
        && let Ok(new) = file.as_file().metadata()
        && old.uid() != new.uid()
    {
        fchown(file.as_file(), Some(old.uid()), Some(old.gid())).map_err(failed)?;
    }
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    let persisted = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    persisted.map_err(|error| match error.error.kind() {
        std::io::ErrorKind::AlreadyExists => TlsError::Exists { path: path.to_owned() },
        _ => failed(error.error),
    })?;
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)
}
