//! The way to another node: one connection, made when needed, and made again when lost.
//!
//! A node that cannot be reached costs its callers nothing: after a failed attempt they are refused at once until the
//! pause is over. The log hears of a node that is lost and of one that is found again, not of each attempt.

use super::hello::{PeerOpen, check};
use super::limits::{BACKOFF_MAX, BACKOFF_MIN, HELLO_TIMEOUT};
use super::{
    CloseCode, Connection, Endpoint, FrameReceiver, FrameSender, PeerHello, PeerStream, PeerWelcome, Protocol,
    TransportError,
};
use crate::tls::Identity;
use jobraft_protocol::{Error, NodeAddress, NodeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// What this node says of itself to its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPeer {
    /// The name of its cluster.
    pub cluster: String,
    /// The Raft group.
    pub group: u32,
    /// Its id.
    pub node: NodeId,
    /// Its data directory's id.
    pub instance: Uuid,
}

/// A node's links to the others, one for each.
pub struct Peers {
    endpoint: Endpoint,
    local: LocalPeer,
    /// At most one for each node that this one was ever told of and not told to forget.
    links: Mutex<BTreeMap<NodeId, Arc<PeerLink>>>,
}

impl Peers {
    /// No links yet.
    #[must_use]
    pub const fn new(endpoint: Endpoint, local: LocalPeer) -> Self {
        Self { endpoint, local, links: Mutex::new(BTreeMap::new()) }
    }

    /// What the links are made from.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The link to `target` at `address`; everybody who asks for the same gets the same. If the address or the
    /// expected instance is another than before, the link is a new one, and the old one's connection is closed when
    /// the last who holds it lets go. Nothing is connected yet.
    #[must_use]
    pub fn link(&self, target: NodeId, address: &NodeAddress, expected_instance: Option<Uuid>) -> Arc<PeerLink> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(&target)
            && link.address == *address
            && link.expected_instance == expected_instance
        {
            return Arc::clone(link);
        }
        let link = Arc::new(PeerLink {
            endpoint: self.endpoint.clone(),
            local: self.local.clone(),
            target,
            address: address.clone(),
            expected_instance,
            state: Arc::default(),
        });
        links.insert(target, Arc::clone(&link));
        link
    }

    /// Notes that `node` was just heard of, such as by its own connection: if it could not be reached before, the next
    /// call tries at once instead of waiting for the end of the pause.
    pub fn seen(&self, node: NodeId) {
        let link = self.links.lock().unwrap_or_else(PoisonError::into_inner).get(&node).map(Arc::clone);
        // Locked means that an attempt is under way.
        if let Some(link) = link
            && let Ok(mut state) = link.state.try_lock()
            && let Some(failure) = &mut state.failure
        {
            failure.retry_at = Instant::now();
        }
    }

    /// Forgets the link to a node that was removed.
    pub fn forget(&self, target: NodeId) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).remove(&target);
    }
}

/// The link to one node.
pub struct PeerLink {
    endpoint: Endpoint,
    local: LocalPeer,
    target: NodeId,
    address: NodeAddress,
    expected_instance: Option<Uuid>,
    /// Locked during an attempt, so that there is one at a time.
    state: Arc<tokio::sync::Mutex<State>>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    failure: Option<Failure>,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.close(CloseCode::Done, "the link is no longer needed");
        }
    }
}

/// The last attempt, if it failed.
struct Failure {
    /// In a row.
    attempts: u32,
    retry_at: Instant,
    reason: String,
}

impl PeerLink {
    /// Opens a stream of the given kind, connecting first if need be. Callers that come during an attempt wait for its
    /// outcome; dropping the call does not end the attempt.
    ///
    /// # Errors
    /// [`TransportError::Unreachable`] at once during the pause after a failure; what went wrong for whoever made the
    /// attempt.
    pub async fn stream(&self, kind: PeerStream) -> Result<(FrameSender, FrameReceiver), TransportError> {
        let connection = self.connection().await?;
        let (mut sender, receiver) = connection.open().await?;
        sender.set_priority(kind.priority());
        sender.send(&PeerOpen { group: self.local.group, stream: kind }).await?;
        Ok((sender, receiver))
    }

    /// The node at the other end.
    #[must_use]
    pub const fn target(&self) -> NodeId {
        self.target
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> &NodeAddress {
        &self.address
    }

    async fn connection(&self) -> Result<Connection, TransportError> {
        let state = Arc::clone(&self.state).lock_owned().await;
        if let Some(connection) = &state.connection
            && !connection.is_closed()
        {
            return Ok(connection.clone());
        }
        if let Some(failure) = &state.failure {
            let retry_in = failure.retry_at.saturating_duration_since(Instant::now());
            if !retry_in.is_zero() {
                let reason = failure.reason.clone();
                return Err(TransportError::Unreachable { node: self.target, retry_in, reason });
            }
        }
        let attempt = Attempt {
            endpoint: self.endpoint.clone(),
            hello: PeerHello {
                cluster: self.local.cluster.clone(),
                group: self.local.group,
                node: self.local.node,
                instance: self.local.instance,
                target: self.target,
            },
            address: self.address.clone(),
            expected_instance: self.expected_instance,
        };
        // In a task: callers give up sooner than an attempt does, and would otherwise start it over and over.
        match tokio::spawn(attempt.run(state)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TransportError::ClosedHere),
        }
    }
}

/// One attempt to connect and be welcomed.
struct Attempt {
    endpoint: Endpoint,
    hello: PeerHello,
    address: NodeAddress,
    expected_instance: Option<Uuid>,
}

impl Attempt {
    async fn run(self, mut state: OwnedMutexGuard<State>) -> Result<Connection, TransportError> {
        let (node, address) = (self.hello.target, &self.address);
        match self.connect().await {
            Ok(connection) => {
                tracing::info!(%node, %address, "connected to the node");
                tokio::spawn(report_loss(connection.clone(), node));
                state.failure = None;
                state.connection = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                let attempts = state.failure.as_ref().map_or(1, |failure| failure.attempts.saturating_add(1));
                if attempts == 1 {
                    tracing::info!(%node, %address, "cannot reach the node, will go on trying: {error}");
                } else {
                    tracing::debug!(%node, %address, attempts, "cannot reach the node: {error}");
                }
                let retry_at = Instant::now() + pause(attempts);
                state.connection = None;
                state.failure = Some(Failure { attempts, retry_at, reason: error.to_string() });
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Connection, TransportError> {
        let connection = self.endpoint.connect(&self.address, Protocol::Peer).await?;
        let late = |_| TransportError::TimedOut { what: "the welcome", limit: HELLO_TIMEOUT };
        let welcomed = timeout(HELLO_TIMEOUT, self.greet(&connection)).await.map_err(late).flatten();
        if let Err(error) = &welcomed {
            connection.close(error.close_code(), &error.to_string());
        }
        welcomed.map(|()| connection)
    }

    async fn greet(&self, connection: &Connection) -> Result<(), TransportError> {
        let target = self.hello.target;
        if let Identity::Node(found) = *connection.identity()
            && found != target
        {
            return Err(TransportError::WrongNode { expected: target, found });
        }
        let (mut sender, mut receiver) = connection.open().await?;
        sender.send(&self.hello).await?;
        sender.finish().await?;
        let answer: Result<PeerWelcome, Error> = receiver.recv().await?.ok_or(TransportError::Truncated)?;
        check(&answer.map_err(TransportError::Refused)?, target, self.expected_instance)
    }
}

async fn report_loss(connection: Connection, node: NodeId) {
    match connection.closed().await {
        TransportError::ClosedHere => {}
        reason => tracing::info!(%node, "lost the connection to the node: {reason}"),
    }
}

/// How long to wait after this many failures in a row: doubling, and somewhere in the upper half, so that nodes which
/// lost each other at the same time do not come back at the same time.
fn pause(attempts: u32) -> Duration {
    let full = BACKOFF_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(BACKOFF_MAX);
    full.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        for attempts in [1, 2, 3, 7, 8, 100, u32::MAX] {
            let full = BACKOFF_MIN.saturating_mul(1 << (attempts - 1).min(16)).min(BACKOFF_MAX);
            let pause = pause(attempts);
            assert!(pause >= full / 2 && pause <= full, "{attempts}: {pause:?}");
        }
    }
}
