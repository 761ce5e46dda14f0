//! Resumable jobs.

use crate::site::{Site, during, once};
use crate::support::eventually;
use jobraft_sdk::protocol::{Consistency, JobState};
use jobraft_sdk::{Client, Producer, Worker, parse_backoff};

// ANCHOR: import
use jobraft_sdk::{JobContext, JobError};

/// Imports lines, and goes on behind the last that an earlier attempt is known to have imported.
async fn import(context: JobContext, lines: Vec<String>) -> Result<usize, JobError> {
    let done: usize = match &context.last_checkpoint()[..] {
        [] => 0,
        left => serde_json::from_slice(left)?,
    };
    for (number, line) in lines.iter().enumerate().skip(done) {
        context.progress(u8::try_from(100 * number / lines.len())?, format!("line {number}"));
        import_line(&context, line).await?;
        context.checkpoint(serde_json::to_vec(&(number + 1))?).await?; // durable on a majority now
    }
    Ok(lines.len() - done)
}
// ANCHOR_END: import

/// A bad line fails the first attempt.
async fn import_line(context: &JobContext, line: &str) -> Result<(), JobError> {
    if line == "pause" {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    }
    match line {
        "bad" if context.attempt() == 1 => Err(JobError::retryable("the database is away")),
        _ => Ok(()),
    }
}

pub(super) fn worker(client: &Client) -> Worker {
    Worker::builder(client.clone()).queues(["imports"]).handler("import", import).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_attempt_goes_on_where_the_last_one_was() {
    let site = Site::start().await;
    let client = site.client().await;
    let imports = Producer::<[&str]>::new(client.clone(), "imports", "import").unwrap();
    let imports = imports.backoff(parse_backoff("fixed:100ms").unwrap());
    during(worker(&client), async {
        let id = imports.enqueue(&["a", "b", "bad", "pause", "c"]).await.unwrap();
        let job = eventually("it tells how far it is", async || {
            let job = client.get_job(id, Consistency::Linearizable).await.unwrap();
            job.progress.is_some().then_some(job)
        })
        .await;
        assert!(job.progress.unwrap().message.starts_with("line "));
        let job = once(&client, id, JobState::Completed).await;
        // The second attempt imported three of five lines.
        assert_eq!((job.attempt, &job.result[..]), (2, &b"3"[..]));
    })
    .await;
}
