//! What stands in the files of a node or client, read once: what is checked, what is used and what is compared with a
//! later look are the same bytes, whatever happens to the files meanwhile.

use super::{TlsError, TlsFiles, files};
use sha2::{Digest, Sha256};

/// The bytes of all files. The key among them goes nowhere but into [`super::Credentials`].
pub(super) struct Contents {
    pub(super) ca: Vec<u8>,
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
}

/// Tells contents apart; nothing can be learnt from it of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentsDigest([u8; 32]);

impl Contents {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be read or is too large, or others can read the key.
    pub(super) fn read(paths: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self { ca: files::read(&paths.ca)?, cert: files::read(&paths.cert)?, key: files::read_key(&paths.key)? })
    }

    /// The digest of all of it.
    pub(super) fn digest(&self) -> ContentsDigest {
        let mut hash = Sha256::new();
        for part in [&self.ca, &self.cert, &self.key] {
            // Of each part by itself, so that nothing moves unnoticed from one to the next.
            hash.update(Sha256::digest(part));
        }
        ContentsDigest(hash.finalize().into())
    }
}
