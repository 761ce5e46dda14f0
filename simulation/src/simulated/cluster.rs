//! The nodes of a world: started, killed, started again on what their disks kept.

use super::chronicle;
use super::ledger::Ledger;
use super::network::HostId;
use super::world::World;
use crate::disk::{Chooser, Disk, Fate};
use jobraft_node::config::{AuditConfig, LogConfig, NodeConfig};
use jobraft_node::consensus::Consensus;
use jobraft_node::tls::{CertificateAuthority, Overwrite, TlsFiles};
use jobraft_node::{Node, NodeError};
use jobraft_protocol::{Grant, NodeAddress, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// The name of every simulated cluster.
pub const CLUSTER: &str = "simulated";
/// Certificates must outlive the run, with clocks that jump.
const VALIDITY_DAYS: u32 = 3_000;

/// The nodes.
pub struct Cluster {
    home: PathBuf,
    authority: CertificateAuthority,
    ledger: Ledger,
    members: BTreeMap<HostId, Member>,
    initial: BTreeMap<NodeId, NodeAddress>,
}

/// A node, up or down.
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// Where it is reached.
    pub address: NodeAddress,
    config: NodeConfig,
    disk: Disk,
    life: Arc<Mutex<Life>>,
    stop: Option<oneshot::Sender<()>>,
}

/// How it is with a node since its last start.
#[derive(Default)]
struct Life {
    consensus: Option<Consensus>,
    end: Option<End>,
}

/// Why a node is no more, though its host is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Stopped,
    /// It could not go on.
    Failed {
        /// Why.
        reason: String,
        /// Whether its data are damaged, so that another start would end in the same way.
        is_damage: bool,
    },
}

impl Cluster {
    /// A cluster of `size` nodes in places of their own, none of which has been started.
    ///
    /// # Errors
    /// If `home` cannot be written.
    pub fn new(world: &mut World, home: &Path, size: usize, ledger: Ledger) -> Result<Self, String> {
        let authority = CertificateAuthority::create(home, VALIDITY_DAYS).map_err(|error| error.to_string())?;
        let mut cluster =
            Self { home: home.to_owned(), authority, ledger, members: BTreeMap::new(), initial: BTreeMap::new() };
        let hosts: Vec<HostId> = (0..size).map(|_| cluster.add(world)).collect::<Result<_, _>>()?;
        for host in &hosts {
            let member = &cluster.members[host];
            cluster.initial.insert(member.node, member.address.clone());
        }
        for member in cluster.members.values_mut() {
            member.config.initial_members.clone_from(&cluster.initial);
        }
        Ok(cluster)
    }

    /// A place for a further node, with an id that no node had before.
    ///
    /// # Errors
    /// If its certificate cannot be made.
    pub fn add(&mut self, world: &mut World) -> Result<HostId, String> {
        let node = NodeId(self.members.len() as u64 + 1);
        let host = world.add_station(&format!("node {node}"));
        let address = world.station(host).address;
        let stem = format!("node-{node}");
        let pair = self.authority.issue_node(node, &[address.ip().to_string()], VALIDITY_DAYS);
        let written = pair.and_then(|pair| pair.write(&self.home, &stem, Overwrite::Refuse));
        written.map_err(|error| error.to_string())?;
        let advertise: NodeAddress = address.to_string().parse().expect("an address and a port are a node's address");
        let config = NodeConfig {
            node_id: node,
            listen: address,
            advertise: advertise.clone(),
            data_dir: self.home.join(&stem),
            cluster: CLUSTER.to_owned(),
            initial_members: BTreeMap::new(),
            tls: TlsFiles::in_directory(&self.home, &stem),
            log: LogConfig::default(),
            audit: AuditConfig::off(),
            key_file: None,
            secrets_key_file: None,
            signers: BTreeSet::new(),
        };
        let disk = Disk::new(&config.data_dir).map_err(|error| error.to_string())?;
        let life = Arc::default();
        self.members.insert(host, Member { node, address: advertise, config, disk, life, stop: None });
        Ok(host)
    }

    /// Issues a client's certificate.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn issue_client(&self, name: &str) -> Result<TlsFiles, String> {
        let pair = self.authority.issue_client(name, Grant::admin(), VALIDITY_DAYS);
        let written = pair.and_then(|pair| pair.write(&self.home, name, Overwrite::Refuse));
        written.map_err(|error| error.to_string())?;
        Ok(TlsFiles::in_directory(&self.home, name))
    }

    /// The nodes, by host.
    pub fn members(&self) -> impl Iterator<Item = (HostId, &Member)> {
        self.members.iter().map(|(host, member)| (*host, member))
    }

    /// A node.
    #[must_use]
    pub fn member(&self, host: HostId) -> Option<&Member> {
        self.members.get(&host)
    }

    /// A node's disk.
    #[must_use]
    pub fn disk(&self, host: HostId) -> Option<&Disk> {
        self.members.get(&host).map(|member| &member.disk)
    }

    /// Starts a node on what its disk holds.
    ///
    /// # Errors
    /// If its host cannot be booted.
    pub fn start(&mut self, world: &mut World, host: HostId) -> Result<(), String> {
        world.boot(host).map_err(|error| error.to_string())?;
        let member = self.members.get_mut(&host).expect("only nodes are started here");
        chronicle::note(format_args!("node {} starts", member.node));
        world.machines().set_witness(host, self.ledger.witness(member.node));
        let (stop, stopped) = oneshot::channel();
        member.life = Arc::default();
        member.stop = Some(stop);
        let task = live(member.config.clone(), Arc::clone(&member.life), stopped);
        world.host_mut(host).expect("it was booted").spawn(task);
        Ok(())
    }

    /// Asks a node to stop in order.
    pub fn stop(&mut self, world: &mut World, host: HostId) {
        let Some(member) = self.members.get_mut(&host) else { return };
        if let (Some(stop), Some(running)) = (member.stop.take(), world.host_mut(host)) {
            // Nobody listens if it has ended by itself.
            let _ = running.within(|| stop.send(()));
            running.wake();
        }
    }

    /// Cuts a node's power; `chooser` says what its disk keeps of what was not synced.
    pub fn kill(&mut self, world: &mut World, host: HostId, chooser: &mut Chooser<'_>) {
        let Some(member) = self.members.get_mut(&host) else { return };
        if !world.is_up(host) {
            return;
        }
        chronicle::note(format_args!("node {} loses its power", member.node));
        member.disk.cut_power();
        let life = std::mem::take(&mut member.life);
        world.kill(host, (life, member.stop.take()));
        member.disk.crash(chooser).expect("the simulation's own directory can be written");
    }

    /// Cuts every node's power, for good.
    pub fn end_all(&mut self, world: &mut World) {
        let hosts: Vec<HostId> = self.members.keys().copied().collect();
        for host in hosts {
            self.kill(world, host, &mut |_| Fate::Whole);
        }
    }

    /// How a node ended, if it did.
    #[must_use]
    pub fn end(&self, host: HostId) -> Option<End> {
        self.members.get(&host).and_then(|member| lock(&member.life).end.clone())
    }

    /// Consensus on a node that runs.
    #[must_use]
    pub fn consensus(&self, host: HostId) -> Option<Consensus> {
        let life = &self.members.get(&host)?.life;
        let life = lock(life);
        if life.end.is_some() { None } else { life.consensus.clone() }
    }

    /// The node that leads the latest term, as far as nodes that run know.
    #[must_use]
    pub fn leader(&self, world: &World) -> Option<(HostId, Consensus)> {
        let running = self.members.keys().filter(|host| world.is_up(**host));
        let consensus = running.filter_map(|host| Some((*host, self.consensus(*host)?)));
        let leaders = consensus.map(|(host, consensus)| (consensus.pulse(), host, consensus));
        let latest = leaders.filter(|(pulse, ..)| pulse.leads).max_by_key(|(pulse, ..)| pulse.term);
        latest.map(|(_, host, consensus)| (host, consensus))
    }
}

fn lock(life: &Mutex<Life>) -> std::sync::MutexGuard<'_, Life> {
    life.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a node until it stops, is asked to, or cannot go on.
async fn live(config: NodeConfig, life: Arc<Mutex<Life>>, stop: oneshot::Receiver<()>) {
    let failed = |error: &NodeError| {
        let reason = error.to_string();
        let words = ["corrupt", "damaged", "malformed", "checksum", "cannot read", "missing"];
        let is_damage = words.iter().any(|word| reason.contains(word));
        End::Failed { reason, is_damage }
    };
    let node = match Node::start(config).await {
        Ok(node) => node,
        Err(error) => {
            lock(&life).end = Some(failed(&error));
            return;
        }
    };
    lock(&life).consensus = Some(node.consensus().clone());
    let ended = tokio::select! {
        ended = node.stopped() => ended,
        _ = stop => {
            node.shutdown().await;
            let mut life = lock(&life);
            life.end = Some(End::Stopped);
            life.consensus = None;
            return;
        }
    };
    lock(&life).end = Some(ended.map_or_else(|error| failed(&error), |()| End::Stopped));
    // The rest of it is there until its host is killed, as that of a process that is about to exit.
    drop(node);
}
