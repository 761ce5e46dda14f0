//! Certificates: when they end.

use crate::site::Site;

// ANCHOR: ends
use jobraft_sdk::{Client, SdkError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// For how long the certificate of the node that answers is still valid, if its version tells.
async fn certificate_left(client: &Client) -> Result<Option<Duration>, SdkError> {
    let status = client.cluster_status(None).await?;
    let end = status.certificate_ends_at.map(|ms| UNIX_EPOCH + Duration::from_millis(ms));
    Ok(end.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default()))
}
// ANCHOR_END: ends

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_has_825_days_left() {
    let site = Site::start().await;
    let left = certificate_left(&site.client().await).await.unwrap().unwrap();
    let days = left.as_secs() / (24 * 60 * 60);
    assert!((823..=825).contains(&days), "{days}");
}
