//! Where something stands that should not.

use std::fs;
use std::path::Path;

/// The files below a directory that hold a text, by their paths.
pub(crate) fn leaks(directory: &Path, canary: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(leaks(&path, canary));
        } else if fs::read(&path).unwrap_or_default().windows(canary.len()).any(|window| window == canary.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}
