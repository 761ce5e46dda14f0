//! What nodes say to each other before anything else.
//!
//! On the first stream of a connection: [`PeerHello`], answered by `Result<PeerWelcome, Error>`. On each later stream,
//! from the node that connected: [`PeerOpen`], then frames of whatever the stream is for.

use super::TransportError;
use jobraft_protocol::{Error, ErrorCode, NodeId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who connects, and to whom it believes to be talking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHello {
    /// The name of its cluster.
    pub cluster: String,
    /// The Raft group that the connection is for.
    pub group: u32,
    /// Its id; must be that of its certificate.
    pub node: NodeId,
    /// Its data directory, by an id drawn when that was made.
    pub instance: Uuid,
    /// Whom it wants; must be who answers.
    pub target: NodeId,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerWelcome {
    /// Its id.
    pub node: NodeId,
    /// Its data directory, by an id drawn when that was made.
    pub instance: Uuid,
}

/// What a stream between nodes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerStream {
    /// Pipelined log entries.
    Append,
    /// Votes and everything else that is short and waits for its answer.
    Rpc,
    /// A snapshot.
    Snapshot,
    /// A module's bytes.
    Module,
}

impl PeerStream {
    /// Which stream goes first when all have something to send: short before long, so that a snapshot delays no vote.
    pub(super) const fn priority(self) -> i32 {
        match self {
            Self::Rpc => 2,
            Self::Append => 1,
            Self::Snapshot | Self::Module => 0,
        }
    }
}

/// The first frame of each stream after the hello.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PeerOpen {
    /// The Raft group; that of the hello.
    pub(super) group: u32,
    /// What for.
    pub(super) stream: PeerStream,
}

/// Who may come in as a peer, beyond what certificate and hello prove by themselves.
pub trait PeerGate: Send + Sync {
    /// Judges a hello whose `node` is that of the certificate and whose `target` is this node: whether the cluster and
    /// group are ours, the node a member (or we empty and waiting to be one), the instance the one that joined.
    ///
    /// # Errors
    /// Why not; the other side is told.
    fn admit(&self, hello: &PeerHello, certificate: NodeId) -> Result<PeerWelcome, Error>;
}

/// Judges a hello: first what is the transport's own to judge, then the gate.
pub(super) fn judge(
    hello: &PeerHello,
    own: NodeId,
    certificate: NodeId,
    gate: &dyn PeerGate,
) -> Result<PeerWelcome, Error> {
    if hello.node != certificate {
        let message = format!("the certificate is that of node {certificate}, not of node {}", hello.node);
        return Err(Error::new(ErrorCode::Forbidden, message));
    }
    if hello.target != own {
        let message = format!("this is node {own}, not node {}; correct the address", hello.target);
        return Err(Error::new(ErrorCode::Membership, message));
    }
    gate.admit(hello, certificate)
}

/// Checks that the node that answers is the one that was meant.
pub(super) fn check(welcome: &PeerWelcome, target: NodeId, expected: Option<Uuid>) -> Result<(), TransportError> {
    if welcome.node != target {
        return Err(TransportError::WrongNode { expected: target, found: welcome.node });
    }
    match expected {
        Some(expected) if expected != welcome.instance => {
            Err(TransportError::WrongInstance { node: target, expected, found: welcome.instance })
        }
        _ => Ok(()),
    }
}
