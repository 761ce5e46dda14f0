//! What this node knows of the cluster, and whom it lets in.

use super::handle::Consensus;
use super::leadership::quorum_is_silent;
use super::types::{LogId, Member};
use super::witness::{Place, Pulse};
use jobraft_protocol::{ClusterStatus, Error, ErrorCode, MemberStatus, NodeId, Role};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use uuid::Uuid;

impl Consensus {
    /// Whether a node may come in as a peer: one that the membership knows must bring the data directory with which it
    /// joined. One that it does not know may be newer than what this node has heard, and Raft deals with it.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, node: NodeId, instance: Uuid) -> Result<(), Error> {
        match self.members().into_iter().find(|(id, _)| *id == node) {
            Some((_, member)) if member.instance != instance => Err(Error::new(
                ErrorCode::Membership,
                format!(
                    "node {node} joined the cluster with another data directory; restore that one, or remove the node \
                     and add it under a new id"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The members, as this node knows them.
    #[must_use]
    pub fn members(&self) -> Vec<(NodeId, Member)> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.nodes().map(|(id, member)| (NodeId(*id), member.clone())).collect()
    }

    /// The voters, as this node knows them.
    #[must_use]
    pub fn voters(&self) -> Vec<NodeId> {
        self.inner.raft.voter_ids().map(NodeId).collect()
    }

    /// What Raft is about here.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        let place =
            |id: Option<LogId>| id.map_or(Place::default(), |id| Place { term: id.leader_id.term, index: id.index });
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        Pulse {
            term: metrics.current_term,
            leads: metrics.state == ServerState::Leader,
            last_index: metrics.last_log_index.unwrap_or(0),
            applied: place(metrics.last_applied),
            checkpoint: place(metrics.snapshot),
            purged: place(metrics.purged),
            voters: metrics.membership_config.voter_ids().count(),
        }
    }

    /// The cluster as this node knows it.
    #[must_use]
    pub fn status(&self) -> ClusterStatus {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched().clone();
        let own_role = match metrics.state {
            // A leader without a majority serves nobody; somebody has to be elected anew.
            ServerState::Leader if quorum_is_silent(&metrics) => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner if metrics.membership_config.membership().get_node(&self.inner.node.0).is_some() => {
                Role::Learner
            }
            ServerState::Learner | ServerState::Shutdown => Role::Outside,
        };
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let member = |(&id, member): (&u64, &Member)| {
            let role = match () {
                () if id == self.inner.node.0 => own_role,
                () if metrics.current_leader == Some(id) => Role::Leader,
                () if voters.contains(&id) => Role::Follower,
                () => Role::Learner,
            };
            let matched = metrics.replication.as_ref().and_then(|progress| progress.get(&id)).copied().flatten();
            let matched_index = matched.map(|log_id| log_id.index);
            Some(MemberStatus { node: NodeId(id), address: member.address()?, role, matched_index })
        };
        ClusterStatus {
            cluster: self.inner.cluster.clone(),
            node: self.inner.node,
            role: own_role,
            // A leader that has lost its majority leads nobody.
            leader: metrics.current_leader.filter(|_| !quorum_is_silent(&metrics)).map(NodeId),
            term: metrics.current_term,
            last_index: metrics.last_log_index.unwrap_or(0),
            applied_index: metrics.last_applied.map_or(0, |id| id.index),
            checkpoint_index: self.inner.state.checkpointed().map_or(0, |id| id.index),
            time: self.log_time(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            log_commits: Some(self.inner.log.commits()),
            certificate_ends_at: Some(self.inner.peers.endpoint().certificate_ends_at_ms()),
            members: metrics.membership_config.nodes().filter_map(member).collect(),
        }
    }
}
