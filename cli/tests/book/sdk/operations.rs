//! Looking after a cluster.

use crate::site::Site;

// ANCHOR: watch
use jobraft_sdk::protocol::Role;
use jobraft_sdk::{Client, SdkError};

/// Whether this node leads, and how many entries it has yet to apply. Answered without a majority too.
async fn health(client: &Client) -> Result<(bool, u64), SdkError> {
    let status = client.cluster_status(None).await?;
    Ok((status.role == Role::Leader, status.last_index - status.applied_index))
}
// ANCHOR_END: watch

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_leads() {
    let site = Site::start().await;
    let client = site.client().await;
    let (leads, behind) = health(&client).await.unwrap();
    assert!(leads && behind < 10, "{behind}");
}
