//! Which certificates are valid no longer, whatever stands in them: lists (CRLs, RFC 5280) that authorities have signed.
//!
//! A list counts for as long as it lies there, also after the day by which its authority meant to publish the next one:
//! a forgotten list must not lock a cluster out, and what it revokes stays revoked.

use super::certificate::{chain_of, parse};
use super::{TlsError, files};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use std::collections::BTreeSet;
use std::path::Path;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// The most lists in one file: one of each authority.
const LISTS_MAX: usize = 8;

/// The lists of a file, checked.
#[derive(Debug, Default)]
pub struct Revocations {
    lists: Vec<CertificateRevocationListDer<'static>>,
    /// Issuer's name and serial number, as they are encoded.
    revoked: BTreeSet<(Vec<u8>, Vec<u8>)>,
    /// The names of the authorities whose lists these are, as they are encoded.
    authorities: BTreeSet<Vec<u8>>,
    /// The names of authorities that are not known here, for people.
    unknown: Vec<String>,
}

impl Revocations {
    /// The lists in `directory`, where `jobraft certs` keeps `ca.crt` and `ca.crl`; none if there is no such file.
    ///
    /// # Errors
    /// When one of the files cannot be read, or a list is damaged or not signed by the authority that it names.
    pub fn in_directory(directory: &Path) -> Result<Self, TlsError> {
        let (ca, crl) = (directory.join("ca.crt"), directory.join("ca.crl"));
        match files::read_if_there(&crl)? {
            Some(bytes) => Self::check(&crl, &bytes, &chain_of(&ca, &files::read(&ca)?)?),
            None => Ok(Self::default()),
        }
    }

    /// Checks the lists in the bytes of `path`. Those of `authorities` are verified; one of another concerns nobody who is
    /// trusted directly, and is left to whoever verifies a whole chain.
    pub(super) fn check(path: &Path, bytes: &[u8], authorities: &[CertificateDer<'_>]) -> Result<Self, TlsError> {
        let mut checked = Self::default();
        let unusable = |reason: String| TlsError::RevocationList { path: path.to_owned(), reason };
        let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(bytes)
            .take(LISTS_MAX + 1)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(error.to_string()))?;
        match lists.len() {
            0 => return Err(unusable("it holds no PEM X509 CRL".to_owned())),
            1..=LISTS_MAX => {}
            _ => return Err(unusable(format!("it holds more than {LISTS_MAX} lists"))),
        }
        let known: Vec<X509Certificate<'_>> =
            authorities.iter().map(|der| parse(path, der)).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        for der in &lists {
            let list = parse_list(der).map_err(unusable)?;
            let name = list.issuer().as_raw().to_vec();
            if !names.insert(name.clone()) {
                return Err(unusable(format!("it holds two lists of {}; keep the later one", list.issuer())));
            }
            let mut signers = known.iter().filter(|authority| authority.subject().as_raw() == name).peekable();
            if signers.peek().is_none() {
                checked.unknown.push(list.issuer().to_string());
                continue;
            }
            if !signers.any(|signer| signs(signer, &list)) {
                return Err(unusable(format!("the list of {} is not signed by it", list.issuer())));
            }
            let serials = list.iter_revoked_certificates().map(|entry| entry.serial().to_bytes_be());
            checked.revoked.extend(serials.map(|serial| (name.clone(), serial)));
            checked.authorities.insert(name);
        }
        checked.lists = lists;
        Ok(checked)
    }

    /// Whether a certificate, in DER form, is on the list of its issuer.
    #[must_use]
    pub fn revokes(&self, certificate: &[u8]) -> bool {
        X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| {
            let entry = (certificate.issuer().as_raw().to_vec(), certificate.serial.to_bytes_be());
            self.revoked.contains(&entry)
        })
    }

    /// For a verifier.
    pub(super) fn lists(&self) -> impl Iterator<Item = CertificateRevocationListDer<'static>> {
        self.lists.iter().cloned()
    }

    /// Whose lists these are, by encoded names.
    pub(super) const fn authorities(&self) -> &BTreeSet<Vec<u8>> {
        &self.authorities
    }

    /// Authorities that have a list here but no certificate, for people.
    pub(super) fn unknown(&self) -> &[String] {
        &self.unknown
    }
}

/// Parses a list in DER form, or says what is wrong with it.
pub(super) fn parse_list(der: &[u8]) -> Result<CertificateRevocationList<'_>, String> {
    match CertificateRevocationList::from_der(der) {
        Ok(([], list)) => Ok(list),
        Ok(_) => Err("bytes follow a list".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether `authority` may sign lists and has signed this one: what a verifier asks as well.
fn signs(authority: &X509Certificate<'_>, list: &CertificateRevocationList<'_>) -> bool {
    let permitted = authority.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.crl_sign()));
    permitted && list.verify_signature(authority.public_key()).is_ok()
}
