//! The cluster's own certificate authority: whoever holds its key decides who is a node and who a client.

use super::authority_key::AuthorityKey;
use super::certificate::{check_time, parse, read_chain};
use super::files::{CERTIFICATE_MODE, KEY_MODE};
use super::{Identity, Passphrase, TlsError, files};
use jobraft_protocol::{Grant, NodeId};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
};
use rustls::pki_types::CertificateDer;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

/// How long an authority is valid unless said otherwise: ten years.
pub const CA_VALIDITY_DAYS_DEFAULT: u32 = 3_650;
/// How long a certificate is valid unless said otherwise.
pub const LEAF_VALIDITY_DAYS_DEFAULT: u32 = 825;
/// The longest validity; a longer wish is refused.
pub const VALIDITY_DAYS_MAX: u32 = 36_500;
/// Certificates begin this long ago, for machines whose clocks are behind.
pub(super) const BACKDATE: Duration = Duration::HOUR;

const CERTIFICATE_FILE: &str = "ca.crt";

/// What happens to files that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// They stay, and writing fails with [`TlsError::Exists`].
    Refuse,
    /// They are replaced.
    Replace,
}

/// An authority, able to issue certificates (ECDSA P-256).
pub struct CertificateAuthority {
    issuer: Issuer<'static, AuthorityKey>,
    certificate: CertificateDer<'static>,
    not_after: OffsetDateTime,
}

/// A certificate and its private key, in PEM form.
pub struct IssuedPair {
    certificate: String,
    key: Zeroizing<String>,
}

impl CertificateAuthority {
    /// Makes an authority and writes `ca.crt` and `ca.key` (readable by its owner only) into `directory`, which is
    /// made if need be.
    ///
    /// # Errors
    /// [`TlsError::Exists`] if either file is there: an authority is never overwritten, since every certificate that
    /// it issued would become worthless.
    pub fn create(directory: &Path, validity_days: u32) -> Result<Self, TlsError> {
        Self::create_under(directory, validity_days, None)
    }

    /// The same; `ca.key` lies under this passphrase, if there is one, from its first moment on.
    ///
    /// # Errors
    /// As [`CertificateAuthority::create`].
    pub fn create_under(
        directory: &Path,
        validity_days: u32,
        passphrase: Option<&Passphrase>,
    ) -> Result<Self, TlsError> {
        Self::create_at(directory, validity_days, passphrase, OffsetDateTime::now_utc())
    }

    pub(crate) fn create_at(
        directory: &Path,
        validity_days: u32,
        passphrase: Option<&Passphrase>,
        now: OffsetDateTime,
    ) -> Result<Self, TlsError> {
        let key = AuthorityKey::generate()?;
        // Two authorities of the same name would look like one to a verifier, and to people.
        let number: u32 = rand::random();
        let mut params = params(&format!("Jobraft CA {number:08x}"), now, now + validity(validity_days)?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        fs::create_dir_all(directory).map_err(|source| TlsError::Write { path: directory.to_owned(), source })?;
        let pair = IssuedPair { certificate: certificate.pem(), key: key.to_pem(passphrase)? };
        pair.write(directory, "ca", Overwrite::Refuse)?;
        Ok(Self {
            not_after: params.not_after,
            issuer: Issuer::new(params, key),
            certificate: certificate.der().clone(),
        })
    }

    /// Loads the authority that [`CertificateAuthority::create`] wrote into `directory`.
    ///
    /// # Errors
    /// When a file is missing, damaged, or exposed, the key is under a passphrase, or the authority has expired.
    pub fn load(directory: &Path) -> Result<Self, TlsError> {
        Self::load_under(directory, None)
    }

    /// The same, with the passphrase under which `ca.key` lies, if there is one.
    ///
    /// # Errors
    /// As [`CertificateAuthority::load`]; [`TlsError::KeySealed`] if the key is under a passphrase and none is given; when one
    /// is given that is not its own, or the key has none.
    pub fn load_under(directory: &Path, passphrase: Option<&Passphrase>) -> Result<Self, TlsError> {
        let path = directory.join(CERTIFICATE_FILE);
        let mut chain = read_chain(&path)?;
        let certificate = parse(&path, &chain[0])?;
        if !certificate.is_ca() {
            return Err(TlsError::NotAuthority { path });
        }
        check_time(&path, &certificate, OffsetDateTime::now_utc())?;
        let key = AuthorityKey::open(directory, passphrase)?;
        if certificate.public_key().subject_public_key.data != key.der_bytes() {
            return Err(TlsError::KeyMismatch { key: AuthorityKey::file(directory), certificate: path });
        }
        let not_after = certificate.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&chain[0], key)?;
        Ok(Self { issuer, not_after, certificate: chain.swap_remove(0) })
    }

    /// Writes its key to `ca.key` in `directory` once more, in the place of what is there: the same key, under this passphrase
    /// or none.
    ///
    /// # Errors
    /// When the file cannot be written; what was there stays then.
    pub fn rewrite_key(&self, directory: &Path, passphrase: Option<&Passphrase>) -> Result<(), TlsError> {
        self.issuer.key().rewrite(directory, passphrase)
    }

    /// Its last moment: nothing that it issues outlives it.
    #[must_use]
    pub const fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    pub(super) const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) const fn issuer(&self) -> &Issuer<'static, AuthorityKey> {
        &self.issuer
    }

    /// Issues a node's certificate, for use as server and as client. `hosts` are the IP addresses and DNS names under
    /// which others reach it. It does not outlive the authority.
    ///
    /// # Errors
    /// When the id is 0, a host is malformed, or the validity is out of range.
    pub fn issue_node(&self, node: NodeId, hosts: &[String], validity_days: u32) -> Result<IssuedPair, TlsError> {
        self.issue(&Identity::node(node)?, hosts, validity_days)
    }

    /// Issues the certificate of a client that may do what `grant` says. It does not outlive the authority.
    ///
    /// # Errors
    /// When the name is malformed or the validity is out of range.
    pub fn issue_client(&self, name: &str, grant: Grant, validity_days: u32) -> Result<IssuedPair, TlsError> {
        self.issue(&Identity::client(name, grant)?, &[], validity_days)
    }

    /// Issues the certificate of whoever it is. It does not outlive the authority.
    ///
    /// # Errors
    /// When a host is malformed or the validity is out of range.
    pub fn issue(&self, identity: &Identity, hosts: &[String], validity_days: u32) -> Result<IssuedPair, TlsError> {
        self.issue_at(identity, hosts, validity_days, OffsetDateTime::now_utc())
    }

    /// Issues a certificate as if it were `now`.
    pub(crate) fn issue_at(
        &self,
        identity: &Identity,
        hosts: &[String],
        validity_days: u32,
        now: OffsetDateTime,
    ) -> Result<IssuedPair, TlsError> {
        let not_after = (now + validity(validity_days)?).min(self.not_after);
        let mut params = params(&format!("jobraft {identity}"), now, not_after);
        params.extended_key_usages = match identity {
            Identity::Node(_) => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Identity::Client { .. } => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        let uri = identity.uri();
        let uri = uri.clone().try_into().map_err(|_| TlsError::InvalidHost { host: uri })?;
        params.subject_alt_names.push(SanType::URI(uri));
        for host in hosts {
            params.subject_alt_names.push(alternative_name(host)?);
        }
        self.sign(params)
    }

    /// Signs a certificate that is no authority, for a new key.
    pub(super) fn sign(&self, mut params: CertificateParams) -> Result<IssuedPair, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(IssuedPair { certificate: certificate.pem(), key: Zeroizing::new(key.serialize_pem()) })
    }
}

impl IssuedPair {
    /// Writes `<stem>.crt` and `<stem>.key` (readable by its owner only) into `directory`; returns their paths in this
    /// order.
    ///
    /// # Errors
    /// [`TlsError::Exists`] if either file is there and shall stay; neither is written then.
    pub fn write(&self, directory: &Path, stem: &str, overwrite: Overwrite) -> Result<(PathBuf, PathBuf), TlsError> {
        let replace = overwrite == Overwrite::Replace;
        let certificate = directory.join(format!("{stem}.crt"));
        let key = directory.join(format!("{stem}.key"));
        if !replace && let Some(path) = [&certificate, &key].into_iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(TlsError::Exists { path: path.clone() });
        }
        files::write(&key, self.key.as_bytes(), KEY_MODE, replace)?;
        files::write(&certificate, self.certificate.as_bytes(), CERTIFICATE_MODE, replace)?;
        Ok((certificate, key))
    }

    /// The certificate, in PEM form. There is no such view of the key: it goes to its file only.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }
}

/// A certificate of this name from `now` on, with nothing else in it yet.
pub(super) fn params(name: &str, now: OffsetDateTime, not_after: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now - BACKDATE;
    params.not_after = not_after;
    params
}

/// So many days, if they make sense.
pub(super) fn validity(days: u32) -> Result<Duration, TlsError> {
    if (1..=VALIDITY_DAYS_MAX).contains(&days) {
        Ok(Duration::days(i64::from(days)))
    } else {
        Err(TlsError::InvalidValidity { days, max: VALIDITY_DAYS_MAX })
    }
}

fn alternative_name(host: &str) -> Result<SanType, TlsError> {
    let invalid = || TlsError::InvalidHost { host: host.to_owned() };
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(ip));
    }
    // The verifier's own idea of a DNS name: what it cannot match must not be issued.
    rustls::pki_types::DnsName::try_from(host).map_err(|_| invalid())?;
    Ok(SanType::DnsName(host.try_into().map_err(|_| invalid())?))
}
