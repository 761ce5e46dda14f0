//! The cluster as its users see it.

use crate::{LogTime, NodeId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `host:port` of a node, as clients and peers reach it. The host is an IP address or a DNS name that stands in
/// the node's certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeAddress(String);

impl NodeAddress {
    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part that certificates know: the text before the last colon, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(self.0.as_str(), |(host, _)| host);
        host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
    }
}

impl FromStr for NodeAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("{text:?} is not host:port, such as 127.0.0.1:7400 or node1.example:7400");
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let clean =
            host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']' | '%'));
        if host.is_empty() || text.len() > 261 || !clean || (host.contains(':') && !bracketed) {
            return Err(malformed());
        }
        match port.parse::<u16>() {
            Ok(port) if port != 0 => Ok(Self(text.to_owned())),
            _ => Err(malformed()),
        }
    }
}

impl TryFrom<String> for NodeAddress {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<NodeAddress> for String {
    fn from(address: NodeAddress) -> Self {
        address.0
    }
}

impl From<std::net::SocketAddr> for NodeAddress {
    fn from(address: std::net::SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a node is, seen from the node that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Leads.
    Leader,
    /// Votes and follows.
    Follower,
    /// Stands for election.
    Candidate,
    /// Receives the log, has no vote.
    Learner,
    /// Belongs to no cluster yet, or is stopping.
    Outside,
}

impl Role {
    /// The name as it stands on the wire and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Outside => "outside",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One member, as the answering node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its id.
    pub node: NodeId,
    /// Its address.
    pub address: NodeAddress,
    /// What it is.
    pub role: Role,
    /// The last log index known to be on it: only the leader knows this of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_index: Option<u64>,
}

/// The cluster, as the answering node knows it. Never linearizable: it must be readable when there is no quorum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The cluster's name.
    pub cluster: String,
    /// The node that answers.
    pub node: NodeId,
    /// What it is itself.
    pub role: Role,
    /// The leader, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
    /// The Raft term.
    pub term: u64,
    /// The last index in its log.
    pub last_index: u64,
    /// The last index applied.
    pub applied_index: u64,
    /// The last index that a checkpoint holds.
    pub checkpoint_index: u64,
    /// Its log time.
    pub time: LogTime,
    /// The version of its software.
    pub version: String,
    /// Transactions of its log since it started: an fsync each. Absent: an earlier version does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_commits: Option<u64>,
    /// When the certificate of the node that answers ends, in milliseconds since the Unix epoch. Absent: an earlier version
    /// does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_ends_at: Option<u64>,
    /// All members, by id.
    pub members: Vec<MemberStatus>,
}
