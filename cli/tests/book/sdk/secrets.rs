//! Secrets for jobs.

use crate::site::Site;

// ANCHOR: put
use jobraft_sdk::protocol::{Consistency, SecretGrant, SecretView};
use jobraft_sdk::{Client, SdkError};

/// An administrator hands over what came from elsewhere; nobody reads it back.
async fn put(admin: &Client, value: String) -> Result<(), Box<dyn std::error::Error>> {
    let grant = SecretGrant::to(vec!["wordcount".parse()?]);
    admin.put_secret("STRIPE_KEY".parse()?, value.parse()?, Some(grant)).await?;
    Ok(())
}

/// Which there are, and what they are given to.
async fn secrets(admin: &Client) -> Result<Vec<SecretView>, SdkError> {
    admin.secrets(Consistency::Linearizable).await
}
// ANCHOR_END: put

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_put_and_listed_without_its_value() {
    let site = Site::start().await;
    let admin = site.client().await;
    put(&admin, "hunter2".to_owned()).await.unwrap();
    let listed = secrets(&admin).await.unwrap();
    assert_eq!((listed.len(), listed[0].name.as_str(), listed[0].version), (1, "STRIPE_KEY", 1));
    assert!(!format!("{listed:?}").contains("hunter2"));
}
