//! Who somebody is and what they may do: of a certificate's holder by one SAN URI, read strictly.

use jobraft_protocol::{ClientRole, Grant, GrantError, Namespace, NodeId, QueuePattern, TokenName};
use std::fmt;
use std::str::FromStr;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The scheme of the SAN URIs that carry identities.
const SCHEME: &str = "jobraft://";
/// With what the name begins of whoever shows a token.
const TOKEN_OWNER: &str = "token/";
/// The longest name of a client.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;

/// Whose certificate it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A node of the cluster.
    Node(NodeId),
    /// A producer, a worker, a person or a tool.
    Client {
        /// Its name. Two certificates of one name are the same client to the cluster. That of a token begins with `token/`.
        name: String,
        /// What it may do.
        grant: Grant,
        /// The namespace in which it is. All that it reaches is there.
        namespace: Namespace,
    },
}

/// Why a certificate or a text names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not an X.509 certificate.
    #[error("not an X.509 certificate")]
    NotCertificate,
    /// No `jobraft://` URI among its names.
    #[error("no jobraft://node/<id> or jobraft://client/<name>?roles=<roles> among the certificate's names")]
    Missing,
    /// More than one `jobraft://` URI.
    #[error("more than one jobraft:// name in one certificate")]
    Ambiguous,
    /// A URI that is not of either form.
    #[error("{0:?} is neither jobraft://node/<id> nor jobraft://client/<name>?roles=<roles>")]
    Malformed(String),
    /// Not a name that a client can have.
    #[error("{0:?} is not a client's name: use 1 to 64 letters, digits, dots, dashes or underscores")]
    ClientName(String),
    /// Something behind the name that says nothing of what a client may do.
    #[error(
        "{0:?} is none of roles=<roles>, namespace=<name>, queues=<patterns> and payloads=<yes|no>, or stands there twice"
    )]
    Parameter(String),
    /// What it may do is not well said.
    #[error(transparent)]
    Grant(#[from] GrantError),
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
    pub fn client(name: &str, grant: Grant) -> Result<Self, IdentityError> {
        let clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if clean && (1..=CLIENT_NAME_BYTES_MAX).contains(&name.len()) {
            Ok(Self::of(name.to_owned(), grant))
        } else {
            Err(IdentityError::ClientName(shorten(name)))
        }
    }

    /// A client at home.
    fn of(name: String, grant: Grant) -> Self {
        Self::Client { name, namespace: grant.home(), grant }
    }

    /// That of whoever shows a token. No certificate names it: a client's name has no slash.
    #[must_use]
    pub fn token(name: &TokenName, grant: Grant) -> Self {
        let local = grant.home().local(name.as_str()).unwrap_or(name.as_str()).to_owned();
        Self::of(format!("{TOKEN_OWNER}{local}"), grant)
    }

    /// Whether it is that of this token, permitted this.
    #[must_use]
    pub fn is_token(&self, token: &TokenName, permitted: &Grant) -> bool {
        matches!(self, Self::Client { name, grant, .. }
            if grant == permitted
                && name.strip_prefix(TOKEN_OWNER).is_some_and(|name| grant.home().local(token.as_str()) == Some(name)))
    }

    /// The namespace in which it is: for a node the default one.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        match self {
            Self::Client { namespace, .. } => namespace.clone(),
            Self::Node(_) => Namespace::default(),
        }
    }

    /// Whether what has this full name is in the namespace in which it is.
    #[must_use]
    pub fn is_there(&self, full: &str) -> bool {
        match self {
            Self::Client { namespace, .. } => namespace.local(full).is_some(),
            Self::Node(_) => true,
        }
    }

    /// Whether it may touch the queue of this full name, or what is matched as such.
    #[must_use]
    pub fn covers(&self, full: &str) -> bool {
        match self {
            Self::Client { namespace, grant, .. } => namespace.local(full).is_some_and(|local| grant.covers(local)),
            Self::Node(_) => true,
        }
    }

    /// An administrator's.
    #[cfg(test)]
    pub(crate) fn admin(name: &str) -> Self {
        Self::of(name.to_owned(), Grant::admin())
    }

    /// A node's identity.
    ///
    /// # Errors
    /// [`IdentityError::NodeZero`] for node 0.
    pub const fn node(node: NodeId) -> Result<Self, IdentityError> {
        if node.0 == 0 { Err(IdentityError::NodeZero) } else { Ok(Self::Node(node)) }
    }

    /// Reads whose certificate it is, in DER form.
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

    /// What owns things under this identity: a client's name, `token/<name>`, each a full one of the namespace to which its
    /// credential confines it, or `node/<id>`, which no client is called.
    #[must_use]
    pub fn owner(&self) -> String {
        match self {
            Self::Node(node) => format!("node/{node}"),
            Self::Client { name, grant, .. } => grant.home().full(name),
        }
    }

    /// Under which name it has its share of what there is only so much of: all of a tenant's clients have one together, for a
    /// tenant makes names as it likes.
    #[must_use]
    pub fn sharer(&self) -> String {
        match self {
            Self::Client { grant, .. } if !grant.home().is_default() => grant.home().full(""),
            _ => self.owner(),
        }
    }

    /// Whether what `owner` owns is theirs.
    #[must_use]
    pub fn is_owner(&self, owner: &str) -> bool {
        match self {
            Self::Node(_) => self.owner() == owner,
            Self::Client { name, grant, .. } => match grant.namespace() {
                Some(namespace) => namespace.local(owner) == Some(name),
                None => name == owner,
            },
        }
    }

    /// For people: who it is and what it may do.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::Client { grant, .. } => format!("{self}: {grant}"),
            Self::Node(_) => self.to_string(),
        }
    }

    /// The SAN URI that carries this identity.
    #[must_use]
    pub fn uri(&self) -> String {
        let (name, grant) = match self {
            Self::Node(node) => return format!("{SCHEME}node/{node}"),
            Self::Client { name, grant, .. } => (name, grant),
        };
        let mut parameters = Vec::new();
        if grant.roles().next().is_some() {
            parameters.push(format!("roles={}", listed(grant.roles())));
        }
        if let Some(namespace) = grant.namespace() {
            parameters.push(format!("namespace={namespace}"));
        }
        if !grant.covers_all() {
            parameters.push(format!("queues={}", listed(grant.queues())));
        }
        if grant.sees_payloads() != Grant::new(grant.roles()).sees_payloads() {
            parameters.push(format!("payloads={}", if grant.sees_payloads() { "yes" } else { "no" }));
        }
        let parameters = if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) };
        format!("{SCHEME}client/{name}{parameters}")
    }
}

/// Things as one text, with commas between them.
fn listed(things: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let things: Vec<String> = things.into_iter().map(|thing| thing.to_string()).collect();
    things.join(",")
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let malformed = || IdentityError::Malformed(shorten(uri));
        let (kind, rest) = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(malformed)?;
        match kind {
            "client" => match rest.split_once('?') {
                Some((name, parameters)) => Self::client(name, grant(parameters)?),
                // Of no role: whoever wrote it before there were roles is told so at each request.
                None => Self::client(rest, Grant::new([])),
            },
            // One spelling for each id: what u64 parses beyond it ("+1", "01") is not it.
            "node" => match rest.parse::<u64>() {
                Ok(id) if id.to_string() == rest => Self::node(NodeId(id)),
                _ => Err(malformed()),
            },
            _ => Err(malformed()),
        }
    }
}

/// Reads `roles=producer,worker&namespace=acme&queues=mail,shop/*&payloads=no`, in any order, each at most once.
fn grant(parameters: &str) -> Result<Grant, IdentityError> {
    let (mut roles, mut namespace, mut queues, mut payloads) = (None, None, None, None);
    for parameter in parameters.split('&') {
        let wrong = || IdentityError::Parameter(shorten(parameter));
        match parameter.split_once('=') {
            Some(("roles", listed)) if roles.is_none() => {
                roles = Some(listed.split(',').map(str::parse).collect::<Result<Vec<ClientRole>, _>>()?);
            }
            Some(("queues", listed)) if queues.is_none() => {
                let patterns = listed.split(',').map(|pattern| pattern.parse().map_err(GrantError::Pattern));
                queues = Some(patterns.collect::<Result<Vec<QueuePattern>, _>>()?);
            }
            Some(("namespace", name)) if namespace.is_none() => {
                namespace = Some(name.parse::<Namespace>().map_err(GrantError::Namespace)?);
            }
            Some(("payloads", "yes")) if payloads.is_none() => payloads = Some(true),
            Some(("payloads", "no")) if payloads.is_none() => payloads = Some(false),
            _ => return Err(wrong()),
        }
    }
    let grant = Grant::said(roles.unwrap_or_default(), queues, payloads)?;
    Ok(match namespace {
        Some(namespace) => grant.in_namespace(namespace),
        None => grant,
    })
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "node {node}"),
            Self::Client { name, grant, .. } => {
                match name.strip_prefix(TOKEN_OWNER) {
                    Some(token) => write!(f, "token {token}")?,
                    None => write!(f, "client {name}")?,
                }
                match grant.namespace() {
                    Some(namespace) => write!(f, " of namespace {namespace}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The start of a text that came from elsewhere, to stand in an error.
fn shorten(text: &str) -> String {
    text.chars().take(CLIENT_NAME_BYTES_MAX * 2).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn grant_of(roles: &[ClientRole], queues: &[&str]) -> Grant {
        let grant = Grant::new(roles.iter().copied());
        let queues = queues.iter().map(|queue| queue.parse().unwrap()).collect();
        grant.for_queues(queues).unwrap()
    }

    #[test]
    fn an_identity_survives_its_uri() {
        use ClientRole::{Admin, Producer, Worker};
        for (grant, said) in [
            (Grant::new([Admin]), "?roles=admin"),
            (grant_of(&[Worker, Producer], &["mail", "shop/*"]), "?roles=producer,worker&queues=mail,shop/*"),
            (Grant::new([Producer]).with_payloads(false), "?roles=producer&payloads=no"),
            (Grant::new([Worker]).with_payloads(true), "?roles=worker&payloads=yes"),
            (Grant::new([]), ""),
            (Grant::new([]).with_payloads(true), "?payloads=yes"),
            (grant_of(&[], &["mail"]), "?queues=mail"),
        ] {
            let identity = Identity::client("a.b-c_9", grant).unwrap();
            assert_eq!(identity.uri(), format!("jobraft://client/a.b-c_9{said}"));
            assert_eq!(identity.uri().parse(), Ok(identity));
        }
        for identity in [Identity::Node(NodeId(1)), Identity::Node(NodeId(u64::MAX))] {
            assert_eq!(identity.uri().parse(), Ok(identity));
        }
    }

    #[test]
    fn whatever_is_read_is_said_again() {
        for parameters in
            ["roles=worker&queues=a,*", "roles=worker,worker&queues=a,a", "queues=*&payloads=no&roles=admin"]
        {
            let identity: Identity = format!("jobraft://client/alice?{parameters}").parse().unwrap();
            assert_eq!(identity.uri().parse(), Ok(identity), "{parameters}");
        }
    }

    #[test]
    fn a_certificate_without_roles_is_of_a_client_that_may_do_nothing() {
        for uri in ["jobraft://client/alice", "jobraft://client/alice?payloads=no"] {
            let Ok(Identity::Client { name, grant, .. }) = uri.parse() else { panic!("{uri}") };
            assert_eq!((name.as_str(), grant), ("alice", Grant::new([])));
        }
    }

    #[test]
    fn what_a_client_may_do_is_said_well_or_not_at_all() {
        let many = format!("queues={}", vec!["a"; 33].join(","));
        for parameters in [
            "",
            "roles",
            "roles=",
            "roles=root",
            "roles=admin,",
            "roles=Admin",
            "roles=admin&roles=worker",
            "role=admin",
            "roles=worker&queues=",
            "roles=worker&queues=a b",
            "roles=worker&queues=a*b",
            "roles=worker&queues=a&queues=b",
            "roles=worker&payloads=1",
            "roles=worker&",
            "roles=worker;queues=a",
            many.as_str(),
        ] {
            let uri = format!("jobraft://client/alice?{parameters}");
            assert!(uri.parse::<Identity>().is_err(), "{uri}");
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
            "jobraft://client/?roles=admin",
            "jobraft://client/alice/?roles=admin",
            "jobraft://node/1?roles=admin",
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
