//! What packets go through: cut links, in one direction or both, losses, delays, and links that are too thin.

use super::topology::Topology;
use crate::real::verdict::Trouble;
use std::net::IpAddr;

/// What the kernel can do to packets beyond dropping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shaping {
    /// `netem`: delay, jitter, loss, disorder, doubles.
    Netem,
    /// `tbf`: links that are too thin; losses come from the `statistic` match of iptables.
    TokenBucket,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// Some packets are lost.
    Lossy,
    /// Packets are late, or wait for a thin link.
    Slow,
}

impl Shaping {
    /// What this kernel has.
    ///
    /// # Errors
    /// [`Trouble::NotPermitted`] without iptables: nothing could be cut.
    pub(super) fn detect(topology: &Topology) -> Result<Self, Trouble> {
        topology.iptables(1, &["-L", "-n"]).map_err(|error| {
            Trouble::NotPermitted(format!(
                "links cannot be cut here: {error}; this run needs `iptables` and its support in the kernel"
            ))
        })?;
        let found = match topology.queueing(1, &["netem", "delay", "1ms"]) {
            Ok(()) => Self::Netem,
            Err(_) => Self::TokenBucket,
        };
        topology.queueing(1, &[])?;
        Ok(found)
    }

    /// Lets it come over one node.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn begin(self, topology: &Topology, node: u64, weather: Weather) -> Result<(), Trouble> {
        match (self, weather) {
            (Self::Netem, Weather::Lossy) => topology
                .queueing(node, &["netem", "delay", "2ms", "1ms", "loss", "8%", "duplicate", "2%", "reorder", "5%"]),
            (Self::Netem, Weather::Slow) => topology.queueing(node, &["netem", "delay", "60ms", "40ms"]),
            (Self::TokenBucket, Weather::Lossy) => topology.iptables(
                node,
                &["-A", "INPUT", "-m", "statistic", "--mode", "random", "--probability", "0.08", "-j", "DROP"],
            ),
            (Self::TokenBucket, Weather::Slow) => {
                topology.queueing(node, &["tbf", "rate", "4mbit", "burst", "16kb", "latency", "200ms"])
            }
        }
    }
}

/// Lets a node hear nothing from these addresses any more.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn deafen(topology: &Topology, node: u64, to: &[IpAddr]) -> Result<(), Trouble> {
    to.iter().try_for_each(|from| topology.iptables(node, &["-A", "INPUT", "-s", &from.to_string(), "-j", "DROP"]))
}

/// Cuts the links between one node and others, in both directions.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn cut(topology: &Topology, node: u64, others: &[u64]) -> Result<(), Trouble> {
    let addresses: Vec<IpAddr> = others.iter().map(|other| topology.address(*other)).collect();
    deafen(topology, node, &addresses)?;
    others.iter().try_for_each(|other| deafen(topology, *other, &[topology.address(node)]))
}

/// Lets all be well again at these nodes.
///
/// # Errors
/// If the kernel refuses.
pub(super) fn clear(topology: &Topology, nodes: &[u64]) -> Result<(), Trouble> {
    for node in nodes {
        topology.iptables(*node, &["-F", "INPUT"])?;
        topology.queueing(*node, &[])?;
    }
    Ok(())
}
