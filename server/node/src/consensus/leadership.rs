//! Who leads, as this node knows it.

use super::Raft;
use super::types::TypeConfig;
use jobraft_protocol::{Error, ErrorCode, LeaderHint, NodeAddress, NodeId};
use openraft::Instant as _;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::InstantOf;
use std::time::Duration;
use tokio::sync::watch;

/// Who leads.
#[derive(Clone, Debug, Default)]
pub struct Leadership {
    /// Whether this node does.
    pub is_leader: bool,
    /// The Raft term.
    pub term: u64,
    /// The leader, if known, and where it is.
    pub leader: Option<(NodeId, Option<NodeAddress>)>,
    /// When a majority last answered this leader.
    quorum_heard: Option<InstantOf<TypeConfig>>,
}

impl Leadership {
    /// What openraft's metrics say.
    fn of(metrics: &RaftMetrics<TypeConfig>) -> Self {
        let leader = metrics.current_leader.map(|id| {
            let member = metrics.membership_config.membership().get_node(&id);
            (NodeId(id), member.and_then(super::types::Member::address))
        });
        // A lone voter is its own majority, and openraft counts no answers for it.
        let alone = metrics.membership_config.voter_ids().count() == 1;
        let quorum_heard = metrics.last_quorum_acked.filter(|_| !alone).map(|instant| *instant);
        Self { is_leader: metrics.state.is_leader(), term: metrics.current_term, leader, quorum_heard }
    }

    /// Where clients find the leader, if known.
    #[must_use]
    pub fn hint(&self) -> Option<LeaderHint> {
        let (node, address) = self.leader.clone()?;
        Some(LeaderHint { node, address: address? })
    }

    /// The refusal of what only the leader can do.
    #[must_use]
    pub fn not_leader(&self) -> Error {
        let mut error = match &self.leader {
            Some((node, _)) if !self.is_leader => Error::new(ErrorCode::NotLeader, format!("node {node} leads")),
            _ => Error::new(ErrorCode::Unavailable, "no node leads for now; nothing was done").retry_after_ms(200),
        };
        error.leader = if self.is_leader { None } else { self.hint() };
        error
    }

    /// For how long the leader has heard from no majority.
    pub(crate) fn quorum_silent_for(&self) -> Option<Duration> {
        self.quorum_heard.map(|heard| heard.elapsed())
    }
}

/// Keeps `sender` up to date with what openraft says, until the node stops; logs each change of leader.
pub(crate) async fn follow(raft: Raft, sender: watch::Sender<Leadership>) {
    let mut metrics = raft.metrics();
    loop {
        let now = Leadership::of(&metrics.borrow_and_update());
        let known = |l: &Leadership| l.leader.as_ref().map(|(id, _)| *id);
        sender.send_if_modified(|before| {
            let changed = before.is_leader != now.is_leader || before.term != now.term || before.leader != now.leader;
            if before.term != now.term || known(before) != known(&now) {
                match known(&now) {
                    Some(leader) => tracing::info!(term = now.term, %leader, "a leader is known"),
                    None => tracing::info!(term = now.term, "no leader is known"),
                }
            }
            *before = now;
            changed
        });
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::{Member, StoredMembership};
    use super::*;
    use openraft::Membership;
    use openraft::metrics::SerdeInstant;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    fn silence_of_a_leader_with(voters: BTreeSet<u64>) -> Option<Duration> {
        let nodes: BTreeMap<u64, Member> = voters.iter().map(|id| (*id, Member::default())).collect();
        let membership = Membership::new(vec![voters], nodes).expect("a valid membership");
        let mut metrics = RaftMetrics::<TypeConfig>::new_initial(1);
        metrics.membership_config = Arc::new(StoredMembership::new(None, membership));
        metrics.last_quorum_acked = Some(SerdeInstant::new(InstantOf::<TypeConfig>::now()));
        Leadership::of(&metrics).quorum_silent_for()
    }

    #[test]
    fn a_lone_voter_never_misses_its_majority() {
        assert_eq!(silence_of_a_leader_with(BTreeSet::from([1])), None);
        assert!(silence_of_a_leader_with(BTreeSet::from([1, 2, 3])).is_some());
    }
}
