//! The client's side of TLS: its own certificate and key, or its token, the cluster's CA, and who a node says it is.
//!
//! TLS 1.3 only. A private key or a token that others can read is refused; nothing secret reaches an error's text.

use crate::config::{ClientConfig, Credential, Pem};
use jobraft_protocol::{ALPN_CLIENT, NodeId, NotToken, TokenSecret};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::prelude::{CertificateRevocationList, FromDer, GeneralName, X509Certificate};

/// Why the client's certificates, key or token cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {what} {}: {source}", .path.display())]
    Read {
        /// Which of them.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of what is secret is open to others.
    #[error("the {what} {file} can be read by others (mode {mode:03o}); run: chmod 600 {file}", file = .path.display())]
    Readable {
        /// Which of them.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The text holds no such thing.
    #[error("{origin} holds no usable {what}: {reason}")]
    Malformed {
        /// Where it came from.
        origin: String,
        /// What was looked for.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The certificate is past its end.
    #[error("the certificate {origin} expired on {end}; issue a new one")]
    Expired {
        /// Where it came from.
        origin: String,
        /// Its end.
        end: String,
    },
    /// The certificate has not begun, or this machine's clock is wrong.
    #[error("the certificate {origin} is valid only from {start}; check this machine's clock")]
    NotYetValid {
        /// Where it came from.
        origin: String,
        /// Its beginning.
        start: String,
    },
    /// rustls does not take them, such as a key that is not the certificate's.
    #[error("the certificate {origin} and its key cannot be used: {source}")]
    Rejected {
        /// Where the certificate came from.
        origin: String,
        /// Why.
        source: rustls::Error,
    },
}

/// With what a connection is opened.
#[derive(Clone)]
pub(crate) struct Proof {
    pub(crate) tls: rustls::ClientConfig,
    /// What is shown instead of a certificate.
    pub(crate) token: Option<TokenSecret>,
}

/// With what a connection to a node is opened; reads the files anew.
pub(crate) fn proof(config: &ClientConfig) -> Result<Proof, TlsError> {
    let mut roots = RootCertStore::empty();
    let cas = certificates("CA certificate", &config.ca)?;
    for ca in &cas {
        roots.add(ca.clone()).map_err(|error| malformed("CA certificate", &config.ca, &error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider knows TLS 1.3")
        .with_webpki_verifier(verifier(config, roots, &cas, &provider)?);
    let (mut tls, token) = match &config.credential {
        Credential::Certificate { cert, key } => {
            let chain = certificates("client certificate", cert)?;
            check_validity(&chain[0], cert)?;
            let tls = builder.with_client_auth_cert(chain, private_key(key)?);
            (tls.map_err(|source| TlsError::Rejected { origin: origin(cert), source })?, None)
        }
        Credential::Token(pem) => (builder.with_no_client_auth(), Some(token(pem)?)),
    };
    tls.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    Ok(Proof { tls, token })
}

/// What verifies nodes: by the CAs, and by the lists of what these have revoked. A CA without a list has revoked nothing.
fn verifier(
    config: &ClientConfig,
    roots: RootCertStore,
    cas: &[CertificateDer<'_>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let beside = match (&config.crl, &config.ca) {
        (Some(crl), _) => Some(crl.clone()),
        (None, Pem::File(ca)) => Some(ca.with_file_name("ca.crl")).filter(|path| path.exists()).map(Pem::File),
        (None, Pem::Bytes(_)) => None,
    };
    let mut lists = Vec::new();
    if let Some(crl) = &beside {
        let what = "list of revoked certificates";
        let text = read(what, crl)?;
        for list in CertificateRevocationListDer::pem_slice_iter(&text) {
            let list = list.map_err(|error| malformed(what, crl, &error))?;
            check_signature(&list, cas).map_err(|reason| malformed(what, crl, &reason))?;
            lists.push(list);
        }
        if lists.is_empty() {
            return Err(malformed(what, crl, &"there is no BEGIN X509 CRL in it"));
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(lists)
        .allow_unknown_revocation_status()
        .only_check_end_entity_revocation()
        .build()
        .map_err(|error| malformed("list of revoked certificates", beside.as_ref().unwrap_or(&config.ca), &error))
}

/// Refuses a list that says it is of one of `cas` and is not. That of another concerns nobody who is trusted.
fn check_signature(list: &[u8], cas: &[CertificateDer<'_>]) -> Result<(), String> {
    let (_, list) = CertificateRevocationList::from_der(list).map_err(|error| error.to_string())?;
    let named = cas.iter().filter_map(|ca| X509Certificate::from_der(ca).ok());
    let mut named = named.filter(|(_, ca)| ca.subject().as_raw() == list.issuer().as_raw()).peekable();
    if named.peek().is_none() || named.any(|(_, ca)| list.verify_signature(ca.public_key()).is_ok()) {
        Ok(())
    } else {
        Err(format!("it is not signed by {}", list.issuer()))
    }
}

/// The node that a certificate names, in its SAN URI `jobraft://node/ID`.
pub(crate) fn node_of(certificate: &CertificateDer<'_>) -> Option<NodeId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("jobraft://node/")?.parse().ok().map(NodeId),
        _ => None,
    })
}

fn check_validity(certificate: &CertificateDer<'_>, pem: &Pem) -> Result<(), TlsError> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| malformed("client certificate", pem, &error))?;
    let validity = certificate.validity();
    let now = x509_parser::time::ASN1Time::now();
    if now > validity.not_after {
        return Err(TlsError::Expired { origin: origin(pem), end: validity.not_after.to_string() });
    }
    if now < validity.not_before {
        return Err(TlsError::NotYetValid { origin: origin(pem), start: validity.not_before.to_string() });
    }
    Ok(())
}

/// At least one certificate, or an error.
fn certificates(what: &'static str, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(what, pem)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(what, pem, &error))?;
    if found.is_empty() {
        return Err(malformed(what, pem, &"there is no BEGIN CERTIFICATE in it"));
    }
    Ok(found)
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = secret("private key", pem)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| malformed("private key", pem, &error))
}

fn token(pem: &Pem) -> Result<TokenSecret, TlsError> {
    let text = secret("token", pem)?;
    let text = str::from_utf8(&text).map(str::trim).map_err(|_| NotToken);
    text.and_then(str::parse).map_err(|error| malformed("token", pem, &error))
}

/// Reads a file that nobody else may.
pub(crate) fn secret_file(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    secret(what, &Pem::File(path.to_owned())).map(Cow::into_owned)
}

/// Reads what nobody else may.
fn secret<'a>(what: &'static str, pem: &'a Pem) -> Result<Cow<'a, [u8]>, TlsError> {
    if let Pem::File(path) = pem {
        refuse_readable_by_others(what, path)?;
    }
    read(what, pem)
}

#[cfg(unix)]
fn refuse_readable_by_others(what: &'static str, path: &Path) -> Result<(), TlsError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path);
    let metadata = metadata.map_err(|source| TlsError::Read { what, path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 { Err(TlsError::Readable { what, path: path.to_owned(), mode }) } else { Ok(()) }
}

#[cfg(not(unix))]
fn refuse_readable_by_others(_: &'static str, _: &Path) -> Result<(), TlsError> {
    Ok(())
}

fn read<'a>(what: &'static str, pem: &'a Pem) -> Result<Cow<'a, [u8]>, TlsError> {
    match pem {
        Pem::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        Pem::File(path) => {
            std::fs::read(path).map(Cow::Owned).map_err(|source| TlsError::Read { what, path: path.clone(), source })
        }
    }
}

fn origin(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => path.display().to_string(),
        Pem::Bytes(_) => "given as bytes".to_owned(),
    }
}

fn malformed(what: &'static str, pem: &Pem, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Malformed { origin: origin(pem), what, reason: reason.to_string() }
}
