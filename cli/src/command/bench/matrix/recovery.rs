//! How long it takes until everything is as before.

use super::super::jobs::Jobs;
use super::super::load::Load;
use super::pressure::{Pressure, job};
use super::rows::{Found, Unit};
use super::site::{Site, until};
use crate::failure::Failure;
use jobraft_protocol::{Consistency, NodeId};
use std::time::{Duration, Instant};

/// How long the load goes on before something is broken.
const BEFORE: Duration = Duration::from_secs(2);

/// A node that has many waiting jobs is killed and started: until it answers a linearizable read, and so knows them all.
pub(super) async fn restart(site: &mut Site<'_>) -> Result<Vec<Found>, Failure> {
    let empty = rss(site).await?;
    let load = Load { waiting: site.waiting, ..site.load(1) };
    Jobs::prepare(&load, &site.connection).await?;
    let node = NodeId(1);
    site.nodes.kill_node(node).await?;
    let started = Instant::now();
    site.nodes.start_node(node)?;
    let took = until("the node serves again", started, async || {
        let Ok(client) = site.connection.connect().await else { return false };
        let queues = client.queues(Consistency::Linearizable).await.unwrap_or_default();
        client.close().await;
        queues.iter().map(|queue| queue.ready).sum::<u64>() >= site.waiting
    })
    .await?;
    let what = format!("1 node, {} waiting: restart after kill -9 until it serves", site.waiting);
    let mut found = vec![Found::new(what, Unit::Seconds, took.as_secs_f64()).target("≤ 3")];
    found.extend(rss(site).await?.zip(empty).map(|(full, empty)| {
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let per_job = full.saturating_sub(empty) as f64 / site.waiting.max(1) as f64;
        let what = format!("1 node, {} waiting: memory per waiting job after that", site.waiting);
        Found::new(what, Unit::Bytes, per_job).target("≤ 200")
    }));
    Ok(found)
}

/// The memory of all nodes, if it can be seen.
async fn rss(site: &Site<'_>) -> Result<Option<u64>, Failure> {
    Ok(site.gauges().await?.values().map(|node| node.process.rss_bytes).sum())
}

/// The leader is killed under load: until an enqueue that was sent right after is confirmed.
pub(super) async fn failover(site: &mut Site<'_>) -> Result<Vec<Found>, Failure> {
    let pressure = Pressure::start(&site.connection).await?;
    tokio::time::sleep(BEFORE).await;
    let leader = site.leader().await?;
    site.nodes.kill_node(leader).await?;
    let killed = Instant::now();
    let took = until("writes go on", killed, async || match job(&site.client, "probe") {
        Ok(job) => site.client.enqueue(vec![job]).await.is_ok(),
        Err(_) => false,
    })
    .await?;
    pressure.stop().await;
    let what = "3 nodes under load: leader killed (kill -9) until writes go on";
    Ok(vec![Found::new(what, Unit::Seconds, took.as_secs_f64()).target("≤ 2")])
}

/// A follower is down while the load goes on, and starts: until it has applied what the leader has, which goes on growing.
pub(super) async fn catch_up(site: &mut Site<'_>) -> Result<Vec<Found>, Failure> {
    let pressure = Pressure::start(&site.connection).await?;
    tokio::time::sleep(BEFORE).await;
    let leader = site.leader().await?;
    let follower = site.nodes.nodes().into_iter().map(|(node, _)| node).find(|node| *node != leader);
    let follower = follower.ok_or_else(|| Failure::new("find a follower", "there is none"))?;
    site.nodes.kill_node(follower).await?;
    let before = pressure.enqueued();
    tokio::time::sleep(site.seconds).await;
    let (missed, started) = (pressure.enqueued() - before, Instant::now());
    site.nodes.start_node(follower)?;
    let took = until("the node has caught up", started, async || {
        let Ok(all) = site.client.cluster_status(None).await else { return false };
        site.status(follower).await.is_some_and(|own| own.applied_index >= all.last_index)
    })
    .await?;
    let during = pressure.enqueued();
    // It still runs: a load that had stopped would let anybody catch up.
    until("the load goes on", Instant::now(), async || pressure.enqueued() > during).await?;
    pressure.stop().await;
    let down = site.seconds.as_secs();
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let behind = missed as f64 / site.seconds.as_secs_f64();
    Ok(vec![
        Found::new(
            format!("3 nodes under load: node down for {down} s until it has caught up"),
            Unit::Seconds,
            took.as_secs_f64(),
        ),
        Found::new(format!("… meanwhile enqueued while it was down for {down} s"), Unit::JobsPerSecond, behind),
    ])
}
