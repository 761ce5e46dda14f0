//! The workers of a cluster.

use crate::site::Site;
use crate::support::eventually;
use jobraft_sdk::Worker;

// ANCHOR: stop
use jobraft_sdk::protocol::{Consistency, WorkerOrder};
use jobraft_sdk::{Client, SdkError};

/// Lets all workers of an old version finish what they have, and end.
async fn stop_version(client: &Client, agent: &str) -> Result<usize, SdkError> {
    let workers = client.workers(Consistency::Linearizable).await?;
    let old = workers.iter().filter(|worker| worker.info.agent == agent);
    let mut told = 0;
    for worker in old {
        tracing::info!(name = worker.info.name, holds = worker.held, "told to stop");
        client.order_worker(worker.id, WorkerOrder::Stop).await?;
        told += 1;
    }
    Ok(told)
}
// ANCHOR_END: stop

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_an_old_version_end() {
    let site = Site::start().await;
    let client = site.client().await;
    let worker = |agent: &str| {
        let worker = Worker::builder(client.clone()).queues(["q"]).name("mailer").agent(agent);
        worker.handler("t", |_, (): ()| async { Ok(()) }).build().unwrap()
    };
    let (old, new) = (worker("mailer/1.0.0"), worker("mailer/1.1.0"));
    let new = tokio::spawn(new.run(std::future::pending()));
    let ((), report) = tokio::join!(
        async {
            eventually("both are there", async || {
                let all = client.workers(Consistency::Linearizable).await.unwrap();
                (all.iter().filter(|worker| worker.info.name == "mailer").count() == 2).then_some(())
            })
            .await;
            assert_eq!(stop_version(&client, "mailer/1.0.0").await.unwrap(), 1);
        },
        old.run(std::future::pending())
    );
    assert_eq!(report.unwrap().failed, 0);
    assert!(!new.is_finished());
    new.abort();
}
