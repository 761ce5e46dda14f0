//! Atomic acknowledgement.

use crate::site::{Site, during, ended};
use jobraft_sdk::Worker;
use jobraft_sdk::protocol::{Consistency, JobState};

// ANCHOR: ship
use jobraft_sdk::protocol::{StateKey, StateWrite};
use jobraft_sdk::{Client, JobContext, JobError, Producer};

/// Ships an order and has its invoice written: both or neither.
async fn ship(client: Client, context: JobContext, order: u64) -> Result<(), JobError> {
    let invoice = Producer::new(client, "invoices", "write_invoice")?.job(&order)?;
    context.complete_with_job(invoice);
    context.complete_with_state(StateWrite {
        key: StateKey::new(&format!("shipped/{order}"))?,
        value: Some(b"yes".as_slice().into()),
        if_version: Some(0), // only if there is no such value: an order is shipped once
    });
    Ok(())
}
// ANCHOR_END: ship

// ANCHOR: worker
pub(super) fn shipping(client: &Client) -> Result<Worker, jobraft_sdk::SdkError> {
    let enqueuing = client.clone();
    Worker::builder(client.clone())
        .queues(["orders"])
        .handler("ship", move |context, order| ship(enqueuing.clone(), context, order))
        .build()
}
// ANCHOR_END: worker

#[tokio::test(flavor = "multi_thread")]
async fn all_happens_or_nothing() {
    let site = Site::start().await;
    let client = site.client().await;
    let orders = Producer::<u64>::new(client.clone(), "orders", "ship").unwrap().max_attempts(1);
    let (first, second) = during(shipping(&client).unwrap(), async {
        let first = ended(&client, orders.enqueue(&17).await.unwrap()).await;
        (first, ended(&client, orders.enqueue(&17).await.unwrap()).await)
    })
    .await;
    assert_eq!(first.state, JobState::Completed);
    let key = StateKey::new("shipped/17").unwrap();
    let value = client.state_value(&key, Consistency::Linearizable).await.unwrap().unwrap();
    assert_eq!(&value.value[..], b"yes");
    // The second found a value: neither it nor an invoice was written.
    assert_eq!(second.state, JobState::Dead, "{second:?}");
    let queues = client.queues(Consistency::Linearizable).await.unwrap();
    let invoices = queues.iter().find(|queue| queue.queue.as_str() == "invoices").unwrap();
    assert_eq!(invoices.ready, 1);
}
