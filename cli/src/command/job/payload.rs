//! Where a job's input comes from: the command line, files, or stdin. Read and checked before anything is enqueued.

use crate::failure::Failure;
use crate::output::human;
use bytes::Bytes;
use jobraft_protocol::limits::PAYLOAD_BYTES_DEFAULT;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The payloads that a command line names: files, one text, stdin for `-`, or an empty one.
pub(in crate::command) fn each(text: Option<&str>, files: &[PathBuf]) -> Result<Vec<Bytes>, Failure> {
    if !files.is_empty() {
        return files.iter().map(|file| from_file(file)).collect();
    }
    Ok(vec![match text {
        None => Bytes::new(),
        Some("-") => from_stdin()?,
        Some(text) => from_text(text.to_owned())?,
    }])
}

/// Reads a file as a payload.
pub(in crate::command) fn from_file(file: &Path) -> Result<Bytes, Failure> {
    let doing = || format!("read {}", file.display());
    let opened = File::open(file).map_err(|error| Failure::usage(doing(), error))?;
    if opened.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(Failure::usage(doing(), "it is a directory; name the files in it"));
    }
    bounded(opened, &doing())
}

/// Reads stdin as a payload.
fn from_stdin() -> Result<Bytes, Failure> {
    bounded(io::stdin().lock(), "read the payload from stdin")
}

/// A payload that stands on the command line.
pub(in crate::command) fn from_text(text: String) -> Result<Bytes, Failure> {
    bounded(text.as_bytes(), "take the payload")
}

fn bounded(source: impl Read, doing: &str) -> Result<Bytes, Failure> {
    let mut payload = Vec::new();
    let limit = PAYLOAD_BYTES_DEFAULT as u64;
    source.take(limit + 1).read_to_end(&mut payload).map_err(|error| Failure::usage(doing, error))?;
    if payload.len() as u64 > limit {
        let cause = format!("it is larger than {}, the most that a job's payload may have", human::bytes(limit));
        return Err(Failure::usage(doing, cause).hint("store it elsewhere and enqueue where it is, or split it"));
    }
    Ok(payload.into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::failure::Exit;

    #[test]
    fn unreadable_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().join("none.txt"), directory.path().to_owned()] {
            let failure = from_file(&path).unwrap_err();
            assert_eq!(failure.exit_code(), Exit::Usage);
            assert!(failure.to_string().contains(&*path.to_string_lossy()), "{failure}");
        }
    }

    #[test]
    fn payload_over_the_limit_is_refused() {
        assert_eq!(from_text("x".repeat(PAYLOAD_BYTES_DEFAULT)).unwrap().len(), PAYLOAD_BYTES_DEFAULT);
        let failure = from_text("x".repeat(PAYLOAD_BYTES_DEFAULT + 1)).unwrap_err();
        assert!(failure.to_string().contains("256.0 KiB"), "{failure}");
    }
}
