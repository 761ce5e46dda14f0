//! Enqueues texts for `first_worker`, one job each, and waits for the count of the last:
//!
//! ```text
//! cargo run -p jobraft-sdk --example producer -- 127.0.0.1:7400 certs/ca.crt certs/app.crt certs/app.key "a text" "more"
//! ```

use jobraft_sdk::{Client, ClientConfig, Producer};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;

#[derive(Serialize)]
struct Text {
    text: String,
}

#[derive(Deserialize, Debug)]
struct Count {
    words: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, ca, cert, key, texts @ .., last] = &arguments[..] else {
        return Err("usage: producer HOST:PORT CA CERT KEY TEXT...".into());
    };
    let config = ClientConfig::new([endpoint.parse()?], ca, cert, key).agent("producer");
    let client = Client::connect(config).await?;
    let counts = Producer::new(client.clone(), "texts", "count_words")?.max_attempts(5);
    let texts: Vec<Text> = texts.iter().map(|text| Text { text: text.clone() }).collect();
    for job in counts.enqueue_many(&texts).await? {
        match job {
            Ok(job) => tracing::info!(%job, "enqueued"),
            Err(error) => tracing::warn!(%error, "refused"),
        }
    }
    let count: Count = counts.enqueue_and_wait(&Text { text: last.clone() }, Duration::from_secs(30)).await?;
    tracing::info!(count.words, "counted");
    client.close().await;
    Ok(())
}
