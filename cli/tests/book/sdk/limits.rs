//! How many at once.

use crate::site::{Site, during, ended};
use jobraft_sdk::protocol::Consistency;
use jobraft_sdk::{JobContext, JobError, Worker};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

// ANCHOR: group
use jobraft_sdk::{Client, Producer, SdkError};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Email {
    tenant: String,
    to: String,
}

/// Each tenant's mails are a group.
fn emails(client: &Client) -> Result<Producer<Email>, SdkError> {
    Ok(Producer::new(client.clone(), "emails", "send_email")?.group_by(|email: &Email| email.tenant.clone()))
}
// ANCHOR_END: group

// ANCHOR: settings
use jobraft_sdk::protocol::{GroupKey, GroupSetting, QueueName, QueueSetting, Rate, Setting};

/// Both limits and the share of the large tenant in one step, or none of them.
async fn limit(client: &Client) -> Result<(), SdkError> {
    let (queue, large) = (QueueName::new("emails")?, GroupKey::new("tenant-1")?);
    let one_each_100_ms = Rate { burst: Some(1), ..Rate::new(10, 1_000) };
    client
        .configure(vec![
            Setting::Queue(queue.clone(), QueueSetting::Concurrency(Some(50))),
            Setting::Queue(queue.clone(), QueueSetting::GroupRate(Some(one_each_100_ms))),
            Setting::Group(queue, large, GroupSetting::Weight(Some(4))),
        ])
        .await
}
// ANCHOR_END: settings

fn email(tenant: &str, to: &str) -> Email {
    Email { tenant: tenant.to_owned(), to: to.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_take_turns_whatever_their_priorities() {
    let site = Site::start().await;
    let client = site.client().await;
    let emails = emails(&client).unwrap();
    for (tenant, to) in [("large", "a1"), ("large", "a2"), ("large", "a3"), ("small", "b1")] {
        let priority = if tenant == "large" { 0 } else { 9 };
        emails.clone().priority(priority).enqueue(&email(tenant, to)).await.unwrap();
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&seen);
    let send = move |_: JobContext, email: Email| {
        noting.lock().unwrap().push(email.to);
        async { Ok::<_, JobError>(()) }
    };
    let worker = Worker::builder(client.clone()).queues(["emails"]).concurrency(1).handler("send_email", send);
    during(worker.build().unwrap(), async {
        let last = emails.priority(1).enqueue(&email("large", "a4")).await.unwrap();
        ended(&client, last).await;
    })
    .await;
    assert_eq!(*seen.lock().unwrap(), ["a1", "b1", "a2", "a3", "a4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_jobs_of_a_group_run_at_once_than_its_limit_says() {
    let site = Site::start().await;
    let client = site.client().await;
    let emails = emails(&client).unwrap();
    let queue = QueueName::new("emails").unwrap();
    client.configure(vec![Setting::Queue(queue, QueueSetting::GroupConcurrency(Some(2)))]).await.unwrap();
    // By tenant: how many run, and how many did at most.
    let running: Arc<Mutex<BTreeMap<String, (u32, u32)>>> = Arc::default();
    let counting = Arc::clone(&running);
    let send = move |_: JobContext, email: Email| {
        let running = Arc::clone(&counting);
        async move {
            {
                let mut running = running.lock().unwrap();
                let (now, most) = running.entry(email.tenant.clone()).or_default();
                *now += 1;
                *most = (*most).max(*now);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            running.lock().unwrap().entry(email.tenant).or_default().0 -= 1;
            Ok::<_, JobError>(())
        }
    };
    let worker = Worker::builder(client.clone()).queues(["emails"]).concurrency(10).handler("send_email", send);
    during(worker.build().unwrap(), async {
        let mut jobs = Vec::new();
        for n in 0..12 {
            jobs.push(emails.enqueue(&email(if n % 2 == 0 { "even" } else { "odd" }, "ada")).await.unwrap());
        }
        for job in jobs {
            ended(&client, job).await;
        }
    })
    .await;
    let most = |tenant: &str| running.lock().unwrap()[tenant].1;
    assert!((1..=2).contains(&most("even")) && (1..=2).contains(&most("odd")), "{running:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_in_one_step_and_can_be_read() {
    let site = Site::start().await;
    let client = site.client().await;
    limit(&client).await.unwrap();
    let queues = client.queues(Consistency::Linearizable).await.unwrap();
    let set = &queues.iter().find(|queue| queue.queue.as_str() == "emails").unwrap().settings;
    assert_eq!((set.concurrency, set.group_rate.unwrap().burst()), (Some(50), 1));
    let groups = client.groups(&QueueName::new("emails").unwrap(), Consistency::Linearizable).await.unwrap();
    assert_eq!((groups[0].group.as_str(), groups[0].settings.weight()), ("tenant-1", 4));
}
