//! A worker with one native handler. Needs a cluster and a certificate of role `client` allowed to work:
//!
//! ```text
//! cargo run -p jobraft-sdk --example first_worker -- 127.0.0.1:7400 certs/ca.crt certs/worker.crt certs/worker.key
//! ```

use jobraft_sdk::{Client, ClientConfig, JobContext, JobError, Worker};
use serde::{Deserialize, Serialize};
use std::error::Error;

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[derive(Serialize)]
struct Count {
    words: usize,
}

async fn count_words(context: JobContext, input: Text) -> Result<Count, JobError> {
    if input.text.is_empty() {
        // Every attempt would end so: the job is dead at once.
        return Err(JobError::fatal("there is no text"));
    }
    tracing::info!(job = %context.job(), attempt = context.attempt(), "counting");
    Ok(Count { words: input.text.split_whitespace().count() })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, ca, cert, key] = &arguments[..] else {
        return Err("usage: first_worker HOST:PORT CA CERT KEY".into());
    };
    let config = ClientConfig::new([endpoint.parse()?], ca, cert, key).agent("first_worker");
    let client = Client::connect(config).await?;
    let report = Worker::builder(client.clone())
        .name("first-worker")
        .queues(["texts"])
        .handler("count_words", count_words)
        .build()?
        .run_until_signal()
        .await?;
    tracing::info!(?report, "drained");
    client.close().await;
    Ok(())
}
