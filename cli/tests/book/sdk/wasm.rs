//! Jobs in WebAssembly.

use crate::site::Site;
use crate::support::DEADLINE;

// ANCHOR: module
use jobraft_sdk::protocol::{EnqueueOutcome, JobId, ModuleRef, NewJob, QueueName, Task};
use jobraft_sdk::{Client, SdkError};

/// Enqueues a job for the module of that name: it is stdin, and what the module is now stays what it runs.
async fn enqueue(client: &Client, module: &str, stdin: Vec<u8>) -> Result<JobId, SdkError> {
    let module = client.resolve_module(ModuleRef::Name(module.parse()?)).await?;
    let job = NewJob::new(client.job_id(), QueueName::new("default")?, Task::Module(module.digest), stdin);
    let id = job.id;
    match client.enqueue(vec![job]).await?.pop() {
        Some(EnqueueOutcome::Refused(error)) => Err(error.into()),
        _ => Ok(id),
    }
}
// ANCHOR_END: module

#[tokio::test(flavor = "multi_thread")]
async fn a_module_reads_stdin_and_writes_stdout() {
    let site = Site::start().await;
    let client = site.client().await;
    let job = enqueue(&client, "wordcount", b"one two".to_vec()).await.unwrap();
    let job = client.wait_job(job, DEADLINE).await.unwrap();
    let result: serde_json::Value = serde_json::from_slice(&job.result).unwrap();
    assert_eq!(result["words"], 2);
}
