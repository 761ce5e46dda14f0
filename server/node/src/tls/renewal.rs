//! Issues a certificate once more: the same names and purpose, a new key, a new time.

use super::authority::{BACKDATE, params, validity};
use super::certificate::{parse, read_chain};
use super::{CertificateAuthority, IssuedPair, TlsError};
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use std::net::IpAddr;
use std::path::Path;
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

impl CertificateAuthority {
    /// Issues anew what stands in the first certificate of `old`, whoever issued that, for as long as it was valid, or for
    /// `validity_days`. Its names are taken as they stand: what they mean is not looked at. It does not outlive the authority.
    ///
    /// # Errors
    /// When the file cannot be read, holds an authority or a name of an unknown kind, or the validity is out of range.
    pub fn renew(&self, old: &Path, validity_days: Option<u32>) -> Result<IssuedPair, TlsError> {
        self.renew_at(old, validity_days, OffsetDateTime::now_utc())
    }

    pub(crate) fn renew_at(
        &self,
        old: &Path,
        validity_days: Option<u32>,
        now: OffsetDateTime,
    ) -> Result<IssuedPair, TlsError> {
        let chain = read_chain(old)?;
        let certificate = parse(old, &chain[0])?;
        let unfit = |reason: &str| TlsError::NotRenewable { path: old.to_owned(), reason: reason.to_owned() };
        if certificate.is_ca() {
            return Err(unfit("it is an authority; make another one with: jobraft certs init --dir DIR"));
        }
        let length = match validity_days {
            Some(days) => validity(days)?,
            None => length_of(&certificate),
        };
        let name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or("jobraft");
        let mut params = params(name, now, (now + length).min(self.not_after()));
        let purposes = certificate.extended_key_usage().map_err(|_| unfit("its purpose is malformed"))?;
        let purposes = purposes.ok_or_else(|| unfit("it does not say whether it is a client's or a server's"))?.value;
        if purposes.server_auth || purposes.any {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        if purposes.client_auth || purposes.any {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        }
        let names = certificate.subject_alternative_name().map_err(|_| unfit("its names are malformed"))?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            let name = alternative_name(name).ok_or_else(|| unfit("it has a name of an unknown kind"))?;
            params.subject_alt_names.push(name);
        }
        self.sign(params)
    }
}

/// How long it was valid from when it was issued, by an authority that dates back as this one does.
fn length_of(certificate: &X509Certificate<'_>) -> Duration {
    let validity = certificate.validity();
    let whole = validity.not_after.to_datetime() - validity.not_before.to_datetime();
    (whole - BACKDATE).max(Duration::HOUR)
}

fn alternative_name(name: &GeneralName<'_>) -> Option<SanType> {
    match name {
        GeneralName::DNSName(dns) => (*dns).try_into().ok().map(SanType::DnsName),
        GeneralName::URI(uri) => (*uri).try_into().ok().map(SanType::URI),
        GeneralName::RFC822Name(mail) => (*mail).try_into().ok().map(SanType::Rfc822Name),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(SanType::IpAddress)
        }
        _ => None,
    }
}
