//! Tokens.

use crate::site::Site;
use crate::support::DEADLINE;
use jobraft_sdk::Producer;

// ANCHOR: connect
use jobraft_sdk::protocol::{ClientRole, Grant, NodeAddress, TokenSecret};
use jobraft_sdk::{Client, ClientConfig, Pem, SdkError};
use std::path::Path;
use std::time::Duration;

/// An administrator makes a token for what builds; where its secret is kept is for the caller to say.
async fn token(admin: &Client) -> Result<TokenSecret, Box<dyn std::error::Error>> {
    let grant = Grant::new([ClientRole::Producer]).for_queues(vec!["builds/*".parse()?])?;
    Ok(admin.create_token("ci".parse()?, grant, Some(Duration::from_secs(90 * 24 * 60 * 60))).await?)
}

/// What builds connects with it.
async fn connect(node: NodeAddress, ca: &Path, secret: String) -> Result<Client, SdkError> {
    // Or a file, which is read anew for each connection: `ClientConfig::with_token([node], ca, "ci.token")`.
    let config = ClientConfig::with_token([node], ca, Pem::Bytes(secret.into_bytes()));
    Client::connect(config).await
}
// ANCHOR_END: connect

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stands_for_a_certificate() {
    let site = Site::start().await;
    let admin = site.client().await;
    let secret = token(&admin).await.unwrap();
    let client = connect(site.node(), &site.certs().join("ca.crt"), secret.reveal()).await.unwrap();
    let builds = Producer::new(client, "builds/main", "build").unwrap();
    tokio::time::timeout(DEADLINE, builds.enqueue(&42)).await.unwrap().unwrap();
}
