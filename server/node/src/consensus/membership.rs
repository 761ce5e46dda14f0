//! Forming the cluster, and changing who belongs to it while it runs.

use super::handle::{Consensus, ConsensusError};
use super::network::ask;
use super::proposer::outcome_unknown;
use super::types::{Member, TypeConfig};
use super::wire::{Introduction, Rpc, RpcAnswer};
use crate::transport::TransportError;
use jobraft_protocol::{Error, ErrorCode, NodeAddress, NodeId};
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

type ChangeError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

/// How long to wait between two attempts to reach the other initial members.
const FORMATION_RETRY: Duration = Duration::from_millis(250);
/// How long a node may take to say who it is.
const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new node may take to catch up before its addition is given up; it stays a learner.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a change of membership may take to be acknowledged before its outcome is called unknown.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a hand-over of leadership may take.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Membership, message)
}

impl Consensus {
    /// Whether this node belongs, or ever belonged, to a formed cluster.
    ///
    /// # Errors
    /// If consensus has stopped.
    pub async fn is_formed(&self) -> Result<bool, ConsensusError> {
        self.inner.raft.is_initialized().await.map_err(|error| ConsensusError::Raft(error.to_string()))
    }

    /// Forms the cluster of `members` at their very first start. The member with the smallest id does it, once it has
    /// reached all others and learnt which data directory each brings; the others wait for it.
    ///
    /// # Errors
    /// If another member belongs to a formed cluster already: this data directory is then not the one that it knows.
    pub async fn form(&self, instance: Uuid, members: &BTreeMap<NodeId, NodeAddress>) -> Result<(), ConsensusError> {
        if self.is_formed().await? || members.is_empty() {
            return Ok(());
        }
        if members.keys().next() != Some(&self.inner.node) {
            return self.await_formation(members).await;
        }
        let mut known = BTreeMap::new();
        let mut reported = false;
        while known.len() < members.len() {
            for (&id, address) in members {
                if known.contains_key(&id.0) {
                    continue;
                }
                let instance = if id == self.inner.node {
                    instance
                } else {
                    match self.introduction(id, address).await {
                        Ok(other) if other.formed => {
                            return Err(ConsensusError::Formation(format!(
                                "node {id} at {address} belongs to a formed cluster that does not know this data directory; \
                                 restore the old directory, or remove node {own} and add it with `jobraft cluster add`",
                                own = self.inner.node,
                            )));
                        }
                        Ok(other) => other.instance,
                        Err(TransportError::Refused(error)) if error.code == ErrorCode::Membership => {
                            return Err(ConsensusError::Formation(error.message));
                        }
                        Err(error) => {
                            if !reported {
                                tracing::info!(node = %id, %address, %error, "waiting for the other initial members");
                                reported = true;
                            }
                            continue;
                        }
                    }
                };
                known.insert(id.0, Member { address: address.to_string(), instance });
            }
            if known.len() < members.len() {
                tokio::time::sleep(FORMATION_RETRY).await;
            }
        }
        match self.inner.raft.initialize(known).await {
            Ok(()) => {
                tracing::info!(members = members.len(), "cluster formed");
                Ok(())
            }
            Err(RaftError::APIError(_)) => Ok(()), // Formed meanwhile.
            Err(RaftError::Fatal(fatal)) => Err(ConsensusError::Raft(fatal.to_string())),
        }
    }

    /// Waits until another member has formed the cluster. The others are asked meanwhile, since only they can tell a
    /// directory that is new from one that was lost: nobody would ever call on the latter.
    async fn await_formation(&self, members: &BTreeMap<NodeId, NodeAddress>) -> Result<(), ConsensusError> {
        loop {
            for (&id, address) in members.iter().filter(|(id, _)| **id != self.inner.node) {
                if self.is_formed().await? {
                    return Ok(());
                }
                if let Err(TransportError::Refused(error)) = self.introduction(id, address).await
                    && error.code == ErrorCode::Membership
                {
                    return Err(ConsensusError::Formation(error.message));
                }
            }
            tokio::time::sleep(FORMATION_RETRY).await;
        }
    }

    /// Adds a node that runs with an empty data directory, first as a learner, then, unless `learner`, as a voter.
    ///
    /// # Errors
    /// `membership` if the id is taken, the node cannot be reached, or its data directory has been used; `not_leader`.
    pub async fn add_node(&self, node: NodeId, address: NodeAddress, learner: bool) -> Result<(), Error> {
        self.require_leader()?;
        let known = self.members().into_iter().find(|(id, _)| *id == node).map(|(_, member)| member);
        if let Some(member) = &known
            && member.address != address.as_str()
        {
            return Err(refused(format!("node {node} is a member already, at {}", member.address)));
        }
        let introduction = self.introduction(node, &address).await.map_err(|error| {
            let fix = "start it first, without initial_members in its configuration";
            refused(format!("node {node} does not answer at {address}: {error}; {fix}"))
        })?;
        match known {
            Some(member) if member.instance != introduction.instance => {
                return Err(refused(format!(
                    "node {node} is a member already, with another data directory; remove it first, and add this one \
                     under a new id"
                )));
            }
            Some(_) => {} // A repetition, or a learner that becomes a voter.
            None if introduction.formed => {
                return Err(refused(format!(
                    "the data directory of node {node} belongs to a cluster already; a node joins with an empty one"
                )));
            }
            None => {
                let member = Member { address: address.to_string(), instance: introduction.instance };
                let raft = self.inner.raft.clone();
                self.bounded(async move { raft.add_learner(node.0, member, false).await }).await?;
                tracing::info!(%node, %address, "node added as a learner");
            }
        }
        self.caught_up(node).await?;
        if !learner {
            let voters = ChangeMembers::AddVoterIds(BTreeSet::from([node.0]));
            let raft = self.inner.raft.clone();
            self.bounded(async move { raft.change_membership(voters, true).await }).await?;
            tracing::info!(%node, "node votes");
        }
        Ok(())
    }

    /// Asks a node that is to become a member who it is.
    async fn introduction(&self, node: NodeId, address: &NodeAddress) -> Result<Introduction, TransportError> {
        let link = self.inner.peers.link(node, address, None);
        match ask(&link, Rpc::Introduce, INTRODUCTION_TIMEOUT).await? {
            RpcAnswer::Introduction(introduction) => Ok(introduction),
            _ => Err(TransportError::Truncated),
        }
    }

    /// Waits until `node` has nearly all of the log.
    async fn caught_up(&self, node: NodeId) -> Result<(), Error> {
        const LAG_MAX: u64 = 64;
        let mut metrics = self.inner.raft.metrics();
        let wait = async {
            loop {
                {
                    let now = metrics.borrow_and_update();
                    if !now.state.is_leader() {
                        break;
                    }
                    let matched =
                        now.replication.as_ref().and_then(|progress| progress.get(&node.0)).copied().flatten();
                    let last = now.last_log_index.unwrap_or(0);
                    if matched.is_some_and(|matched| matched.index + LAG_MAX >= last) {
                        return Ok(());
                    }
                }
                if metrics.changed().await.is_err() {
                    break;
                }
            }
            Err(self.leadership().borrow().not_leader())
        };
        match tokio::time::timeout(CATCH_UP_TIMEOUT, wait).await {
            Ok(result) => result,
            Err(_) => Err(refused(format!("node {node} did not catch up; it stays a learner, so try again"))),
        }
    }

    /// Removes a node. A leader that removes itself hands over when the change is committed.
    ///
    /// # Errors
    /// `membership` if it is no member or the last voter; `not_leader`.
    pub async fn remove_node(&self, node: NodeId) -> Result<(), Error> {
        self.require_leader()?;
        if !self.members().iter().any(|(id, _)| *id == node) {
            return Err(refused(format!("node {node} is no member; see `jobraft cluster status`")));
        }
        let voters = self.voters();
        if voters == [node] {
            return Err(refused(format!("node {node} is the only voter; add another one first")));
        }
        let ids = BTreeSet::from([node.0]);
        let change =
            if voters.contains(&node) { ChangeMembers::RemoveVoters(ids) } else { ChangeMembers::RemoveNodes(ids) };
        let raft = self.inner.raft.clone();
        self.bounded(async move { raft.change_membership(change, false).await }).await?;
        tracing::info!(%node, "node removed");
        Ok(())
    }

    /// Hands leadership to `to`, or to the voter that is furthest, and waits until another node leads.
    ///
    /// # Errors
    /// `membership` if there is nobody to take it or it was not taken; `not_leader`.
    pub async fn transfer_leader(&self, to: Option<NodeId>) -> Result<NodeId, Error> {
        self.require_leader()?;
        let others: Vec<NodeId> = self.voters().into_iter().filter(|id| *id != self.inner.node).collect();
        let target = match to {
            Some(to) if to == self.inner.node => return Ok(to),
            Some(to) if others.contains(&to) => to,
            Some(to) => return Err(refused(format!("node {to} does not vote; see `jobraft cluster status`"))),
            None => {
                let metrics = self.inner.raft.metrics();
                let progress = metrics.borrow_watched().replication.clone().unwrap_or_default();
                let matched = |id: &NodeId| progress.get(&id.0).copied().flatten();
                others.into_iter().max_by_key(matched).ok_or_else(|| refused("no other node votes"))?
            }
        };
        let failed = |error: openraft::errors::Fatal<_>| Error::new(ErrorCode::ShuttingDown, error.to_string());
        self.inner.raft.trigger().transfer_leader(target.0).await.map_err(failed)?;
        let mut leadership = self.leadership();
        let other_leads = leadership.wait_for(|now| !now.is_leader && now.leader.is_some());
        match tokio::time::timeout(TRANSFER_TIMEOUT, other_leads).await {
            Ok(Ok(now)) => Ok(now.leader.as_ref().map_or(target, |(id, _)| *id)),
            Ok(Err(_)) => Err(Error::new(ErrorCode::ShuttingDown, "the node is stopping")),
            Err(_) => Err(refused(format!("node {target} did not take over in time"))),
        }
    }

    /// Waits for a change of membership, but not for ever. The change itself goes on: it has two steps, and openraft makes
    /// the second one from the same call.
    async fn bounded(
        &self,
        change: impl Future<Output = Result<ClientWriteResponse<TypeConfig>, ChangeError>> + Send + 'static,
    ) -> Result<(), Error> {
        match tokio::time::timeout(CHANGE_TIMEOUT, tokio::spawn(change)).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err(error))) => Err(self.explain(error)),
            Ok(Err(error)) => Err(Error::new(ErrorCode::Internal, error.to_string())),
            Err(_) => {
                Err(outcome_unknown("no majority of the nodes acknowledged it in time; see `jobraft cluster status`"))
            }
        }
    }

    fn require_leader(&self) -> Result<(), Error> {
        let leadership = self.leadership();
        let now = leadership.borrow();
        if now.is_leader { Ok(()) } else { Err(now.not_leader()) }
    }

    fn explain(&self, error: ChangeError) -> Error {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => self.leadership().borrow().not_leader(),
            RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))) => {
                refused("another membership change is under way; try again when it is done")
            }
            RaftError::APIError(other) => refused(other.to_string()),
            RaftError::Fatal(fatal) => Error::new(ErrorCode::ShuttingDown, fatal.to_string()),
        }
    }
}
