//! What is wrong with a configuration file, and where.

use std::io;
use std::path::PathBuf;

/// Why a configuration file is refused. Each message names the file; what can be placed names the line and the key too.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration file {}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is too large to be a configuration file.
    #[error("{} is larger than {} KiB: not a configuration file", file.display(), super::FILE_BYTES_MAX / 1024)]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// The file is not TOML.
    #[error("{}, line {line}: not valid TOML: {message}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key is unknown or missing, or its value is of the wrong type or outside its domain.
    #[error("{}, line {line}, key `{key}`: {message}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, with the sections it stands in: `node.listen`.
        key: String,
        /// What is wrong and what would be right.
        message: String,
    },
}
