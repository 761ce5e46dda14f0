//! The faults: each is made, lasts a while, and is mended; then the cluster must go on.

use super::certificate;
use super::topology::Topology;
use super::weather::{self, Shaping, Weather};
use crate::real::Cluster;
use crate::real::verdict::Trouble;
use jobraft_sdk::Client;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use std::time::Duration;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL for the leader, and a new start.
    KillLeader,
    /// The same for another node.
    KillFollower,
    /// The same for all, in one moment.
    KillAll,
    /// SIGSTOP for the leader: it wakes up later and knows nothing of it.
    StopLeader,
    /// The same for another node.
    StopFollower,
    /// The leader reaches no other node, and none reaches it; clients reach all.
    IsolateLeader,
    /// The same for another node.
    IsolateFollower,
    /// The leader speaks and hears nothing.
    DeafLeader,
    /// The leader hears and is not heard.
    MuteLeader,
    /// Clients do not reach the leader; the nodes reach each other.
    HiddenLeader,
    /// Packets are lost everywhere.
    Lossy,
    /// Packets are late everywhere, or links too thin.
    Slow,
    /// The leader's wall clock jumps ahead, and later back.
    ClockAhead,
    /// The leader's wall clock jumps back, and later ahead.
    ClockBehind,
    /// A node's certificate runs out while it runs; it is renewed.
    Certificate,
}

impl Fault {
    /// All kinds.
    pub(super) const ALL: [Self; 15] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::KillAll,
        Self::StopLeader,
        Self::StopFollower,
        Self::IsolateLeader,
        Self::IsolateFollower,
        Self::DeafLeader,
        Self::MuteLeader,
        Self::HiddenLeader,
        Self::Lossy,
        Self::Slow,
        Self::ClockAhead,
        Self::ClockBehind,
        Self::Certificate,
    ];

    /// As people read it.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "leader killed",
            Self::KillFollower => "follower killed",
            Self::KillAll => "all nodes killed",
            Self::StopLeader => "leader stopped",
            Self::StopFollower => "follower stopped",
            Self::IsolateLeader => "leader cut off",
            Self::IsolateFollower => "follower cut off",
            Self::DeafLeader => "leader hears nobody",
            Self::MuteLeader => "leader not heard",
            Self::HiddenLeader => "leader cut off from clients",
            Self::Lossy => "packets lost",
            Self::Slow => "links slow",
            Self::ClockAhead => "leader's clock ahead",
            Self::ClockBehind => "leader's clock behind",
            Self::Certificate => "certificate ran out",
        }
    }

    /// How long it lasts. A leader is given up by the others after up to four seconds; then the old one comes back.
    const fn hold_ms(self) -> std::ops::Range<u64> {
        match self {
            Self::StopLeader | Self::IsolateLeader | Self::DeafLeader | Self::MuteLeader => 4_500..7_000,
            _ => 2_500..4_500,
        }
    }

    /// Whether it needs a process to have a clock of its own.
    #[must_use]
    pub(super) const fn needs_clock(self) -> bool {
        matches!(self, Self::ClockAhead | Self::ClockBehind | Self::Certificate)
    }
}

/// Faults in an order by chance, each kind once before any comes again.
pub(super) struct Deck {
    kinds: Vec<Fault>,
    left: Vec<Fault>,
}

impl Deck {
    /// Of these kinds.
    #[must_use]
    pub(super) const fn of(kinds: Vec<Fault>) -> Self {
        Self { kinds, left: Vec::new() }
    }

    /// The next one.
    pub(super) fn draw(&mut self, random: &mut StdRng) -> Option<Fault> {
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
            self.left.shuffle(random);
        }
        self.left.pop()
    }
}

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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use rand::SeedableRng;

    #[test]
    fn every_kind_comes_once_before_any_comes_again() {
        let mut deck = Deck::of(Fault::ALL.to_vec());
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..3 {
            let mut round: Vec<Fault> = Fault::ALL.iter().map(|_| deck.draw(&mut random).unwrap()).collect();
            round.sort();
            assert_eq!(round, Fault::ALL);
        }
    }
}
