//! A file that is put aside when it has become long, and of which so many are kept: `audit.log`, `audit.log.1`, the older
//! the higher.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

/// Readable by its owner only: it tells who uses the cluster.
const MODE: u32 = 0o600;

pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    files_max: usize,
}

impl RotatingFile {
    /// Goes on behind what is there. A file has at most `bytes_max` bytes, or one line; with it there are at most
    /// `files_max`.
    pub(super) fn open(path: PathBuf, bytes_max: u64, files_max: usize) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, bytes_max, files_max })
    }

    fn put_aside(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        for number in (1..self.files_max).rev() {
            let from = if number == 1 { self.path.clone() } else { self.numbered(number - 1) };
            match fs::rename(from, self.numbered(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.files_max <= 1 {
            fs::remove_file(&self.path)?;
        }
        self.file = open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(MODE).open(path)?;
    // One that was there may have been made by somebody else.
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

impl Write for RotatingFile {
    /// Takes a whole line: lines are not torn over two files.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.bytes > 0 && self.bytes.saturating_add(line.len() as u64) > self.bytes_max {
            self.put_aside()?;
        }
        let written = self.file.write(line)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn lines_go_on_in_another_file_and_the_oldest_file_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sub/audit.log");
        let open = || RotatingFile::open(path.clone(), 10, 3).unwrap();
        let mut file = open();
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        // A start goes on where the end was, and in private whoever made the file.
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let mut file = open();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        for line in ["five\n", "much longer than a file\n", "six\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(directory.path().join("sub").join(name)).ok();
        assert_eq!(read("audit.log").as_deref(), Some("six\n"));
        assert_eq!(read("audit.log.1").as_deref(), Some("much longer than a file\n"));
        assert_eq!(read("audit.log.2").as_deref(), Some("four\nfive\n"));
        assert_eq!(read("audit.log.3"), None);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn a_single_file_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut file = RotatingFile::open(path.clone(), 4, 1).unwrap();
        file.write_all(b"one\n").unwrap();
        file.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
