//! Asks every node about itself: the only way to see a cluster of which no majority is up.

use crate::connection::{Connection, failed};
use crate::failure::Failure;
use futures_util::future::join_all;
use jobraft_protocol::{ClusterStatus, MemberStatus, NodeAddress, NodeId, Role};
use jobraft_sdk::{Client, FailedAttempt, SdkError};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long one node may take; the others are asked meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one node says, or why it says nothing.
#[derive(Debug)]
pub(in crate::command) struct Answer {
    /// Where it was asked.
    pub(in crate::command) address: NodeAddress,
    /// Who it is, if it or another node said.
    pub(in crate::command) node: Option<NodeId>,
    /// What it said.
    pub(in crate::command) status: Result<ClusterStatus, String>,
}

impl Answer {
    /// Whether this node says of itself that it leads.
    pub(in crate::command) fn leads(&self) -> bool {
        self.status.as_ref().is_ok_and(|status| status.role == Role::Leader)
    }
}

/// Asks all endpoints, then all members that these name; by id, those of unknown id last.
pub(in crate::command) async fn survey(connection: &Connection) -> Result<Vec<Answer>, Failure> {
    let config = connection.config().connect_timeout(PATIENCE).request_timeout(PATIENCE);
    let client = match Client::connect(config).await {
        Ok(client) => client,
        Err(SdkError::Unreachable(tried)) => {
            let silent = |attempt: FailedAttempt| Answer {
                address: attempt.address,
                node: None,
                status: Err(attempt.failure.to_string()),
            };
            return Ok(tried.into_iter().map(silent).collect());
        }
        Err(error) => return Err(failed("ask the nodes", &error)),
    };
    let mut answers = ask(&client, connection.endpoints.iter().cloned().collect()).await;
    let asked: BTreeSet<NodeAddress> = answers.iter().map(|answer| answer.address.clone()).collect();
    let answered = answers.iter().filter_map(|answer| answer.status.as_ref().ok());
    let members: Vec<MemberStatus> = answered.flat_map(|status| status.members.clone()).collect();
    // An endpoint may be another name of a member's address: whoever has answered is not asked again.
    let known: BTreeSet<NodeId> = answers.iter().filter_map(|answer| answer.node).collect();
    let others = members.iter().filter(|member| !known.contains(&member.node)).map(|member| member.address.clone());
    answers.extend(ask(&client, others.filter(|address| !asked.contains(address)).collect()).await);
    for answer in &mut answers {
        let named = || members.iter().find(|member| member.address == answer.address).map(|member| member.node);
        answer.node = answer.node.or_else(named);
    }
    answers.sort_by_key(|answer| (answer.node.is_none(), answer.node, answer.address.clone()));
    answers.dedup_by(|a, b| a.node.is_some() && a.node == b.node);
    Ok(answers)
}

/// Asks these nodes, all at the same time, each about itself.
pub(in crate::command) async fn ask(client: &Client, addresses: BTreeSet<NodeAddress>) -> Vec<Answer> {
    join_all(addresses.into_iter().map(|address| async {
        let asked = client.cluster_status(Some(&address));
        let status = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Err(SdkError::Unreachable(mut tried))) => {
                Err(tried.pop().map_or_else(|| "no answer".to_owned(), |attempt| attempt.failure.to_string()))
            }
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        Answer { node: status.as_ref().ok().map(|status| status.node), address, status }
    }))
    .await
}
