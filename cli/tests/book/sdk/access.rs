//! Who may do what.

use crate::site::Site;
use crate::support::DEADLINE;
use jobraft_node::tls::{CertificateAuthority, Overwrite};
use jobraft_sdk::protocol::{ClientRole, Grant};
use jobraft_sdk::{ClientConfig, Producer};

// ANCHOR: look
use jobraft_sdk::protocol::{Consistency, ErrorCode, JobId};
use jobraft_sdk::{Client, SdkError};

/// What a job carries, for those who get to see it.
async fn payload(client: &Client, job: JobId) -> Result<String, SdkError> {
    match client.get_job(job, Consistency::Linearizable).await {
        Ok(job) if job.withheld.is_nothing() => Ok(String::from_utf8_lossy(&job.payload).into_owned()),
        Ok(_) => Ok("not for you".to_owned()),
        Err(error) if error.code() == Some(ErrorCode::Forbidden) => Ok("not your queue".to_owned()),
        Err(error) => Err(error),
    }
}
// ANCHOR_END: look

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_what_is_for_them() {
    let site = Site::start().await;
    let authority = CertificateAuthority::load(&site.certs()).unwrap();
    let limited = |role| Grant::new([role]).for_queues(vec!["shop/*".parse().unwrap()]).unwrap();
    let client = async |name: &str, grant| {
        authority.issue_client(name, grant, 1).unwrap().write(&site.certs(), name, Overwrite::Refuse).unwrap();
        let file = |name: String| site.certs().join(name);
        let (cert, key) = (file(format!("{name}.crt")), file(format!("{name}.key")));
        let config = ClientConfig::new([site.node()], site.certs().join("ca.crt"), cert, key);
        Client::connect(config.request_timeout(DEADLINE).connect_timeout(DEADLINE)).await.unwrap()
    };
    let shop = client("shop", limited(ClientRole::Producer)).await;
    let viewer = client("viewer", limited(ClientRole::Viewer)).await;
    let other =
        client("other", Grant::new([ClientRole::Producer]).for_queues(vec!["mail".parse().unwrap()]).unwrap()).await;
    let job = Producer::new(shop.clone(), "shop/orders", "ship").unwrap().enqueue(&42).await.unwrap();
    assert_eq!(payload(&shop, job).await.unwrap(), "42");
    assert_eq!(payload(&viewer, job).await.unwrap(), "not for you");
    assert_eq!(payload(&other, job).await.unwrap(), "not your queue");
}
