//! The world: hosts, a network between them, and one time for all.
//!
//! It moves from one thing that happens to the next: a host that wanted to be woken, a datagram that arrives. One *step*
//! is one run of one host. Everything is on one thread, and what comes next follows from the seed.

use super::chronicle;
use super::environment::{self, Environment};
use super::host::Host;
use super::machines::Machines;
use super::network::{HostId, Network};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// Where everybody listens.
const PORT: u16 = 7_420;

/// A place for a host: it stays, whether or not the host is up.
pub struct Station {
    /// What the chronicle calls it.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    host: Option<Host>,
    skew_ns: i64,
    /// Until when it does not get to run.
    held_until_ns: u64,
    /// Whether something came for it.
    is_called: bool,
}

/// See the module.
pub struct World {
    /// The network.
    pub network: Network,
    machines: Rc<Machines>,
    stations: Vec<Station>,
    called: BTreeSet<HostId>,
    now_ns: u64,
    steps: u64,
    fingerprint: u64,
    /// The last to go.
    _environment: Environment,
}

impl World {
    /// An empty world, whose chances follow from `seed`. It is the only one of its thread.
    #[must_use]
    pub fn new(seed: u64, environment: Environment) -> Self {
        let network = Network::new(seed ^ 0x6e65_7477_6f72_6b21);
        let machines = Rc::new(Machines::new(network.clone(), seed ^ 0x6d61_6368_696e_6521));
        jobraft_node::machine::simulate(Some(machines.clone()));
        Self {
            network,
            machines,
            stations: Vec::new(),
            called: BTreeSet::new(),
            now_ns: 0,
            steps: 0,
            fingerprint: 0,
            _environment: environment,
        }
    }

    /// Adds a place for a host.
    pub fn add_station(&mut self, name: &str) -> HostId {
        let id = self.stations.len();
        let last = u8::try_from(id + 1).expect("a world has few hosts");
        self.stations.push(Station {
            name: name.to_owned(),
            address: SocketAddr::from(([10, 0, 0, last], PORT)),
            host: None,
            skew_ns: 0,
            held_until_ns: 0,
            is_called: false,
        });
        id
    }

    /// A place for a host.
    #[must_use]
    pub fn station(&self, id: HostId) -> &Station {
        &self.stations[id]
    }

    /// How many there are.
    #[must_use]
    pub fn stations(&self) -> usize {
        self.stations.len()
    }

    /// The machines.
    #[must_use]
    pub fn machines(&self) -> &Machines {
        &self.machines
    }

    /// Virtual time, since the beginning.
    #[must_use]
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// How often a host has run.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// A number on which two runs of one seed agree.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint ^ self.network.fingerprint()
    }

    /// Boots a host at a place.
    ///
    /// # Errors
    /// If its runtime cannot be made.
    pub fn boot(&mut self, id: HostId) -> io::Result<()> {
        self.machines.switch_to(id);
        let station = &mut self.stations[id];
        assert!(station.host.is_none(), "a host is booted once it is down");
        station.host = Some(Host::boot(station.skew_ns)?);
        station.held_until_ns = 0;
        Ok(())
    }

    /// Whether a host is up.
    #[must_use]
    pub fn is_up(&self, id: HostId) -> bool {
        self.stations[id].host.is_some()
    }

    /// The host at a place, to be told something.
    pub fn host_mut(&mut self, id: HostId) -> Option<&mut Host> {
        self.machines.switch_to(id);
        self.stations[id].host.as_mut()
    }

    /// Does something as a host that is up.
    pub fn within<T>(&self, id: HostId, act: impl FnOnce() -> T) -> Option<T> {
        self.machines.switch_to(id);
        self.stations[id].host.as_ref().map(|host| host.within(act))
    }

    /// Cuts a host's power: it ends without a word. `last` is what is dropped with it, while its clock can be read.
    pub fn kill<T>(&mut self, id: HostId, last: T) {
        self.machines.switch_to(id);
        self.network.unplug(id);
        let station = &mut self.stations[id];
        if let Some(host) = station.host.take() {
            chronicle::mute(true);
            host.within(|| drop(last));
            host.kill();
            chronicle::mute(false);
        }
        station.is_called = false;
    }

    /// A host does not get to run for a while; what comes for it waits.
    pub fn hold(&mut self, id: HostId, until_ns: u64) {
        self.stations[id].held_until_ns = until_ns;
    }

    /// Sets a host's wall clock: so far from the true one.
    pub fn set_skew_ns(&mut self, id: HostId, skew_ns: i64) {
        let station = &mut self.stations[id];
        station.skew_ns = skew_ns;
        if let Some(host) = &mut station.host {
            host.set_skew_ns(skew_ns);
        }
    }

    /// Moves on to the next thing that happens, but not beyond `limit_ns`; says which hosts it concerns.
    pub fn advance(&mut self, limit_ns: u64) -> Vec<HostId> {
        let arrival = self.network.next_arrival_ns().unwrap_or(u64::MAX);
        let wakes = self.stations.iter().map(Station::runs_at_ns);
        let next = wakes.fold(arrival, u64::min);
        self.now_ns = self.now_ns.max(next.min(limit_ns));
        environment::set_now_ns(self.now_ns);
        self.network.deliver(self.now_ns, &mut self.called);
        for id in std::mem::take(&mut self.called) {
            self.stations[id].is_called = true;
        }
        let now_ns = self.now_ns;
        let runs = self.stations.iter().enumerate().filter(|(_, station)| station.runs_at_ns() <= now_ns);
        runs.map(|(id, _)| id).collect()
    }

    /// Runs a host until it waits again.
    pub fn run(&mut self, id: HostId) {
        self.machines.switch_to(id);
        let station = &mut self.stations[id];
        let Some(host) = &mut station.host else { return };
        station.is_called = false;
        chronicle::speaks(&station.name);
        host.run();
        chronicle::speaks("");
        self.steps += 1;
        let told = self.now_ns ^ host.wakes_at_ns().rotate_left(17) ^ (id as u64).rotate_left(48);
        self.fingerprint = (self.fingerprint ^ told).wrapping_mul(0x0100_0000_01b3);
    }
}

impl Station {
    /// How far its wall clock is from the true one.
    #[must_use]
    pub const fn skew_ns(&self) -> i64 {
        self.skew_ns
    }

    fn runs_at_ns(&self) -> u64 {
        match &self.host {
            Some(_) if self.is_called => self.held_until_ns,
            Some(host) => host.wakes_at_ns().max(self.held_until_ns),
            None => u64::MAX,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for id in 0..self.stations.len() {
            self.kill(id, ());
        }
        jobraft_node::machine::simulate(None);
    }
}
