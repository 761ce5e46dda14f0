//! The cluster: who belongs to it, and who leads.

use super::Api;
use super::request::Answer;
use jobraft_protocol::{NodeAddress, NodeId, Response};

/// The cluster as this node knows it. Never waits for anybody: it must be readable when there is no quorum.
pub(super) fn status(api: &Api) -> Answer {
    Ok(Response::Cluster(api.consensus.status()))
}

/// Adds a node.
pub(super) async fn add_node(api: &Api, node: NodeId, address: NodeAddress, learner: bool) -> Answer {
    api.consensus.add_node(node, address, learner).await?;
    Ok(Response::Done)
}

/// Removes a node.
pub(super) async fn remove_node(api: &Api, node: NodeId) -> Answer {
    api.consensus.remove_node(node).await?;
    Ok(Response::Done)
}

/// Hands leadership over.
pub(super) async fn transfer_leader(api: &Api, to: Option<NodeId>) -> Answer {
    Ok(Response::Leader(api.consensus.transfer_leader(to).await?))
}
