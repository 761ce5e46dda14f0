//! The faults: each is made, lasts a while, and is mended; then the cluster must go on.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

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
    pub(super) const fn hold_ms(self) -> std::ops::Range<u64> {
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
