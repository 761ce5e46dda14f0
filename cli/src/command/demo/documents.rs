//! What the demo's jobs work on: the files that were named, else the documents at hand.

use crate::command::job::payload;
use crate::failure::Failure;
use bytes::Bytes;
use std::path::{Path, PathBuf};

/// Documents of the current directory that are taken when none are named.
const FOUND_MAX: usize = 12;
/// What is worked on when there is nothing else: this project's own front page.
const EMBEDDED: (&str, &str) = ("README.md", include_str!("../../../../README.md"));

/// A document and what it is called.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// As it is shown.
    pub(super) name: String,
    /// Its content: a job's payload.
    pub(super) content: Bytes,
}

/// Reads the files; without any, those of the current directory whose name ends with `.md`.
///
/// All are read before anything is started, so that a file that cannot be read is all that is told.
pub(super) fn collect(files: &[PathBuf]) -> Result<Vec<Document>, Failure> {
    if files.is_empty() {
        return Ok(found(Path::new(".")));
    }
    files.iter().map(|file| Ok(Document { name: name(file), content: payload::from_file(file)? })).collect()
}

fn found(directory: &Path) -> Vec<Document> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    files.sort();
    // Nobody asked for these: one that cannot be read, or is too large, is passed over.
    let read = |file: PathBuf| Some(Document { name: name(&file), content: payload::from_file(&file).ok()? });
    let documents: Vec<Document> = files.into_iter().filter_map(read).take(FOUND_MAX).collect();
    if documents.is_empty() {
        let (name, content) = EMBEDDED;
        return vec![Document { name: name.to_owned(), content: content.as_bytes().into() }];
    }
    documents
}

fn name(file: &Path) -> String {
    file.strip_prefix(".").unwrap_or(file).display().to_string()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn unreadable_named_file_is_an_error_and_an_unreadable_found_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large.md");
        std::fs::write(&path, vec![b'x'; 2_000_000]).unwrap();
        std::fs::write(directory.path().join("b.md"), "b").unwrap();
        assert!(collect(&[path]).unwrap_err().to_string().contains("large.md"));
        let documents = found(directory.path());
        assert_eq!(documents.len(), 1);
        assert!(documents[0].name.ends_with("b.md"));
    }

    #[test]
    fn there_is_always_something_to_work_on() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(found(directory.path()).len(), 1);
    }
}
