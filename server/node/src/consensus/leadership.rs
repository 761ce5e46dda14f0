//! Who leads, as this node knows it.

use super::Raft;
use super::types::TypeConfig;
use jobraft_protocol::{Error, ErrorCode, LeaderHint, NodeAddress, NodeId};
use openraft::Instant as _;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use std::time::Duration;
use tokio::sync::watch;

/// How long a leader may have heard from no majority before it refuses commands rather than let them wait in its log.
const QUORUM_SILENCE_MAX: Duration = Duration::from_secs(3);

/// Who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Whether this node does.
    pub is_leader: bool,
    /// The Raft term.
    pub term: u64,
    /// The leader, if known, and where it is.
    pub leader: Option<(NodeId, Option<NodeAddress>)>,
}

impl Leadership {
    /// What openraft's metrics say.
    fn of(metrics: &RaftServerMetrics<TypeConfig>) -> Self {
        let leader = metrics.current_leader.map(|id| {
            let member = metrics.membership_config.membership().get_node(&id);
            (NodeId(id), member.and_then(super::types::Member::address))
        });
        Self { is_leader: metrics.state.is_leader(), term: metrics.vote.leader_id.term, leader }
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
}

/// Whether this leader has heard from no majority for so long that it must not be taken for one.
pub(crate) fn quorum_is_silent(metrics: &RaftMetrics<TypeConfig>) -> bool {
    // A lone voter is its own majority, and openraft counts no answers for it.
    let alone = metrics.membership_config.voter_ids().count() == 1;
    let silence = metrics.last_quorum_acked.map(|heard| heard.elapsed());
    !alone && silence.is_some_and(|silence| silence > QUORUM_SILENCE_MAX)
}

/// Keeps `sender` up to date with what openraft says, until the node stops; logs each change of leader.
pub(crate) async fn follow(raft: Raft, sender: watch::Sender<Leadership>) {
    let mut metrics = raft.server_metrics();
    loop {
        let now = Leadership::of(&metrics.borrow_and_update());
        let known = |l: &Leadership| l.leader.as_ref().map(|(id, _)| *id);
        sender.send_if_modified(|before| {
            let changed = *before != now;
            if before.term != now.term || known(before) != known(&now) {
                match known(&now) {
                    Some(leader) => tracing::info!(term = now.term, %leader, "a leader is known"),
                    None => tracing::debug!(term = now.term, "no leader is known"),
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
    use openraft::type_config::alias::InstantOf;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    fn is_silent_after(silence: Duration, voters: BTreeSet<u64>) -> bool {
        let nodes: BTreeMap<u64, Member> = voters.iter().map(|id| (*id, Member::default())).collect();
        let membership = Membership::new(vec![voters], nodes).expect("a valid membership");
        let mut metrics = RaftMetrics::<TypeConfig>::new_initial(1);
        metrics.membership_config = Arc::new(StoredMembership::new(None, membership));
        let heard = InstantOf::<TypeConfig>::now() - silence;
        metrics.last_quorum_acked = Some(SerdeInstant::new(heard));
        quorum_is_silent(&metrics)
    }

    #[test]
    fn a_leader_without_its_majority_is_found_out() {
        let three = BTreeSet::from([1, 2, 3]);
        assert!(is_silent_after(QUORUM_SILENCE_MAX + Duration::from_secs(1), three.clone()));
        assert!(!is_silent_after(Duration::ZERO, three));
    }

    #[test]
    fn a_lone_voter_never_misses_its_majority() {
        assert!(!is_silent_after(QUORUM_SILENCE_MAX * 2, BTreeSet::from([1])));
    }
}
