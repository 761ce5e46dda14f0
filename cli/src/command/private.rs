//! Files that only their owner reads: there whole or not at all, and durable once they are.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Such a file to be, for which there is a place before there is what it will have.
pub(super) struct PrivateFile {
    path: PathBuf,
    /// Takes the place of the file that was named when everything is in it. Of mode 600.
    file: NamedTempFile,
    may_replace: bool,
}

impl PrivateFile {
    /// Makes sure that it can be written; where there is one already, only if it may be replaced.
    pub(super) fn prepare(path: PathBuf, may_replace: bool) -> io::Result<Self> {
        if path.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
        }
        if !may_replace && path.exists() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file of that name exists already"));
        }
        let file = NamedTempFile::new_in(directory(&path))?;
        Ok(Self { path, file, may_replace })
    }

    /// Where it will be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it, its name included.
    pub(super) fn fill(mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.file.as_file().sync_all()?;
        let keep = if self.may_replace { NamedTempFile::persist } else { NamedTempFile::persist_noclobber };
        keep(self.file, &self.path).map_err(|error| error.error)?;
        File::open(directory(&self.path))?.sync_all()
    }
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
