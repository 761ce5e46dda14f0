//! Namespaces.

use crate::site::Site;
use crate::support::DEADLINE;

// ANCHOR: enter
use jobraft_sdk::protocol::{Consistency, Namespace, NamespaceSetting, QueueStats};
use jobraft_sdk::{Client, ClientConfig, SdkError};

/// Who runs the cluster makes a namespace for a tenant.
async fn tenant(admin: &Client, name: &Namespace) -> Result<(), SdkError> {
    admin.create_namespace(name.clone(), vec![NamespaceSetting::Jobs(Some(100_000))]).await
}

/// And looks into it: a client is in one namespace, and everything that it asks for is there.
async fn look_into(config: ClientConfig, name: Namespace) -> Result<Vec<QueueStats>, SdkError> {
    let client = Client::connect(config.namespace(name)).await?;
    client.queues(Consistency::Linearizable).await
}
// ANCHOR_END: enter

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_made_and_looked_into() {
    let site = Site::start().await;
    let (admin, acme) = (site.client().await, Namespace::new("acme").unwrap());
    tenant(&admin, &acme).await.unwrap();
    let certs = site.certs();
    let [ca, cert, key] = ["ca.crt", "dev.crt", "dev.key"].map(|file| certs.join(file));
    let looked = look_into(ClientConfig::new([site.node()], ca, cert, key), acme);
    let looked = tokio::time::timeout(DEADLINE, looked).await;
    assert_eq!(looked.unwrap().unwrap(), []);
}
