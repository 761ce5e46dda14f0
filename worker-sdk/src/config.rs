//! What a client must be told: where the cluster is, and how it shows who it is itself.

use jobraft_protocol::{Namespace, NodeAddress};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long a call may take, retries included, unless [`ClientConfig::request_timeout`] says otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long [`Client::connect`](crate::Client::connect) looks for a node unless told otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The text of a certificate, a key or a token: a file, read anew for each connection so that what was renewed or rotated is
/// picked up, or the bytes. Files that do
/// not fit together, such as in the middle of a renewal, are passed over: the connection is opened with what fitted last.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// The file.
    File(PathBuf),
    /// The text itself.
    Bytes(Vec<u8>),
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            // It may be the private key, or a token.
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

impl<P: Into<PathBuf>> From<P> for Pem {
    fn from(path: P) -> Self {
        Self::File(path.into())
    }
}

/// How a client shows who it is. What it may do is with either a matter of what was granted to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// By a certificate of the cluster's CA.
    Certificate {
        /// The certificate, and those between it and the CA.
        cert: Pem,
        /// Its private key; a file must be readable by its owner only.
        key: Pem,
    },
    /// By a token, which is sent to nodes of the cluster's CA alone; a file must be readable by its owner only. Space around it
    /// does not count.
    Token(Pem),
}

/// The settings of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Nodes of the cluster; one suffices, more survive the loss of one. The leader is found from there.
    pub endpoints: Vec<NodeAddress>,
    /// The cluster's CA certificates; during a change of CAs those of both.
    pub ca: Pem,
    /// Lists of certificates that the CAs have revoked. `None`: `ca.crl` beside the file of the CA certificates, if there is
    /// such a file. A node with a revoked certificate is not spoken to.
    pub crl: Option<Pem>,
    /// How this client shows who it is.
    pub credential: Credential,
    /// The namespace of all that it asks for. `None`: the one to which its credential is confined, or the default one.
    pub namespace: Option<Namespace>,
    /// Program and version, for the nodes' logs.
    pub agent: String,
    /// How long a call may take, retries included.
    pub request_timeout: Duration,
    /// How long to look for a node on connect.
    pub connect_timeout: Duration,
}

impl ClientConfig {
    /// A configuration with the default timeouts and this crate as the agent, of a client that has a certificate.
    #[must_use]
    pub fn new(
        endpoints: impl IntoIterator<Item = NodeAddress>,
        ca: impl Into<Pem>,
        cert: impl Into<Pem>,
        key: impl Into<Pem>,
    ) -> Self {
        Self::of(endpoints, ca.into(), Credential::Certificate { cert: cert.into(), key: key.into() })
    }

    /// The same of a client that has a token.
    ///
    /// ```
    /// use jobraft_sdk::{ClientConfig, Pem};
    /// let endpoints = ["127.0.0.1:7400".parse()?];
    /// let from_file = ClientConfig::with_token(endpoints.clone(), "certs/ca.crt", "ci.token");
    /// # let secret = String::new();
    /// let from_elsewhere = ClientConfig::with_token(endpoints, "certs/ca.crt", Pem::Bytes(secret.into()));
    /// # Ok::<(), String>(())
    /// ```
    #[must_use]
    pub fn with_token(
        endpoints: impl IntoIterator<Item = NodeAddress>,
        ca: impl Into<Pem>,
        token: impl Into<Pem>,
    ) -> Self {
        Self::of(endpoints, ca.into(), Credential::Token(token.into()))
    }

    /// The same, whichever credential it has.
    #[must_use]
    pub fn of(endpoints: impl IntoIterator<Item = NodeAddress>, ca: Pem, credential: Credential) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
            ca,
            crl: None,
            credential,
            namespace: None,
            agent: concat!("jobraft-sdk/", env!("CARGO_PKG_VERSION")).to_owned(),
            request_timeout: REQUEST_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    /// The same, with the lists of revoked certificates in another place than beside the CA certificates.
    #[must_use]
    pub fn crl(mut self, crl: impl Into<Pem>) -> Self {
        self.crl = Some(crl.into());
        self
    }

    /// The same, in this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// The same, under another agent name.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// The same, with another time for each call.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The same, with another time to look for a node on connect.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }
}
