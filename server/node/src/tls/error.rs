//! What can be wrong with certificates and keys. None of it is retryable: each message names the file and the way out.

use super::{Identity, IdentityError, PassphraseError};
use std::io;
use std::path::PathBuf;

/// Why certificates cannot be made, loaded or used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there already.
    #[error("{} exists already and is not overwritten; choose another place or move it away", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others on the machine can read the private key, or the passphrase.
    #[error("{} can be read by others (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The authority's key can only be opened with its passphrase.
    #[error("{} is under a passphrase, and none is given", path.display())]
    KeySealed {
        /// The key's file.
        path: PathBuf,
    },
    /// A passphrase is given for a key that has none, so that who gave it is wrong about what protects it.
    #[error("{} has no passphrase: give none, or set one with: jobraft certs passphrase", path.display())]
    KeyNotSealed {
        /// The key's file.
        path: PathBuf,
    },
    /// The authority's key is under another passphrase, or its encrypted part is damaged: nobody can tell.
    #[error("the passphrase does not open {}; if it is the right one, the file is damaged: put back a copy", path.display())]
    WrongPassphrase {
        /// The key's file.
        path: PathBuf,
    },
    /// The authority's key is none that can be used.
    #[error("{} is not a private key in PEM form: {reason}; put back a copy of it", path.display())]
    KeyDamaged {
        /// The key's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that is to hold a passphrase.
    #[error("the first line of {} is no passphrase: {source}", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PassphraseError,
    },
    /// The file does not hold what it should.
    #[error("{} is not {expected}: {reason}; name the right file or issue it anew with: jobraft certs issue", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The certificate was valid once.
    #[error("the certificate {} expired on {not_after}; issue a new one with: jobraft certs issue", path.display())]
    Expired {
        /// The certificate's file.
        path: PathBuf,
        /// Its last moment.
        not_after: String,
    },
    /// The certificate will be valid later.
    #[error("the certificate {} is valid only from {not_before} on; check this machine's clock", path.display())]
    NotYetValid {
        /// The certificate's file.
        path: PathBuf,
        /// Its first moment.
        not_before: String,
    },
    /// The file given as the authority holds an ordinary certificate.
    #[error("{} is not the certificate of an authority; name the ca.crt made by: jobraft certs init", path.display())]
    NotAuthority {
        /// The file.
        path: PathBuf,
    },
    /// Another authority signed the certificate.
    #[error("the certificate {} is not signed by the authority {}; issue it with that authority's key", path.display(), ca.display())]
    ForeignAuthority {
        /// The certificate's file.
        path: PathBuf,
        /// The authority's file.
        ca: PathBuf,
    },
    /// The certificate is signed by the authority but not fit for its purpose.
    #[error("the certificate {} cannot be used: {reason}; issue a new one with: jobraft certs issue", path.display())]
    Unfit {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error("the key {} does not belong to the certificate {}; name the pair that was issued together", key.display(), certificate.display())]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The certificate does not say whose it is.
    #[error("the certificate {} has no usable role: {source}; issue it with: jobraft certs issue", path.display())]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong.
        source: IdentityError,
    },
    /// The certificate is good, but that of another node.
    #[error(
        "the certificate {} is that of {found}, but this is {expected}; put the certificate of {expected} there", path.display()
    )]
    OtherIdentity {
        /// The certificate's file.
        path: PathBuf,
        /// Whom it names.
        found: Box<Identity>,
        /// Who looks.
        expected: Box<Identity>,
    },
    /// The own certificate is on a list.
    #[error("the certificate {} is revoked; issue a new one with: jobraft certs issue --replace", path.display())]
    Revoked {
        /// The certificate's file.
        path: PathBuf,
    },
    /// A list of revoked certificates that is of no use.
    #[error("the list of revoked certificates {} cannot be used: {reason}; put back the ca.crl that `jobraft certs revoke` wrote", path.display())]
    RevocationList {
        /// The list's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A list was there and is no longer, so that what was revoked would be valid again.
    #[error(
        "the list of {authority} is gone from {}, though that authority is still trusted; put it back, or restart the \
         node if its certificates shall count again", path.display()
    )]
    RevocationListGone {
        /// The list's file.
        path: PathBuf,
        /// Whose list it was.
        authority: String,
    },
    /// A certificate that cannot be put on the list.
    #[error("the certificate {} cannot be revoked: {reason}", path.display())]
    NotRevocable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate that cannot be issued once more.
    #[error("the certificate {} cannot be renewed: {reason}", path.display())]
    NotRenewable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A role that cannot stand in a certificate.
    #[error(transparent)]
    Role(#[from] IdentityError),
    /// Neither an IP address nor a DNS name.
    #[error("{host:?} is neither an IP address nor a DNS name")]
    InvalidHost {
        /// The text.
        host: String,
    },
    /// A validity that makes no sense.
    #[error("a validity of {days} days is outside 1 to {max}")]
    InvalidValidity {
        /// What was asked for.
        days: u32,
        /// The most.
        max: u32,
    },
    /// The cryptographic library refused: a defect of Jobraft or of the machine.
    #[error("cryptography failed: {0}")]
    Cryptography(String),
}

impl From<rcgen::Error> for TlsError {
    fn from(error: rcgen::Error) -> Self {
        Self::Cryptography(error.to_string())
    }
}

impl From<pkcs8::Error> for TlsError {
    fn from(error: pkcs8::Error) -> Self {
        Self::Cryptography(error.to_string())
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Cryptography(error.to_string())
    }
}
