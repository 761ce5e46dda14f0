//! What the tests stand on, those of the book (`tests/book`) too: clusters of child processes, and waiting for
//! conditions.

mod cluster;
mod leaks;
mod place;
mod ports;
pub(crate) mod process;
mod run;

pub(crate) use cluster::TestCluster;
pub(crate) use leaks::leaks;
pub(crate) use ports::free_address;
pub(crate) use process::Process;
pub(crate) use run::{Run, jobraft};

use jobraft_sdk::protocol::{Consistency, JobId, JobView};
use jobraft_sdk::{Client, SdkError};
use std::time::{Duration, Instant};

/// How long any single wait may take. Far more than a healthy product needs on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(begun.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The job, as everybody agrees.
pub(crate) async fn job(client: &Client, id: JobId) -> Result<JobView, SdkError> {
    client.get_job(id, Consistency::Linearizable).await
}

/// The sum of one count over the named queues.
pub(crate) async fn count(
    client: &Client,
    queues: &[&str],
    of: impl Fn(&jobraft_sdk::protocol::QueueStats) -> u64,
) -> Result<u64, SdkError> {
    let all = client.queues(Consistency::Linearizable).await?;
    Ok(all.iter().filter(|stats| queues.contains(&stats.queue.as_str())).map(of).sum())
}
