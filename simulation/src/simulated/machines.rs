//! What the simulated machines give to the nodes on them: ports of the simulated network, disks that take their time.

use super::environment;
use super::network::{HostId, Network};
use jobraft_node::consensus::Witness;
use jobraft_node::machine::{DiskWork, Machine};
use jobraft_node::transport::UdpPort;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a disk in good health takes at most.
const DISK_NS_MAX: u64 = 400_000;

/// All machines of a world.
pub struct Machines {
    network: Network,
    running: Cell<HostId>,
    random: RefCell<SmallRng>,
    /// Disks that are slow, by how much.
    slow: RefCell<BTreeMap<HostId, u64>>,
    witnesses: RefCell<BTreeMap<HostId, Arc<dyn Witness>>>,
}

impl Machines {
    /// Machines on a network.
    #[must_use]
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            network,
            running: Cell::new(0),
            random: RefCell::new(SmallRng::seed_from_u64(seed)),
            slow: RefCell::default(),
            witnesses: RefCell::default(),
        }
    }

    /// Says which machine runs now.
    pub fn switch_to(&self, host: HostId) {
        self.running.set(host);
    }

    /// Sets how many times as long as usual a disk takes.
    pub fn set_slowness(&self, host: HostId, times: u64) {
        self.slow.borrow_mut().insert(host, times);
    }

    /// Sets who sees what the node on a machine applies.
    pub fn set_witness(&self, host: HostId, witness: Arc<dyn Witness>) {
        self.witnesses.borrow_mut().insert(host, witness);
    }
}

impl Machine for Machines {
    fn bind(&self, listen: SocketAddr) -> io::Result<UdpPort> {
        self.network.bind(self.running.get(), listen)
    }

    fn disk_time(&self, work: DiskWork) -> Duration {
        let times = self.slow.borrow().get(&self.running.get()).copied().unwrap_or(1);
        let mut random = self.random.borrow_mut();
        let ns = match work {
            DiskWork::Aside | DiskWork::LogWrite => random.random_range(0..=DISK_NS_MAX) * times,
            // Mostly nothing: it is the rare crash in between that matters.
            DiskWork::LogWritten => random.random_range(0..=DISK_NS_MAX / 4),
        };
        Duration::from_nanos(ns.min(30 * environment::SECOND_NS))
    }

    fn witness(&self) -> Option<Arc<dyn Witness>> {
        self.witnesses.borrow().get(&self.running.get()).cloned()
    }
}
