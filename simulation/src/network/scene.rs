//! A fault is made, lasts a while, and is mended.

use super::certificate;
use super::fault::Fault;
use super::topology::Topology;
use super::weather::{self, Shaping, Weather};
use crate::real::Cluster;
use crate::real::verdict::Trouble;
use jobraft_sdk::Client;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::time::Duration;

/// Whom faults befall.
pub(super) struct Scene<'a> {
    /// The network.
    pub(super) topology: &'a Topology,
    /// What it can do.
    pub(super) shaping: Shaping,
    /// The nodes.
    pub(super) cluster: &'a mut Cluster,
    /// For questions.
    pub(super) client: &'a Client,
    /// For choices.
    pub(super) random: &'a mut StdRng,
}

const LEADER_TIMEOUT: Duration = Duration::from_secs(45);
const CLOCK_JUMP_MS: std::ops::Range<i64> = 60_000..50 * 60_000;

impl Scene<'_> {
    /// Makes a fault, lets it last, and mends it; in words, whom it befell.
    ///
    /// # Errors
    /// A violation if nobody leads before, or the machine's failure.
    pub(super) async fn play(&mut self, fault: Fault) -> Result<String, Trouble> {
        let all = self.cluster.ids();
        let leader = self.cluster.leader_among(&all, self.client, LEADER_TIMEOUT).await?;
        let others: Vec<u64> = all.iter().copied().filter(|id| *id != leader).collect();
        let follower = others.choose(self.random).copied().unwrap_or(leader);
        let hold = Duration::from_millis(self.random.random_range(fault.hold_ms()));
        let (topology, shaping) = (self.topology, self.shaping);
        let mut befell = format!("node {leader}");
        match fault {
            Fault::KillLeader => self.kill(&[leader], hold / 2).await?,
            Fault::KillFollower => {
                befell = format!("node {follower}");
                self.kill(&[follower], hold).await?;
            }
            Fault::KillAll => {
                befell = "all".to_owned();
                self.kill(&all, hold / 8).await?;
            }
            Fault::StopLeader => self.stop(leader, hold).await?,
            Fault::StopFollower => {
                befell = format!("node {follower}");
                self.stop(follower, hold).await?;
            }
            Fault::IsolateLeader => weather::cut(topology, leader, &others)?,
            Fault::IsolateFollower => {
                befell = format!("node {follower}");
                let others: Vec<u64> = all.iter().copied().filter(|id| *id != follower).collect();
                weather::cut(topology, follower, &others)?;
            }
            Fault::DeafLeader => {
                let others: Vec<_> = others.iter().map(|id| topology.address(*id)).collect();
                weather::deafen(topology, leader, &others)?;
            }
            Fault::MuteLeader => {
                let leader = [topology.address(leader)];
                others.iter().try_for_each(|other| weather::deafen(topology, *other, &leader))?;
            }
            Fault::HiddenLeader => weather::deafen(topology, leader, &[topology.clients()])?,
            Fault::Lossy | Fault::Slow => {
                befell = "all".to_owned();
                let kind = if fault == Fault::Lossy { Weather::Lossy } else { Weather::Slow };
                all.iter().try_for_each(|node| shaping.begin(topology, *node, kind))?;
            }
            Fault::ClockAhead | Fault::ClockBehind => {
                let ms = self.random.random_range(CLOCK_JUMP_MS);
                let ms = if fault == Fault::ClockAhead { ms } else { -ms };
                befell = format!("node {leader}, by {} s", ms / 1_000);
                self.shift_clock(leader, ms)?;
            }
            Fault::Certificate => {
                befell = format!("node {follower}");
                certificate::run_out(self.cluster, follower, self.client).await?;
            }
        }
        match fault {
            Fault::KillLeader | Fault::KillFollower | Fault::KillAll => {}
            Fault::StopLeader | Fault::StopFollower | Fault::Certificate => {}
            Fault::ClockAhead | Fault::ClockBehind => {
                tokio::time::sleep(hold).await;
                self.shift_clock(leader, 0)?;
            }
            _ => {
                tokio::time::sleep(hold).await;
                weather::clear(topology, &all)?;
            }
        }
        self.cluster.check_alive()?;
        Ok(befell)
    }

    async fn kill(&mut self, nodes: &[u64], hold: Duration) -> Result<(), Trouble> {
        self.cluster.kill(nodes)?;
        tokio::time::sleep(hold).await;
        nodes.iter().try_for_each(|node| self.cluster.start(*node))
    }

    async fn stop(&mut self, node: u64, hold: Duration) -> Result<(), Trouble> {
        self.cluster.process(node)?.pause();
        tokio::time::sleep(hold).await;
        self.cluster.process(node)?.resume();
        Ok(())
    }

    fn shift_clock(&self, node: u64, ms: i64) -> Result<(), Trouble> {
        self.cluster.clock(node).map_or(Ok(()), |clock| clock.shift(ms))
    }
}
