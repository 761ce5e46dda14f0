//! Modules: immutable, known by SHA-256; a name is a movable pointer to one.

use crate::{Digest, ModuleName, ModuleSignature};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What the log carries of a module. Its bytes never go through the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleManifest {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The names that point to it, sorted.
    #[serde(default)]
    pub names: Vec<ModuleName>,
    /// What it asks of its host, as `module.function`, sorted.
    #[serde(default)]
    pub imports: Vec<String>,
    /// Who uploaded it: the name in the client's certificate, or that of its token.
    pub owner: String,
    /// Who has signed it; each checked by the node that took it. At most [`crate::limits::MODULE_SIGNATURES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<ModuleSignature>,
}

/// How people name a module: by a pointer, or by digest (`sha256:` and 64 hexadecimal digits).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModuleRef {
    /// Whatever the name points to when it is resolved.
    Name(ModuleName),
    /// Exactly this.
    Digest(Digest),
}

impl FromStr for ModuleRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("sha256:") {
            Some(hex) => hex.parse().map(Self::Digest).map_err(|e: crate::id::IdError| e.to_string()),
            None => text.parse().map(Self::Name).map_err(|e: crate::NameError| e.to_string()),
        }
    }
}

impl fmt::Display for ModuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Digest(digest) => write!(f, "sha256:{digest}"),
        }
    }
}
