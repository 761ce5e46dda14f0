//! A certificate, its key and the authorities that it trusts: checked once, then turned into TLS configurations.

use super::certificate::{chain_of, check_time, parse};
use super::contents::{Contents, ContentsDigest};
use super::expiry::Ending;
use super::{Identity, Revocations, TlsError};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
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
    /// The lists of revoked certificates. `None`: `ca.crl` beside the authority's certificate, if there is such a file.
    pub crl: Option<PathBuf>,
}

impl TlsFiles {
    /// The files as `jobraft certs` names them: `ca.crt`, `<stem>.crt` and `<stem>.key` in `directory`.
    #[must_use]
    pub fn in_directory(directory: &Path, stem: &str) -> Self {
        Self {
            ca: directory.join("ca.crt"),
            cert: directory.join(format!("{stem}.crt")),
            key: directory.join(format!("{stem}.key")),
            crl: None,
        }
    }

    /// Where the lists of revoked certificates are, if there are any.
    #[must_use]
    pub fn crl_file(&self) -> PathBuf {
        self.crl.clone().unwrap_or_else(|| self.ca.with_file_name("ca.crl"))
    }
}

/// Checked credentials.
pub struct Credentials {
    identity: Identity,
    provider: Arc<CryptoProvider>,
    client_verifier: Arc<dyn ClientCertVerifier>,
    server_verifier: Arc<WebPkiServerVerifier>,
    revocations: Arc<Revocations>,
    /// The names of those who are trusted, as they are encoded.
    authorities: BTreeSet<Vec<u8>>,
    endings: Vec<Ending>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    not_after: OffsetDateTime,
    digest: ContentsDigest,
}

impl Credentials {
    /// Reads and checks the files.
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
        let trusted = trusted(&files.ca, &contents.ca, now)?;
        let chain = chain_of(&files.cert, &contents.cert)?;
        let revocations = match &contents.crl {
            // Whoever stands between the root and the own certificate may have lists as well.
            Some(bytes) => Revocations::check(&files.crl_file(), bytes, &[&trusted[..], &chain[1..]].concat())?,
            None => Revocations::default(),
        };
        let (client_verifier, server_verifier) = verifiers(&files.ca, &provider, &trusted, &revocations)?;
        let certificate = parse(&files.cert, &chain[0])?;
        check_time(&files.cert, &certificate, now)?;
        let not_after = certificate.validity().not_after.to_datetime();
        verify(files, client_verifier.as_ref(), &chain, now)?;
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
        let mut endings = vec![Ending::of_own(&files.cert, not_after)];
        let mut authorities = BTreeSet::new();
        for authority in &trusted {
            endings.push(Ending::of_authority(&files.ca, authority)?);
            authorities.insert(parse(&files.ca, authority)?.subject().as_raw().to_vec());
        }
        Ok(Self {
            identity,
            provider,
            client_verifier,
            server_verifier,
            revocations: Arc::new(revocations),
            authorities,
            endings,
            chain,
            key,
            not_after,
            digest: contents.digest(),
        })
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

    /// Which certificates are revoked.
    #[must_use]
    pub(crate) const fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// Whether an authority of this encoded name is trusted.
    pub(super) fn trusts(&self, authority: &[u8]) -> bool {
        self.authorities.contains(authority)
    }

    /// When what this depends on ends.
    pub(super) fn endings(&self) -> &[Ending] {
        &self.endings
    }

    /// Of what it was loaded from.
    pub(super) const fn digest(&self) -> ContentsDigest {
        self.digest
    }

    /// The configuration of a server: TLS 1.3 only, one of `alpns` agreed. Whoever connects is asked for a certificate, which must
    /// then be of our authority; what those may do that show none is for the caller to say.
    ///
    /// # Errors
    /// [`TlsError::Cryptography`] if the library refuses what [`Credentials::load`] accepted: a defect.
    pub fn server_config(&self, alpns: &[&[u8]]) -> Result<ServerConfig, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::clone(&self.client_verifier))
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
            .with_webpki_verifier(Arc::clone(&self.server_verifier))
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
/// holds both. One of several that has ended is left out: it must not keep the others from being used.
fn trusted(path: &Path, bytes: &[u8], now: OffsetDateTime) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut trusted = Vec::new();
    let mut ended = None;
    for der in chain_of(path, bytes)? {
        let certificate = parse(path, &der)?;
        if !certificate.is_ca() {
            return Err(TlsError::NotAuthority { path: path.to_owned() });
        }
        match check_time(path, &certificate, now) {
            Ok(()) => trusted.push(der),
            Err(error @ TlsError::Expired { .. }) => ended = Some(error),
            Err(error) => return Err(error),
        }
    }
    match ended {
        Some(error) if trusted.is_empty() => Err(error),
        _ => Ok(trusted),
    }
}

/// What verifies clients, and what verifies servers. Only the lists that are there count, and only for the certificates at
/// the end of a chain: an authority without a list has revoked nothing.
fn verifiers(
    path: &Path,
    provider: &Arc<CryptoProvider>,
    trusted: &[CertificateDer<'static>],
    revocations: &Revocations,
) -> Result<(Arc<dyn ClientCertVerifier>, Arc<WebPkiServerVerifier>), TlsError> {
    let mut roots = RootCertStore::empty();
    for der in trusted {
        roots.add(der.clone()).map_err(|error| TlsError::Malformed {
            path: path.to_owned(),
            expected: "an authority's certificate",
            reason: error.to_string(),
        })?;
    }
    let roots = Arc::new(roots);
    let failed = |error: VerifierBuilderError| TlsError::Cryptography(error.to_string());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
        .with_crls(revocations.lists())
        .allow_unknown_revocation_status()
        .only_check_end_entity_revocation()
        .allow_unauthenticated()
        .build()
        .map_err(failed)?;
    let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .with_crls(revocations.lists())
        .allow_unknown_revocation_status()
        .only_check_end_entity_revocation()
        .build()
        .map_err(failed)?;
    Ok((clients, servers))
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
        Err(rustls::Error::InvalidCertificate(CertificateError::Revoked)) => Err(TlsError::Revoked { path }),
        Err(error) => Err(TlsError::Unfit { path, reason: error.to_string() }),
    }
}
