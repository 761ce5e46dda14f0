//! Where a job stands.

use crate::site::Site;
use crate::support::DEADLINE;

// ANCHOR: fate
use jobraft_sdk::protocol::{Consistency, JobId, JobState};
use jobraft_sdk::{Client, SdkError};

async fn fate(client: &Client, job: JobId) -> Result<String, SdkError> {
    let job = client.get_job(job, Consistency::Linearizable).await?;
    Ok(match (job.state, job.end_reason) {
        (JobState::Completed, _) => format!("done: {}", String::from_utf8_lossy(&job.result)),
        (state, Some(reason)) => format!("{state}, because: {reason}"),
        (JobState::Scheduled, _) => format!("runs in {} ms", job.run_at.ms_since(client.log_time())),
        (state, None) => format!("not over: {state}"),
    })
}
// ANCHOR_END: fate

#[tokio::test(flavor = "multi_thread")]
async fn every_end_has_its_reason() {
    let site = Site::start().await;
    let client = site.client().await;
    let emails = jobraft_sdk::Producer::<str>::new(client.clone(), "emails", "send_email").unwrap();
    let later = emails.clone().delay(DEADLINE).enqueue("x").await.unwrap();
    assert!(fate(&client, later).await.unwrap().starts_with("runs in "));
    let ready = emails.enqueue("x").await.unwrap();
    assert_eq!(fate(&client, ready).await.unwrap(), "not over: ready");
    client.cancel(ready, "").await.unwrap();
    assert_eq!(fate(&client, ready).await.unwrap(), "cancelled, because: cancelled");
}
