//! The role of a certificate's holder: one SAN URI, read strictly.

use jobraft_protocol::NodeId;
use std::fmt;
use std::str::FromStr;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The scheme of the SAN URIs that carry roles.
const SCHEME: &str = "jobraft://";
/// The longest name of a client.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;

/// Whose certificate it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A node of the cluster.
    Node(NodeId),
    /// A producer, a worker or a tool.
    Client(String),
}

/// Why a certificate or a text names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not an X.509 certificate.
    #[error("not an X.509 certificate")]
    NotCertificate,
    /// No `jobraft://` URI among its names.
    #[error("no jobraft://node/<id> or jobraft://client/<name> among the certificate's names")]
    Missing,
    /// More than one `jobraft://` URI.
    #[error("more than one jobraft:// name in one certificate")]
    Ambiguous,
    /// A URI that is not of either form.
    #[error("{0:?} is neither jobraft://node/<id> nor jobraft://client/<name>")]
    Malformed(String),
    /// Not a name that a client can have.
    #[error("{0:?} is not a client's name: use 1 to 64 letters, digits, dots, dashes or underscores")]
    ClientName(String),
    /// Node ids begin with 1.
    #[error("0 is not a node's id; ids begin with 1")]
    NodeZero,
}

impl Identity {
    /// A client's identity.
    ///
    /// # Errors
    /// [`IdentityError::ClientName`] unless `name` is 1 to [`CLIENT_NAME_BYTES_MAX`] ASCII letters, digits, dots,
    /// dashes and underscores.
    pub fn client(name: &str) -> Result<Self, IdentityError> {
        let clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if clean && (1..=CLIENT_NAME_BYTES_MAX).contains(&name.len()) {
            Ok(Self::Client(name.to_owned()))
        } else {
            Err(IdentityError::ClientName(shorten(name)))
        }
    }

    /// A node's identity.
    ///
    /// # Errors
    /// [`IdentityError::NodeZero`] for node 0.
    pub const fn node(node: NodeId) -> Result<Self, IdentityError> {
        if node.0 == 0 { Err(IdentityError::NodeZero) } else { Ok(Self::Node(node)) }
    }

    /// Reads the role of a certificate in DER form.
    ///
    /// # Errors
    /// When there is not exactly one `jobraft://` URI among its names, or it is not well formed.
    pub fn of_certificate(der: &[u8]) -> Result<Self, IdentityError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| IdentityError::NotCertificate)?;
        if !rest.is_empty() {
            return Err(IdentityError::NotCertificate);
        }
        let names = certificate.subject_alternative_name().map_err(|_| IdentityError::NotCertificate)?;
        let mut uris = names.iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with(SCHEME) => Some(*uri),
            _ => None,
        });
        let uri = uris.next().ok_or(IdentityError::Missing)?;
        if uris.next().is_some() { Err(IdentityError::Ambiguous) } else { uri.parse() }
    }

    /// The SAN URI that carries this role.
    #[must_use]
    pub fn uri(&self) -> String {
        match self {
            Self::Node(node) => format!("{SCHEME}node/{node}"),
            Self::Client(name) => format!("{SCHEME}client/{name}"),
        }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let malformed = || IdentityError::Malformed(shorten(uri));
        let (role, name) = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(malformed)?;
        match role {
            "client" => Self::client(name),
            // One spelling for each id: what u64 parses beyond it ("+1", "01") is not it.
            "node" => match name.parse::<u64>() {
                Ok(id) if id.to_string() == name => Self::node(NodeId(id)),
                _ => Err(malformed()),
            },
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Client(name) => write!(f, "client {name}"),
        }
    }
}

/// The start of a text that came from elsewhere, to stand in an error.
fn shorten(text: &str) -> String {
    text.chars().take(CLIENT_NAME_BYTES_MAX * 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_survives_its_uri() {
        for identity in
            [Identity::Node(NodeId(1)), Identity::Node(NodeId(u64::MAX)), Identity::Client("a.b-c_9".into())]
        {
            assert_eq!(identity.uri().parse(), Ok(identity));
        }
    }

    #[test]
    fn anything_but_the_two_forms_is_refused() {
        let long = format!("jobraft://client/{}", "x".repeat(65));
        for uri in [
            "",
            "jobraft://",
            "jobraft://node",
            "jobraft://node/",
            "jobraft://node/0",
            "jobraft://node/01",
            "jobraft://node/+1",
            "jobraft://node/-1",
            "jobraft://node/1/2",
            "jobraft://node/18446744073709551616",
            "jobraft://Node/1",
            "jobraft://admin/1",
            "jobraft://client/",
            "jobraft://client/a/b",
            "jobraft://client/a b",
            "jobraft://client/ä",
            "http://client/a",
            long.as_str(),
        ] {
            assert!(uri.parse::<Identity>().is_err(), "{uri}");
        }
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        for bytes in [&b""[..], b"\x30", b"\x30\x82\xff\xff", &[0xff; 64]] {
            assert_eq!(Identity::of_certificate(bytes), Err(IdentityError::NotCertificate));
        }
    }
}
