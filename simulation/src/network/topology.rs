//! The network: a switch, and a namespace with a cable to it for each node. This process, with its clients, is at another.

use crate::real::Sandbox;
use crate::real::sandbox::run;
use crate::real::verdict::Trouble;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

const SWITCH: &str = "switch";
/// What every namespace calls its end of the cable.
const CABLE: &str = "eth0";
const CLIENTS: u8 = 100;

/// The network.
#[derive(Debug)]
pub(super) struct Topology {
    nodes: u64,
}

impl Topology {
    /// Builds it inside the sandbox, with which it goes away.
    ///
    /// # Errors
    /// [`Trouble::NotPermitted`] where the kernel lacks namespaces, bridges or pairs of virtual cables.
    pub(super) fn build(_inside: &Sandbox, nodes: u64) -> Result<Self, Trouble> {
        let topology = Self { nodes };
        topology.lay().map_err(|trouble| Trouble::NotPermitted(format!("no network can be built here: {trouble}")))?;
        Ok(topology)
    }

    fn lay(&self) -> Result<(), Trouble> {
        run("ip", &["netns", "add", SWITCH])?;
        run("ip", &["-n", SWITCH, "link", "add", "bridge0", "type", "bridge"])?;
        run("ip", &["-n", SWITCH, "link", "set", "bridge0", "up"])?;
        run("ip", &["link", "add", CABLE, "type", "veth", "peer", "name", "clients", "netns", SWITCH])?;
        plug("clients")?;
        switch_on(&[], CLIENTS)?;
        for node in 1..=self.nodes {
            let name = namespace(node);
            run("ip", &["netns", "add", &name])?;
            let cable = ["link", "add", CABLE, "netns", &name, "type", "veth", "peer", "name", &name, "netns", SWITCH];
            run("ip", &cable)?;
            plug(&name)?;
            run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
            switch_on(&["-n", &name], host(node))?;
        }
        Ok(())
    }

    /// A node's namespace, for those who go there.
    ///
    /// # Errors
    /// If it is not there.
    pub(super) fn namespace(&self, node: u64) -> Result<File, Trouble> {
        let path = Path::new("/run/netns").join(namespace(node));
        File::open(path).map_err(|error| Trouble::machine("open a network namespace", error))
    }

    /// A node's address.
    #[must_use]
    pub(super) fn address(&self, node: u64) -> IpAddr {
        address(host(node))
    }

    /// The clients' address.
    #[must_use]
    pub(super) fn clients(&self) -> IpAddr {
        address(CLIENTS)
    }

    /// Runs `iptables` at a node.
    ///
    /// # Errors
    /// If it fails.
    pub(super) fn iptables(&self, node: u64, arguments: &[&str]) -> Result<(), Trouble> {
        let name = namespace(node);
        let before = ["netns", "exec", &name, "iptables", "-w", "5"];
        run("ip", &[&before, arguments].concat()).map(drop)
    }

    /// Gives what a node sends another discipline of queueing, or, with none, the kernel's own.
    ///
    /// # Errors
    /// If the kernel does not have it.
    pub(super) fn queueing(&self, node: u64, discipline: &[&str]) -> Result<(), Trouble> {
        let name = namespace(node);
        if discipline.is_empty() {
            // There may be none to remove.
            let _ = run("tc", &["-n", &name, "qdisc", "del", "dev", CABLE, "root"]);
            return Ok(());
        }
        let before = ["-n", &name, "qdisc", "replace", "dev", CABLE, "root"];
        run("tc", &[&before, discipline].concat()).map(drop)
    }
}

fn namespace(node: u64) -> String {
    format!("node-{node}")
}

fn host(node: u64) -> u8 {
    u8::try_from(node).unwrap_or(u8::MAX)
}

const fn address(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, host))
}

/// Plugs a cable into the switch.
fn plug(end: &str) -> Result<(), Trouble> {
    run("ip", &["-n", SWITCH, "link", "set", end, "master", "bridge0", "up"]).map(drop)
}

/// Gives the other end its address.
fn switch_on(whereto: &[&str], host: u8) -> Result<(), Trouble> {
    let address = format!("{}/24", address(host));
    run("ip", &[whereto, &["addr", "add", &address, "dev", CABLE]].concat())?;
    run("ip", &[whereto, &["link", "set", CABLE, "up"]].concat()).map(drop)
}
