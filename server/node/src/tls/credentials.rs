//! A certificate, its key and the authorities that it trusts: checked once, then turned into TLS configurations.

use super::certificate::{chain_of, check_time, parse};
use super::contents::{Contents, ContentsDigest};
use super::{Identity, TlsError};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Where a node's or client's certificate, key and authority lie, all in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority's certificate; during a change of authorities those of both.
    pub ca: PathBuf,
    /// The own certificate, perhaps followed by intermediates.
    pub cert: PathBuf,
    /// The own private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// The files as `jobraft certs` names them: `ca.crt`, `<stem>.crt` and `<stem>.key` in `directory`.
    #[must_use]
    pub fn in_directory(directory: &Path, stem: &str) -> Self {
        Self {
            ca: directory.join("ca.crt"),
            cert: directory.join(format!("{stem}.crt")),
            key: directory.join(format!("{stem}.key")),
        }
    }
}

/// Checked credentials.
pub struct Credentials {
    identity: Identity,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    verifier: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    not_after: OffsetDateTime,
    digest: ContentsDigest,
}

impl Credentials {
    /// Reads and checks the three files.
    ///
    /// # Errors
    /// For each thing that would make a handshake fail later, and for a key that others can read; each error names the
    /// file and the way out.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Self::load_at(files, OffsetDateTime::now_utc())
    }

    /// Reads and checks the files as if it were `now`.
    pub(crate) fn load_at(files: &TlsFiles, now: OffsetDateTime) -> Result<Self, TlsError> {
        Self::check(files, &Contents::read(files)?, now)
    }

    /// Checks what was read from `files`, which errors name.
    pub(super) fn check(files: &TlsFiles, contents: &Contents, now: OffsetDateTime) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(roots(&files.ca, &contents.ca, now)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| TlsError::Cryptography(error.to_string()))?;

        let chain = chain_of(&files.cert, &contents.cert)?;
        let certificate = parse(&files.cert, &chain[0])?;
        check_time(&files.cert, &certificate, now)?;
        let not_after = certificate.validity().not_after.to_datetime();
        verify(files, verifier.as_ref(), &chain, now)?;
        let identity = Identity::of_certificate(&chain[0])
            .map_err(|source| TlsError::Identity { path: files.cert.clone(), source })?;

        let malformed = |reason| TlsError::Malformed { path: files.key.clone(), expected: "a PEM private key", reason };
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| malformed(error.to_string()))?;
        match CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider) {
            Ok(_) => {}
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                return Err(TlsError::KeyMismatch { key: files.key.clone(), certificate: files.cert.clone() });
            }
            Err(error) => return Err(malformed(error.to_string())),
        }
        Ok(Self { identity, provider, roots, verifier, chain, key, not_after, digest: contents.digest() })
    }

    /// Whose certificate it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last moment of the certificate.
    #[must_use]
    pub const fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Of what it was loaded from.
    pub(super) const fn digest(&self) -> ContentsDigest {
        self.digest
    }

    /// The configuration of a server: TLS 1.3 only, a certificate of our authority required from whoever connects, one
    /// of `alpns` agreed.
    ///
    /// # Errors
    /// [`TlsError::Cryptography`] if the library refuses what [`Credentials::load`] accepted: a defect.
    pub fn server_config(&self, alpns: &[&[u8]]) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::clone(&self.verifier))
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        Ok(config)
    }

    /// The configuration of a client: TLS 1.3 only, presenting our certificate, offering only `alpn`.
    ///
    /// # Errors
    /// [`TlsError::Cryptography`] if the library refuses what [`Credentials::load`] accepted: a defect.
    pub fn client_config(&self, alpn: &[u8]) -> Result<ClientConfig, TlsError> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![alpn.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_early_data = false;
        Ok(config)
    }

    /// A secret that only the holder of the key can derive, the same at each start with the same key and different for
    /// each `purpose`.
    #[must_use]
    pub(crate) fn derive_secret(&self, purpose: &str) -> [u8; 32] {
        let hash = Sha256::new().chain_update(purpose).chain_update([0]).chain_update(self.key.secret_der());
        hash.finalize().into()
    }
}

/// The authorities in `path`. Each of them is trusted like the others: while one takes the place of another, the file
/// holds both.
fn roots(path: &Path, bytes: &[u8], now: OffsetDateTime) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for der in chain_of(path, bytes)? {
        let certificate = parse(path, &der)?;
        if !certificate.is_ca() {
            return Err(TlsError::NotAuthority { path: path.to_owned() });
        }
        check_time(path, &certificate, now)?;
        roots.add(der.clone()).map_err(|error| TlsError::Malformed {
            path: path.to_owned(),
            expected: "an authority's certificate",
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// Verifies the own certificate as its peers will.
fn verify(
    files: &TlsFiles,
    verifier: &dyn ClientCertVerifier,
    chain: &[CertificateDer<'_>],
    now: OffsetDateTime,
) -> Result<(), TlsError> {
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let path = files.cert.clone();
    match verifier.verify_client_cert(&chain[0], &chain[1..], now) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            Err(TlsError::ForeignAuthority { path, ca: files.ca.clone() })
        }
        Err(error) => Err(TlsError::Unfit { path, reason: error.to_string() }),
    }
}
