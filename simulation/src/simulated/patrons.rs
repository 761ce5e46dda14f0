//! The clients of a run: they speak the client protocol to the cluster over the simulated network, and write down what
//! they see.

use super::clients;
use super::cluster::Cluster;
use super::environment::SECOND_NS;
use super::world::World;
use crate::history::{Demands, History, Recorder, Verdict, judge};
use crate::workload::{self, Plan, Site};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long waiting work may take to drain, once the cluster is well.
const PATIENCE: Duration = Duration::from_secs(300);
/// A step of the world brings about so much of a client's step: so that clients are busy while there are faults.
const WORLD_STEPS_PER_STEP: u64 = 250;
/// A run whose clients were told less says nothing of what clients see.
const OPERATIONS_MIN: usize = 30;

/// See the module.
pub struct Patrons {
    host: usize,
    site: Site,
    seed: u64,
    at_work: Vec<JoinHandle<()>>,
    finish: Option<Finish>,
}

/// What came of the end, once it has.
type Finish = Arc<Mutex<Option<Result<(), String>>>>;

impl Patrons {
    /// Clients of a cluster of which `addresses` are told; they make their steps while the world makes `steps`.
    ///
    /// # Errors
    /// If their machine cannot be booted.
    pub fn boot(world: &mut World, cluster: &Cluster, size: usize, steps: u64, seed: u64) -> Result<Self, String> {
        let machine = clients::boot(world, cluster, "clients")?;
        let port = world.station(machine.host).address.port();
        // Nodes that come later have the places behind the clients.
        let last = u8::try_from(size + super::adversary::SPARE_PLACES + 1).map_err(|error| error.to_string())?;
        let own = world.station(machine.host).address;
        let places = (1..=last).map(|place| SocketAddr::from(([10, 0, 0, place], port)));
        let addresses = places.filter(|place| *place != own).map(|place| (place, place.ip().to_string())).collect();
        let site = Site { endpoint: machine.endpoint, config: machine.config, addresses, recorder: Recorder::new() };
        let steps = u32::try_from(steps / WORLD_STEPS_PER_STEP).unwrap_or(u32::MAX).clamp(10, 120);
        let plan = Plan { steps, pause_ms_max: 400, ..Plan::default() };
        let host = world.host_mut(machine.host).ok_or("the clients' host is down")?;
        let at_work = workload::clients(&site, &plan, seed).into_iter().map(|client| host.spawn(client)).collect();
        Ok(Self { host: machine.host, site, seed, at_work, finish: None })
    }

    /// The history that they write.
    #[must_use]
    pub const fn recorder(&self) -> &Recorder {
        &self.site.recorder
    }

    /// When the cluster is well: lets clients end, then waiting work drain. `None` while that goes on.
    pub fn finish(&mut self, world: &mut World) -> Option<Result<(), String>> {
        if self.at_work.iter().any(|client| !client.is_finished()) {
            return None;
        }
        if let Some(finish) = &self.finish {
            return finish.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        let (site, seed, result) = (self.site.clone(), self.seed, Arc::new(Mutex::new(None)));
        self.finish = Some(Arc::clone(&result));
        world.host_mut(self.host)?.spawn(async move {
            let finished = workload::finish(&site, seed, PATIENCE).await.map_err(|unfinished| unfinished.to_string());
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(finished);
        });
        None
    }

    /// How long all of that may take, in virtual time.
    #[must_use]
    pub fn patience_ns() -> u64 {
        (PATIENCE.as_secs() + 120) * SECOND_NS
    }
}

/// Judges what clients saw.
#[must_use]
pub fn judged(history: &History) -> Verdict {
    judge(history, &Demands { operations: OPERATIONS_MIN, jobs: 5, ..Demands::default() })
}
