//! Who is who: certificates, their making, their checking, and the TLS configurations built from them.
//!
//! Everything that crosses a network runs under TLS 1.3, mutual but for clients that show a token instead. The role of a
//! certificate's holder stands in exactly
//! one SAN URI, `jobraft://node/<id>` or `jobraft://client/<name>`, and nowhere else. Whatever is wrong with a file is
//! found when it is loaded, by the same verifier that the handshake uses, and named together with the way out.
//!
//! The *ring* provider is always named explicitly: no process-wide default is read or set. 0-RTT and session
//! resumption are off, so that each connection proves its certificate anew. Private keys and the passphrase of the
//! authority's never reach a log or an error.

pub mod authority;
mod authority_key;
pub mod certificate;
mod contents;
pub mod credentials;
pub mod error;
pub mod expiry;
mod files;
pub mod identity;
mod passphrase;
#[cfg(test)]
mod passphrase_tests;
mod renewal;
pub mod revocation;
#[cfg(test)]
mod revocation_tests;
mod revoke;
#[cfg(test)]
mod tests;
mod watch;

pub use authority::{
    CA_VALIDITY_DAYS_DEFAULT, CertificateAuthority, IssuedPair, LEAF_VALIDITY_DAYS_DEFAULT, Overwrite,
    VALIDITY_DAYS_MAX,
};
pub use certificate::{CertificateInfo, Validity, describe, describe_by, describe_pem};
pub use credentials::{Credentials, TlsFiles};
pub use error::TlsError;
pub use expiry::{ENDS_SOON, ENDS_VERY_SOON};
pub use identity::{Identity, IdentityError};
pub use passphrase::{Passphrase, PassphraseError};
pub use revocation::Revocations;
pub use revoke::Revoked;
pub(crate) use watch::{Look, Watch};
