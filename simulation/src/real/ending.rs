//! The end of a run: faults have ceased, the work ends, and all is judged.

use super::judge::Judge;
use super::load::Load;
use super::verdict::{Report, Trouble};
use super::{Cluster, load};
use crate::history::{self, Demands, Recorder};
use jobraft_sdk::{Client, SdkError};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long all nodes may take to be at one.
const AGREE_TIMEOUT: Duration = Duration::from_secs(30);
/// Fewer acknowledged jobs say little.
const JOBS_MIN: u64 = 100;

/// Lets the work end, asks the cluster what it has, and judges.
///
/// # Errors
/// A violation if the work does not end, or the nodes do not agree.
pub async fn finish(
    cluster: &mut Cluster,
    client: &Client,
    load: &mut Load,
    recorder: &Recorder,
    timeout: Duration,
    report: &mut Report,
) -> Result<(), Trouble> {
    load.stop_producers().await;
    load.drained(client, timeout).await?;
    load.stop_workers().await;
    cluster.caught_up(&cluster.ids(), client, AGREE_TIMEOUT).await?;
    let judge = ask(client, load, timeout).await?;
    let counters = load.counters();
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let figure = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    report.count("jobs acknowledged", figure(of(&counters.enqueued)));
    report.count("completions acknowledged", figure(of(&counters.completed)));
    report.count("late completions refused", figure(of(&counters.refused_late)));
    report.count("calls whose outcome is unknown", figure(of(&counters.unknown)));
    let history = recorder.history().clone();
    report.count("operations judged", history.operations.len());
    if of(&counters.enqueued) < JOBS_MIN {
        report.insufficient(format!("fewer than {JOBS_MIN} jobs were acknowledged"));
    }
    for violation in judge.violations(&history) {
        report.violated(violation);
    }
    match history::judge(&history, &Demands::default()) {
        history::Verdict::Passed(_) => {}
        history::Verdict::Violated(violation) => report.violated(violation.to_string()),
        history::Verdict::Insufficient { why, .. } => report.insufficient(why),
    }
    Ok(())
}

async fn ask(client: &Client, load: &Load, timeout: Duration) -> Result<Judge, Trouble> {
    let begun = Instant::now();
    loop {
        match Judge::ask(client, load.queue()).await {
            Ok(judge) => return Ok(judge),
            Err(error) if begun.elapsed() > timeout => return Err(unlisted(&error)),
            Err(_) => tokio::time::sleep(load::PAUSE).await,
        }
    }
}

fn unlisted(error: &SdkError) -> Trouble {
    Trouble::Violation(format!("the cluster does not list its jobs: {error}"))
}
