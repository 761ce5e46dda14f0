//! The nodes on which a scenario runs.

use super::super::figures::Measured;
use super::super::gauge::{NodeReading, Watch};
use super::super::live::Live;
use super::super::load::Load;
use super::super::schedule::{Schedule, Until};
use crate::command::demo::Processes;
use crate::connection::{Connection, failed};
use crate::failure::Failure;
use jobraft_protocol::{ClusterStatus, NodeId};
use jobraft_sdk::Client;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long anything may take that a scenario waits for.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// Nodes that run, and what is asked of them.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) nodes: &'a mut Processes,
    pub(super) connection: Connection,
    pub(super) client: Client,
    pub(super) waiting: u64,
    pub(super) seconds: Duration,
    pub(super) warm_up: Duration,
    /// What is measured, for who watches.
    pub(super) name: String,
}

impl Site<'_> {
    /// A load like any other: one job in each request, one producer, one worker.
    pub(super) fn load(&self, in_flight: u32) -> Load {
        let schedule = Schedule { batch: 1, rate: None, until: Until::Over(self.seconds) };
        Load::plain(in_flight, schedule, self.warm_up)
    }

    /// Measures a load.
    pub(super) async fn measure(&self, load: &Load) -> Result<Measured, Failure> {
        let watch = Watch::start(&self.connection, self.nodes.nodes()).await?;
        let live = Live::of(format!("{}, {} in flight", self.name, load.in_flight));
        let measured = load.measure(&self.connection, &watch, Some(self.nodes.directory()), &live).await;
        watch.end().await;
        measured
    }

    /// What the nodes have taken so far.
    pub(super) async fn gauges(&self) -> Result<BTreeMap<NodeId, NodeReading>, Failure> {
        let watch = Watch::start(&self.connection, self.nodes.nodes()).await?;
        let read = watch.read().await;
        watch.end().await;
        Ok(read)
    }

    /// Who leads, as the leader itself says.
    pub(super) async fn leader(&self) -> Result<NodeId, Failure> {
        let status = self.client.cluster_status(None).await.map_err(|error| failed("see who leads", &error))?;
        status.leader.ok_or_else(|| Failure::new("see who leads", "nobody does"))
    }

    /// What a node says of itself, if it answers.
    pub(super) async fn status(&self, node: NodeId) -> Option<ClusterStatus> {
        let asked = self.client.cluster_status(Some(self.nodes.address(node)));
        tokio::time::timeout(Duration::from_secs(1), asked).await.ok()?.ok()
    }
}

/// Looks until it is so, and says how long that took since `since`.
pub(super) async fn until(
    what: &str,
    since: Instant,
    mut look: impl AsyncFnMut() -> bool,
) -> Result<Duration, Failure> {
    while !look().await {
        if since.elapsed() > PATIENCE {
            return Err(Failure::new(format!("wait until {what}"), format!("it took more than {PATIENCE:?}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(since.elapsed())
}
