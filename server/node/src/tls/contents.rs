//! What stands in the files of a node or client, read once: what is checked, what is used and what is compared with a
//! later look are the same bytes, whatever happens to the files meanwhile.

use super::{TlsError, TlsFiles, files};
use sha2::{Digest, Sha256};

/// The bytes of all files. The key among them goes nowhere but into [`super::Credentials`].
pub(super) struct Contents {
    pub(super) ca: Vec<u8>,
    pub(super) cert: Vec<u8>,
    pub(super) key: Vec<u8>,
    /// `None`: there is no such file.
    pub(super) crl: Option<Vec<u8>>,
}

/// Tells contents apart; nothing can be learnt from it of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentsDigest([u8; 32]);

impl Contents {
    /// Reads the files.
    ///
    /// # Errors
    /// When one of them cannot be read or is too large, others can read the key, or the lists are named and not there.
    pub(super) fn read(paths: &TlsFiles) -> Result<Self, TlsError> {
        let crl = match &paths.crl {
            Some(path) => Some(files::read(path)?),
            None => files::read_if_there(&paths.crl_file())?,
        };
        Ok(Self {
            ca: files::read(&paths.ca)?,
            cert: files::read(&paths.cert)?,
            key: files::read_key(&paths.key)?,
            crl,
        })
    }

    /// The digest of all of it.
    pub(super) fn digest(&self) -> ContentsDigest {
        let mut hash = Sha256::new();
        for part in [&self.ca, &self.cert, &self.key].into_iter().chain(&self.crl) {
            // Of each part by itself, so that nothing moves unnoticed from one to the next.
            hash.update(Sha256::digest(part));
        }
        ContentsDigest(hash.finalize().into())
    }
}
