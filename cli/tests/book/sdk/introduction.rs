//! A first worker and a first producer.

use crate::site::{Site, during};
use crate::support::DEADLINE;

// ANCHOR: worker
use jobraft_sdk::{Client, ClientConfig, JobContext, JobError, Producer, SdkError, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Email {
    to: String,
}

async fn send_email(_: JobContext, email: Email) -> Result<String, JobError> {
    if !email.to.contains('@') {
        return Err(JobError::fatal("not an address")); // no attempt would mend that
    }
    Ok(format!("sent to {}", email.to))
}

pub(super) fn worker(client: &Client) -> Result<Worker, SdkError> {
    Worker::builder(client.clone()).queues(["emails"]).handler("send_email", send_email).build()
}
// ANCHOR_END: worker

// ANCHOR: connect
use jobraft_sdk::protocol::NodeAddress;
use std::path::Path;

/// `node` is 127.0.0.1:7400, and `certs` jobraft-data/certs, with `jobraft dev`.
async fn connect(node: NodeAddress, certs: &Path) -> Result<Client, SdkError> {
    let file = |name| certs.join(name);
    Client::connect(ClientConfig::new([node], file("ca.crt"), file("dev.crt"), file("dev.key"))).await
}
// ANCHOR_END: connect

// ANCHOR: producer
use std::time::Duration;

async fn welcome(client: &Client, to: &str, patience: Duration) -> Result<String, SdkError> {
    let emails = Producer::new(client.clone(), "emails", "send_email")?;
    emails.enqueue_and_wait(&Email { to: to.to_owned() }, patience).await
}
// ANCHOR_END: producer

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_sends_what_a_producer_enqueues() {
    let site = Site::start().await;
    let client = connect(site.node(), &site.certs()).await.unwrap();
    during(worker(&client).unwrap(), async {
        assert_eq!(welcome(&client, "ada@example.org", DEADLINE).await.unwrap(), "sent to ada@example.org");
        let error = welcome(&client, "nowhere", DEADLINE).await.unwrap_err().to_string();
        assert!(error.contains("ended dead") && error.contains("not an address"), "{error}");
    })
    .await;
}
