//! A certificate as people read it: whose it is, who signed it, until when.

use super::{Identity, Revocations, TlsError, files};
use jobraft_protocol::hex::Hex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The most certificates in one file: a leaf and its intermediates.
const CHAIN_MAX: usize = 8;

/// Whether a certificate can be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Validity {
    /// It can.
    Valid,
    /// It could.
    Expired,
    /// It will.
    NotYetValid,
    /// Its authority has taken it back.
    Revoked,
}

/// A certificate, described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateInfo {
    /// `authority`, `node 1`, `client alice: admin`, or why it is none of these.
    pub role: String,
    /// The subject's name.
    pub subject: String,
    /// The names that it is valid for: `DNS:…`, `IP:…`, `URI:…`.
    pub names: Vec<String>,
    /// The name of who signed it.
    pub issuer: String,
    /// Its first moment (RFC 3339).
    pub not_before: String,
    /// Its last moment (RFC 3339).
    pub not_after: String,
    /// The same.
    #[serde(skip)]
    pub ends_at: OffsetDateTime,
    /// Whether it can be used now.
    pub validity: Validity,
    /// SHA-256 of the certificate, in hexadecimal.
    pub sha256: String,
}

/// Describes the first certificate in a PEM file; nothing is verified.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub fn describe(path: &Path) -> Result<CertificateInfo, TlsError> {
    describe_pem(path, &files::read(path)?)
}

/// The same, and it counts as revoked if it is on one of the lists.
///
/// # Errors
/// As for [`describe`].
pub fn describe_by(path: &Path, revocations: &Revocations) -> Result<CertificateInfo, TlsError> {
    let bytes = files::read(path)?;
    let mut info = describe_pem(path, &bytes)?;
    if revocations.revokes(&chain_of(path, &bytes)?[0]) {
        info.validity = Validity::Revoked;
    }
    Ok(info)
}

/// Describes the first certificate of a PEM file's bytes; `path` is what errors name.
///
/// # Errors
/// When there is no certificate in them.
pub fn describe_pem(path: &Path, bytes: &[u8]) -> Result<CertificateInfo, TlsError> {
    let chain = chain_of(path, bytes)?;
    let first = &chain[0];
    let certificate = parse(path, first)?;
    let role = if certificate.is_ca() {
        "authority".to_owned()
    } else {
        Identity::of_certificate(first).map_or_else(|error| error.to_string(), |identity| identity.described())
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    let validity = certificate.validity();
    let now = OffsetDateTime::now_utc();
    Ok(CertificateInfo {
        role,
        subject: certificate.subject().to_string(),
        names: names.iter().flat_map(|names| &names.value.general_names).map(name).collect(),
        issuer: certificate.issuer().to_string(),
        not_before: text(validity.not_before.to_datetime()),
        not_after: text(validity.not_after.to_datetime()),
        ends_at: validity.not_after.to_datetime(),
        validity: if now > validity.not_after.to_datetime() {
            Validity::Expired
        } else if now < validity.not_before.to_datetime() {
            Validity::NotYetValid
        } else {
            Validity::Valid
        },
        sha256: Hex(&Sha256::digest(first)).to_string(),
    })
}

/// Reads all certificates of a PEM file: at least one, at most [`CHAIN_MAX`].
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    chain_of(path, &files::read(path)?)
}

/// All certificates in a PEM file's bytes: at least one, at most [`CHAIN_MAX`].
pub(super) fn chain_of(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let malformed =
        |reason: String| TlsError::Malformed { path: path.to_owned(), expected: "a PEM certificate", reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .take(CHAIN_MAX + 1)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(error.to_string()))?;
    match chain.len() {
        0 => Err(malformed("it holds no certificate".to_owned())),
        1..=CHAIN_MAX => Ok(chain),
        _ => Err(malformed(format!("it holds more than {CHAIN_MAX} certificates"))),
    }
}

/// Parses a certificate that stands in `path`.
pub(super) fn parse<'a>(path: &Path, der: &'a [u8]) -> Result<X509Certificate<'a>, TlsError> {
    let malformed = |reason: String| TlsError::Malformed { path: path.to_owned(), expected: "a certificate", reason };
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(malformed("bytes follow it".to_owned())),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// Refuses a certificate that is not valid at `now`.
pub(super) fn check_time(path: &Path, certificate: &X509Certificate<'_>, now: OffsetDateTime) -> Result<(), TlsError> {
    let validity = certificate.validity();
    if now > validity.not_after.to_datetime() {
        let not_after = text(validity.not_after.to_datetime());
        return Err(TlsError::Expired { path: path.to_owned(), not_after });
    }
    if now < validity.not_before.to_datetime() {
        let not_before = text(validity.not_before.to_datetime());
        return Err(TlsError::NotYetValid { path: path.to_owned(), not_before });
    }
    Ok(())
}

/// A time as people read it.
pub(crate) fn text(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

fn name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(dns) => format!("DNS:{dns}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::IPAddress(bytes) => {
            let ip = <[u8; 4]>::try_from(*bytes)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            ip.map_or_else(|_| "IP:malformed".to_owned(), |ip| format!("IP:{ip}"))
        }
        other => other.to_string(),
    }
}
