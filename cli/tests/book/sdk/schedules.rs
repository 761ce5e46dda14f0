//! On a clock.

use crate::site::{Site, during, ended};
use crate::support::eventually;
use jobraft_sdk::protocol::{JobState, ScheduleName};
use jobraft_sdk::{Worker, result_of};

// ANCHOR: schedule
use jobraft_sdk::protocol::{CatchUp, Consistency, LogTime, Overlap};
use jobraft_sdk::{Client, Producer, SdkError};
use std::time::Duration;

/// A report each night; gives the next three nights.
async fn put_nightly(client: &Client) -> Result<Vec<LogTime>, SdkError> {
    let reports =
        Producer::<()>::new(client.clone(), "reports", "report")?.start_deadline(Duration::from_secs(6 * 3_600)); // after nine it is of no use any more
    let nightly = reports
        .schedule("nightly", "0 3 * * *", &())?
        .time_zone("Europe/Berlin")
        .catch_up(CatchUp::One)
        .overlap(Overlap::Skip);
    let name = nightly.name.clone();
    client.put_schedule(nightly).await?;
    Ok(client.schedule(&name, 3, Consistency::Linearizable).await?.next)
}
// ANCHOR_END: schedule

// ANCHOR: report
use jobraft_sdk::{JobContext, JobError};

/// What is reported belongs to the tick, however late and however often it is tried.
async fn report(context: JobContext, (): ()) -> Result<String, JobError> {
    let tick = context.tick().ok_or_else(|| JobError::fatal("no schedule enqueued this"))?;
    Ok(format!("{}: as of {}", tick.schedule, tick.tick))
}
// ANCHOR_END: report

pub(super) fn worker(client: &Client) -> Worker {
    Worker::builder(client.clone()).queues(["reports"]).handler("report", report).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_put_and_run() {
    let site = Site::start().await;
    let client = site.client().await;
    let nights = put_nightly(&client).await.unwrap();
    assert!(nights.len() == 3 && nights.is_sorted() && nights[0] > client.log_time());
    let name = ScheduleName::new("nightly").unwrap();
    during(worker(&client), async {
        let job = client.run_schedule(&name).await.unwrap();
        let told: String = result_of(ended(&client, job).await).unwrap();
        assert!(told.starts_with("nightly: as of "), "{told}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tick_has_one_job_that_knows_it() {
    let site = Site::start().await;
    let client = site.client().await;
    let name = ScheduleName::new("each-second").unwrap();
    let reports = Producer::<()>::new(client.clone(), "reports", "report").unwrap();
    let schedule = reports.schedule(name.as_str(), "* * * * * *", &()).unwrap().overlap(Overlap::Queue);
    client.put_schedule(schedule).await.unwrap();
    let view = eventually("it has ticked twice", async || {
        let view = client.schedule(&name, 0, Consistency::Linearizable).await.unwrap();
        (view.fired >= 2).then_some(view)
    })
    .await;
    // Nobody runs the first: the others pile up behind it.
    let last = client.get_job(view.last_job.unwrap(), Consistency::Linearizable).await.unwrap();
    assert_eq!(last.state, JobState::Blocked);
    assert_eq!(last.tick.unwrap().tick.as_ms() % 1_000, 0);
}
