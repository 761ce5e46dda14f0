//! A passphrase, and what lies on disk under it: PKCS #8 in its encrypted form (RFC 5958), which OpenSSL reads as well.
//!
//! The key of the cipher is made of the passphrase by scrypt, at the price that OWASP recommends where memory is bounded as
//! OpenSSL bounds it: 16 MiB, five times over. The cipher, AES-256-CBC, has no tag: a wrong passphrase is noticed because what
//! comes out is no key, and cannot be told from damage to what is encrypted.

use super::{TlsError, files};
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::pem::{LineEnding, PemLabel};
use pkcs8::der::{Decode, SecretDocument};
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::pkcs5::{self, EncryptionScheme, scrypt};
use pkcs8::{EncryptedPrivateKeyInfo, EncryptedPrivateKeyInfoRef};
use std::fmt;
use std::io::Read as _;
use std::path::Path;
use zeroize::Zeroizing;

/// The longest passphrase; OpenSSL cuts longer ones off at 1,023.
const PASSPHRASE_BYTES_MAX: usize = 1_000;
/// scrypt's N, as its logarithm, r and p: what is written. A larger N or r would be beyond the 32 MiB of OpenSSL.
const SCRYPT_COST: (u8, u32, u32) = (14, 8, 5);
/// The most that opening may take, as N·r·p, of which N·r is also its memory in units of 128 bytes: thirteen times what is
/// written, 1 GiB. A file that wants more is refused.
const SCRYPT_WORK_MAX: u64 = 1 << 23;
/// The same for files that others have made with PBKDF2: what RFC 8018 has in mind for especially critical keys.
const PBKDF2_ITERATIONS_MAX: u32 = 10_000_000;

/// What a person knows and a file on a disk does not. It is wiped from memory once it is not needed, and is in no log and no
/// error.
#[derive(PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

/// Why something is no passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// It would protect nothing.
    #[error("a passphrase must not be empty")]
    Empty,
    /// Nobody types that.
    #[error("a passphrase has at most {PASSPHRASE_BYTES_MAX} bytes")]
    TooLong,
    /// It could not be typed, nor is it sure where it ends.
    #[error("a passphrase is text, in UTF-8 and without control characters")]
    NotText,
}

/// Why what is sealed stays so.
pub(super) enum OpenError {
    /// With this passphrase nothing comes out.
    Passphrase,
    /// Not with any: what it is instead.
    Malformed(String),
}

impl Passphrase {
    /// The passphrase that somebody typed.
    ///
    /// # Errors
    /// When it is empty, too long, or could not be typed again.
    pub fn new(text: String) -> Result<Self, PassphraseError> {
        let text = Zeroizing::new(text);
        if text.is_empty() {
            Err(PassphraseError::Empty)
        } else if text.len() > PASSPHRASE_BYTES_MAX {
            Err(PassphraseError::TooLong)
        } else if text.contains(char::is_control) {
            Err(PassphraseError::NotText)
        } else {
            Ok(Self(text))
        }
    }

    /// The first line of a file, which must be readable by its owner only.
    ///
    /// # Errors
    /// When the file cannot be read or others can, or that line is no passphrase.
    pub fn load(file: &Path) -> Result<Self, TlsError> {
        // As much as a passphrase has, the end of its line, and one more that shows that it is longer.
        let bytes_max = PASSPHRASE_BYTES_MAX + 3;
        let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max));
        let read = files::open_private(file)?.take(bytes_max as u64).read_to_end(&mut bytes);
        read.map_err(|source| TlsError::Read { path: file.to_owned(), source })?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = str::from_utf8(line).map_err(|_| PassphraseError::NotText);
        text.and_then(|text| Self::new(text.to_owned()))
            .map_err(|source| TlsError::Passphrase { path: file.to_owned(), source })
    }

    /// A private key in PKCS #8, as it is to lie on disk: encrypted, in PEM form. Never twice the same.
    pub(super) fn seal(&self, key: &[u8]) -> Result<Zeroizing<String>, pkcs8::Error> {
        let (log_n, r, p) = SCRYPT_COST;
        let cost = scrypt::Params::new(log_n, r, p).expect("scrypt takes this cost");
        let (salt, vector): ([u8; 16], [u8; 16]) = rand::random();
        let scheme = Parameters::generate_scrypt_aes256cbc(cost, &salt, vector)?;
        let encrypted = scheme.encrypt(self.0.as_bytes(), key)?;
        let encrypted_data = OctetStringRef::new(&encrypted)?;
        let sealed = EncryptedPrivateKeyInfo { encryption_algorithm: scheme.into(), encrypted_data };
        Ok(SecretDocument::try_from(sealed)?.to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF)?)
    }

    /// The private key, in PKCS #8, that was sealed as this; whether it is one is not looked at.
    pub(super) fn open(&self, pem: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let malformed = |error: &dyn fmt::Display| OpenError::Malformed(error.to_string());
        let (_, document) = SecretDocument::from_pem(pem).map_err(|error| malformed(&error))?;
        let sealed = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|error| malformed(&error))?;
        if !is_affordable(&sealed.encryption_algorithm) {
            return Err(malformed(&"to open it would take more time or memory than is spent on it"));
        }
        let opened = sealed.encryption_algorithm.decrypt(self.0.as_bytes(), sealed.encrypted_data.as_ref());
        opened.map(Zeroizing::new).map_err(|error| match error {
            pkcs5::Error::DecryptFailed => OpenError::Passphrase,
            error => malformed(&error),
        })
    }
}

/// Whether a file is a private key under a passphrase, damaged or not.
pub(super) fn is_sealed(pem: &str) -> bool {
    pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

fn is_affordable(scheme: &EncryptionScheme) -> bool {
    match scheme {
        EncryptionScheme::Pbes2(Parameters { kdf: Kdf::Scrypt(scrypt), .. }) => {
            let others = u64::from(scrypt.block_size) * u64::from(scrypt.parallelization);
            // Of a cost of 0 the library would take the logarithm.
            scrypt.cost_parameter > 0 && scrypt.cost_parameter.saturating_mul(others) <= SCRYPT_WORK_MAX
        }
        EncryptionScheme::Pbes2(Parameters { kdf: Kdf::Pbkdf2(pbkdf2), .. }) => {
            pbkdf2.iteration_count <= PBKDF2_ITERATIONS_MAX
        }
        // It is refused by name when it is to be opened.
        _ => true,
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}
