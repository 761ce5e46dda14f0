//! Takes certificates back: `ca.crl`, the list that the authority signs anew with each of them.

use super::certificate::{parse, read_chain};
use super::files::{self, CERTIFICATE_MODE};
use super::revocation::parse_list;
use super::{CertificateAuthority, Revocations, TlsError};
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use x509_parser::prelude::RevokedCertificate;

const LIST_FILE: &str = "ca.crl";
const LIST_BEGIN: &str = "-----BEGIN X509 CRL-----";

/// What became of a certificate that was to be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It is on the list from now on.
    Now,
    /// It was on the list before.
    Before,
}

impl CertificateAuthority {
    /// Puts certificates, by their files, on the list `ca.crl` in `directory`. What is on it stays there, and so do the lists
    /// of other authorities in the same file. Either all of them are on it afterwards, or nothing has changed.
    ///
    /// # Errors
    /// When a file cannot be read or written, a certificate is not one that this authority has issued, or the list that is
    /// there is damaged.
    pub fn revoke(&self, directory: &Path, certificates: &[PathBuf]) -> Result<Vec<Revoked>, TlsError> {
        self.revoke_at(directory, certificates, OffsetDateTime::now_utc())
    }

    fn revoke_at(
        &self,
        directory: &Path,
        certificates: &[PathBuf],
        now: OffsetDateTime,
    ) -> Result<Vec<Revoked>, TlsError> {
        let path = directory.join(LIST_FILE);
        let mut former = self.former_list(&path)?;
        let mut outcomes = Vec::new();
        for file in certificates {
            let serial = self.serial_of_issued(file)?;
            let before = former.entries.iter().any(|entry| entry.serial_number.as_ref() == serial);
            if !before {
                former.entries.push(RevokedCertParams {
                    serial_number: SerialNumber::from(serial),
                    revocation_time: now,
                    reason_code: None,
                    invalidity_date: None,
                });
            }
            outcomes.push(if before { Revoked::Before } else { Revoked::Now });
        }
        if outcomes.contains(&Revoked::Now) {
            let list = CertificateRevocationListParams {
                this_update: now,
                // As long as anything that the authority issued can be valid.
                next_update: self.not_after(),
                crl_number: SerialNumber::from(former.number.saturating_add(1)),
                issuing_distribution_point: None,
                revoked_certs: former.entries,
                key_identifier_method: KeyIdMethod::Sha256,
            };
            let text = list.signed_by(self.issuer())?.pem()? + &former.others;
            files::write(&path, text.as_bytes(), CERTIFICATE_MODE, true)?;
        }
        Ok(outcomes)
    }

    /// The serial number of a certificate, if this authority has issued it.
    fn serial_of_issued(&self, file: &Path) -> Result<Vec<u8>, TlsError> {
        let chain = read_chain(file)?;
        let certificate = parse(file, &chain[0])?;
        let unfit = |reason: &str| TlsError::NotRevocable { path: file.to_owned(), reason: reason.to_owned() };
        if certificate.is_ca() {
            return Err(unfit("it is an authority; replace it by another one instead"));
        }
        let own = parse(file, self.certificate())?;
        let issued = certificate.issuer().as_raw() == own.subject().as_raw()
            && certificate.verify_signature(Some(own.public_key())).is_ok();
        if issued {
            Ok(certificate.serial.to_bytes_be())
        } else {
            Err(unfit("another authority has issued it, and has to revoke it"))
        }
    }

    /// What the file holds so far.
    fn former_list(&self, path: &Path) -> Result<FormerList, TlsError> {
        let mut former = FormerList::default();
        let Some(bytes) = files::read_if_there(path)? else { return Ok(former) };
        Revocations::check(path, &bytes, std::slice::from_ref(self.certificate()))?;
        let own = parse(path, self.certificate())?;
        let unusable = |reason: String| TlsError::RevocationList { path: path.to_owned(), reason };
        let text = String::from_utf8(bytes).map_err(|_| unusable("it is not text".to_owned()))?;
        for part in text.split(LIST_BEGIN).skip(1) {
            let part = format!("{LIST_BEGIN}{part}");
            let der = CertificateRevocationListDer::from_pem_slice(part.as_bytes())
                .map_err(|error| unusable(error.to_string()))?;
            let list = parse_list(&der).map_err(unusable)?;
            if list.issuer().as_raw() == own.subject().as_raw() {
                former.number = list.crl_number().and_then(|number| number.try_into().ok()).unwrap_or(0);
                former.entries = list.iter_revoked_certificates().map(entry).collect();
            } else {
                former.others.push_str(&part);
            }
        }
        Ok(former)
    }
}

/// What `ca.crl` held before.
#[derive(Default)]
struct FormerList {
    number: u64,
    entries: Vec<RevokedCertParams>,
    /// The lists of other authorities, as they stand there.
    others: String,
}

fn entry(entry: &RevokedCertificate<'_>) -> RevokedCertParams {
    let reason_code = entry.reason_code().and_then(|(_, reason)| match reason.0 {
        1 => Some(RevocationReason::KeyCompromise),
        2 => Some(RevocationReason::CaCompromise),
        3 => Some(RevocationReason::AffiliationChanged),
        4 => Some(RevocationReason::Superseded),
        5 => Some(RevocationReason::CessationOfOperation),
        6 => Some(RevocationReason::CertificateHold),
        9 => Some(RevocationReason::PrivilegeWithdrawn),
        10 => Some(RevocationReason::AaCompromise),
        _ => None,
    });
    RevokedCertParams {
        serial_number: SerialNumber::from(entry.serial().to_bytes_be()),
        revocation_time: entry.revocation_date.to_datetime(),
        reason_code,
        invalidity_date: None,
    }
}
