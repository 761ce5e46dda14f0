//! The authority's private key: alone in its file, under a passphrase or not.

use super::files::{self, KEY_MODE};
use super::passphrase::{OpenError, is_sealed};
use super::{Passphrase, TlsError};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize as _, Zeroizing};

const KEY_FILE: &str = "ca.key";

/// The key with which an authority signs. What it is read from and written as is wiped from memory with it; *ring* keeps a
/// copy of its own to sign with.
pub(super) struct AuthorityKey(KeyPair);

impl AuthorityKey {
    /// A new one (ECDSA P-256).
    pub(super) fn generate() -> Result<Self, TlsError> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }

    /// Where it is.
    pub(super) fn file(directory: &Path) -> PathBuf {
        directory.join(KEY_FILE)
    }

    /// Opens `ca.key` in `directory`, which must be readable by its owner only.
    ///
    /// # Errors
    /// [`TlsError::KeySealed`] if it is under a passphrase and none is given; when one is given that is not its own, or it has
    /// none; when the file cannot be read, others can, or it is damaged.
    pub(super) fn open(directory: &Path, passphrase: Option<&Passphrase>) -> Result<Self, TlsError> {
        let path = Self::file(directory);
        let bytes = Zeroizing::new(files::read_key(&path)?);
        let damaged = |reason| TlsError::KeyDamaged { path: path.clone(), reason };
        let text = str::from_utf8(&bytes).map_err(|_| damaged("it is not text".to_owned()))?;
        match (is_sealed(text), passphrase) {
            (false, None) => Ok(Self(KeyPair::from_pem(text).map_err(|error| damaged(error.to_string()))?)),
            (true, None) => Err(TlsError::KeySealed { path }),
            (false, Some(_)) => Err(TlsError::KeyNotSealed { path }),
            (true, Some(passphrase)) => {
                let der = match passphrase.open(text) {
                    Ok(der) => der,
                    Err(OpenError::Passphrase) => return Err(TlsError::WrongPassphrase { path }),
                    Err(OpenError::Malformed(reason)) => return Err(damaged(reason)),
                };
                // One wrong passphrase in 256 gives something that ends as it should, and is no key.
                let pair = KeyPair::try_from(der.as_slice());
                Ok(Self(pair.map_err(|_| TlsError::WrongPassphrase { path })?))
            }
        }
    }

    /// Writes the same key to `ca.key` in `directory`, under this passphrase or none, in the place of what is there.
    ///
    /// # Errors
    /// When the file cannot be written; what was there stays then.
    pub(super) fn rewrite(&self, directory: &Path, passphrase: Option<&Passphrase>) -> Result<(), TlsError> {
        files::write(&Self::file(directory), self.to_pem(passphrase)?.as_bytes(), KEY_MODE, true)
    }

    /// As it lies on disk.
    pub(super) fn to_pem(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<String>, TlsError> {
        match passphrase {
            Some(passphrase) => Ok(passphrase.seal(self.0.serialized_der())?),
            None => Ok(Zeroizing::new(self.0.serialize_pem())),
        }
    }
}

impl Drop for AuthorityKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}
